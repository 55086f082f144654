"""ingress: opened to everybody last of all, with the traffic on the new revision; then that answers through it.

Before, an operator outside of the network is answered 404 (behaviour-runtime.md, section 2); and through a door that is
opened earlier, everybody would meet the old revision.
"""

from __future__ import annotations

from dataclasses import replace

from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Readiness
from nuages.desired.run import RunService
from nuages.reconcile import reasons
from nuages.reconcile.release.outcome import DONE, Outcome, Waiting
from nuages.reconcile.release.release import Release
from nuages.reconcile.release.verify import asked


async def ingress(release: Release, cloud: CloudAccess) -> Outcome:
    """Only where the step itself has opened it: else verify has asked, and what serves is not asked for ever."""
    live = release.live
    if live is None or live.readiness is Readiness.BUSY:
        return Waiting(reasons.SHIFTING_TRAFFIC, "spec.web.ingress is being opened.")
    if live.state.ingress == release.service.ingress:
        return await asked(release, cloud, "it has all traffic already") if release.resumed else DONE
    release.require_unfailed(release.service.name)
    wanted = replace(release.service, revision=release.revision)
    operation = await cloud.drivers.of(RunService).update(wanted, live, ("ingress",))
    cloud.inventory.forget(wanted.name)
    return Waiting(reasons.SHIFTING_TRAFFIC, "spec.web.ingress is being opened.", operation)
