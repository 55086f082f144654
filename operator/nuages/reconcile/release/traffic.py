"""traffic: all of it goes to the verified revision, by name, and the doors are opened or closed as the spec says.

A service that is adopted as it is gets its marker here, at the latest: for it no revision is made.
"""

from __future__ import annotations

from dataclasses import replace

from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Readiness
from nuages.desired.run import RunService, TrafficTarget
from nuages.reconcile import reasons
from nuages.reconcile.release.outcome import DONE, Outcome, Waiting
from nuages.reconcile.release.release import CANDIDATE_TAG, Release, unlike_doors


async def traffic(release: Release, cloud: CloudAccess) -> Outcome:
    """One call moves the traffic and opens or closes the service; ingress for everybody has a step of its own."""
    live = release.live
    if live is None or live.readiness is Readiness.BUSY:
        return Waiting(reasons.SHIFTING_TRAFFIC, f"Traffic is moving to {release.revision}.")
    wanted = replace(
        release.service,
        revision=release.revision,
        traffic=(TrafficTarget(release.revision, 100, CANDIDATE_TAG),),
    )
    doors = tuple(name for name in unlike_doors(wanted, live.state) if name != "ingress" or wanted.ingress != "ALL")
    others = tuple(name for name in ("traffic", "owner") if getattr(wanted, name) != getattr(live.state, name))
    paths = (*others, *doors)
    if not paths:
        return DONE
    release.require_unfailed(wanted.name)
    operation = await cloud.drivers.of(RunService).update(wanted, live, paths)
    cloud.inventory.forget(wanted.name)
    return Waiting(reasons.SHIFTING_TRAFFIC, f"Traffic is moving to {release.revision}.", operation)
