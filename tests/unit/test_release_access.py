"""The step that lets the invokers in: what it writes, and how long a service stays open for them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from memory_cloud import MemoryCloud
from reports import a_release, a_service

from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Observed
from nuages.reconcile import reasons
from nuages.reconcile.patience import PROPAGATION_S
from nuages.reconcile.release.access import access
from nuages.reconcile.release.outcome import DONE, Done, Outcome, Waiting
from nuages.reconcile.release.release import Release

CALLER = "serviceAccount:caller@acme-prod.iam.gserviceaccount.com"
CLOSED = a_release({"web": {"access": "Authenticated", "invokers": [CALLER]}})
SERVICE = a_service(CLOSED, CLOSED.revision, CLOSED.revision)
OPEN = replace(SERVICE, state=replace(SERVICE.state, open_access=True))


async def entered(release: Release, cloud: MemoryCloud) -> Outcome:
    return await access(release, cast(CloudAccess, cloud))


def granted(release: Release) -> MemoryCloud:
    """A cloud that has the grants already."""
    return MemoryCloud({grant.name: Observed(grant) for grant in release.blueprint.access})


async def test_an_open_service_stays_open_until_the_grants_are_known_everywhere() -> None:
    """The step is in the status before the first grant, its clock begins with the last one, and then it ends."""
    cloud, release = MemoryCloud(), replace(CLOSED, live=OPEN)
    begun = await entered(release, cloud)
    assert isinstance(begun, Waiting)
    assert (begun.reason, begun.after, cloud.writes) == (reasons.WAITING, 0.0, [])
    release = replace(release, resumed=True, now=1000.0)  # an operator that was away for long
    made = await entered(release, cloud)
    assert isinstance(made, Waiting)
    assert (made.after, made.anew, cloud.count("create").total()) == (PROPAGATION_S, True, 1)
    waits = await entered(replace(release, began=1000.0, now=1100.0), cloud)
    assert isinstance(waits, Waiting)
    assert (waits.after, waits.anew) == (PROPAGATION_S - 100, False)
    assert isinstance(await entered(replace(release, began=1000.0, now=1000.0 + PROPAGATION_S), cloud), Done)
    assert len(cloud.writes) == 1
    assert {begun.message, made.message, waits.message} == {  # one status for all of it
        "spec.web.invokers: who was granted access a moment ago is not known everywhere yet. The service is closed to "
        "all others after that."
    }


@pytest.mark.parametrize("live", [None, SERVICE], ids=["first", "closed"])
async def test_a_closed_service_waits_for_no_grant(live: Observed[object] | None) -> None:
    """Nobody is shut out who was not before."""
    cloud = MemoryCloud()
    assert isinstance(await entered(replace(CLOSED, live=live), cloud), Done)  # type: ignore[arg-type]
    assert cloud.count("create").total() == 1


async def test_an_open_service_is_closed_at_once_where_nothing_is_granted_anew() -> None:
    """All grants were there when the step began."""
    assert await entered(replace(CLOSED, live=OPEN), granted(CLOSED)) == DONE


async def test_a_service_that_is_opened_waits_for_nothing() -> None:
    """A public one has no invokers, and one that stays open shuts nobody out."""
    assert await entered(replace(a_release(), live=SERVICE), MemoryCloud()) == DONE
