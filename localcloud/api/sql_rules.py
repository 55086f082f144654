"""What SQL Admin refuses before it starts an operation (gcp/behaviour.md, section 2)."""

from __future__ import annotations

import re

from localcloud.api import sql_versions
from localcloud.api.messages import sql as pb
from localcloud.api.sql_defaults import is_plus, version_name
from localcloud.api.sql_errors import invalid, stale, wrong_tier
from localcloud.core.errors import ApiError, Code, not_modelled

NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
MAX_NAME = 98  # of project and instance together, with the colon between them
NOT_MODELLED = ("failover_replica", "on_premises_configuration", "node_count")
# Kept and shown under --simulate, where nothing has to do them.
SIMULATED_ONLY = ("replica_configuration", "disk_encryption_configuration", "master_instance_name", "tags")
SETTINGS_SIMULATED_ONLY = (
    "active_directory_config",
    "sql_server_audit_config",
    "entraid_config",
    "connection_pool_config",
    "read_pool_auto_scale_config",
    "performance_capture_config",
    "advanced_machine_features",
)


def check_new(instance: pb.DatabaseInstance, project: str, simulated: bool) -> None:
    """What the caller sent to `insert`, before defaults. Raises 400 or says what is not modelled."""
    version = version_name(instance)
    check_name(instance.name, project)
    if instance.maintenance_version:
        raise invalid(f"Maintenance version ({instance.maintenance_version}) must not be set.")
    if not instance.settings.tier:
        raise _required("settings.tier")
    _check_modelled(instance, simulated)
    if not instance.region:
        raise _required("region")
    if version == "SQL_DATABASE_VERSION_UNSPECIFIED":
        raise _required("databaseVersion")
    offered = version in sql_versions.INSTALLED or version.startswith("MYSQL_8")
    if not sql_versions.engine(version) or not offered:
        raise not_modelled(f"Cloud SQL for {version}")
    if sql_versions.engine(version) != "POSTGRES" and not simulated:
        raise not_modelled(f"{version}, but for its API under --simulate: a real instance is PostgreSQL only")


def check_name(name: str, project: str) -> None:
    """Raises 400."""
    if not name:
        raise _required("name")
    if not NAME.fullmatch(name) or len(f"{project}:{name}") > MAX_NAME:
        raise ApiError(
            Code.INVALID_ARGUMENT,
            f'Invalid instance name "{name}". Must be composed of lowercase letters, numbers, and hyphens; must start '
            "with a letter; must end with a letter or a number.",
            reason="invalidInstanceName",
        )


def check(instance: pb.DatabaseInstance, service_networking: bool, simulated: bool) -> None:
    """The instance as it is to be, defaults filled in. Raises 400."""
    settings, version = instance.settings, version_name(instance)
    edition = pb.name_of(settings, "edition")
    tier = sql_versions.find_tier(settings.tier, version)
    if tier is None or tier.plus != is_plus(instance):
        raise wrong_tier(settings.tier, edition)
    addresses = settings.ip_configuration
    if addresses.HasField("psc_config") and not simulated:
        raise not_modelled("the field settings.ipConfiguration.pscConfig of a Cloud SQL instance")
    by_psc = addresses.psc_config.psc_enabled
    if not (addresses.ipv4_enabled.value or addresses.private_network or by_psc):
        raise invalid("At least one of Public IP or Private IP or PSC connectivity must be enabled.")
    if addresses.private_network and not service_networking:
        name = f"{instance.project}:{instance.name}"
        raise invalid(f"Incorrect Service Networking config for instance: {name}:SERVICE_NETWORKING_NOT_ENABLED.")
    if settings.data_disk_size_gb.value < 10 or settings.data_disk_size_gb.value > 65_536:
        raise invalid(f"Invalid disk size ({settings.data_disk_size_gb.value} GB).")
    _check_backups(instance)
    for flag in settings.database_flags:
        check_flag(flag.name, flag.value, version, simulated)


