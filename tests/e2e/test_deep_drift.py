"""What no list shows is found within spec.deepCheckIntervalSeconds, by the operator's own passes: nobody asks for one.

Each change is made just after a look, so that it has the whole interval before it. How late it is found is counted in
passes: a slow machine is no excuse, and a fast one no proof. That the passes themselves come in time is told by the two
of them that were nearest to each other, for a slow machine delays some, and longer pauses would all be longer.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from e2e_accounts import make_account
from e2e_audit import read_at
from e2e_policies import grant, members, revoke
from e2e_release import Deployment, condition
from e2e_site import Site
from e2e_world import World, open_world
from google.cloud import run_v2
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, SecretVersion

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("deep_drift")]

INTERVALS = {"reconcileIntervalSeconds": 2, "deepCheckIntervalSeconds": 6}
SHORTEST_PAUSE_S = 0.9 * 0.45 * 2  # of two passes: less than half of the shorter interval, spread by a tenth
MOST_PASSES = math.ceil(6 / SHORTEST_PAUSE_S) + 1  # those of one interval, and the one that was under way
FOUND_S = 120.0  # a machine under load; the passes are what is held to
ACCESSOR, INVOKER = "roles/secretmanager.secretAccessor", "roles/run.invoker"
POLICY, VERSION = "GetIamPolicy", "GetSecretVersion"  # what looks at them
SIGNER = "roles/iam.serviceAccountTokenCreator"
LEFT = "not the app's, left as it is"


@dataclass(frozen=True)
class Scene:
    """An app at rest, whose passes nothing but its intervals sets off: no database, hence no db-init that checks it."""

    shop: Deployment
    local: Any
    account: str  # full name of its identity
    invoker: str  # a member

    @property
    def world(self) -> World:
        return self.shop.world

    @property
    def id(self) -> str:
        return self.world.google_id("shop")

    @property
    def key(self) -> str:
        return f"projects/{self.world.site.project}/secrets/{self.id}-secret-key"

    @property
    def began(self) -> list[float]:
        """When each pass so far did."""
        return read_at(self.local.audit_log, self.world.namespace, "djangoapps", "shop")

    @property
    def passes(self) -> int:
        """So far."""
        return len(self.began)

    async def just_looked(self, method: str, resource: str) -> int:
        """Waits for the next deep look at the resource; the passes until then."""

        def looks() -> int:
            asked = self.local.requests(self.world.namespace, "shop")
            return len([r for r in asked if r.method.endswith(method) and r.resource.startswith(resource)])

        known = looks()
        await self.world.until(lambda _: looks() > known, "shop", timeout=FOUND_S)
        return self.passes

    async def found(self, since: int, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The app once something holds of its status, within an interval's passes since `since`."""
        app = await self.world.until(lambda app: holds(app["status"]), "shop", timeout=FOUND_S)
        assert self.passes - since <= MOST_PASSES
        return app

    async def events(self, expected: str) -> list[str]:
        """The reasons of those that say it, oldest first."""
        return [reason for reason, text in await self.world.events("shop") if expected in text]


