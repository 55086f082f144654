"""Drivers of Cloud SQL instances: ours, and those that somebody else made (gcp/behaviour.md, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from google.cloud.sqladmin_v1 import Operation as SqlOperation
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient, SqlOperationsServiceAsyncClient

from nuages.cloud import sqlmapping
from nuages.cloud.call import Call
from nuages.cloud.driver import Observed, Operation, Owned, Readiness
from nuages.cloud.errors import CloudError, Conflict, Invalid, NameReserved, QuotaExceeded, Transient
from nuages.cloud.paging import all_pages
from nuages.desired.sql import ExistingSqlInstance, SqlInstance

PAGE = 1000
BACKUP_DAYS = 365  # the longest that Google keeps a final backup (gcloud sql instances delete)
TAKEN = "already exists"  # by an instance, or by one that was deleted less than a week ago
STALE = "Condition does not match"  # settingsVersion
DONE = SqlOperation.SqlOperationStatus.DONE
Type = SqlOperation.SqlOperationType
OF_INSTANCE = {  # what decides whether it runs: no export, backup, user or database
    *(Type.CREATE, Type.CLONE, Type.CREATE_CLONE, Type.CREATE_REPLICA, Type.RECREATE_REPLICA, Type.PROMOTE_REPLICA),
    *(
        Type.UPDATE,
        Type.RESTART,
        Type.AUTO_RESTART,
        Type.RESTORE_VOLUME,
        Type.FAILOVER,
        Type.SWITCHOVER,
        Type.REENCRYPT,
    ),
    *(Type.MAINTENANCE, Type.SELF_SERVICE_MAINTENANCE, Type.CLUSTER_MAINTENANCE, Type.MAJOR_VERSION_UPGRADE),
}


class SqlInstanceDriver:
    """One operation at a time per instance: where another one is under way, that is the one to wait for."""

    owned = Owned(
        mutable=(
            "tier",
            "edition",
            "availability",
            "disk_limit_gb",
            "backups",
            "maintenance_day",
            "maintenance_hour",
            "query_insights",
            "flags",
            "deletion_protection",
            "authorized_networks",
            "labels",
        ),
        immutable=("region", "database_version"),
        floors=("disk_gb", "connectors_only"),
        lasting=("private_network",),  # cloud.google.com/sql/docs/postgres/configure-private-ip: cannot be disabled
    )

    def __init__(
        self,
        instances: SqlInstancesServiceAsyncClient,
        operations: SqlOperationsServiceAsyncClient,
        call: Call,
    ) -> None:
        self._api, self._call = instances, call
        self._operations = operations

    def scope(self, name: str) -> str:
        return "/".join(name.split("/")[:2])

    async def observe_all(self, scope: str) -> Sequence[Observed[SqlInstance]]:
        request = {"project": scope.split("/")[1], "max_results": PAGE}
        found = await all_pages(self._call, self._api.list, request, "items")
        return [sqlmapping.observed(f"{scope}/instances/{item.name}", item) for item in found]

    async def observe(self, name: str) -> Observed[SqlInstance] | None:
        found = await self._call.or_none(self._api.get, named(name))
        if found is None:
            return None
        seen = sqlmapping.observed(name, found)
        is_failed = seen.readiness is Readiness.FAILED and seen.reason != sqlmapping.SOMEBODY_STOPPED
        return await self._explained(seen) if is_failed else seen

    async def create(self, desired: SqlInstance) -> Operation:
        """Raises NameReserved where the name is taken and nothing bears it (behaviour.md, section 2)."""
        request = {"project": desired.project, "body": sqlmapping.creation(desired)}
        try:
            return as_operation(await self._call(self._api.insert, request), desired.name)
        except Conflict as error:
            if TAKEN in error.cause and await self.observe(desired.name) is None:
                raise NameReserved(error.cause) from error
            raise

    async def update(self, desired: SqlInstance, observed: Observed[SqlInstance], paths: Sequence[str]) -> Operation:
        """Of the observed version: raises Conflict where it has changed since.

        The edition, with the tier that belongs to it, is a change of its own: the rest follows in another pass.
        """
        fields = {"edition", "tier"} if "edition" in paths else set(paths)
        found = await self._call(self._api.get, named(desired.name))
        settings = sqlmapping.changed(found.settings, desired, fields, int(observed.outputs["settings_version"]))
        body = {"region": found.region, "database_version": found.database_version, "settings": settings}
        try:
            changed = await self._call(self._api.update, {**named(desired.name), "body": body})
        except Conflict as error:
            return await self._under_way(desired.name, error)
        except Invalid as error:
            if STALE in error.cause:  # 412 over REST, FAILED_PRECONDITION over gRPC
                raise Conflict(error.cause) from error
            raise
        return as_operation(changed, desired.name)

    async def delete(self, name: str, etag: str = "", final_backup: str = "") -> Operation | None:
        """`final_backup`: the description of a backup that is taken before, and outlives the instance by a year."""
        request: dict[str, object] = {**named(name)}
        if final_backup:
            request |= {"enable_final_backup": True, "final_backup_ttl_days": BACKUP_DAYS}
            request |= {"final_backup_description": final_backup}
        try:
            gone = await self._call.or_none(self._api.delete, request)
        except Conflict as error:
            return await self._under_way(name, error)
        return None if gone is None else as_operation(gone, name)

    async def _explained(self, seen: Observed[SqlInstance]) -> Observed[SqlInstance]:
        """A failed instance does not say why; the last operation that made or changed it does, where it failed."""
        page = await self._call(self._operations.list, {**named(seen.state.name), "max_results": 100})  # newest first
        last = next((item for item in page.items if item.operation_type in OF_INSTANCE), None)
        failure = None if last is None else _failure(last)
        return seen if failure is None else replace(seen, message=failure.cause)

    async def _under_way(self, name: str, error: Conflict) -> Operation:
        """What keeps the instance busy; raises the Conflict that led here where there is nothing."""
        found = await operation_under_way(self._operations, self._call, name)
        if found is None:
            raise error
        return found


class ExistingSqlInstanceDriver:
    """Only looks."""

    owned = Owned()

    def __init__(self, instances: SqlInstanceDriver) -> None:
        self._instances = instances

    def scope(self, name: str) -> str:
        """None: a few names are looked up one by one."""
        return ""

    async def observe_all(self, scope: str) -> Sequence[Observed[ExistingSqlInstance]]:
        return []

    async def observe(self, name: str) -> Observed[ExistingSqlInstance] | None:
        found = await self._instances.observe(name)
        if found is None:
            return None
        state = ExistingSqlInstance(name=name)
        return Observed(state, found.readiness, found.message, found.reason, found.outputs, found.etag)

    async def create(self, desired: ExistingSqlInstance) -> None:
        raise Invalid(f"The instance {desired.id} is not ours to make.")

    async def update(
        self, desired: ExistingSqlInstance, observed: Observed[ExistingSqlInstance], paths: Sequence[str]
    ) -> None:
        raise Invalid(f"The instance {desired.id} is not ours to change.")

    async def delete(self, name: str, etag: str = "") -> None:
        raise Invalid(f"The instance {name.rsplit('/', 1)[1]} is not ours to delete.")


async def operation_under_way(api: SqlOperationsServiceAsyncClient, call: Call, instance: str) -> Operation | None:
    """The operation that keeps an instance (full name) busy, if any. Raises CloudError."""
    page = await call(api.list, {**named(instance), "max_results": 10})  # newest first
    busy = next((item for item in page.items if item.status != DONE), None)
    return None if busy is None else as_operation(busy, instance)


def as_operation(found: SqlOperation, resource: str) -> Operation:
    """`resource`: full name of what it works on."""
    project = resource.split("/")[1]
    done = found.status == DONE
    return Operation("sql", f"projects/{project}/operations/{found.name}", resource, done, _failure(found))


def _failure(found: SqlOperation) -> CloudError | None:
    """These errors have words for codes, of which only the few are told apart that no waiting heals."""
    words = "; ".join(error.message or error.code for error in found.error.errors)
    codes = " ".join(error.code for error in found.error.errors).lower()
    if not words:
        return None
    if "quota" in codes:
        return QuotaExceeded(words)
    return Invalid(words) if "invalid" in codes else Transient(words)


def named(name: str) -> dict[str, str]:
    """What a request calls the instance with this full name."""
    parts = name.split("/")
    return {"project": parts[1], "instance": parts[3]}