def check_change(before: pb.DatabaseInstance, after: pb.DatabaseInstance, simulated: bool) -> None:
    """What `patch` and `update` may not change. Raises 400, or 412 staleData."""
    given, current = after.settings.settings_version, before.settings.settings_version
    if given.value and given.value != current.value:
        raise stale()
    _check_modelled(after, simulated)
    if after.region != before.region:
        raise invalid("The region of an instance cannot be changed.")
    if after.instance_type != before.instance_type:
        raise invalid("The instance type cannot be changed.")
    if after.settings.data_disk_size_gb.value < before.settings.data_disk_size_gb.value:
        raise invalid("Disk size cannot be decreased.")
    _check_maintenance(before, after, simulated)
    old, new = version_name(before), version_name(after)
    if new != old:
        offers = {name for _, name, _ in sql_versions.upgradable(old)}
        if new not in offers:
            raise invalid(f"Database version {old} cannot be changed to {new}.")
        if not simulated:
            raise not_modelled("upgrades of the database version")


def _check_maintenance(before: pb.DatabaseInstance, after: pb.DatabaseInstance, simulated: bool) -> None:
    """The maintenance version moves alone, and forward, to one of the installed major version."""
    old, new = before.maintenance_version, after.maintenance_version
    if new == old:
        return
    rest = pb.DatabaseInstance()
    rest.CopyFrom(after)
    rest.maintenance_version = old
    rest.settings.settings_version.CopyFrom(before.settings.settings_version)
    if rest != before:
        raise invalid("Upgrading maintenance version and changing other fields at the same time is not allowed.")
    if not sql_versions.is_later_maintenance(new, old, version_name(before)):
        raise invalid(f"Maintenance version ({new}) is not available for the instance.")
    if not simulated:
        raise not_modelled("upgrades of the maintenance version")


def check_flag(name: str, value: str, version: str, simulated: bool) -> None:
    """Raises 400 for a flag that the version does not have, or a value out of range."""
    flag = next((flag for flag in sql_versions.flags_of(version) if flag.name == name), None)
    if flag is None and sql_versions.is_plausible_flag(name, version):
        if simulated:
            return
        raise not_modelled(f"the database flag {name}")
    if flag is None:
        raise ApiError(Code.INVALID_ARGUMENT, f"Invalid flag name: {name}.", reason="invalidFlagName")
    fits = True
    if flag.kind == "INTEGER":
        number = int(value) if re.fullmatch(r"-?\d+", value) else None
        fits = number is not None and (flag.low is None or number >= flag.low)
        fits = fits and (flag.high is None or number is None or number <= flag.high)
    elif flag.kind == "BOOLEAN":
        fits = value.lower() in ("on", "off", "true", "false")
    elif flag.kind == "FLOAT":
        fits = re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
    elif flag.values:
        fits = value.lower() in flag.values or value in flag.values
    if not fits:
        raise ApiError(
            Code.INVALID_ARGUMENT, f"Invalid flag value: {value} for flag {name}.", reason="invalidFlagValue"
        )


def _check_modelled(instance: pb.DatabaseInstance, simulated: bool) -> None:
    given = {field.name for field, _ in instance.ListFields()}
    for field in (*NOT_MODELLED, *(() if simulated else SIMULATED_ONLY)):
        if field in given:
            raise not_modelled(f"the field {field} of a Cloud SQL instance")
    given = {field.name for field, _ in instance.settings.ListFields()}
    for field in () if simulated else SETTINGS_SIMULATED_ONLY:
        if field in given:
            raise not_modelled(f"the field settings.{field} of a Cloud SQL instance")
    kinds = {"CLOUD_SQL_INSTANCE"} | ({"READ_REPLICA_INSTANCE"} if simulated else set())
    if instance.instance_type and pb.name_of(instance, "instance_type") not in kinds:
        raise not_modelled(f"a Cloud SQL instance of type {pb.name_of(instance, 'instance_type')}")


def _check_backups(instance: pb.DatabaseInstance) -> None:
    backups, mysql = instance.settings.backup_configuration, version_name(instance).startswith("MYSQL")
    if backups.binary_log_enabled.value and not backups.enabled.value:
        raise invalid("Binary log can only be enabled when backups are enabled.")
    if mysql and pb.name_of(instance.settings, "availability_type") == "REGIONAL":
        if not backups.binary_log_enabled.value:
            raise invalid("Regional availability requires binary logging to be enabled.")
    elif backups.point_in_time_recovery_enabled.value and not backups.enabled.value:
        raise invalid("Point in time recovery can only be enabled when backups are enabled.")


def _required(field: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, f"Missing parameter: {field}.", reason="required")
