"""Driver of a Cloud SQL instance's administrator (gcp/behaviour.md, section 2). All other roles are db-init's."""

from __future__ import annotations

from collections.abc import Sequence

from google.cloud.sqladmin_v1 import Operation as SqlOperation
from google.cloud.sqladmin_v1 import (
    SqlInstancesServiceAsyncClient,
    SqlOperationsServiceAsyncClient,
    SqlUsersServiceAsyncClient,
)

from nuages.cloud.call import Call
from nuages.cloud.driver import Observed, Operation, Owned
from nuages.cloud.errors import Conflict, Invalid, NotFound, PermissionDenied
from nuages.cloud.payloads import Payloads
from nuages.cloud.runmapping import seconds
from nuages.cloud.sql import as_operation, operation_under_way
from nuages.desired.sql import SqlUser

NOT_RUNNING = "instance is not running"
UPDATE = SqlOperation.SqlOperationType.UPDATE_USER


class SqlUserDriver:
    """Google never shows a password: it is set at creation, and again only when asked to by the path "password"."""

    owned = Owned()

    def __init__(
        self,
        users: SqlUsersServiceAsyncClient,
        instances: SqlInstancesServiceAsyncClient,
        operations: SqlOperationsServiceAsyncClient,
        call: Call,
        payloads: Payloads,
    ) -> None:
        self._api, self._call, self._payloads = users, call, payloads
        self._instances, self._operations = instances, operations

    def scope(self, name: str) -> str:
        """The instance."""
        return name.rsplit("/", 2)[0]

    async def observe_all(self, scope: str) -> Sequence[Observed[SqlUser]]:
        """None on an instance that is missing, or does not run yet: nothing can be seen, and nothing be done."""
        try:
            found = await self._call(self._api.list, _instance(scope))
        except NotFound:
            return []
        except PermissionDenied:
            # Google answers 403 as well where the instance itself is missing.
            if await self._call.or_none(self._instances.get, _instance(scope)) is None:
                return []
            raise
        except Invalid as error:
            if NOT_RUNNING in error.cause:
                return []
            raise
        return [Observed(SqlUser(name=f"{scope}/users/{user.name}", password="")) for user in found.items]

    async def observe(self, name: str) -> Observed[SqlUser] | None:
        return next((item for item in await self.observe_all(self.scope(name)) if item.state.name == name), None)

    async def create(self, desired: SqlUser) -> Operation:
        user = {"name": desired.id, "password": (await self._payloads.current(desired.password)).decode()}
        request = {**_instance(desired.instance), "body": user}
        try:
            return as_operation(await self._call(self._api.insert, request), desired.name)
        except Conflict as error:
            return await self._under_way(desired, error)

    async def update(self, desired: SqlUser, observed: Observed[SqlUser], paths: Sequence[str]) -> Operation | None:
        if "password" not in paths:
            return None
        password = (await self._payloads.current(desired.password)).decode()
        body = {"name": desired.id, "password": password}
        request = {**_instance(desired.instance), "name": desired.id, "body": body}
        try:
            return as_operation(await self._call(self._api.update, request), desired.name)
        except Conflict as error:
            return await self._under_way(desired, error)

    async def set_password(self, desired: SqlUser, since: float) -> Operation | None:
        """What the secret holds, unless that was done at `since` (epoch seconds) or later. Raises CloudError."""
        page = await self._call(self._operations.list, {**_instance(desired.instance), "max_results": 10})
        for item in page.items:
            found = as_operation(item, desired.name)
            if item.operation_type == UPDATE and seconds(item.insert_time) >= since and found.error is None:
                return found
        return await self.update(desired, Observed(desired), ("password",))

    async def delete(self, name: str, etag: str = "") -> Operation | None:
        """The roles of an instance that has gone have gone with it."""
        if await self.observe(name) is None:
            return None
        request = {**_instance(self.scope(name)), "name": name.rsplit("/", 1)[1]}
        gone = await self._call.or_none(self._api.delete, request)
        return None if gone is None else as_operation(gone, name)

    async def _under_way(self, desired: SqlUser, error: Conflict) -> Operation:
        """Another operation on the instance, to wait for; raises the Conflict that led here where there is none."""
        found = await operation_under_way(self._operations, self._call, desired.instance)
        if found is None:
            raise error
        return Operation(found.service, found.name, desired.name)


def _instance(name: str) -> dict[str, str]:
    parts = name.split("/")
    return {"project": parts[1], "instance": parts[3]}
