"""What the server adds to a Cloud SQL instance (gcp/behaviour.md, section 2). Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from localcloud.api import sql_versions
from localcloud.api.messages import sql as pb
from localcloud.core.projects import Project

CERTIFICATE_YEARS = 10
LAG_SECONDS = 31_536_000
KINDS = {
    "maintenance_window": "maintenanceWindow",
    "active_directory_config": "activeDirectoryConfig",
    "sql_server_audit_config": "sqlServerAuditConfig",
}


def version_name(instance: pb.DatabaseInstance) -> str:
    """The name of the enum's value: POSTGRES_16."""
    return pb.name_of(instance, "database_version")


def complete_settings(instance: pb.DatabaseInstance) -> None:
    """Fill what the caller left out of `settings`, as the server does on insert and update."""
    settings, version = instance.settings, version_name(instance)
    settings.kind = "sql#settings"
    settings.activation_policy = settings.activation_policy or pb.number(settings, "activation_policy", "ALWAYS")
    settings.availability_type = settings.availability_type or pb.number(settings, "availability_type", "ZONAL")
    settings.pricing_plan = settings.pricing_plan or pb.number(settings, "pricing_plan", "PER_USE")
    settings.replication_type = settings.replication_type or pb.number(settings, "replication_type", "SYNCHRONOUS")
    settings.data_disk_type = settings.data_disk_type or pb.number(settings, "data_disk_type", "PD_SSD")
    settings.connector_enforcement = settings.connector_enforcement or pb.number(
        settings, "connector_enforcement", "NOT_REQUIRED"
    )
    settings.edition = settings.edition or pb.number(settings, "edition", sql_versions.default_edition(version))
    plus = is_plus(instance)
    _default(settings, "data_disk_size_gb", 20 if plus else 10)
    _default(settings, "deletion_protection_enabled", False)
    _default(settings, "replication_lag_max_seconds", LAG_SECONDS)
    _default(settings, "storage_auto_resize", True)
    _default(settings, "storage_auto_resize_limit", 0)
    settings.location_preference.kind = "sql#locationPreference"
    settings.location_preference.zone = settings.location_preference.zone or zone(instance)
    if plus and not settings.HasField("data_cache_config") and sql_versions.engine(version) == "MYSQL":
        settings.data_cache_config.data_cache_enabled = True
    for field, kind in KINDS.items():
        if settings.HasField(field):
            getattr(settings, field).kind = f"sql#{kind}"
    if sql_versions.engine(version) == "SQLSERVER":
        settings.collation = settings.collation or "SQL_Latin1_General_CP1_CI_AS"
    if settings.insights_config.query_insights_enabled:
        _default(settings.insights_config, "query_string_length", 1024)
        _default(settings.insights_config, "query_plans_per_minute", 5)
    _complete_addresses(settings.ip_configuration)
    _complete_backups(settings.backup_configuration, plus, sql_versions.engine(version))


def complete(instance: pb.DatabaseInstance, project: Project, now: dt.datetime) -> None:
    """Fill what the server knows of a new instance, but what exists only once it was made."""
    name, version = instance.name, version_name(instance)
    complete_settings(instance)
    instance.settings.settings_version.value = 1
    instance.kind = "sql#instance"
    instance.project = project.id
    instance.backend_type = pb.number(instance, "backend_type", "SECOND_GEN")
    instance.instance_type = instance.instance_type or pb.number(instance, "instance_type", "CLOUD_SQL_INSTANCE")
    instance.connection_name = f"{project.id}:{instance.region}:{name}"
    instance.create_time.FromDatetime(now)
    instance.gce_zone = instance.settings.location_preference.zone
    instance.sql_network_architecture = pb.number(instance, "sql_network_architecture", "NEW_NETWORK_ARCHITECTURE")
    instance.satisfies_pzi.value = True
    _default(instance, "include_replicas_for_major_version_upgrade", False)
    mark = hashlib.sha256(f"{project.id}/{name}/{now}".encode()).hexdigest()[:6]
    instance.service_account_email_address = f"p{project.number}-{mark}@gcp-sa-cloud-sql.iam.gserviceaccount.com"
    instance.ClearField("root_password")
    key = instance.disk_encryption_configuration.kms_key_name
    if key:
        instance.disk_encryption_configuration.kind = "sql#diskEncryptionConfiguration"
        instance.disk_encryption_status.kind = "sql#diskEncryptionStatus"
        instance.disk_encryption_status.kms_key_version_name = f"{key}/cryptoKeyVersions/1"
    set_version(instance)
    _add_certificate(instance, now)
    gemini = instance.gemini_config
    gemini.entitled = gemini.active_query_enabled = gemini.index_advisor_enabled = False
    if sql_versions.engine(version) == "POSTGRES":
        gemini.google_vacuum_mgmt_enabled, gemini.oom_session_cancel_enabled = False, True
    else:
        gemini.flag_recommender_enabled = sql_versions.engine(version) == "MYSQL" and version >= "MYSQL_8_0"


