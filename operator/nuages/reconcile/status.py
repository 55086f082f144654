"""The status of an app, written only when it changed. Pure: a report, the status before, and the time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nuages.api.status import DjangoAppStatus
from nuages.api.validate import parse_status
from nuages.cloud.driver import Observed
from nuages.desired.run import RunService
from nuages.desired.sql import SqlInstance
from nuages.reconcile import drift, reasons
from nuages.reconcile.conditions import Condition, conditions, trouble_of
from nuages.reconcile.plan import Action
from nuages.reconcile.release.outcome import Failed, Waiting
from nuages.reconcile.release.steps import DONE, STEPS
from nuages.reconcile.release.superuser import SETTLED, told
from nuages.reconcile.report import Report
from nuages.reconcile.resourcerows import left, resources

HISTORY = 10  # releases
LONGEST_PLAN = 100
FIRST = STEPS[0].name
# Before a first revision is fit to serve: Google has traffic for none then, and an address for it.
NOTHING_SERVED: dict[str, Any] = {"image": None, "revision": None, "traffic": []}


def status(report: Report, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The whole status. What this pass did not look at stays as it was; `now` is RFC 3339.

    Raises ValidationError for what the CRD would not take, which is a bug: the status that is there stays.
    """
    # Another version of the operator may have written it, with phases that this one does not know.
    phase = before.get("phase")
    before = parse_status({"status": {name: value for name, value in before.items() if name != "phase"}}).dump()
    if is_hiccup(report, before):
        return before | {"phase": phase} | _tried_again(report, before, now)
    made: dict[str, Any] = {
        "observedGeneration": report.generation,
        "phase": _phase(report, bool(before.get("revision"))),
        "conditions": _conditions(report, before.get("conditions") or [], now),
        "operations": _operations(report, before.get("operations") or [], now),
    }
    for name in ("url", "urls", "image", "revision", "traffic"):
        if name in before:
            made[name] = before[name]
    if report.live is not None:
        fit = report.serves or (report.live.outputs.get("latest_ready_revision") and before.get("revision"))
        made |= _addresses(report.live, before.get("urls") or ()) | (_served(report.live) if fit else NOTHING_SERVED)
    if report.deleting:
        made["resources"] = left(report, before["resources"])
    elif report.blueprint is not None and report.results:
        made["resources"] = resources(report, before["resources"])
    else:
        made["resources"] = before["resources"]
    if report.forecast is not None:
        made["plan"] = [_planned(action) for action in report.differs[:LONGEST_PLAN]]
    made["database"] = None if report.database_left else _database(report) or before.get("database")
    made["release"] = _release(report, before.get("release") or {}, now) or None
    made["waiting"] = waiting(report, before, now)
    made["drift"] = _drift(report, before, now)
    document = json.dumps({name: value for name, value in made.items() if value is not None})
    return DjangoAppStatus.model_validate_json(document, by_alias=True, by_name=False).dump()


def waiting(report: Report, before: Mapping[str, Any], now: str) -> dict[str, str] | None:
    """The trouble that heals by itself, and since when it is there: a clock that a restart does not set back.

    Of what is merely tried again, what kept an app at rest from being looked at. An operation under way leaves it
    alone, for that may fail in the same way.
    """
    trouble, known = trouble_of(report), before.get("waiting") or {}
    if trouble is None and report.operations:
        return known or None
    kept = report.untouched and is_at_rest(before, report.generation)
    if trouble is None or not (trouble.heals or (kept and not trouble.stalled)):
        return None
    return {"reason": trouble.reason, "since": known["since"] if known.get("reason") == trouble.reason else now}


def is_at_rest(told: Mapping[str, Any], generation: int) -> bool:
    """Whether this status says that the app is Ready for the generation, and that nothing of it is being changed.

    What is tried again changes nothing. Whoever believes it need not have been there: see being_changed.
    """
    known = {item["type"]: item for item in told.get("conditions") or ()}
    ready = known.get(reasons.READY, {})
    spoken_of = (ready.get("observedGeneration"), told.get("observedGeneration"))
    if ready.get("status") != "True" or spoken_of != (generation, generation):
        return False
    return reasons.RECONCILING not in known or bool(told.get("waiting"))


def being_changed(told: Mapping[str, Any], generation: int, now: str) -> dict[str, Any] | None:
    """The status of an app at rest that is about to be changed: where this process dies meanwhile, the next one does
    not take the app for one that rests. None where it did not rest.
    """
    if not is_at_rest(told, generation):
        return None
    changed = Condition(reasons.RECONCILING, "True", reasons.PROVISIONING, "Google resources are being changed.")
    made = {**told, "conditions": _with_reconciling(changed, generation, told["conditions"], now)}
    made.pop("waiting", None)
    return made


