"""Where an app's data is: no tenant and no instance that is named later takes it along, so that none is followed. Pure.

The status knows it, and where that was wiped, the service that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nuages.api.app import DjangoApp
from nuages.api.database import CreateInstance, Instance
from nuages.api.status import DatabaseStatus
from nuages.api.tenant import DjangoTenant, instance_of
from nuages.blueprint import names
from nuages.cloud.driver import Observed
from nuages.desired.run import RunService
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlInstance
from nuages.reconcile import reasons
from nuages.reconcile.trouble import Trouble

KEY = names.key_part("a")


def check_tenant(app: DjangoApp, tenant: DjangoTenant, resources: Iterable[Mapping[str, Any]]) -> None:
    """Against what status.resources has: a tenant made later may say another place. Raises Trouble.

    Before there is a service, and once a deletion has taken it, SECRET_KEY tells project and deploymentId.
    """
    there = {row["name"]: row["kind"] for row in resources}
    services = [name for name, kind in there.items() if kind == RunService.kind]
    keys = [name for name, kind in there.items() if kind == Secret.kind and _is_key(app, name)]
    for found, wanted in ((services, names.service_name(app, tenant)), (keys, names.secret_name(app, tenant, KEY))):
        if found and wanted not in found:
            raise Trouble(
                reasons.TENANT_MOVED,
                f"DjangoTenant spec: the app is {found[0]}, and by its tenant it would be {wanted}, another one and "
                "empty. Delete the tenant and make one with the old project, region and deploymentId, or make another "
                "app.",
            )


def _is_key(app: DjangoApp, name: str) -> bool:
    """Whether a secret is the app's SECRET_KEY, under whatever deploymentId."""
    return name.endswith(f"-{app.metadata.name}-{KEY}")


def known_database(
    app: DjangoApp, before: Mapping[str, Any], live: Observed[RunService] | None
) -> DatabaseStatus | None:
    """The database that the app has; None where there is none yet.

    A service of others that is to be adopted may have any.
    """
    if known := before.get("database"):
        return DatabaseStatus.model_validate(known)
    owner = live.owner if live is not None else None
    if live is None or owner is None or (owner.namespace, owner.app) != tuple(app.key.split("/")):
        return None
    instance = next((name.rsplit(":", 1)[-1] for name in live.state.template.cloud_sql), "")
    return DatabaseStatus(instance=instance, name=_served(app, live.state)) if instance else None


def begun_with(before: Mapping[str, Any], known: DatabaseStatus | None) -> str:
    """Id of the instance that the app is on, or has begun with: one that is taken back bears no sign of it any more."""
    if known is not None:
        return known.instance
    rows = before.get("resources") or ()
    return next((row["name"].rpartition("/")[2] for row in rows if row["kind"] == SqlInstance.kind), "")


def _served(app: DjangoApp, service: RunService) -> str:
    """The name of the database that a service is connected to."""
    variable = app.spec.django.env_names.get("DB_NAME", "DB_NAME")
    name = dict(service.template.environment).get(variable)
    return name if isinstance(name, str) and name else app.database_name


def check_database(app: DjangoApp, tenant: DjangoTenant, database: DatabaseStatus | None, own_instance: str) -> None:
    """Against the database that the app has; admission cannot see what its tenant says. Raises Trouble.

    `own_instance`: full name of the one that bears the app's marker, whatever it is called; "" for none.
    """
    if database is None or not app.spec.database.enabled:
        return
    known, chosen = database.instance, instance_of(app, tenant)
    is_own = own_instance.rsplit("/", 1)[-1] == known or _is_own(app, tenant, database)
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
    if database.name != app.database_name:  # admission refuses it, where the status was not lost
        raise Trouble(
            reasons.DATABASE_MOVED,
            f"spec.database.name: the data is in {database.name} on {known}, and {app.database_name} would begin "
            f"empty. Set {database.name}.",
        )


def as_deployed(app: DjangoApp, tenant: DjangoTenant, database: DatabaseStatus | None) -> DjangoApp:
    """For a deletion: with the database that it has, whatever app and tenant say by now."""
    if database is None:
        return app
    is_own, chosen = _is_own(app, tenant, database), instance_of(app, tenant)
    if is_own:
        instance = chosen if chosen.create is not None else Instance(create=CreateInstance())
    else:
        instance = Instance(existing=database.instance)
    changed = {"engine": "PostgreSQL", "instance": instance, "name": database.name}
    spec = app.spec.model_copy(update={"database": app.spec.database.model_copy(update=changed)})
    return app.model_copy(update={"spec": spec})


def _is_own(app: DjangoApp, tenant: DjangoTenant, database: DatabaseStatus) -> bool:
    """By the status: one that was taken back, or chosen among clones, may have any name."""
    if database.own is not None:
        return database.own
    return names.is_instance_of_a_life(app, tenant, f"{names.project(tenant)}/instances/{database.instance}")
