"""Google's slowness is no failure: grants that arrive late, and those that never do."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from e2e_release import Deployment, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world
from google.cloud import run_v2

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


def ran(execution: run_v2.Execution) -> bool:
    """Whether the container was started."""
    completed = next(item for item in execution.conditions if item.type_ == "Completed")
    return "startup will now abort" not in completed.message


async def test_a_first_release_waits_for_its_grants(place: World, local: LocalSite) -> None:
    """Refused at first, tried again after pauses that grow, and the migration runs once."""
    shop = Deployment(place, "late")
    with grants_take(240, local):  # two seconds here
        app = await shop.release(image=await shop.image("v1"), web=QUICK)
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert "waiting" not in app["status"]
    tries = await shop.executions("db-init")
    assert [ran(item) for item in tries] == [*[False] * (len(tries) - 1), True]
    began = [item.create_time.timestamp() for item in tries]
    gaps = [later - earlier for earlier, later in pairwise(began)]
    assert 1 <= len(gaps) <= 8
    assert sum(gaps[len(gaps) // 2 :]) > sum(gaps[: len(gaps) // 2])
    assert sum(ran(item) for item in await shop.executions()) == 1


async def test_a_grant_that_never_arrives_is_told(place: World, local: LocalSite) -> None:
    """After the time that a grant takes at most: the job, Google's words and what to do."""
    shop = Deployment(place, "never")
    with grants_take(1_000_000, local):
        found = await shop.stalled("DatabaseInitialisationFailed", image=await shop.image("v1"), web=QUICK)
    assert found["message"].startswith("db-init was not started; the app's database is not prepared. Mend what")
    assert "Google says:" in found["message"]
    assert not any(ran(item) for item in await shop.executions("db-init"))
    assert await shop.executions() == []
