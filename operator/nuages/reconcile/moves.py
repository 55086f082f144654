"""Where an app's data is: no tenant and no instance that is named later takes it along, so that none is followed. Pure.

The status knows it, and where that was wiped, the service that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nuages.api.app import DjangoApp
from nuages.api.database import CreateInstance, Instance
from nuages.api.tenant import DjangoTenant, instance_of
from nuages.blueprint import names
from nuages.cloud.driver import Observed
from nuages.desired.run import RunService
from nuages.reconcile import reasons
from nuages.reconcile.trouble import Trouble


def check_tenant(app: DjangoApp, tenant: DjangoTenant, resources: Iterable[Mapping[str, Any]]) -> None:
    """Against the service that status.resources has: a tenant made later may say another place. Raises Trouble."""
    wanted = names.service_name(app, tenant)
    known = next((row["name"] for row in resources if row["kind"] == RunService.kind), wanted)
    if known != wanted:
        raise Trouble(
            reasons.TENANT_MOVED,
            f"DjangoTenant spec: the app is {known}, and by its tenant it would be {wanted}, another one and empty. "
            "Delete the tenant and make one with the old project, region and deploymentId, or make another app.",
        )


def known_instance(app: DjangoApp, before: Mapping[str, Any], live: Observed[RunService] | None) -> str:
    """Id of the instance that the database is on; "" where there is none yet.

    A service of others that is to be adopted may have any.
    """
    known = str((before.get("database") or {}).get("instance", ""))
    owner = live.owner if live is not None else None
    if known or live is None or owner is None or (owner.namespace, owner.app) != tuple(app.key.split("/")):
        return known
    return next((name.rsplit(":", 1)[-1] for name in live.state.template.cloud_sql), "")


def check_instance(app: DjangoApp, tenant: DjangoTenant, known: str) -> None:
    """Against the instance that the database is on; admission cannot see what its tenant says. Raises Trouble."""
    if not known or not app.spec.database.enabled:
        return
    chosen, is_own = instance_of(app, tenant), _is_own(app, tenant, known)
    field = "spec.database.instance" if app.spec.database.instance is not None else "DjangoTenant spec.database"
    if chosen.existing == known and is_own:
        raise Trouble(
            reasons.DATABASE_MOVED,
            f"{field}.existing: {known} is the app's own instance, which none can share. Say create: {{}} instead.",
        )
    if chosen.existing != known and not (chosen.create is not None and is_own):
        raise Trouble(
            reasons.DATABASE_MOVED,
            f"{field}: the data is on {known}, and another instance would begin empty. Set it as it was, or "
            f"spec.database.instance.{'create: {}' if is_own else f'existing: {known}'} in the app.",
        )


def as_deployed(app: DjangoApp, tenant: DjangoTenant, database: Mapping[str, str] | None) -> DjangoApp:
    """For a deletion: with the database that `status.database` knows, whatever app and tenant say by now."""
    if not database:
        return app
    known = database["instance"]
    is_own, chosen = _is_own(app, tenant, known), instance_of(app, tenant)
    if is_own:
        instance = chosen if chosen.create is not None else Instance(create=CreateInstance())
    else:
        instance = Instance(existing=known)
    changed = {"engine": "PostgreSQL", "instance": instance, "name": database["name"]}
    spec = app.spec.model_copy(update={"database": app.spec.database.model_copy(update=changed)})
    return app.model_copy(update={"spec": spec})


def _is_own(app: DjangoApp, tenant: DjangoTenant, instance: str) -> bool:
    return names.is_instance_of_a_life(app, tenant, f"{names.project(tenant)}/instances/{instance}")
