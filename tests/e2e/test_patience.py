"""Google's slowness is no failure: accounts and grants that arrive late, and those that never do."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from e2e_release import Deployment, condition, eventually, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world
from google.cloud.run_v2 import Execution, ServicesAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.sqladmin_v1 import (
    SqlInstancesServiceAsyncClient,
    SqlOperationsServiceAsyncClient,
    SqlUsersServiceAsyncClient,
)
from google.cloud.storage import Client as StorageClient

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("patience")]

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stripe"}}
QUICK = {"startupProbe": {"periodSeconds": 1, "failureThreshold": 12, "timeoutSeconds": 1}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"slow-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


async def test_a_first_release_waits_for_its_grants(place: World, local: LocalSite) -> None:
    """Refused at first, tried again, told as what it is; each job runs once."""
    shop = Deployment(place, "late")
    with local.grants_take(240):  # two seconds here
        app = await shop.release(image=await shop.image("v1"), web=QUICK)
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert "waiting" not in app["status"]
    await place.told("late", "Waiting", "Permission denied on secret")
    assert not any(reason == "RefusedByGoogle" for reason, _ in await place.events("late"))
    assert (len(await shop.executions("db-init")), len(await shop.executions())) == (1, 1)


async def test_a_first_release_waits_for_its_account(place: World, local: LocalSite) -> None:
    """Its name is taken before anybody finds it: made once all the same, like all that is for it, and told once."""
    shop = Deployment(place, "young")
    with local.accounts_take(1200):  # ten seconds here
        app = await shop.release(image=await shop.image("v1"), web=QUICK)
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert "waiting" not in app["status"]
    asked, events = local.requests(place.namespace, "young"), await place.events("young")
    assert 409 in {item.status for item in asked if item.method.endswith("CreateServiceAccount")}
    made = [text for reason, text in events if reason == "Created"]
    assert f"ServiceAccount {(await shop.service()).template.service_account}" in made
    assert len(made) == len(set(made)), made
    assert not {"RefusedByGoogle", "NameConflict"} & {reason for reason, _ in events}
    versions = Counter(item.resource for item in asked if item.method.endswith("AddSecretVersion"))
    assert set(versions.values()) == {1}, versions
    assert (len(await shop.executions("db-init")), len(await shop.executions())) == (1, 1)


async def test_a_revision_waits_for_its_grants(place: World, local: LocalSite) -> None:
    """Each attempt has a name of its own and a longer pause before it."""
    shop = Deployment(place, "bare")
    with local.grants_take(240):
        app = await shop.release(image=await shop.image("v1"), web=QUICK, database={"engine": "None"})
    revision = app["status"]["revision"]
    assert served(app["status"]) == {revision: 100}
    assert 2 <= int(revision.rpartition("-")[2]) <= 8


async def test_a_migration_that_was_not_started_is_started_again(place: World, local: LocalSite) -> None:
    """The media bucket's grant was taken away and is fresh: refused executions are repeated, and one runs."""
    shop = Deployment(place, "moved")
    await shop.release(image=await shop.image("v1"), web=QUICK)
    image, bucket = await shop.image("v2"), f"{place.site.project}-{place.google_id('moved', 'media')}"
    with local.grants_take(360):  # three seconds here
        await asyncio.to_thread(_close, bucket, place)
        await place.annotate("moved", "nuages.dev/reconcile-at", "now")
        await shop.release(image=image)
    found = [_said(item) for item in await shop.executions()]
    assert found[-1] == "Execution completed successfully."
    refused = [text for text in found if "does not have storage" in text]
    assert len(refused) >= 1, found
    assert len(found) == 2 + len(refused), found  # one that ran for each image


def _close(bucket: str, world: World) -> None:
    """Nobody may use it any more."""
    opened = StorageClient(project=world.site.project, credentials=world.site.credentials()).bucket(bucket)
    policy = opened.get_iam_policy(requested_policy_version=3)
    policy.bindings = [item for item in policy.bindings if "legacyBucketOwner" in item["role"]]
    opened.set_iam_policy(policy)


def _said(execution: Execution) -> str:
    return next((item.message for item in execution.conditions if item.type_ == "Completed"), "")


