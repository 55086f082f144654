"""`spec.database`: the instance, the database and who connects to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nuages.api import defaults, values
from nuages.api.lists import SET
from nuages.api.rules import Part, Rule, given

Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class Backups(Part):
    """Automatic backups."""

    retained: int = Field(defaults.BACKUPS_RETAINED, ge=1, le=365, description="Backups that are kept. Default: 7.")
    start_time: values.TimeOfDay = Field(defaults.BACKUP_START_TIME, description='When, in UTC. Default: "03:00".')
    point_in_time_recovery_days: int = Field(
        defaults.POINT_IN_TIME_RECOVERY_DAYS, ge=0, le=35, description="Days of log; 0 for none. Default: 7."
    )


class MaintenanceWindow(Part):
    """When Google may restart the instance."""

    day: Day = Field(defaults.MAINTENANCE_DAY, description="Day of the week. Default: Sunday.")
    hour: int = Field(defaults.MAINTENANCE_HOUR, ge=0, le=23, description="Hour in UTC. Default: 4.")


_PLUS = "db-(perf-optimized|c4a)-"


class CreateInstance(Part):
    """A Cloud SQL instance that Nuages creates."""

    rules = (
        Rule(
            cel=f"{given('storageLimitGiB', defaults.STORAGE_LIMIT_GIB)} >= "
            f"{given('storageGiB', defaults.STORAGE_GIB)}",
            message="Is less than storageGiB. Raise it (100 by default).",
            check=lambda create: create.storage_limit_gib >= create.storage_gib,
            field="storageLimitGiB",
        ),
        Rule(
            cel=f"({given('edition', defaults.EDITION)} == 'EnterprisePlus') == "
            f"{given('tier', defaults.TIER)}.matches('^{_PLUS}')",
            message="Is no tier of this edition. Use db-perf-optimized-N-<n> with EnterprisePlus, "
            "db-custom-<cpus>-<MiB> with Enterprise.",
            check=lambda create: (
                (create.edition == "EnterprisePlus") == create.tier.startswith(("db-perf-optimized-", "db-c4a-"))
            ),
            field="tier",
        ),
        Rule(
            cel=f"{given('edition', defaults.EDITION)} == 'EnterprisePlus' || "
            f"{given('backups.pointInTimeRecoveryDays', defaults.POINT_IN_TIME_RECOVERY_DAYS)} <= 7",
            message="Edition Enterprise keeps at most 7 days of log. Lower it, or use EnterprisePlus.",
            check=lambda create: create.edition == "EnterprisePlus" or create.backups.point_in_time_recovery_days <= 7,
            field="backups.pointInTimeRecoveryDays",
        ),
        Rule(
            cel="!has(self.flags) || self.flags.all(k, k.matches('^[a-z][a-z0-9_.]*$'))",
            message="Is no flag of PostgreSQL. Use names such as max_connections.",
            check=lambda create: all(values.FLAG_NAME.fullmatch(name) for name in create.flags),
            field="flags",
        ),
    )

    tier: values.Tier = Field(defaults.TIER, description="Machine type. Default: db-custom-1-3840.")
    edition: Literal["Enterprise", "EnterprisePlus"] = Field(defaults.EDITION, description="Cloud SQL edition.")
    availability: Literal["Zonal", "Regional"] = Field(
        defaults.AVAILABILITY, description="Regional has a standby in another zone. Default: Zonal."
    )
    storage_gib: int = Field(
        defaults.STORAGE_GIB,
        alias="storageGiB",
        ge=10,
        le=65536,
        description="Disk at first; never shrunk. Default: 20.",
    )
    storage_limit_gib: int = Field(
        defaults.STORAGE_LIMIT_GIB,
        alias="storageLimitGiB",
        ge=10,
        le=65536,
        description="The disk grows by itself to here. Default: 100.",
    )
    backups: Backups = Field(Backups(), description="Automatic backups.")
    maintenance_window: MaintenanceWindow = Field(MaintenanceWindow(), description="When Google may restart it.")
    query_insights: bool = Field(defaults.QUERY_INSIGHTS, description="Query statistics. Default: true.")
    flags: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=64)] = Field(
        defaults.DATABASE_FLAGS, description='Database flags. Default: max_connections: "100".'
    )
    deletion_protection: bool = Field(
        defaults.DELETION_PROTECTION, description="Google refuses to delete it. Default: true."
    )
    ip: Literal["Auto", "Private", "Public"] = Field(
        defaults.DATABASE_IP,
        description="Private adds an address in the tenant's network; Auto does where it has private services access. "
        "The app itself uses Cloud Run's socket, which needs the public one.",
    )


class Instance(Part):
    """An instance that is there, or one to create."""

    rules = (
        Rule(
            cel="has(self.existing) != has(self.create)",
            message="Has not exactly one of existing and create. Give one.",
            check=lambda instance: (instance.existing is None) != (instance.create is None),
        ),
    )

    existing: values.InstanceName | None = Field(
        None, description="An instance of the tenant's project; the tenant must allow it."
    )
    create: CreateInstance | None = Field(None, description="An instance of its own.")


class Database(Part):
    """The app's database."""

    engine: Literal["PostgreSQL", "None"] = Field(
        defaults.ENGINE, description="None: the app has no database, or brings its own in env."
    )
    version: Literal["13", "14", "15", "16", "17", "18"] = Field(
        defaults.DATABASE_VERSION, description='Major version of a created instance. Default: "15".'
    )
    instance: Instance | None = Field(None, description="Default: the tenant's; without one, an instance of its own.")
    name: values.DatabaseName | None = Field(None, description="Name of the database. Default: the app's.")
    extensions: Annotated[tuple[values.Extension, ...], Field(max_length=64), SET] = Field(
        defaults.EXTENSIONS, description="PostgreSQL extensions. Default: pg_trgm, unaccent, hstore, citext."
    )
    connections_per_instance: int = Field(
        defaults.CONNECTIONS_PER_INSTANCE,
        ge=1,
        le=100,
        description="Connections that one instance of the app opens, for the budget. Default: 8.",
    )
    allow_over_budget: bool = Field(
        defaults.ALLOW_OVER_BUDGET, description="Release although the connections may exceed max_connections."
    )

    @property
    def enabled(self) -> bool:
        """Whether the app has a database that Nuages cares for."""
        return self.engine != "None"
