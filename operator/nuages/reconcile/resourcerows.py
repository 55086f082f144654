"""status.resources: each Google resource of an app, its state, and its page in the console. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nuages.cloud.driver import Observed, Readiness
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import Verb
from nuages.reconcile.report import Report


def left(report: Report, before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """During a deletion: what was there, without what is gone; what is not reached yet stays as it was."""
    rows = []
    for row in before:
        result = report.results.get(row["name"])
        if result is None:
            rows.append(dict(row))
        elif result.did is Verb.KEEP:
            rows.append({**row, "state": "Retained"})
        elif result.state is not State.READY:
            rows.append({**row, "state": "Failed" if result.state is State.FAILED else "Deleting"})
    return rows


def resources(report: Report, before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """While the app lives; what the release's steps made stays as it was where this pass did not look at it."""
    assert report.blueprint is not None
    rows = [_row(result) for result in report.results.values()]
    if report.live is not None:
        rows.append(_seen(report.live))
    if report.made is not None:
        return [*rows, *map(_seen, report.made)]
    by_steps = {item.name for item in report.blueprint.made_by_steps}
    return [*rows, *(dict(row) for row in before if row["name"] in by_steps)]


def _seen(item: Observed[Any]) -> dict[str, Any]:
    state = "Updating" if item.readiness is Readiness.BUSY else item.readiness.value
    return {"kind": item.state.kind, "name": item.state.name, "state": state, "link": _link(item.state.name)}


def _row(result: Result) -> dict[str, Any]:
    state = "Blocked" if result.blocked_by else result.state.value
    if result.did is Verb.KEEP:
        state = "Retained"  # wanted no more, and holds data
    if result.state is State.WAITING and not result.blocked_by:
        state = "Creating" if result.is_being_made else "Updating"
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
