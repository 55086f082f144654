"""The second half of a pass: the release, step by step, as far as it goes without waiting."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nuages.cloud import errors
from nuages.cloud.driver import Observed, Readiness
from nuages.desired.run import RunService
from nuages.desired.sql import ExistingSqlInstance, SqlInstance
from nuages.reconcile import reasons
from nuages.reconcile.drift import is_judged, of_database, of_grants, of_service
from nuages.reconcile.plan import Action, Plan, Sight, versions_of
from nuages.reconcile.provision import look_at_service, make, require_own_service
from nuages.reconcile.release.database_check import check_database
from nuages.reconcile.release.outcome import DONE, Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import Parts, Release, bind, identity, unlike_doors
from nuages.reconcile.release.steps import DONE as ALL_DONE
from nuages.reconcile.release.steps import STEPS, Stage
from nuages.reconcile.report import Report
from nuages.reconcile.strangers import find_strangers
from nuages.reconcile.surplus import is_caller, owner_of
from nuages.reconcile.trouble import of_error

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

# Of a revision, while IAM settles, or something at Google.
HEALING = re.compile(
    r"Permission denied on secret|does not exist|does not have \S+ access|internal error", re.IGNORECASE
)


async def rollout(work: Pass, report: Report) -> Report:
    """Nothing at all is called where the service is as it should be and the release was through."""
    seen = {name: result.observed for name, result in report.results.items()}
    parts = None if report.blueprint is None else bind(report.blueprint, versions_of(seen))
    if parts is None:
        return replace(report, outcome=Waiting(reasons.PROVISIONING, "Secret versions are being made."))
    release = release_of(work, report, parts, seen)
    grants = Plan(())
    if is_through(work, release):
        report = replace(report, strangers=await find_strangers(work, release.blueprint, report.surplus))
        grants, resting = await make(work, release.blueprint.access), at_rest(release)
        if resting is not None and not grants.changes and not removes(report):
            report = replace(report, release=resting, stage=ALL_DONE, made=await _made_by_steps(work, release))
            return await _checked(work, report)
    await work.touch()
    live = await look_at_service(work, fresh=True)
    require_own_service(work, live)  # the snapshot may be older than somebody else's service
    if is_judged(work.before, report.wanted):
        drift = of_service(release, live, work.before["release"].get("revision", ""))
        grants = Plan((*grants.actions, *await _added(work, report)))
        report = replace(report, drift=(*report.drift, *drift, *of_grants(grants)))
    failed = {name: error for name, error in work.failed.items() if not _tells(live, name)}
    release = await _attempted(replace(release, live=live, failed=failed), work)
    done: dict[str, Done] = {}
    outcome: Outcome = DONE
    stage = STEPS[0]
    for stage in STEPS:
        began = _began(work, release, stage)
        release = replace(release, began=began or release.now, resumed=began is not None)
        try:
            outcome = await stage.run(release, work.cloud)
        except errors.CloudError as error:
            raise of_error(error, f"Release step {stage.name}", work.cloud.identity.principal) from error
        if not isinstance(outcome, Done):
            break
        done[stage.name] = outcome
        if work.interrupted():  # a new spec: this is a safe point, nothing is half-way
            outcome = Waiting(reasons.SUPERSEDED, "A newer spec is being taken up.", after=0.0)
            break
    if isinstance(outcome, Done) and release.blueprint.rotates:
        outcome = Waiting(reasons.ROTATING, "The next release of the rotation follows at once.", after=0.0)
    if isinstance(outcome, Done | Failed):
        live = await look_at_service(work, fresh=True)
        report = replace(report, made=await _made_by_steps(work, release))
    return replace(report, release=release, stage=stage.name, outcome=outcome, done=done, live=live)


async def _made_by_steps(work: Pass, release: Release) -> tuple[Observed[Any], ...]:
    """What is there of it, and the app's own. Raises Trouble."""
    max_age, deep_age, owner = work.max_age, work.intervals.deep_age, owner_of(work)
    steps = release.blueprint.made_by_steps
    try:
        seen = [await work.cloud.inventory.get(type(item), item.name, max_age, deep_age) for item in steps]
    except errors.CloudError as error:
        raise of_error(error, "What the release has made", work.cloud.identity.principal) from error
    return tuple(item for item in seen if item is not None and owner.may_have(item.owner))


async def _checked(work: Pass, report: Report) -> Report:
    """The app as it rests, and what a check of its database has found, which does not disturb it."""
    known, release = work.before.get("release") or {}, report.release
    assert release is not None
    try:
        check = await check_database(release, work.cloud, known.get("checked", ""), work.intervals.deep_age)
    except errors.CloudError as error:
        raise of_error(error, "The database's check", work.cloud.identity.principal) from error
    drift = of_database(work.app.database_name, check.changed) if is_judged(work.before, report.wanted) else ()
    return replace(
        report,
        outcome=check.outcome,
        checked=check.execution,
        again=check.again,
        drift=(*report.drift, *drift),
    )


