"""The connection budget: more connections than the instance has would fail under load, not at deploy. Pure.

lessons.md, section 4, item 6: old and new revision at once, jobs, and the three that PostgreSQL keeps for itself.
"""

from __future__ import annotations

import re

from nuages.api.tenant import instance_of
from nuages.blueprint.blueprint import Problem
from nuages.blueprint.scope import Scope

RESERVED = 3
JOBS = 2  # migrate holds its lock on a connection of its own
REVISIONS = 2
BY_GIB = ((120, 1000), (60, 800), (30, 600), (15, 500), (7.5, 400), (6, 200), (3.75, 100))  # behaviour-runtime.md §8
SHARED_CORE = {"db-f1-micro": 25, "db-g1-small": 50}


def budget(scope: Scope) -> tuple[Problem, ...]:
    spec = scope.app.spec
    limit = _limit(scope)
    each, instances = spec.database.connections_per_instance, spec.web.max_instances
    most = max(0, (limit - RESERVED - JOBS) // (REVISIONS * each))
    if spec.database.allow_over_budget or instances <= most:
        return ()
    name = scope.instance.rsplit("/", 1)[-1]
    remedy = f"Use at most {most}, or raise" if most else "Lower connectionsPerInstance, or raise"
    message = (
        f"spec.web.maxInstances: {REVISIONS} revisions of {instances} instances with {each} connections each exceed "
        f"{name}'s {limit}. {remedy} {_flag(scope)}."
    )
    return (Problem("spec.web.maxInstances", "ConnectionBudgetExceeded", message),)


def _flag(scope: Scope) -> str:
    """The flag that sets the limit, and where it is written."""
    if instance_of(scope.app, scope.tenant).create is None:
        return "its flag max_connections"
    is_tenants = scope.app.spec.database.instance is None and scope.tenant.spec.database is not None
    field = "DjangoTenant spec.database.create.flags" if is_tenants else "spec.database.instance.create.flags"
    return f"max_connections in {field}"


def _limit(scope: Scope) -> int:
    existing, created = scope.facts.existing_instance, instance_of(scope.app, scope.tenant).create
    if existing is not None:
        return existing.max_connections or connections_of_tier(existing.tier)
    if created is None:
        return connections_of_tier("")
    flag = created.flags.get("max_connections", "")
    return int(flag) if flag.isdigit() else connections_of_tier(created.tier)


def connections_of_tier(tier: str) -> int:
    """max_connections where no flag sets it; 100 for a tier that says nothing of its memory."""
    if tier in SHARED_CORE:
        return SHARED_CORE[tier]
    found = re.fullmatch(r"db-custom-\d+-(\d+)", tier)
    gib = int(found.group(1)) / 1024 if found else 3.75
    return next((connections for least, connections in BY_GIB if gib >= least), 50)
