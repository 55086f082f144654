"""A Cloud SQL instance as we want it and as Google writes it (gcp/behaviour.md, section 2). Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

from google.cloud.sqladmin_v1.types import BackupConfiguration, DatabaseInstance, Settings

from nuages.cloud.driver import Observed, Readiness
from nuages.cloud.labels import besides_owner, merged
from nuages.desired.resource import Owner
from nuages.desired.sql import Backups, SqlInstance

State = DatabaseInstance.SqlInstanceState
BUSY = {State.PENDING_CREATE, State.PENDING_DELETE}
LOCKED = {State.MAINTENANCE, State.REPAIRING}  # Google at work: its apps are as they were, or about to be again
FAILED = {State.FAILED, State.SUSPENDED}
REQUIRED = "REQUIRED"  # connectorEnforcement
SOMEBODY_STOPPED = "Stopped"  # a reason
STOPPED = "NEVER"  # activationPolicy: the state stays RUNNABLE (behaviour-runtime.md, section 8)


def creation(desired: SqlInstance) -> dict[str, Any]:
    """The body of an insert."""
    return {
        "name": desired.id,
        "region": desired.region,
        "database_version": desired.database_version,
        "settings": changed(Settings(), desired, (*SETTINGS, "labels")),
    }


def changed(found: Settings, desired: SqlInstance, fields: Collection[str], version: int = 0) -> Settings:
    """The settings as found, with those that the named fields of the desired type stand for; `version` guards them.

    Written back whole: in a patch over gRPC, false and empty could not be told from "leave it".
    """
    made = Settings(found)
    for name, write in SETTINGS.items():
        if name in fields:
            _assign(made, write(desired))
    if "labels" in fields or "owner" in fields:
        made.user_labels = merged(dict(found.user_labels), desired.owner, desired.labels)
    if version:
        _assign(made, {"settings_version": version})
    return made


def _assign(message: Any, values: Mapping[str, Any]) -> None:
    """Message by message; lists are replaced whole."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            _assign(getattr(message, name), value)
        else:
            setattr(message, name, value)


def _backups(desired: SqlInstance) -> dict[str, Any]:
    wanted = desired.backups
    log_days = {"transaction_log_retention_days": wanted.log_days} if wanted.log_days else {}
    configuration = {
        "enabled": True,
        "start_time": wanted.start_time,
        "point_in_time_recovery_enabled": wanted.log_days > 0,
        "backup_retention_settings": {"retained_backups": wanted.retained, "retention_unit": "COUNT"},
        **log_days,
    }
    return {"backup_configuration": configuration}


def _addresses(desired: SqlInstance) -> dict[str, Any]:
    """Always a public address, which Cloud Run's own socket needs (lessons.md, section 4, item 8)."""
    private = {"private_network": desired.private_network} if desired.private_network else {}
    return {"ip_configuration": {"ipv4_enabled": True, **private}}


def _networks(desired: SqlInstance) -> dict[str, Any]:
    return {"ip_configuration": {"authorized_networks": [{"value": value} for value in desired.authorized_networks]}}


# By field of the desired type: what it is in Google's settings.
SETTINGS: dict[str, Any] = {
    "tier": lambda d: {"tier": d.tier},
    "edition": lambda d: {"edition": d.edition},
    "availability": lambda d: {"availability_type": d.availability},
    "disk_gb": lambda d: {"data_disk_size_gb": d.disk_gb, "storage_auto_resize": True},
    "disk_limit_gb": lambda d: {"storage_auto_resize": True, "storage_auto_resize_limit": d.disk_limit_gb},
    "backups": _backups,
    "maintenance_day": lambda d: _maintenance(d),
    "maintenance_hour": lambda d: _maintenance(d),
    "query_insights": lambda d: {"insights_config": {"query_insights_enabled": d.query_insights}},
    "flags": lambda d: {"database_flags": [{"name": name, "value": value} for name, value in d.flags]},
    "deletion_protection": lambda d: {"deletion_protection_enabled": d.deletion_protection},
    "private_network": _addresses,
    "connectors_only": lambda d: {"connector_enforcement": REQUIRED} if d.connectors_only else {},
    "authorized_networks": _networks,
}


def _maintenance(desired: SqlInstance) -> dict[str, Any]:
    return {"maintenance_window": {"day": desired.maintenance_day, "hour": desired.maintenance_hour}}


def observed(name: str, found: DatabaseInstance) -> Observed[SqlInstance]:
    """What there is, under our full name."""
    readiness, message, reason = _readiness(found)
    found_settings = found.settings
    flags = {flag.name: flag.value for flag in found_settings.database_flags}
    labels = dict(found_settings.user_labels)
    state = SqlInstance(
        name=name,
        owner=Owner.of_labels(labels),
        region=found.region,
        database_version=found.database_version.name,
        tier=found_settings.tier,
        edition=found_settings.edition.name,
        availability=found_settings.availability_type.name,
        disk_gb=_number(found_settings.data_disk_size_gb),
        disk_limit_gb=_number(found_settings.storage_auto_resize_limit),
        backups=_found_backups(found_settings.backup_configuration),
        maintenance_day=_number(found_settings.maintenance_window.day),
        maintenance_hour=_number(found_settings.maintenance_window.hour),
        query_insights=bool(found_settings.insights_config.query_insights_enabled),
        flags=tuple(sorted(flags.items())),
        deletion_protection=bool(found_settings.deletion_protection_enabled),
        private_network=found_settings.ip_configuration.private_network,
        connectors_only=found_settings.connector_enforcement.name == REQUIRED,
        authorized_networks=tuple(sorted(entry.value for entry in found_settings.ip_configuration.authorized_networks)),
        labels=besides_owner(labels),
    )
    outputs = {
        "connection_name": found.connection_name or state.connection_name,
        "region": found.region,
        "database_version": state.database_version,
        "tier": state.tier,
        "max_connections": flags.get("max_connections", ""),
        "created": _time(found.create_time),
        "settings_version": str(_number(found_settings.settings_version)),
    }
    return Observed(state, readiness, message, reason, outputs, found.etag)


def _time(stamp: Any) -> str:
    """RFC 3339, "" where it is not set: proto-plus gives a datetime."""
    return stamp.isoformat() if isinstance(stamp, dt.datetime) else ""


def _number(wrapped: Any) -> int:
    """proto-plus gives the number itself where the type says wrapper, and None where there is none."""
    return int(wrapped or 0)


def _readiness(found: DatabaseInstance) -> tuple[Readiness, str, str]:
    """With the message and the reason."""
    state = found.state.name
    if found.state in BUSY:
        return Readiness.BUSY, f"The instance is {state}.", state
    if found.state in LOCKED:
        return Readiness.LOCKED, f"The instance is in {state}.", state
    if found.state in FAILED:
        return Readiness.FAILED, f"The instance is {state}.", state
    if found.settings.activation_policy.name == STOPPED:
        return Readiness.FAILED, "The instance is stopped (activationPolicy NEVER).", SOMEBODY_STOPPED
    return Readiness.READY, "", state


def _found_backups(found: BackupConfiguration) -> Backups:
    retained = _number(found.backup_retention_settings.retained_backups)
    log_days = _number(found.transaction_log_retention_days)
    return Backups(
        retained=retained if found.enabled else 0,
        start_time=found.start_time,
        log_days=log_days if found.point_in_time_recovery_enabled else 0,
    )