def is_hiccup(report: Report, before: Mapping[str, Any]) -> bool:
    """Whether an app that is Ready could not be looked at, and nothing else is known: no news, until it lasts."""
    trouble = report.trouble
    if trouble is None or trouble.stalled or trouble.heals or report.deleting or report.is_waited_for:
        return False
    return report.untouched and is_at_rest(before, report.generation)


def _tried_again(report: Report, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """What changes in the status of an app at rest: Reconciling says what is tried again, and the clock runs."""
    trouble = report.trouble
    assert trouble is not None
    again = Condition(reasons.RECONCILING, "True", trouble.reason, trouble.message)
    return {
        "conditions": _with_reconciling(again, report.generation, before["conditions"], now),
        "waiting": waiting(report, before, now),
    }


def _with_reconciling(
    condition: Condition, generation: int, told: Sequence[Mapping[str, Any]], now: str
) -> list[Mapping[str, Any]]:
    """Beside Ready, which stays as it is."""
    ready, *parts = [item for item in told if item["type"] not in (reasons.RECONCILING, reasons.STALLED)]
    return [ready, *dated([condition], generation, told, now), *parts]


def _planned(action: Action) -> dict[str, Any]:
    row = {"verb": action.verb.value, "kind": action.resource.kind, "name": action.resource.name}
    return row | ({"fields": list(action.paths)} if action.paths else {})


def _drift(report: Report, before: Mapping[str, Any], now: str) -> dict[str, Any] | None:
    """Another wish that was carried out ends what is told of the old one."""
    is_new = report.is_ready and report.wanted != (before.get("release") or {}).get("wanted", "")
    return drift.record(report.drift, report.strangers, before, now, is_new=is_new)


def _database(report: Report) -> dict[str, Any] | None:
    """Where the data is, once db-init has been through: from then on the spec may not name another place."""
    if report.database is not None:
        return report.database.model_dump(mode="json", by_alias=True, exclude_none=True)
    release = report.release
    if release is None or release.db_init is None or report.stage in ("", "DbInit"):
        return None
    instance = release.db_init.template.cloud_sql[0].rsplit(":", 1)[-1]
    own = any(isinstance(item, SqlInstance) for item in release.blueprint.resources)
    return {"instance": instance, "name": release.app.database_name, "own": own}


def _phase(report: Report, served_before: bool) -> str:
    if report.paused:
        return "Paused"
    if report.deleting:
        return "Deleting"
    if report.forecast is not None and report.trouble is None:
        return "Observing"
    if report.is_ready:
        return "Ready"
    trouble = trouble_of(report)
    if report.failure is not None or (trouble is not None and trouble.stalled):
        serves = served_before if report.live is None else report.serves
        return "Degraded" if serves else "Pending"
    if not report.is_provisioned:
        return "Provisioning"
    if isinstance(report.outcome, Waiting) and report.outcome.reason == reasons.MIGRATION_PENDING:
        return "Releasing"  # which waits for somebody's word: nothing migrates
    return "Migrating" if report.is_migrating else "Releasing"


def dated(
    found: Iterable[Condition], generation: int, before: Sequence[Mapping[str, Any]], now: str
) -> list[dict[str, Any]]:
    """The conditions as a status has them, each with the time since which it is so."""
    old = {item["type"]: item for item in before}
    made = []
    for condition in found:
        known = old.get(condition.type)
        since = known["lastTransitionTime"] if known and known["status"] == condition.status else now
        made.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message[:1000],
                "lastTransitionTime": since,
                "observedGeneration": generation,
            }
        )
    return made


def _conditions(report: Report, before: Sequence[Mapping[str, Any]], now: str) -> list[dict[str, Any]]:
    made = dated(conditions(report), report.generation, before, now)
    if report.release is None and (report.paused or not report.deleting):  # not looked at, wholly or in part
        spoken = {item["type"] for item in made} | {reasons.RECONCILING, reasons.STALLED}
        made += [dict(item) for item in before if item["type"] not in spoken]
    return made


def _operations(report: Report, before: Sequence[Mapping[str, Any]], now: str) -> list[dict[str, Any]]:
    """Those under way, and of the recorded ones what this pass did not come so far as to look at."""
    since = {item["name"]: item["startedAt"] for item in before}
    rows = {item["name"]: dict(item) for item in before if _is_unseen(report, item)}
    for item in report.operations:
        rows[item.name] = {
            "name": item.name,
            "service": item.service,
            "resource": item.resource,
            "startedAt": since.get(item.name, now),
        }
    return [rows[name] for name in sorted(rows)]


def _is_unseen(report: Report, row: Mapping[str, Any]) -> bool:
    if report.release is not None or row["resource"] in report.results:
        return False
    return report.unsettled is None or row["name"] in report.unsettled


