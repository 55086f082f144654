"""SQL Admin v1: operations, flags, tiers (gcp/behaviour.md, section 2)."""

from __future__ import annotations

from localcloud.api import listing, sql_errors, sql_versions
from localcloud.api.messages import sql as pb
from localcloud.api.sql_service import Beta, SqlService
from localcloud.core.service import rpc

OPERATION = "/v1/projects/{project}/operations/{operation}"
REGIONS = (
    "asia-northeast1",
    "asia-southeast1",
    "australia-southeast1",
    "europe-north1",
    "europe-west1",
    "europe-west2",
    "europe-west3",
    "europe-west4",
    "southamerica-east1",
    "us-central1",
    "us-east1",
    "us-east4",
    "us-west1",
)
DISK_QUOTA = 64 << 40
SHARED_DISK_QUOTA = 3 << 40


class SqlOperations(SqlService):
    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlOperationsService"

    @rpc(f"GET {OPERATION}")
    async def get(self, request: pb.SqlOperationsGetRequest) -> pb.Operation:
        project = self.sql.project(request.project).id
        self.sql.require("instances.get", f"projects/{project}")
        return self.shown(self.sql.queue.get(project, request.operation))

    @rpc("GET /v1/projects/{project}/operations")
    async def list(self, request: pb.SqlOperationsListRequest) -> pb.OperationsListResponse:
        """Newest first."""
        project = self.sql.project(request.project).id
        self.sql.require("instances.get", f"projects/{project}")
        found = [self.shown(operation) for operation in self.sql.queue.under(project, request.instance)]
        items, token = listing.page(found, request.max_results, request.page_token, 500, 1000)
        return pb.OperationsListResponse(kind="sql#operationsList", items=items, next_page_token=token)

    @rpc(f"POST {OPERATION}/cancel")
    async def cancel(self, request: pb.SqlOperationsCancelRequest) -> pb.Operation:
        """Google cancels imports and exports only, which there are none of here."""
        project = self.sql.project(request.project).id
        self.sql.require("instances.update", f"projects/{project}")
        self.sql.queue.get(project, request.operation)
        raise sql_errors.invalid("The operation cannot be cancelled.")


class SqlOperationsBeta(Beta, SqlOperations):
    grpc = "google.cloud.sql.v1beta4.SqlOperationsService"


class SqlFlags(SqlService):
    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlFlagsService"

    @rpc("GET /v1/flags")
    async def list(self, request: pb.SqlFlagsListRequest) -> pb.FlagsListResponse:
        wanted = request.database_version
        items = [
            _flag(flag, [version for version in versions if not wanted or version == wanted])
            for flags, versions in (
                (sql_versions.POSTGRES_FLAGS, _versions("POSTGRES")),
                (sql_versions.MYSQL_FLAGS, _versions("MYSQL")),
            )
            for flag in flags
            if not wanted or wanted in versions
        ]
        return pb.FlagsListResponse(kind="sql#flagsList", items=items)


class SqlFlagsBeta(Beta, SqlFlags):
    grpc = "google.cloud.sql.v1beta4.SqlFlagsService"


class SqlTiers(SqlService):
    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlTiersService"

    @rpc("GET /v1/projects/{project}/tiers")
    async def list(self, request: pb.SqlTiersListRequest) -> pb.TiersListResponse:
        project = self.sql.project(request.project).id
        self.sql.require("instances.list", f"projects/{project}")
        return pb.TiersListResponse(kind="sql#tiersList", items=[_tier(tier) for tier in sql_versions.TIERS])


class SqlTiersBeta(Beta, SqlTiers):
    grpc = "google.cloud.sql.v1beta4.SqlTiersService"


def _versions(engine: str) -> list[str]:
    return [version for version in sql_versions.INSTALLED if sql_versions.engine(version) == engine]


def _flag(flag: sql_versions.Flag, versions: list[str]) -> pb.Flag:
    numbers = [pb.number(pb.DatabaseInstance, "database_version", version) for version in versions]
    shown = pb.Flag(kind="sql#flag", name=flag.name, applies_to=numbers, allowed_string_values=flag.values)
    shown.type_ = pb.number(shown, "type_", flag.kind)
    shown.requires_restart.value = flag.restart
    shown.requires_restart.SetInParent()
    if flag.low is not None:
        shown.min_value.value = flag.low
        shown.min_value.SetInParent()
    if flag.high is not None:
        shown.max_value.value = flag.high
    return shown


def _tier(tier: sql_versions.Tier) -> pb.Tier:
    quota = SHARED_DISK_QUOTA if tier.name in sql_versions.SHARED_MB else DISK_QUOTA
    return pb.Tier(kind="sql#tier", tier=tier.name, RAM=tier.memory_mb << 20, Disk_Quota=quota, region=REGIONS)