async def test_a_grant_that_never_arrives_is_told(site: Site, google_environment: None, local: LocalSite) -> None:
    """After the time that a grant takes at most, in Google's words; nothing has run. Once they are there it goes on.

    In a tenant of its own: db-init's identity, and what it was not granted, are the whole tenant's.
    """
    async with open_world(site, f"never-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        shop = Deployment(world, "never")
        with local.grants_take(1_000_000):
            found = await shop.stalled("Waiting", image=await shop.image("v1"), web=QUICK)
        assert found["message"].startswith("Release step DbInit: a new identity or grant is not known everywhere yet.")
        assert "Permission denied on secret" in found["message"]
        assert await shop.executions("db-init") == []
        await world.annotate("never", "nuages.dev/reconcile-at", "1")
        app = await world.wait("never")
        assert served(app["status"]) == {app["status"]["revision"]: 100}


async def test_a_revision_that_is_never_granted_fails(place: World, local: LocalSite) -> None:
    """Its attempts end behind closed doors; once it is granted, the annotation that its sentence names is enough."""
    shop = Deployment(place, "shut")
    with local.grants_take(1_000_000):
        spec = {"image": await shop.image("v1"), "web": QUICK, "database": {"engine": "None"}}
        found = await shop.stalled("RevisionFailed", **spec)
    _says_what_to_grant(found["message"], "the service stays closed to the public")
    tried = await shop.revisions()
    assert 5 <= len(tried) <= 12
    assert await place.fetch_status((await shop.status())["url"]) == 403
    await place.annotate("shut", "nuages.dev/reconcile-at", "granted")
    await _served_by_the_next_of(tried, shop)


async def test_a_revision_that_is_refused_a_secret_leaves_the_old_one_alone(place: World, local: LocalSite) -> None:
    """On an app that serves: it serves on, is told what to grant, and goes on once that is done."""
    await place.apply({**SECRET, "stringData": {"key": "sk_one"}})
    shop = Deployment(place, "narrow")
    first = await shop.release(image=await shop.image("v1"), web=QUICK, database={"engine": "None"})
    before, url = first["status"]["revision"], first["status"]["url"]
    with local.grants_take(1_000_000):
        env = [{"name": "STRIPE_KEY", "kubernetesSecret": {"name": "stripe", "key": "key"}}]
        found = await shop.stalled("RevisionFailed", env=env)
    _says_what_to_grant(found["message"], f"{before} keeps all traffic")
    tried = await shop.revisions() - {before}
    assert served(await shop.status()) == {before: 100}
    assert await place.fetch_status(f"{url}/health/") == 200
    await place.annotate("narrow", "nuages.dev/reconcile-at", "granted")
    await _served_by_the_next_of(tried, shop)
    assert "STRIPE_KEY" in await shop.environment()


def _says_what_to_grant(message: str, kept: str) -> None:
    assert f"did not start; {kept}. Grant it, then annotate nuages.dev/reconcile-at. " in message
    assert 'Google says: "' in message
    assert "Permission denied on secret" in message
    assert "Log: https://console.cloud.google.com/logs/" in message


async def _served_by_the_next_of(tried: set[str], shop: Deployment) -> None:
    """Each attempt's name ends in its number, the first one's apart."""
    first = min(tried, key=len)
    app = await shop.world.wait(shop.name)
    assert app["status"]["revision"] == f"{first}-{len(tried) + 1}"
    assert served(app["status"]) == {app["status"]["revision"]: 100}


async def test_a_stopped_instance_is_told_and_its_start_noticed(place: World) -> None:
    """By the field that names it; not as what could not be done inside it."""
    shop = Deployment(place, "halted")
    await shop.release(image=await shop.image("v1"), web=QUICK)
    await _activation(place, "NEVER")
    try:
        await place.annotate("halted", "nuages.dev/reconcile-at", "1")
        await place.wait("halted", "Stalled", reason="ResourceFailed")
        said = condition(await place.app("halted"), "Stalled")["message"]
        name = f"{place.namespace}-pg"
        assert said.startswith(
            f"DjangoTenant spec.database.existing: Instance {name} is of no use. The instance is stopped "
            f"(activationPolicy NEVER). Start it: gcloud sql instances patch {name} --activation-policy ALWAYS"
        )
    finally:
        await _activation(place, "ALWAYS")
    await place.wait("halted")


async def _activation(world: World, policy: str) -> None:
    """Of the shared instance, once that is done."""
    instances, operations = world.google(SqlInstancesServiceAsyncClient), world.google(SqlOperationsServiceAsyncClient)
    named = {"project": world.site.project, "instance": f"{world.namespace}-pg"}
    made = await instances.patch(request={**named, "body": {"settings": {"activation_policy": policy}}})

    async def done() -> bool:
        found = await operations.get(request={"project": world.site.project, "operation": made.name})
        return bool(found.status.name == "DONE")

    await eventually(done, f"activation {policy}")


async def test_an_administrators_password_that_somebody_changed_is_set_again(place: World) -> None:
    """The next db-init is refused, the password of Secret Manager is set, and the release goes on by itself."""
    shop = Deployment(place, "locked")
    await shop.release(image=await shop.image("v1"), web=QUICK)
    users, project = place.google(SqlUsersServiceAsyncClient), place.site.project
    named = {"project": project, "instance": f"{place.namespace}-pg", "name": "nuages-admin"}
    await users.update(request={**named, "body": {"name": "nuages-admin", "password": "somebody-elses-choice"}})
    before = len(await shop.executions("db-init"))
    await shop.release(database={"extensions": ["pg_trgm"]})
    assert len(await shop.executions("db-init")) == before + 2  # one refused, one after it


async def test_passwords_whose_versions_were_destroyed_are_made_anew(place: World) -> None:
    """The administrator's and the app's: new versions, set in the database, and a revision that uses them."""
    shop = Deployment(place, "lost")
    first = (await shop.release(image=await shop.image("v1"), web=QUICK))["status"]["revision"]
    secrets, prefix = place.google(SecretManagerServiceAsyncClient), f"projects/{place.site.project}/secrets"
    lost = [f"{prefix}/nuages-admin-{place.namespace}-pg", f"{prefix}/{place.google_id('lost', 'db-password-a')}"]
    for name in lost:
        newest = await secrets.get_secret_version(name=f"{name}/versions/latest")
        await secrets.destroy_secret_version(name=newest.name)
    await place.annotate("lost", "nuages.dev/reconcile-at", "now")
    app = await place.until(lambda app: app["status"]["revision"] != first, "lost")
    app = await place.wait("lost")
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert (await (await shop.browser()).get("/")).status == 200
    for name in lost:
        assert (await secrets.get_secret_version(name=f"{name}/versions/latest")).state.name == "ENABLED"


async def test_a_deletion_that_is_held_up_says_so_until_it_is_abandoned(site: Site, google_environment: None) -> None:
    """A project out of reach and a status that was wiped: the app stays, says why, and goes when it is abandoned."""
    async with open_world(site, f"held-{uuid.uuid4().hex[:4]}") as world:
        tenant = {"project": site.project, "region": site.region, "deploymentId": world.namespace}
        kind = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoTenant", "metadata": {"name": "default"}}
        await world.apply({**kind, "spec": tenant})
        shop = Deployment(world, "shop")
        await shop.release(image=await shop.image("v1"), web=QUICK, database={"engine": "None"})
        nobody = {"spec": {"impersonateServiceAccount": f"nobody-here@{site.project}.iam.gserviceaccount.com"}}
        await world.patch("DjangoTenant", "default", nobody)
        world.kubectl("patch", "djangoapp", "shop", "--subresource=status", "--type=merge", "-p", '{"status": null}')
        world.kubectl("delete", "djangoapp", "shop", "--wait=false")
        app = await world.until(lambda app: _stalled(app) != "", "shop")
        assert "nuages.dev/abandon" in _stalled(app)
        await world.annotate("shop", "nuages.dev/abandon", "true")
        await eventually(lambda: _is_gone(world), "the app's end")
        told = [text for reason, text in await world.events("shop") if reason == "Abandoned"]
        assert len(told) == 1
        assert f"nuages-namespace={world.namespace}, nuages-app=shop" in told[0]
        assert (await world.google(ServicesAsyncClient).get_service(name=shop.service_name)).name == shop.service_name


def _stalled(app: dict[str, Any]) -> str:
    found = (app.get("status") or {}).get("conditions", [])
    return next((str(item["message"]) for item in found if item["type"] == "Stalled"), "")


async def _is_gone(world: World) -> bool:
    return await world.get("DjangoApp", "shop") is None