def set_version(instance: pb.DatabaseInstance) -> None:
    """What follows from the database version."""
    version = version_name(instance)
    instance.database_installed_version, instance.maintenance_version = sql_versions.installed(version)
    del instance.upgradable_database_versions[:]
    for major, name, shown in sql_versions.upgradable(version):
        instance.upgradable_database_versions.add(major_version=major, name=name, display_name=shown)


def set_addresses(instance: pb.DatabaseInstance) -> None:
    """The addresses that the settings ask for; PostgreSQL shows the outgoing one too."""
    wanted = instance.settings.ip_configuration
    kinds = ["PRIMARY"] if wanted.ipv4_enabled.value else []
    if wanted.ipv4_enabled.value and sql_versions.engine(version_name(instance)) == "POSTGRES":
        kinds.append("OUTGOING")
    if wanted.private_network:
        kinds.append("PRIVATE")
    del instance.ip_addresses[:]
    for kind in kinds:
        instance.ip_addresses.add(type_=pb.number(pb.IpMapping, "type_", kind), ip_address=_address(instance, kind))


def is_plus(instance: pb.DatabaseInstance) -> bool:
    return bool(pb.name_of(instance.settings, "edition") == "ENTERPRISE_PLUS")


def zone(instance: pb.DatabaseInstance) -> str:
    """The zone that the server chooses; the same one for the same name."""
    return f"{instance.region}-{'abcf'[zlib.crc32(instance.name.encode()) % 3]}"


def etag(*parts: object) -> str:
    """Of the text of all parts, as long as Google's."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _complete_addresses(ip: pb.IpConfiguration) -> None:
    _default(ip, "ipv4_enabled", True)
    _default(ip, "require_ssl", False)
    for network in ip.authorized_networks:
        network.kind = "sql#aclEntry"
    ip.ssl_mode = ip.ssl_mode or pb.number(ip, "ssl_mode", "ALLOW_UNENCRYPTED_AND_ENCRYPTED")
    if not ip.HasField("server_certificate_rotation_mode"):
        ip.server_certificate_rotation_mode = 0


def _complete_backups(backups: pb.BackupConfiguration, plus: bool, engine: str) -> None:
    backups.kind = "sql#backupConfiguration"
    _default(backups, "enabled", plus)
    if plus and not backups.HasField("point_in_time_recovery_enabled") and engine == "POSTGRES":
        backups.point_in_time_recovery_enabled.value = True
    if plus and not backups.HasField("binary_log_enabled") and engine == "MYSQL":
        backups.binary_log_enabled.value = True
    backups.start_time = backups.start_time or "12:00"
    kept = backups.backup_retention_settings
    kept.retention_unit = kept.retention_unit or pb.number(kept, "retention_unit", "COUNT")
    _default(kept, "retained_backups", 15 if plus else 7)
    _default(backups, "transaction_log_retention_days", 14 if plus else 7)
    if not backups.HasField("transactional_log_storage_state"):
        backups.transactional_log_storage_state = 0
    if not backups.backup_tier:
        backups.backup_tier = pb.number(backups, "backup_tier", "STANDARD")


def _default(message: pb.Settings, field: str, value: object) -> None:
    """Set a wrapped value that is not there; false and 0 count as there."""
    if not message.HasField(field):
        wrapper = getattr(message, field)
        wrapper.value = value
        wrapper.SetInParent()


def _address(instance: pb.DatabaseInstance, kind: str) -> str:
    number = zlib.crc32(f"{instance.connection_name} {kind}".encode())
    start = (10, 91) if kind == "PRIVATE" else (34, 77)
    return ".".join(map(str, (*start, number >> 8 & 255, number & 253 | 2)))


def _add_certificate(instance: pb.DatabaseInstance, now: dt.datetime) -> None:
    """The instance's own authority, real but for that nothing is signed with it."""
    key, mark = ec.generate_private_key(ec.SECP256R1()), str(uuid.uuid4())
    ends = now + dt.timedelta(days=365 * CERTIFICATE_YEARS)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.DN_QUALIFIER, mark),
            x509.NameAttribute(NameOID.COMMON_NAME, "Google Cloud SQL Server CA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Google, Inc"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown = instance.server_ca_cert
    shown.kind, shown.instance, shown.cert_serial_number = "sql#sslCert", instance.name, "0"
    shown.cert = made.public_bytes(serialization.Encoding.PEM).decode()
    shown.common_name = f"C=US,O=Google\\, Inc,CN=Google Cloud SQL Server CA,dnQualifier={mark}"
    shown.sha1_fingerprint = made.fingerprint(hashes.SHA1()).hex()  # noqa: S303  Google's field is of this kind
    shown.create_time.FromDatetime(now)
    shown.expiration_time.FromDatetime(ends)
