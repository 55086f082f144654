"""What a status claims, held against Google: each claim that is not so, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.cloud import run_v2
from machine_google import Google

from nuages.reconcile import reasons

Claims = Mapping[str, Any]
# What neither the CRD nor the operator can know better than Google: by field of the spec, how Google's words begin. The
# group is what the field has, or has among others. Any other refusal would be of what the operator made of the spec.
REFUSALS = {
    "database.instance.create.tier": r"Invalid request: Invalid Tier \((\S+)\) for \(\w+\) Edition",
    "database.instance.create.flags": r"Invalid flag (?:name: |value: \S+ for flag )(\w+)",
}


def refused_field(message: str, spec: Claims) -> str:
    """The field of the spec that accounts for a RefusedByGoogle with this message; "" where none does."""
    words = message.partition('Google says: "')[2]
    for field, pattern in REFUSALS.items():
        found, value = re.match(pattern, words), _at(spec, field)
        if found is not None and (value == found[1] or (isinstance(value, Mapping) and found[1] in value)):
            return field
    return ""


def _at(spec: Any, field: str) -> Any:
    for name in field.split("."):
        spec = spec.get(name, {})
    return spec


async def false_claims(google: Google, app: Claims, job: str, digest: str) -> list[str]:
    """`job` is the migration's, `digest` of spec.image, as the registry has it."""
    found, generation = list[str](), app["metadata"]["generation"]
    status = app["status"]
    true = {
        item["type"]
        for item in status.get("conditions", ())
        if item["status"] == "True" and item["observedGeneration"] == generation
    }
    if reasons.MIGRATIONS_APPLIED in true:
        found += await _unmigrated(google, job, digest, status, "MigrationsApplied")
    found += await _migration(google, job, status)
    if "DatabaseReady" in true:
        found += await _unusable(google, status, "DatabaseReady", "sqladmin.googleapis.com/")
    if reasons.READY in true:
        found += await _unusable(google, status, "Ready", "")
        found += await _addresses(google, status)
    if "drift" in status:  # nobody else writes in this world
        found.append(f"drift: {status['drift']['fields']}")
    return found


async def _unmigrated(google: Google, job: str, digest: str, status: Claims, claim: str) -> list[str]:
    """Unless an execution with this image on the app's database has succeeded."""
    place = status.get("database")
    if place is None:
        return [f"{claim}, and no database is named"]
    done = [item for item in await google.executions(job) if item.succeeded_count and _is_on(item, digest, place)]
    return [] if done else [f"{claim}, and no execution of {digest[:15]} on {dict(place)} has succeeded"]


async def _migration(google: Google, job: str, status: Claims) -> list[str]:
    """release.migration: an execution of the image that it names, in the state that it tells."""
    told = status.get("release", {}).get("migration") or {}
    if not told:
        return []
    if told["state"] == "Succeeded":
        return await _unmigrated(google, job, told["imageDigest"], status, "release.migration Succeeded")
    claim, name = f"release.migration {told['state']}", told.get("execution", "").rpartition("/")[2]
    if not name:
        return [f"{claim}, and no execution is named"]
    of_that = [item for item in await google.executions(job) if item.name.endswith(f"/{name}")]
    if not of_that:
        return [f"{claim}: there is no execution {name}"]
    found = []
    if not of_that[0].template.containers[0].image.endswith(f"@{told['imageDigest']}"):
        found.append(f"{claim}: {name} is of another image")
    if told["state"] == "Failed" and not of_that[0].failed_count:
        found.append(f"{claim}: {name} has not failed")
    return found


def _is_on(execution: run_v2.Execution, digest: str, place: Claims) -> bool:
    container = execution.template.containers[0]
    instances = [
        name.rpartition(":")[2] for item in execution.template.volumes for name in item.cloud_sql_instance.instances
    ]
    database = [item.value for item in container.env if item.name == "DB_NAME"]
    return container.image.endswith(f"@{digest}") and (instances, database) == ([place["instance"]], [place["name"]])


async def _unusable(google: Google, status: Claims, claim: str, kind: str) -> list[str]:
    """Of the resources of this kind that are told to be Ready, and of whatever must be among them."""
    found, rows = list[str](), [row for row in status.get("resources", ()) if row["kind"].startswith(kind)]
    if not rows:
        found.append(f"{claim}, and no resource {kind} is told of")
    for row in rows:
        if row["state"] == "Ready" and (wrong := await google.wrong(row["kind"], row["name"])):
            found.append(f"{claim}, and {row['name']} {wrong}")
        elif row["state"] not in ("Ready", "Retained"):
            found.append(f"{claim}, and {row['name']} is {row['state']}")
    return found


async def _addresses(google: Google, status: Claims) -> list[str]:
    """Where the app answers, and who answers there."""
    name = next(row["name"] for row in status["resources"] if row["kind"] == "run.googleapis.com/Service")
    service = await google.service(name)
    (hosts,) = (item.value.split(",") for item in service.template.containers[0].env if item.name == "ALLOWED_HOSTS")
    found, urls = [], [url for url in service.urls if url.removeprefix("https://") in hosts]
    if status.get("urls") != urls or status.get("url") != service.urls[0]:
        found.append(f"url {status.get('url')}, urls {status.get('urls')}, and Google and Django answer at {urls}")
    shares = {(item.revision, item.percent, item.tag) for item in service.traffic_statuses}
    told = {(item["revision"], item["percent"], item.get("tag", "")) for item in status.get("traffic", ())}
    if told != shares:
        found.append(f"traffic {told}, and Google says {shares}")
    return found
