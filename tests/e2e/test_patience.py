"""Google's slowness is no failure: grants that arrive late, and those that never do."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from e2e_release import Deployment, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("patience")]

QUICK = {"startupProbe": {"periodSeconds": 1, "failureThreshold": 12, "timeoutSeconds": 1}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"slow-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


@contextmanager
def grants_take(seconds: float, local: LocalSite) -> Iterator[None]:
    """Of Google's time, for those that are made from now on."""
    local.cloud.core.policies.configure(propagation_s=seconds)
    try:
        yield
    finally:
        local.cloud.core.policies.configure()


async def test_a_first_release_waits_for_its_grants(place: World, local: LocalSite) -> None:
    """Refused at first, tried again, told as what it is; each job runs once."""
    shop = Deployment(place, "late")
    with grants_take(240, local):  # two seconds here
        app = await shop.release(image=await shop.image("v1"), web=QUICK)
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert "waiting" not in app["status"]
    waits = [text for reason, text in await place.events("late") if reason == "Waiting"]
    assert any("Permission denied on secret" in text for text in waits), waits
    assert not any(reason == "RefusedByGoogle" for reason, _ in await place.events("late"))
    assert (len(await shop.executions("db-init")), len(await shop.executions())) == (1, 1)


async def test_a_revision_waits_for_its_grants(place: World, local: LocalSite) -> None:
    """Each attempt has a name of its own and a longer pause before it."""
    shop = Deployment(place, "bare")
    with grants_take(240, local):
        app = await shop.release(image=await shop.image("v1"), web=QUICK, database={"engine": "None"})
    revision = app["status"]["revision"]
    assert served(app["status"]) == {revision: 100}
    assert 2 <= int(revision.rpartition("-")[2]) <= 8


async def test_a_grant_that_never_arrives_is_told(place: World, local: LocalSite) -> None:
    """After the time that a grant takes at most, in Google's words; nothing has run."""
    shop = Deployment(place, "never")
    with grants_take(1_000_000, local):
        found = await shop.stalled("Waiting", image=await shop.image("v1"), web=QUICK)
    assert found["message"].startswith("Release step DbInit: a new identity or grant is not known everywhere yet.")
    assert "Permission denied on secret" in found["message"]
    assert await shop.executions("db-init") == []


async def test_a_revision_that_is_never_granted_fails(place: World, local: LocalSite) -> None:
    """Its attempts end."""
    shop = Deployment(place, "shut")
    with grants_take(1_000_000, local):
        spec = {"image": await shop.image("v1"), "web": QUICK, "database": {"engine": "None"}}
        found = await shop.stalled("RevisionFailed", **spec)
    assert "Permission denied on secret" in found["message"]
    assert 5 <= len(await shop.revisions()) <= 12
