"""The status of an app, written only when it changed. Pure: a report, the status before, and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nuages.api.validate import parse_status
from nuages.cloud.driver import Observed, Readiness
from nuages.reconcile import reasons
from nuages.reconcile.conditions import conditions
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import WRITES
from nuages.reconcile.release.outcome import Failed, Waiting
from nuages.reconcile.release.steps import DONE
from nuages.reconcile.report import Report

HISTORY = 10  # releases


def status(report: Report, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The whole status. What this pass did not look at stays as it was; `now` is RFC 3339."""
    made: dict[str, Any] = {
        "observedGeneration": report.generation,
        "phase": _phase(report),
        "conditions": _conditions(report, before.get("conditions") or [], now),
        "operations": _operations(report, before.get("operations") or [], now),
    }
    for name in ("url", "urls", "image", "revision", "traffic"):
        if name in before:
            made[name] = before[name]
    made |= _served(report.live)
    if report.blueprint is not None and report.results:
        made["resources"] = _resources(report)
    elif "resources" in before:
        made["resources"] = before["resources"]
    made["database"] = _database(report) or before.get("database")
    made["release"] = _release(report, before.get("release") or {}, now) or None
    return parse_status({"status": {name: value for name, value in made.items() if value is not None}}).dump()


def _database(report: Report) -> dict[str, str] | None:
    """Where the data is, once db-init has been through: from then on the spec may not name another place."""
    release = report.release
    if release is None or release.db_init is None or report.stage in ("", "DbInit"):
        return None
    instance = release.db_init.template.cloud_sql[0].rsplit(":", 1)[-1]
    return {"instance": instance, "name": release.app.database_name}


def _phase(report: Report) -> str:
    if report.deleting:
        return "Deleting"
    if report.paused:
        return "Paused"
    if report.is_ready:
        return "Ready"
    if report.failure is not None or (report.trouble is not None and report.trouble.stalled):
        return "Degraded" if report.serves else "Pending"
    if not report.is_provisioned:
        return "Provisioning"
    return "Migrating" if report.stage in ("DbInit", "Migrate") else "Releasing"


def _conditions(report: Report, before: Sequence[Mapping[str, Any]], now: str) -> list[dict[str, Any]]:
    old = {item["type"]: item for item in before}
    made = []
    for condition in conditions(report):
        known = old.get(condition.type)
        since = known["lastTransitionTime"] if known and known["status"] == condition.status else now
        made.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message[:1000],
                "lastTransitionTime": since,
                "observedGeneration": report.generation,
            }
        )
    if report.blueprint is None or report.paused:  # not looked at: as they were
        spoken = {item["type"] for item in made} | {reasons.RECONCILING, reasons.STALLED}
        made += [dict(item) for item in before if item["type"] not in spoken]
    return made


def _operations(report: Report, before: Sequence[Mapping[str, Any]], now: str) -> list[dict[str, Any]]:
    since = {item["name"]: item["startedAt"] for item in before}
    return [
        {
            "name": item.name,
            "service": item.service,
            "resource": item.resource,
            "startedAt": since.get(item.name, now),
        }
        for item in sorted(report.operations, key=lambda operation: operation.name)
    ]


def _served(live: Observed[Any] | None) -> dict[str, Any]:
    """What people look for first."""
    if live is None:
        return {}
    targets = [target for target in live.state.traffic if target.percent]
    serving = max(targets, key=lambda target: target.percent).revision if targets else ""
    urls = [url for url in live.outputs.get("urls", "").split("\n") if url]
    return {
        "url": urls[0] if urls else live.outputs.get("uri", ""),
        "urls": urls,
        "image": live.state.template.image,
        "revision": serving,
        "traffic": [
            {"revision": t.revision, "percent": t.percent} | ({"tag": t.tag} if t.tag else {})
            for t in live.state.traffic
        ],
    }


def _resources(report: Report) -> list[dict[str, Any]]:
    made = [_row(result) for result in report.results.values() if result.did is None or result.did in WRITES]
    if report.live is not None:
        live = report.live
        state = {Readiness.READY: "Ready", Readiness.BUSY: "Updating", Readiness.FAILED: "Failed"}[live.readiness]
        made.append({"kind": live.state.kind, "name": live.state.name, "state": state, "link": _link(live.state.name)})
    return made


def _row(result: Result) -> dict[str, Any]:
    state = "Blocked" if result.blocked_by else result.state.value
    if result.state is State.WAITING and not result.blocked_by:
        state = "Creating" if result.observed is None else "Updating"
    row = {"kind": result.resource.kind, "name": result.resource.name, "state": state}
    link = _link(result.resource.name)
    return row | ({"link": link} if link else {})


def _link(name: str) -> str:
    """Where Google's console shows it; "" where it has no page of its own."""
    parts = name.split("/")
    console, project = "https://console.cloud.google.com", parts[1] if len(parts) > 1 else ""
    match parts:
        case ["projects", _, "locations", region, "services", service]:
            return f"{console}/run/detail/{region}/{service}?project={project}"
        case ["projects", _, "locations", region, "jobs", job]:
            return f"{console}/run/jobs/details/{region}/{job}?project={project}"
        case ["projects", _, "secrets", secret] if "#" not in name:
            return f"{console}/security/secret-manager/secret/{secret}?project={project}"
        case ["projects", _, "instances", instance]:
            return f"{console}/sql/instances/{instance}?project={project}"
        case ["projects", _, "buckets", bucket] if "#" not in name:
            return f"{console}/storage/browser/{bucket}?project={project}"
        case _:
            return ""


def _release(report: Report, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    release = report.release
    if release is None:
        return dict(before)
    same = before.get("id") == release.id
    through = report.is_ready
    stage = DONE if through else report.stage
    made: dict[str, Any] = {
        "id": release.id,
        "stage": stage,
        "revision": release.revision,
        "image": report.image,
        "imageDigest": release.digest,
        "startedAt": before.get("startedAt", now) if same else now,
        "stageStartedAt": before.get("stageStartedAt", now) if same and before.get("stage") == stage else now,
        "reconcileAt": report.reconcile_at,
        "migration": _migration(report, before.get("migration") or {}),
        "history": list(before.get("history") or []),
    }
    if through and not (same and before.get("stage") == DONE):
        entry = {"id": release.id, "revision": release.revision, "imageDigest": release.digest, "finishedAt": now}
        made["history"] = [entry, *made["history"]][:HISTORY]
    return {name: value for name, value in made.items() if value not in ("", {}, [])}


def _migration(report: Report, before: Mapping[str, Any]) -> dict[str, Any]:
    if report.release is None:
        return dict(before)
    digest = report.release.digest
    if report.stage in ("", "DbInit"):
        return dict(before) if before.get("imageDigest") == digest else {}
    if report.stage != "Migrate":
        kept = before if before.get("imageDigest") == digest else {}
        return {**kept, "imageDigest": digest, "state": "Succeeded"} if report.release.db_init else {}
    outcome = report.outcome
    if isinstance(outcome, Waiting | Failed):
        found = {
            "imageDigest": digest,
            "state": "Failed" if isinstance(outcome, Failed) else "Running",
            "execution": outcome.execution,
            "logUri": outcome.log_link,
        }
        return {name: value for name, value in found.items() if value}
    return dict(before)
