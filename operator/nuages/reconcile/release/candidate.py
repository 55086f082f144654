"""candidate: the new revision, at 0 % under a tag of its own; on a first deploy all traffic, behind closed doors."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count

from nuages.cloud import errors
from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Observed, Readiness
from nuages.desired.run import RunService, TrafficTarget
from nuages.reconcile import reasons
from nuages.reconcile.patience import until_log
from nuages.reconcile.release.outcome import DONE, Failed, Outcome, Waiting
from nuages.reconcile.release.release import CANDIDATE_TAG, Release
from nuages.reconcile.release.revision_log import last_lines, log_link
from nuages.reconcile.release.start_cause import cause_of
from nuages.reconcile.trouble import shortened

PREAMBLE = re.compile(r"^Revision '[^']*' is not ready and cannot serve traffic\. ")
LOGS_URL = re.compile(r"\s*Logs URL:.*", re.DOTALL)  # where a container was started; our message has a link of its own
NAME_TAKEN = "with different configuration already exists"  # behaviour.md, section 1


async def candidate(release: Release, cloud: CloudAccess) -> Outcome:
    """Done once Cloud Run calls the revision ready: its startup probe has passed."""
    live = release.live
    if live is None:
        release.require_unfailed(release.service.name)
        # Google wants 100 % somewhere, so the first revision has it; access is opened only after verify.
        first = (TrafficTarget(release.revision, 100, CANDIDATE_TAG),)
        wanted = replace(release.service, revision=release.revision, traffic=first, open_access=False)
        operation = await cloud.drivers.of(RunService).create(wanted)
        return Waiting(reasons.DEPLOYING_CANDIDATE, f"{release.revision} is being deployed.", operation)
    if live.readiness is Readiness.BUSY:
        return Waiting(reasons.DEPLOYING_CANDIDATE, f"{release.revision} is starting.")
    if live.state.revision != release.revision:
        try:
            return await _deploy(release, live, cloud)
        except errors.Conflict as error:
            if NAME_TAKEN not in error.cause:
                raise
            return await _deploy(await _under_free_name(release, cloud), live, cloud)
    if live.outputs.get("latest_ready_revision") == release.revision:
        return await _tagged(release, live, cloud)
    if live.readiness is Readiness.READY:
        return await _again_newest(release, live, cloud)
    if release.heals_in > 0:
        message = f'{release.revision} is tried again under another name. Google says: "{_cause(live)}".'
        return Waiting(reasons.WAITING, message, after=release.heals_in)
    return await _failure(release, live, cloud)


async def _deploy(release: Release, live: Observed[RunService], cloud: CloudAccess) -> Outcome:
    release.require_unfailed(release.service.name)
    driver = cloud.drivers.of(RunService)
    traffic = _traffic(release)
    wanted = replace(release.service, revision=release.revision, traffic=traffic, open_access=live.state.open_access)
    besides = [name for name in ("owner", "service_scaling") if getattr(live.state, name) != getattr(wanted, name)]
    paths = ("template", "revision", "traffic", *besides)  # scaled to nothing by hand, it would not start
    operation = await driver.update(wanted, live, paths)
    cloud.inventory.forget(wanted.name)
    return Waiting(reasons.DEPLOYING_CANDIDATE, f"{release.revision} is being deployed.", operation)


def _traffic(release: Release) -> tuple[TrafficTarget, ...]:
    if release.serving and not release.is_serving:
        return (TrafficTarget(release.serving, 100), TrafficTarget(release.revision, 0, CANDIDATE_TAG))
    return (TrafficTarget(release.revision, 100, CANDIDATE_TAG),)


async def _tagged(release: Release, live: Observed[RunService], cloud: CloudAccess) -> Outcome:
    """Verify calls it by its tag, which somebody who moved the traffic by hand may have taken away."""
    if any((target.revision, target.tag) == (release.revision, CANDIDATE_TAG) for target in live.state.traffic):
        return DONE
    release.require_unfailed(release.service.name)
    wanted = replace(release.service, revision=release.revision, traffic=_traffic(release))
    operation = await cloud.drivers.of(RunService).update(wanted, live, ("traffic",))
    cloud.inventory.forget(wanted.name)
    return Waiting(reasons.DEPLOYING_CANDIDATE, f"{release.revision} is given its tag again.", operation)


async def _again_newest(release: Release, live: Observed[RunService], cloud: CloudAccess) -> Outcome:
    """Nothing has failed, and yet another revision is the latest ready one: somebody made that after ours.

    Google calls only what was made later than the latest ready one so: the same is made once more, under a name of its
    own.
    """
    made = {item.name: item.created for item in await cloud.revisions.list(release.service.name)}
    if release.revision not in made or made[release.revision] == max(made.values()):
        return Waiting(reasons.DEPLOYING_CANDIDATE, f"{release.revision} is starting.")
    return await _deploy(await _under_free_name(release, cloud), live, cloud)


async def _under_free_name(release: Release, cloud: CloudAccess) -> Release:
    """Back to what was released before: a kept revision has the name, and not all of what it would have today."""
    taken = {item.name for item in await cloud.revisions.list(release.service.name)}
    later = (replace(release, attempt=number) for number in count(release.attempt + 1))
    return next(release for release in later if release.revision not in taken)


async def _failure(release: Release, live: Observed[RunService], cloud: CloudAccess) -> Waiting | Failed:
    """The log comes late, and is waited for."""
    if release.told is not None and release.told.revision == release.revision:
        return release.told
    condition, has_log = PREAMBLE.sub("", live.message), LOGS_URL.search(live.message) is not None
    tail = await last_lines(release, cloud)
    lines, after = tail.shown, until_log(tail.waited)
    cause, is_certain = cause_of(condition, lines, release.service)
    if has_log and not (lines and is_certain) and after > 0:
        message = f"{release.revision} did not start; its log is on its way."
        return Waiting(reasons.DEPLOYING_CANDIDATE, message, log_link=log_link(release), after=after)
    what = f"revision {release.revision} did not start{f': {cause.why}' if cause.why else ''}"
    kept = f"{release.serving} keeps all traffic" if release.serving else "the service stays closed to the public"
    where = f"; the event {reasons.REVISION_FAILED}Log has its log's last lines" if has_log else ""
    return Failed(
        reasons.REVISION_FAILED,
        f'{cause.field}: {what}; {kept}. {cause.remedy}{where}. Google says: "{_cause(live)}".',
        log_link=log_link(release),
        revision=release.revision,
        lines=lines,
    )


def _cause(live: Observed[RunService]) -> str:
    return shortened(LOGS_URL.sub("", PREAMBLE.sub("", live.message)) or "it is not ready")