def release_of(work: Pass, report: Report, parts: Parts, seen: Sight) -> Release:
    """What the report's blueprint wants to be deployed; `seen`: all that it stands on."""
    blueprint = report.blueprint
    assert blueprint is not None
    return Release(
        app=work.app,
        blueprint=blueprint,
        id=identity(parts.service, blueprint.hash_host),
        digest=parts.service.template.image.rsplit("@", 1)[-1],
        service=parts.service,
        db_init=parts.db_init,
        migrate=parts.migrate,
        superuser=parts.superuser,
        live=report.live,
        began=time.time(),
        now=time.time(),
        instance_created=_instance_created(seen),
        migration=(work.before.get("release") or {}).get("migration") or {},
        told=_told(work.before.get("release") or {}),
        patience=work.settings.patience,
        surplus=report.surplus,
        known_superuser=(work.before.get("release") or {}).get("superuser") or {},
    )


def _told(known: Mapping[str, Any]) -> Failed | None:
    told = known.get("failure")
    if not told:
        return None
    log_link, execution, revision = (told.get(name, "") for name in ("logUri", "execution", "revision"))
    return Failed(told["reason"], told["message"], log_link, execution, revision)


def _instance_created(seen: Sight) -> str:
    instances = [item for item in seen.values() if item and isinstance(item.state, SqlInstance | ExistingSqlInstance)]
    return next((item.outputs["created"] for item in instances), "")


def _tells(live: Observed[RunService] | None, name: str) -> bool:
    """Whether the service itself says why its operation failed: its newest revision is not ready, and has a step."""
    if live is None or live.state.name != name or live.readiness is not Readiness.FAILED:
        return False
    return live.outputs.get("latest_ready_revision") != live.state.revision


def is_through(work: Pass, release: Release) -> bool:
    """Whether all steps were done for just this."""
    known = work.before.get("release", {})
    return bool(known.get("stage") == ALL_DONE and known.get("inputs") == release.inputs)


def removes(report: Report) -> bool:
    """Whether clean-up, the last step, has something to delete that is no longer wanted."""
    return report.plan is not None and bool(report.plan.deletions)


async def _added(work: Pass, report: Report) -> tuple[Action, ...]:
    """The callers that clean-up is about to remove, as far as they are still there."""
    callers = [item for item in (report.plan or Plan(())).deletions if is_caller(item.resource)]
    try:
        seen = [await work.cloud.inventory.fresh(type(item.resource), item.resource.name) for item in callers]
    except errors.CloudError as error:
        raise of_error(error, "Who may call the service", work.cloud.identity.principal) from error
    return tuple(item for item, found in zip(callers, seen, strict=True) if found is not None)


def at_rest(release: Release) -> Release | None:
    """At the attempt that is live, where the service is what this release made it and nothing but that."""
    live = release.live
    if live is None or live.readiness is not Readiness.READY or live.owner != release.service.owner:
        return None
    attempt = _attempt_number(release, live.state.revision)
    if attempt is None or live.outputs.get("latest_ready_revision") != live.state.revision:
        return None
    name, host = live.state.revision, release.blueprint.hash_host
    wanted = replace(release, attempt=attempt)
    as_made = identity(live.state, host) == release.id
    traffic_as_made = {(t.revision, t.percent) for t in live.state.traffic if t.percent} == {(name, 100)}
    rests = as_made and traffic_as_made and not unlike_doors(release.service, live.state) and name == wanted.revision
    return wanted if rests else None


async def _attempted(release: Release, work: Pass) -> Release:
    """At the attempt that the live service is at, or at the next one where the user asked, or its failure may heal."""
    live = release.live
    attempt = _attempt_number(release, live.state.revision) if live is not None else None
    if live is None or attempt is None:
        return release
    release = replace(release, attempt=attempt)
    if live.readiness is not Readiness.FAILED:
        return release
    if work.app.reconcile_at != (work.before.get("release") or {}).get("reconcileAt", ""):
        return replace(release, attempt=attempt + 1)
    if HEALING.search(live.message) is None:
        return release
    revisions = await work.cloud.revisions.list(live.state.name)
    began = sorted(item.created.timestamp() for item in revisions if _attempt_number(release, item.name) is not None)
    if not began or release.patience.is_over(began):
        return release
    left = release.patience.pause(began, release.now)
    return replace(release, heals_in=left) if left > 0 else replace(release, attempt=attempt + 1)


def _attempt_number(release: Release, revision: str) -> int | None:
    """Which attempt of this release a revision is; None where it is another release's."""
    found = re.fullmatch(rf"{re.escape(release.service.id)}-{release.id}(?:-(\d+))?", revision)
    return None if found is None else int(found[1] or 1) - 1


def _began(work: Pass, release: Release, stage: Stage) -> float | None:
    """When an earlier pass came to the step, from the status; None where none did. Losing it restarts that wait, and
    what was asked of the app before it serves is not asked again afterwards; nothing else."""
    known = work.before.get("release") or {}
    if known.get("id") == release.id and known.get("stage") == stage.name and known.get("stageStartedAt"):
        return dt.datetime.fromisoformat(known["stageStartedAt"]).timestamp()
    return None
