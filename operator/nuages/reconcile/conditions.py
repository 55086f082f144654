"""Conditions: a pure function from what a pass found. kstatus's rules (lessons.md, section 2.1) in one place.

Ready is there from the first write; Reconciling and Stalled only when true, never both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nuages.reconcile import reasons
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import REFUSED
from nuages.reconcile.release.outcome import Failed, Waiting
from nuages.reconcile.report import Report
from nuages.reconcile.trouble import ABANDON, Trouble, of_error, of_refusal


@dataclass(frozen=True)
class Condition:
    """One condition, without the times that the status adds."""

    type: str
    status: str  # "True" | "False" | "Unknown"
    reason: str
    message: str


def conditions(report: Report) -> tuple[Condition, ...]:
    """Ready first, then Reconciling or Stalled, then one for each part of the app."""
    head = _verdict(report)
    found = [Condition(reasons.READY, "True" if report.is_ready else "False", head.reason, head.message)]
    if not report.is_ready and not report.paused and (report.forecast is None or report.trouble is not None):
        kind = reasons.STALLED if head.stalled else reasons.RECONCILING
        found.append(Condition(kind, "True", head.reason, head.message))
    return (*found, *_parts(report), *_release_parts(report))


def _verdict(report: Report) -> Trouble:
    """The one thing to say of the app: its reason, its sentence, and whether somebody has to act."""
    if report.paused:
        held = "the deletion waits" if report.deleting else "nothing is changed"
        return Trouble(reasons.PAUSED, f"spec.paused: {held} until it is false.", stalled=False)
    if report.deleting:
        trouble = trouble_of(report)
        if trouble is not None and trouble.stalled:
            way = f'Or annotate {ABANDON}: "true" to leave at Google what is there.'
            return replace(trouble, message=f"{trouble.message} {way}")
        if trouble is None and isinstance(report.outcome, Waiting):
            return Trouble(report.outcome.reason, report.outcome.message, stalled=False)
        return trouble or Trouble(reasons.DELETING, "Google resources are being deleted.", stalled=False)
    trouble = trouble_of(report)
    if trouble is not None:
        return trouble
    if report.forecast is not None and not report.is_ready:
        message = "spec.management: nothing is changed, and what is there differs from the spec. Read status.plan."
        return Trouble(reasons.OBSERVED, message, stalled=False)
    failure = report.failure
    if failure is not None:
        link = f" Log: {failure.log_link}" if failure.log_link else ""
        return Trouble(failure.reason, f"{failure.message.rstrip('. ')}.{link}", stalled=True)
    if not report.is_provisioned:
        return _provisioning(report.results.values())
    if isinstance(report.outcome, Waiting):
        return Trouble(report.outcome.reason, report.outcome.message, stalled=False)
    if report.outcome is None and report.forecast is None:
        return Trouble(reasons.PROVISIONING, "The release is about to begin.", stalled=False)
    return Trouble(reasons.AVAILABLE, "The app is deployed and serves.", stalled=False)


def trouble_of(report: Report) -> Trouble | None:
    """The pass's own trouble, or the first of its resources' in the blueprint's order; what stalls comes first.

    What heals is not stalled until the report says that it was waited for.
    """
    found = [report.trouble] if report.trouble is not None else list(map(_of_result, report.results.values()))
    judged = [_judged(trouble, report.is_waited_for) for trouble in found if trouble is not None]
    return next((trouble for trouble in judged if trouble.stalled), judged[0] if judged else None)


def _judged(trouble: Trouble, is_waited_for: bool) -> Trouble:
    return replace(trouble, stalled=False) if trouble.heals and not is_waited_for else trouble


def _of_result(result: Result) -> Trouble | None:
    if result.refused is not None:
        return of_refusal(result.refused)
    if result.error is not None:
        return of_error(result.error, result.resource.shown)
    return None


def _provisioning(results: Iterable[Result]) -> Trouble:
    waiting = [r for r in results if r.state is State.WAITING and not r.blocked_by]
    if any(r.resource.kind == "sqladmin.googleapis.com/Instance" and r.is_being_made for r in waiting):
        message = "spec.database.instance.create: takes 4 to 10 minutes. Nothing to do."
        return Trouble(reasons.CREATING_INSTANCE, message, stalled=False)
    changed = [r.resource.shown for r in waiting if not r.is_being_made]
    if changed:
        return Trouble(reasons.PROVISIONING, f"Being changed at Google: {', '.join(changed)}.", stalled=False)
    return Trouble(reasons.PROVISIONING, "Google resources are being made.", stalled=False)


def _parts(report: Report) -> list[Condition]:
    """One condition a capability: the worst of its resources; none of what is being deleted."""
    if report.blueprint is None or report.deleting:
        return []
    groups: dict[str, list[Result]] = {}
    for name, condition in report.blueprint.conditions:
        if name in report.results:
            groups.setdefault(condition, []).append(report.results[name])
    return [_part(condition, results) for condition, results in groups.items()]


def _part(condition: str, results: Sequence[Result]) -> Condition:
    for result in results:
        trouble = _of_result(result)
        if trouble is not None:
            return Condition(condition, "False", trouble.reason, trouble.message)
    waiting = [result.resource.id for result in results if result.state is not State.READY]
    if waiting:
        return Condition(condition, "False", reasons.PROVISIONING, f"Waiting for {', '.join(waiting)}.")
    return Condition(condition, "True", reasons.AVAILABLE, "")


def _release_parts(report: Report) -> list[Condition]:
    if report.release is None:
        return []
    outcome, found = report.outcome, []
    if report.release.migrates:
        if report.is_migrating:
            reason, message = _said(outcome)
            found.append(Condition(reasons.MIGRATIONS_APPLIED, "False", reason, message))
        else:
            found.append(Condition(reasons.MIGRATIONS_APPLIED, "True", reasons.APPLIED, ""))
    if report.serves:
        found.append(Condition(reasons.WEB_READY, "True", reasons.AVAILABLE, ""))
    else:
        reason, message = _said(outcome)
        found.append(Condition(reasons.WEB_READY, "False", reason, message))
    return found


def _said(outcome: Any) -> tuple[str, str]:
    if isinstance(outcome, Waiting | Failed):
        return outcome.reason, outcome.message
    return reasons.PROVISIONING, ""


__all__ = ["REFUSED", "Condition", "conditions", "trouble_of"]