def tells(expected: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: expected in status.get("drift", {}).get("fields", ())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(site: Site, local: Any, google_environment: None) -> AsyncIterator[Scene]:
    async with open_world(site, f"deep-{uuid.uuid4().hex[:4]}") as world:
        shop = Deployment(world, "shop")
        invoker = f"serviceAccount:{await make_account(world, f'{world.namespace}-a')}"
        web = {"access": "Authenticated", "invokers": [invoker]}
        await shop.release(image=await shop.image("v1"), web=web, database={"engine": "None"}, **INTERVALS)
        account = (await shop.service()).template.service_account
        yield Scene(shop, local, f"projects/{site.project}/serviceAccounts/{account}", invoker)


async def test_a_removed_grant_is_given_again(scene: Scene) -> None:
    """The app's own, on its key."""
    secrets, since = scene.world.google(SecretManagerServiceAsyncClient), await scene.just_looked(POLICY, scene.key)
    member = f"serviceAccount:{scene.account.rpartition('/')[2]}"
    await revoke(secrets, scene.key, ACCESSOR, member)
    told = f"secretmanager.secretAccessor on {scene.id}-secret-key for {member}: deleted"
    await scene.found(since, tells(told))
    await scene.world.wait("shop")
    assert await members(secrets, scene.key, ACCESSOR) == {member}
    await scene.world.told("shop", "DriftCorrected", told)


async def test_an_added_invoker_is_taken_away(scene: Scene) -> None:
    """web.invokers says who may call: not everybody with an account."""
    member = "allAuthenticatedUsers"
    services = scene.world.google(run_v2.ServicesAsyncClient)
    since = await scene.just_looked(POLICY, scene.shop.service_name)
    await grant(services, scene.shop.service_name, INVOKER, member)
    told = f"run.invoker on {scene.id} for {member}: added"
    await scene.found(since, tells(told))
    await scene.world.wait("shop")
    assert await members(services, scene.shop.service_name, INVOKER) == {scene.invoker}
    await scene.world.told("shop", "DriftCorrected", told)


async def test_an_added_and_a_removed_invoker_are_told_together(scene: Scene) -> None:
    """One for the other, as somebody does who moves a service to another caller."""
    services, eve = scene.world.google(run_v2.ServicesAsyncClient), "user:eve@acme.example"
    since = await scene.just_looked(POLICY, scene.shop.service_name)
    await revoke(services, scene.shop.service_name, INVOKER, scene.invoker)
    await grant(services, scene.shop.service_name, INVOKER, eve)
    await scene.found(since, tells(f"run.invoker on {scene.id} for {eve}: added"))
    app = await scene.world.wait("shop")
    assert tells(f"run.invoker on {scene.id} for {scene.invoker}: deleted")(app["status"])
    assert await members(services, scene.shop.service_name, INVOKER) == {scene.invoker}


async def test_a_disabled_version_is_refused(scene: Scene) -> None:
    """And its enabling is found as the disabling was."""
    secrets, since = scene.world.google(SecretManagerServiceAsyncClient), await scene.just_looked(VERSION, scene.key)
    version = f"{scene.key}/versions/1"
    await secrets.disable_secret_version(name=version)
    told = f"Secret {scene.id}-secret-key: version"
    app = await scene.found(since, tells(told))
    assert condition(app, "Stalled")["reason"] == "SecretVersionDisabled"
    await scene.world.told("shop", "DriftDetected", told)
    assert (await secrets.get_secret_version(name=version)).state == SecretVersion.State.DISABLED
    since = scene.passes
    await secrets.enable_secret_version(name=version)
    await scene.found(since, lambda status: status["phase"] == "Ready")


async def test_a_stranger_is_told_once_and_left(scene: Scene) -> None:
    """The app stays Ready, and nothing is written; once the stranger has gone, so has the field."""
    secrets, accounts = (scene.world.google(kind) for kind in (SecretManagerServiceAsyncClient, IAMAsyncClient))
    eve, since = "user:eve@acme.example", await scene.just_looked(POLICY, scene.key)
    written = [r for r in scene.local.requests(scene.world.namespace, "shop") if scene.local.is_write(r)]
    await grant(secrets, scene.key, ACCESSOR, eve)
    await grant(accounts, scene.account, SIGNER, eve)
    reads_key = f"secretmanager.secretAccessor on {scene.id}-secret-key for {eve}: {LEFT}"
    signs = f"iam.serviceAccountTokenCreator on {scene.account.rpartition('/')[2]} for {eve}: {LEFT}"
    app = await scene.found(since, lambda status: tells(reads_key)(status) and tells(signs)(status))
    assert condition(app, "Ready")["status"] == "True"
    await scene.world.told("shop", "DriftDetected", reads_key)
    since = scene.passes
    await scene.world.until(lambda _: scene.passes > since + MOST_PASSES, "shop", timeout=FOUND_S)  # a whole interval
    at_rest = pairwise(scene.began[since:])  # nothing is written, so that only the intervals set them off
    assert min(later - earlier for earlier, later in at_rest) <= INTERVALS["reconcileIntervalSeconds"]
    assert (await scene.world.app("shop"))["status"] == app["status"]
    assert await scene.events(reads_key) == ["DriftDetected"]
    assert eve in await members(secrets, scene.key, ACCESSOR)
    assert [r for r in scene.local.requests(scene.world.namespace, "shop") if scene.local.is_write(r)] == written

    since = scene.passes
    await revoke(secrets, scene.key, ACCESSOR, eve)
    await revoke(accounts, scene.account, SIGNER, eve)
    await scene.found(since, lambda status: not tells(reads_key)(status) and not tells(signs)(status))
    assert condition(await scene.world.app("shop"), "Ready")["status"] == "True"
