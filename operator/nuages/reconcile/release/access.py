"""access: who may call is let in, before the traffic moves and the doors are opened or closed."""

from __future__ import annotations

from dataclasses import replace

from nuages.cloud.access import CloudAccess
from nuages.desired.iam import IamMember
from nuages.reconcile import reasons
from nuages.reconcile.execute import Executor, State
from nuages.reconcile.plan import make_plan
from nuages.reconcile.release.outcome import DONE, Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import Release


async def access(release: Release, cloud: CloudAccess) -> Outcome:
    """The invokers of spec.web.invokers, member by member.

    A public service is closed to all others once Google knows them everywhere. That wait is the step's own, and the
    status has the step before the first grant is made: so it survives whatever happens after that.
    """
    grants, live = release.blueprint.access, release.live
    if not grants:
        return DONE
    closes = live is not None and live.state.open_access and not release.service.open_access
    seen = {grant.name: await cloud.drivers.of(IamMember).observe(grant.name) for grant in grants}
    plan = make_plan(grants, seen, lambda kind: cloud.drivers.of(kind).owned)
    if not plan.changes:
        left = release.patience.seconds - release.seconds
        if not closes or not release.resumed:
            return DONE
        return _settling(left) if left > 0 else Done("The service is closed to all but spec.web.invokers.")
    if closes and not release.resumed:
        return _settling(0.0)
    results = await Executor(cloud.drivers, cloud.inventory).execute(plan)
    failed = next((result for result in results.values() if result.state is State.FAILED), None)
    if failed is not None and failed.error is not None:
        return Failed(reasons.ACCESS_FAILED, f'spec.web.invokers: the grant was refused: "{failed.error.cause}".')
    if closes:
        return replace(_settling(release.patience.seconds), anew=True)
    return Done(f"Granted run.invoker to {len(plan.changes)} member(s).")


def _settling(seconds: float) -> Waiting:
    return Waiting(
        reasons.WAITING,
        "spec.web.invokers: who was granted access a moment ago is not known everywhere yet. The service is closed to "
        "all others after that.",
        after=seconds,
    )
