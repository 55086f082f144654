"""SQL Admin v1: what is inside an instance, its databases and users (gcp/behaviour.md, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

from localcloud.api import sql_defaults, sql_errors, sql_versions
from localcloud.api.messages import sql as pb
from localcloud.api.sql_queue import Task, Work
from localcloud.api.sql_service import INSTANCE, Beta, SqlService
from localcloud.api.sql_state import Instances, user_key
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, not_modelled
from localcloud.core.service import rpc
from localcloud.runtime.databases import Server
from localcloud.runtime.postgres import Database, PostgresRefusedError

DATABASE = INSTANCE + "/databases/{database}"
USERS = INSTANCE + "/users"
COLLATIONS = {
    "POSTGRES": ("UTF8", "en_US.UTF8"),
    "MYSQL": ("utf8", "utf8_general_ci"),
    "SQLSERVER": ("", "SQL_Latin1_General_CP1_CI_AS"),
}


class DatabaseWorks:
    """What the operations on databases do."""

    def __init__(self, cloud: Cloud) -> None:
        self._sql = cloud.shared(Instances)
        self._sql.queue.register("updateDatabase", Work("sql.databases.change", self._updated))
        self._sql.queue.register("deleteDatabase", Work("sql.databases.change", self._deleted))

    async def _updated(self, task: Task) -> None:
        """The charset stays; another collation is what only MySQL changes, and that is simulated only."""
        _, server = self._sql.running(task.instance)
        name = task.arguments["database"]
        found = await _database(server, name)
        wanted = task.arguments["collation"] or found.collation
        if wanted == found.collation:
            return
        if not self._sql.servers.simulated:
            raise sql_errors.invalid(f'failed to update database "{name}". Detail: its collation cannot be changed.')
        await server.drop_database(name)
        await server.create_database(name, found.charset, wanted)

    async def _deleted(self, task: Task) -> None:
        _, server = self._sql.running(task.instance)
        try:
            await server.drop_database(task.arguments["database"])
        except PostgresRefusedError as error:
            raise sql_errors.refused(str(error)) from error


class SqlDatabases(SqlService):
    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlDatabasesService"

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        cloud.shared(DatabaseWorks)

    @rpc(f"POST {INSTANCE}/databases", body="body")
    async def insert(self, request: pb.SqlDatabasesInsertRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("databases.create", key)
        instance, server = self.sql.running(key)
        if not request.body.name:
            raise ApiError(Code.INVALID_ARGUMENT, "Missing parameter: name.", reason="required")
        usual = COLLATIONS[sql_versions.engine(sql_defaults.version_name(instance))]
        charset, collation = request.body.charset or usual[0], request.body.collation or usual[1]
        try:
            async with self.sql.queue.at_once("CREATE_DATABASE", key, "sql.databases.create") as operation:
                await server.create_database(request.body.name, charset, collation)
        except PostgresRefusedError as error:
            raise sql_errors.refused(str(error)) from error
        return self.shown(operation)

    @rpc(f"GET {DATABASE}")
    async def get(self, request: pb.SqlDatabasesGetRequest) -> pb.Database:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("databases.get", key)
        instance, server = self.sql.running(key)
        return self._database(instance, await _database(server, request.database))

    @rpc(f"GET {INSTANCE}/databases")
    async def list(self, request: pb.SqlDatabasesListRequest) -> pb.DatabasesListResponse:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("databases.list", key)
        instance, server = self.sql.running(key)
        items = [self._database(instance, database) for database in await server.list_databases()]
        return pb.DatabasesListResponse(kind="sql#databasesList", items=items)

    @rpc(f"PATCH {DATABASE}", body="body")
    async def patch(self, request: pb.SqlDatabasesUpdateRequest) -> pb.Operation:
        return await self.update(request)

    @rpc(f"PUT {DATABASE}", body="body")
    async def update(self, request: pb.SqlDatabasesUpdateRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("databases.update", key)
        _, server = self.sql.running(key)
        await _database(server, request.database)
        arguments = {"database": request.database, "collation": request.body.collation}
        return self.shown(self.sql.queue.start("UPDATE_DATABASE", key, "updateDatabase", **arguments))

    @rpc(f"DELETE {DATABASE}")
    async def delete(self, request: pb.SqlDatabasesDeleteRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("databases.delete", key)
        _, server = self.sql.running(key)
        await _database(server, request.database)
        arguments = {"database": request.database}
        return self.shown(self.sql.queue.start("DELETE_DATABASE", key, "deleteDatabase", **arguments))

    def _database(self, instance: pb.DatabaseInstance, found: Database) -> pb.Database:
        path = f"projects/{instance.project}/instances/{instance.name}/databases/{found.name}"
        return pb.Database(
            kind="sql#database",
            name=found.name,
            charset=found.charset,
            collation=found.collation,
            instance=instance.name,
            project=instance.project,
            self_link=self.link(path),
            etag=sql_defaults.etag(path, found.charset, found.collation),
        )


class SqlDatabasesBeta(Beta, SqlDatabases):
    grpc = "google.cloud.sql.v1beta4.SqlDatabasesService"


class SqlUsers(SqlService):
    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlUsersService"

    @rpc(f"POST {USERS}", body="body")
    async def insert(self, request: pb.SqlUsersInsertRequest) -> pb.Operation:
        key, sent = self.sql.key(request.project, request.instance), request.body
        self.sql.require("users.create", key)
        instance, server = self.sql.running(key)
        if not sent.name:
            raise ApiError(Code.INVALID_ARGUMENT, "Missing parameter: name.", reason="required")
        self._check_modelled(sent)
        host = (sent.host or "%") if _is_mysql(instance) else ""
        try:
            async with self.sql.queue.at_once("CREATE_USER", key, "sql.users.change") as operation:
                await server.create_user(_account(instance, sent.name, host), sent.password)
        except PostgresRefusedError as error:
            raise sql_errors.refused(str(error)) from error
        self._keep(key, sent, host)
        return self.shown(operation)

    @rpc(f"GET {USERS}/{{name}}")
    async def get(self, request: pb.SqlUsersGetRequest) -> pb.User:
        key = self.sql.key(request.project, request.instance)
        return (await self._there("users.get", key, request.name, request.host))[2]

    @rpc(f"GET {USERS}")
    async def list(self, request: pb.SqlUsersListRequest) -> pb.UsersListResponse:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("users.list", key)
        instance, server = self.sql.running(key)
        return pb.UsersListResponse(kind="sql#usersList", items=await self._users(key, instance, server))

    @rpc(f"PUT {USERS}", body="body")
    async def update(self, request: pb.SqlUsersUpdateRequest) -> pb.Operation:
        """Only what the query names, the password and its policy count (behaviour-runtime.md, section 8)."""
        key, name = self.sql.key(request.project, request.instance), request.name or request.body.name
        instance, server, found = await self._there("users.update", key, name, request.host)
        if (request.database_roles or request.revoke_existing_roles) and not self.cloud.simulate:
            raise not_modelled("databaseRoles of a user")
        try:
            async with self.sql.queue.at_once("UPDATE_USER", key, "sql.users.change") as operation:
                if request.body.password:
                    await server.set_password(_account(instance, name, found.host), request.body.password)
        except PostgresRefusedError as error:
            raise sql_errors.refused(str(error)) from error
        if request.body.HasField("password_policy"):
            found.password_policy.CopyFrom(request.body.password_policy)
        before = () if request.revoke_existing_roles else tuple(found.database_roles)
        found.database_roles[:] = dict.fromkeys((*before, *request.database_roles))
        self._keep(key, found, found.host)
        return self.shown(operation)

    @rpc(f"DELETE {USERS}")
    async def delete(self, request: pb.SqlUsersDeleteRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        instance, server, found = await self._there("users.delete", key, request.name, request.host)
        try:
            async with self.sql.queue.at_once("DELETE_USER", key, "sql.users.change") as operation:
                await server.drop_user(_account(instance, request.name, found.host))
        except PostgresRefusedError as error:
            raise sql_errors.refused(str(error)) from error
        self.sql.users.remove(user_key(key, request.name, found.host))
        return self.shown(operation)

    # what is kept beside the server's own list: no password, ever

    async def _users(self, key: str, instance: pb.DatabaseInstance, server: Server) -> Sequence[pb.User]:
        """The server knows who is there; those made in SQL are shown too, as Google does."""
        kept = {_account(instance, user.name, user.host): user for user in self.sql.users.under(key)}
        return [self._shown(instance, account, kept.get(account)) for account in await server.list_users()]

    async def _there(
        self, permission: str, key: str, name: str, host: str
    ) -> tuple[pb.DatabaseInstance, Server, pb.User]:
        """By name and host; where none is exactly so, "%" and no host stand for any (recorded: a PUT with host=%)."""
        self.sql.require(permission, key)
        instance, server = self.sql.running(key)
        account = _account(instance, name, host)
        users = await self._users(key, instance, server)
        exact = next((user for user in users if _account(instance, user.name, user.host) == account), None)
        alike = (user for user in users if user.name == name and host in ("", "%"))
        found = exact or next(alike, None)
        if found is None:
            raise sql_errors.no_user(name)
        return instance, server, found

    def _shown(self, instance: pb.DatabaseInstance, account: str, kept: pb.User | None) -> pb.User:
        mysql = _is_mysql(instance)
        name, _, host = account.rpartition("@") if mysql else (account, "", "")
        user = pb.User(kind="sql#user", name=name, host=host, instance=instance.name, project=instance.project)
        user.etag = kept.etag if kept is not None else sql_defaults.etag(instance.connection_name, name)
        if kept is not None and kept.HasField("password_policy"):
            user.password_policy.CopyFrom(kept.password_policy)
        if mysql:
            user.password_policy.status.SetInParent()
        if kept is not None:
            user.type_ = kept.type_
            user.database_roles.MergeFrom(kept.database_roles)
        return user

    def _keep(self, key: str, sent: pb.User, host: str) -> None:
        kept = pb.User(name=sent.name, host=host, type_=sent.type_, database_roles=sent.database_roles)
        kept.etag = sql_defaults.etag(key, sent.name, self.cloud.clock.now())
        if sent.HasField("password_policy"):
            kept.password_policy.CopyFrom(sent.password_policy)
            policy = kept.password_policy
            if policy.HasField("password_expiration_duration"):
                ends = self.cloud.clock.now() + policy.password_expiration_duration.ToTimedelta()
                policy.status.password_expiration_time.FromDatetime(ends)
        self.sql.users.put(user_key(key, sent.name, host), kept)

    def _check_modelled(self, sent: pb.User) -> None:
        if self.cloud.simulate:
            return
        if pb.name_of(sent, "type_") != "BUILT_IN":
            raise not_modelled(f"database users of type {pb.name_of(sent, 'type_')}")
        if sent.database_roles or sent.server_roles or sent.HasField("sqlserver_user_details"):
            raise not_modelled("databaseRoles of a user")


class SqlUsersBeta(Beta, SqlUsers):
    grpc = "google.cloud.sql.v1beta4.SqlUsersService"


async def _database(server: Server, name: str) -> Database:
    """Raises 404."""
    found = next((database for database in await server.list_databases() if database.name == name), None)
    if found is None:
        raise sql_errors.not_found(name)
    return found


def _account(instance: pb.DatabaseInstance, name: str, host: str) -> str:
    """How the server knows a user: MySQL by name and host, which may hold no @."""
    return f"{name}@{host or '%'}" if _is_mysql(instance) else name


def _is_mysql(instance: pb.DatabaseInstance) -> bool:
    return sql_versions.engine(sql_defaults.version_name(instance)) == "MYSQL"
