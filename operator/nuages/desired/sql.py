"""Cloud SQL: an instance, and its one administrator. Databases and roles are made inside, by db-init."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nuages.desired.resource import Resource


@dataclass(frozen=True, slots=True)
class Backups:
    """Daily backups and point-in-time recovery; `start_time` HH:MM in UTC, `log_days` 0 turns recovery off."""

    retained: int
    start_time: str
    log_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlInstance(Resource):
    """`projects/P/instances/I`. `disk_gb` is a floor: it grows by itself up to `disk_limit_gb` and never shrinks.

    `connectors_only` is one too: whoever turns it on has closed a door that we do not need.
    """

    kind: ClassVar[str] = "sqladmin.googleapis.com/Instance"
    region: str
    database_version: str  # "POSTGRES_15"
    tier: str
    edition: str  # "ENTERPRISE" | "ENTERPRISE_PLUS"
    availability: str  # "ZONAL" | "REGIONAL"
    disk_gb: int
    disk_limit_gb: int
    backups: Backups
    maintenance_day: int  # 1 Monday … 7 Sunday
    maintenance_hour: int
    query_insights: bool
    flags: tuple[tuple[str, str], ...]  # sorted by name
    deletion_protection: bool
    private_network: str = ""  # full name of the network of a second, private address; "" for none
    connectors_only: bool = True  # nobody connects without Cloud SQL's proxy or connectors, which bring an identity
    authorized_networks: tuple[str, ...] = ()  # sorted; which addresses may connect to the public one without it
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def connection_name(self) -> str:
        """What Cloud Run mounts under /cloudsql."""
        return f"{self.project}:{self.region}:{self.id}"

    @property
    def keeps_data(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingSqlInstance(Resource):
    """An instance that somebody else made: only looked at. Its absence is an error of the field that names it."""

    kind: ClassVar[str] = "sqladmin.googleapis.com/Instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlUser(Resource):
    """`projects/P/instances/I/users/U` with the password in a secret, set once and again on request."""

    kind: ClassVar[str] = "sqladmin.googleapis.com/User"
    password: str  # full name of the secret

    @property
    def instance(self) -> str:
        return self.name.rsplit("/", 2)[0]