def _addresses(live: Observed[RunService], told: Sequence[str]) -> dict[str, Any]:
    """The first is known from the service's beginning on, so that people can name it elsewhere.

    Another is told once the revision that serves was made with it among its hosts: Django answers 400 before. Of a
    revision behind a candidate's template, the status knows it.
    """
    urls = [url for url in live.outputs.get("urls", "").split("\n") if url]
    if _serving(live) == live.state.revision:
        lists = [value.split(",") for _, value in live.state.template.environment if isinstance(value, str)]
        told = [url for url in urls if any(_takes(hosts, url.removeprefix("https://")) for hosts in lists)]
    return {
        "url": urls[0] if urls else live.outputs.get("uri") or None,
        "urls": [*urls[:1], *(url for url in urls[1:] if url in told)],
    }


def _takes(hosts: Iterable[str], host: str) -> bool:
    """As Django's validate_host."""
    return any(item in ("*", host) or (item.startswith(".") and host.endswith(item)) for item in hosts)


def _serving(live: Observed[RunService]) -> str:
    """The revision that has most of the requests; "" where none has."""
    targets = [target for target in live.state.traffic if target.percent]
    return max(targets, key=lambda target: target.percent).revision if targets else ""


def _served(live: Observed[RunService]) -> dict[str, Any]:
    """What has the requests."""
    serving = _serving(live)
    found: dict[str, Any] = {
        "revision": serving or None,
        "traffic": [
            {"revision": t.revision, "percent": t.percent} | ({"tag": t.tag} if t.tag else {})
            for t in live.state.traffic
        ],
    }
    if live.state.revision == serving:  # else the template is a candidate's
        found["image"] = live.state.template.image
    return found


def _release(report: Report, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    release = report.release
    if release is None:
        return dict(before)
    same = before.get("id") == release.id
    through = report.is_ready
    stage = DONE if through else report.stage or FIRST
    goes_on = (
        same and before.get("stage") == stage and not (isinstance(report.outcome, Waiting) and report.outcome.anew)
    )
    made: dict[str, Any] = {
        "id": release.id,
        "stage": stage,
        "inputs": release.inputs,
        "revision": release.revision,
        "image": report.image,
        "imageDigest": release.digest,
        "startedAt": before.get("startedAt", now) if same else now,
        "stageStartedAt": before.get("stageStartedAt", now) if goes_on else now,
        "reconcileAt": report.reconcile_at,
        "checked": report.checked or before.get("checked", ""),
        "wanted": report.wanted if through else before.get("wanted", ""),
        "superuser": _superuser(report, before.get("superuser") or {}),
        "migration": _migration(report, before.get("migration") or {}),
        "failure": _failure(report, before.get("failure") or {}),
        "history": list(before.get("history") or []),
    }
    if through and not (same and before.get("stage") == DONE):
        entry = {"id": release.id, "revision": release.revision, "imageDigest": release.digest, "finishedAt": now}
        made["history"] = [entry, *made["history"]][:HISTORY]
    return {name: value for name, value in made.items() if value not in ("", {}, [])}


def _migration(report: Report, before: Mapping[str, Any]) -> dict[str, Any]:
    """Of this release's own execution alone: neither of one that is yet to begin, nor of what it waits for."""
    release, outcome = report.release, report.outcome
    if release is None:
        return dict(before)
    kept = dict(before) if release.is_of_this(before) else {}
    if report.stage in ("", "DbInit"):
        return kept
    if not release.migrates:
        return {}
    what = {"imageDigest": release.digest, "database": release.database}
    done = report.done.get("Migrate")
    if done is not None and done.execution:
        return what | _run("Succeeded", done.execution, done.log_link)
    if done is not None or report.stage != "Migrate":
        return kept | what | {"state": "Succeeded"}
    if isinstance(outcome, Waiting | Failed) and outcome.execution:
        state = "Failed" if isinstance(outcome, Failed) or outcome.has_failed else "Running"
        return what | _run(state, outcome.execution, outcome.log_link)
    return {} if kept.get("state") == "Running" else kept


def _failure(report: Report, before: Mapping[str, Any]) -> dict[str, Any]:
    """Of what has failed for good; as long as the release is there, though a pass may not come to it."""
    if report.outcome is None:
        return dict(before)
    failed = report.failure
    if failed is None or not (failed.execution or failed.revision):
        return {}
    what = {"execution": failed.execution, "revision": failed.revision, "logUri": failed.log_link}
    return {"reason": failed.reason, "message": failed.message} | {name: text for name, text in what.items() if text}


def _superuser(report: Report, before: Mapping[str, Any]) -> dict[str, Any]:
    """Of the last one whose job was begun; where the spec wants none any more, as far as there is one."""
    if report.release is None or not (report.stage == "Superuser" or "Superuser" in report.done):
        return dict(before)
    if report.release.app.spec.superuser is None and before.get("state") not in SETTLED:
        return {}
    outcome = report.done.get("Superuser", report.outcome)
    return told(report.release, outcome) or dict(before)


def _run(state: str, execution: str, log_uri: str) -> dict[str, str]:
    return {"state": state, "execution": execution} | ({"logUri": log_uri} if log_uri else {})
