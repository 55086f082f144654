"""The status of a tenant: whether its project answers, and how near that is to Google's limits. Pure."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nuages.api.status import DjangoTenantStatus
from nuages.api.tenant import DjangoTenant
from nuages.cloud.inventory import Inventory
from nuages.desired.iam import ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.run import RunService
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Body
from nuages.reconcile.conditions import Condition
from nuages.reconcile.status import dated
from nuages.reconcile.trouble import Trouble

SERVICE_ACCOUNTS: Final = 100  # a project, unless raised: https://cloud.google.com/iam/quotas
SERVICES: Final = 1000  # a project and region: https://cloud.google.com/run/quotas


def tenant_status(
    body: Body, trouble: Trouble | None, limits: Mapping[str, Any], now: dt.datetime, patience: float
) -> dict[str, Any]:
    """The whole status after a pass over the tenant that met this trouble, or none.

    What heals by itself stalls once Ready has been False for `patience` seconds.
    """
    before: Mapping[str, Any] = body.get("status") or {}
    told, generation = before.get("conditions") or [], int(body["metadata"].get("generation", 0))
    project = body["spec"].get("project")
    if trouble is None:
        found = [Condition(reasons.READY, "True", reasons.AVAILABLE, f"Project {project} answers.")]
    else:
        stalled = trouble.stalled and not (trouble.heals and _not_ready_for(told, now) < patience)
        found = [
            Condition(reasons.READY, "False", trouble.reason, trouble.message),
            Condition(reasons.STALLED if stalled else reasons.RECONCILING, "True", trouble.reason, trouble.message),
        ]
    made = {
        "observedGeneration": generation,
        "conditions": dated(found, generation, told, now.strftime("%Y-%m-%dT%H:%M:%SZ")),
        "limits": {**(before.get("limits") or {}), **limits},
    }
    document = json.dumps({name: value for name, value in made.items() if value != {}})
    return DjangoTenantStatus.model_validate_json(document, by_alias=True, by_name=False).dump()


def with_limits(body: Body, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The status with the limits as they are now; empty where nothing changed or no pass was over it yet."""
    before: Mapping[str, Any] = body.get("status") or {}
    known = before.get("limits") or {}
    if not before.get("conditions") or {**known, **limits} == known:
        return {}
    return {**before, "limits": {**known, **limits}}


def usage(tenant: DjangoTenant, inventory: Inventory) -> dict[str, Any]:
    """`status.limits` as far as the lists that passes made anyway show it; nothing is asked for it."""
    project = f"projects/{tenant.spec.project}"
    wanted: tuple[tuple[str, type[Resource], str, int], ...] = (
        ("serviceAccounts", ServiceAccount, project, SERVICE_ACCOUNTS),
        ("services", RunService, f"{project}/locations/{tenant.spec.region}", SERVICES),
    )
    known = {field: (inventory.names(kind, scope), limit) for field, kind, scope, limit in wanted}
    return {field: {"used": len(names), "limit": limit} for field, (names, limit) in known.items() if names is not None}


def _not_ready_for(told: Sequence[Mapping[str, Any]], now: dt.datetime) -> float:
    """Seconds."""
    since = [item["lastTransitionTime"] for item in told if (item["type"], item["status"]) == (reasons.READY, "False")]
    return (now - dt.datetime.fromisoformat(since[0])).total_seconds() if since else 0.0
