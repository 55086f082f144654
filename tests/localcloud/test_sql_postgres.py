"""Cloud SQL instances that are real PostgreSQL servers, made and used as an operator does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from google.api_core import exceptions
from google.cloud import sqladmin_v1 as sql

from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.sqlsockets import SqlSockets

PLACE = {"project": "demo", "instance": "pg"}
CONNECTION = "demo:europe-west1:pg"
BODY = {
    "name": "pg",
    "region": "europe-west1",
    "database_version": "POSTGRES_15",
    "settings": {"tier": "db-custom-1-3840", "edition": "ENTERPRISE"},
}
ADMIN = "nuages-admin"


class Instance:
    """Google's clients, the cloud, and connections as an app opens them."""

    def __init__(self, cloud: LocalCloud, clients: Any) -> None:
        self.cloud = cloud
        self.instances = clients(sql.SqlInstancesServiceAsyncClient)
        self.users = clients(sql.SqlUsersServiceAsyncClient)
        self.databases = clients(sql.SqlDatabasesServiceAsyncClient)
        self.backups = clients(sql.SqlBackupRunsServiceAsyncClient)
        self.finals = clients(sql.SqlBackupsServiceAsyncClient)
        self.operations = clients(sql.SqlOperationsServiceAsyncClient)

    async def done(self, operation: Any) -> Any:
        deadline = time.monotonic() + 30
        while operation.status.name != "DONE":
            assert time.monotonic() < deadline, operation
            await asyncio.sleep(0.02)
            operation = await self.operations.get(request={"project": "demo", "operation": operation.name})
        return operation

    async def user(self, name: str, password: str) -> None:
        await self.users.insert(request={**PLACE, "body": {"name": name, "password": password}})

    async def connect(self, user: str, password: str, database: str = "postgres") -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            host=str(self.cloud.core.runtime.databases.socket_dir(CONNECTION)),
            user=user,
            password=password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    async def rows(self, user: str, password: str, query: str, database: str = "postgres") -> list[Any]:
        async with await self.connect(user, password, database) as connection:
            cursor = await connection.execute(query)
            return await cursor.fetchall() if cursor.description else []


@pytest.fixture
async def instance(cloud: LocalCloud, clients: Any) -> Instance:
    made = Instance(cloud, clients)
    operation = await made.done(await made.instances.insert(request={"project": "demo", "body": BODY}))
    assert not operation.error.errors, operation.error
    await made.user(ADMIN, "first")
    return made


async def test_the_administrator_logs_in_and_is_no_superuser(instance: Instance) -> None:
    """LOGIN, CREATEROLE, CREATEDB, in cloudsqlsuperuser; by password, through the socket."""
    query = """SELECT rolsuper, rolcreaterole, rolcreatedb, pg_has_role('cloudsqlsuperuser', 'member')
               FROM pg_roles WHERE rolname = current_user"""
    assert await instance.rows(ADMIN, "first", query) == [(False, True, True, True)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await instance.connect(ADMIN, "wrong")


async def test_the_administrator_may_create_extensions(instance: Instance) -> None:
    """Those that Django projects ask for."""
    for name in ("pg_trgm", "unaccent", "hstore", "citext"):
        await instance.rows(ADMIN, "first", f"CREATE EXTENSION {name}")
    found = await instance.rows(ADMIN, "first", "SELECT extname FROM pg_extension")
    assert {"pg_trgm", "unaccent", "hstore", "citext"} <= {name for (name,) in found}


async def test_passwords_change_and_are_never_shown(instance: Instance) -> None:
    """By name in the query, as clients send it."""
    await instance.users.update(request={**PLACE, "name": ADMIN, "body": {"name": ADMIN, "password": "second"}})
    assert await instance.rows(ADMIN, "second", "SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError):
        await instance.connect(ADMIN, "first")
    listed = await instance.users.list(request=PLACE)
    assert {(user.name, user.password) for user in listed.items} == {(ADMIN, ""), ("postgres", "")}


async def test_roles_made_in_sql_are_users_too(instance: Instance) -> None:
    """As Google lists them."""
    await instance.rows(ADMIN, "first", "CREATE ROLE shop_a LOGIN")
    found = await instance.users.get(request={**PLACE, "name": "shop_a"})
    assert found.name == "shop_a"


async def test_an_owner_of_objects_cannot_be_deleted(instance: Instance) -> None:
    """Google's text names the role; without objects it goes."""
    await instance.user("app", "x")
    await instance.databases.insert(request={**PLACE, "body": {"name": "shop"}})
    await instance.rows("app", "x", "CREATE TABLE thing (id int)", database="shop")
    text = (
        'Invalid request: failed to delete user app: . role "app" cannot be dropped because some objects depend on it'
    )
    with pytest.raises(exceptions.InvalidArgument, match=text):
        await instance.users.delete(request={**PLACE, "name": "app"})
    await instance.rows("app", "x", "DROP TABLE thing", database="shop")
    assert (await instance.users.delete(request={**PLACE, "name": "app"})).operation_type.name == "DELETE_USER"


async def test_connections_that_end_with_their_instance_are_no_error(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Cloud Run's: what it had open at /cloudsql is closed, and nothing of it is told as a failure of localcloud."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    monkeypatch.setattr(instance.cloud.core.policies, "allows", lambda *_, **__: True)
    sockets = SqlSockets(instance.cloud.core, "app@demo.iam.gserviceaccount.com", lambda *_: None)
    folder = await sockets.listen(CONNECTION)
    connection = await psycopg.AsyncConnection.connect(
        host=str(folder), user=ADMIN, password="first", dbname="postgres"
    )
    await connection.execute("SELECT 1")
    await sockets.close()
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    await connection.close()
    assert failures == []


async def test_only_what_cloudsqlsuperuser_owns_is_dropped(instance: Instance) -> None:
    """A database whose owner is another's role stays, with Google's advice."""
    await instance.databases.insert(request={**PLACE, "body": {"name": "shop"}})
    await instance.rows(ADMIN, "first", "CREATE DATABASE mine")
    ended = await instance.done(await instance.databases.delete(request={**PLACE, "database": "mine"}))
    assert "must be owner of database mine" in ended.error.errors[0].message
    await instance.done(await instance.databases.delete(request={**PLACE, "database": "shop"}))
    names = {database.name for database in (await instance.databases.list(request=PLACE)).items}
    assert names == {"mine", "postgres"}


async def test_the_machine_decides_how_many_may_connect(instance: Instance) -> None:
    """100 for 3.75 GB; a flag says otherwise, after a restart."""
    assert await instance.rows(ADMIN, "first", "SHOW max_connections") == [("100",)]
    body = {"settings": {"database_flags": [{"name": "max_connections", "value": "40"}]}}
    await instance.done(await instance.instances.patch(request={**PLACE, "body": body}))
    assert await instance.rows(ADMIN, "first", "SHOW max_connections") == [("40",)]


async def test_activation_policy_never_stops_the_server(instance: Instance) -> None:
    """And ALWAYS starts it, with all that was in it."""
    body = {"settings": {"activation_policy": "NEVER"}}
    await instance.done(await instance.instances.patch(request={**PLACE, "body": body}))
    with pytest.raises(psycopg.OperationalError):
        await instance.connect(ADMIN, "first")
    body = {"settings": {"activation_policy": "ALWAYS"}}
    await instance.done(await instance.instances.patch(request={**PLACE, "body": body}))
    assert await instance.rows(ADMIN, "first", "SELECT 1") == [(1,)]


async def test_a_backup_brings_everything_back(instance: Instance) -> None:
    """Databases and users are as they were; the run says when it succeeded."""
    await instance.rows(ADMIN, "first", "CREATE TABLE thing (id int)")
    operation = await instance.backups.insert(request={**PLACE, "body": {"description": "before"}})
    run = operation.backup_context.backup_id
    await instance.done(operation)
    found = await instance.backups.get(request={**PLACE, "id": run})
    assert (found.status.name, found.type_.name, found.description) == ("SUCCESSFUL", "ON_DEMAND", "before")
    await instance.rows(ADMIN, "first", "DROP TABLE thing")
    body = {"restore_backup_context": {"backup_run_id": run, "project": "demo", "instance_id": "pg"}}
    ended = await instance.done(await instance.instances.restore_backup(request={**PLACE, "body": body}))
    assert not ended.error.errors
    assert await instance.rows(ADMIN, "first", "SELECT count(*) FROM thing") == [(0,)]


async def test_a_final_backup_outlives_its_instance(instance: Instance) -> None:
    """It goes into an instance of any name: with data, users and passwords."""
    await instance.rows(ADMIN, "first", "CREATE TABLE thing (id int)")
    asked = {"enable_final_backup": True, "final_backup_ttl_days": 365, "final_backup_description": "the last"}
    assert not (await instance.done(await instance.instances.delete(request={**PLACE, **asked}))).error.errors
    with pytest.raises(exceptions.NotFound):
        await instance.instances.get(request=PLACE)
    (backup,) = (await instance.finals.list_backups(request={"parent": "projects/demo"})).backups
    assert (backup.state.name, backup.type_.name, backup.instance) == ("SUCCESSFUL", "FINAL", "pg")
    assert (backup.description, (backup.expiry_time - backup.instance_deletion_time).days) == ("the last", 365)
    assert await instance.finals.get_backup(request={"name": backup.name}) == backup
    new = {**PLACE, "instance": "new"}
    await instance.done(await instance.instances.insert(request={"project": "demo", "body": {**BODY, "name": "new"}}))
    restored = await instance.instances.restore_backup(request={**new, "body": {"backup": backup.name}})
    assert not (await instance.done(restored)).error.errors
    folder = instance.cloud.core.runtime.databases.socket_dir("demo:europe-west1:new")
    async with await psycopg.AsyncConnection.connect(
        host=str(folder), user=ADMIN, password="first", dbname="postgres"
    ) as connection:
        assert await (await connection.execute("SELECT count(*) FROM thing")).fetchall() == [(0,)]


async def test_a_final_backup_keeps_to_its_bounds(instance: Instance) -> None:
    """A year at most; and nothing goes of an instance that is protected."""
    asked = {**PLACE, "enable_final_backup": True, "final_backup_ttl_days": 366}
    with pytest.raises(exceptions.BadRequest, match="final_backup_ttl_days"):
        await instance.instances.delete(request=asked)
    body = {"settings": {"deletion_protection_enabled": True}}
    await instance.done(await instance.instances.patch(request={**PLACE, "body": body}))
    with pytest.raises(exceptions.BadRequest, match="protected"):
        await instance.instances.delete(request={**asked, "final_backup_ttl_days": 30})
    assert not (await instance.finals.list_backups(request={"parent": "projects/demo"})).backups


async def test_a_clone_has_the_users_and_data_of_its_source(instance: Instance) -> None:
    """And a server of its own."""
    await instance.rows(ADMIN, "first", "CREATE TABLE thing (id int)")
    body = {"clone_context": {"destination_instance_name": "copy"}}
    operation = await instance.instances.clone(request={**PLACE, "body": body})
    assert (operation.operation_type.name, operation.target_id) == ("CLONE", "copy")
    assert not (await instance.done(operation)).error.errors
    folder = instance.cloud.core.runtime.databases.socket_dir("demo:europe-west1:copy")
    assert folder != instance.cloud.core.runtime.databases.socket_dir(CONNECTION)
    async with await psycopg.AsyncConnection.connect(
        host=str(folder), user=ADMIN, password="first", dbname="postgres"
    ) as connection:
        assert await (await connection.execute("SELECT count(*) FROM thing")).fetchall() == [(0,)]


async def test_deletion_leaves_nothing(instance: Instance) -> None:
    """No server, no folder, no socket."""
    databases = instance.cloud.core.runtime.databases
    socket = databases.socket_dir(CONNECTION)
    await instance.done(await instance.instances.delete(request=PLACE))
    assert databases.socket_dir(CONNECTION) is None
    assert socket is not None
    assert not socket.exists()
    assert not list((instance.cloud.core.dir / "sql" / "instances" / "demo").iterdir())


async def test_users_and_data_survive_down_and_up(tmp_path: Path, clients: Any, authority: Path) -> None:
    """The server is started again by the state alone."""
    del authority, clients
    options = Options(dir=tmp_path / "cloud", speed=1000.0)
    socket, rows = "", "SELECT 1"
    async with LocalCloud(options) as cloud:
        await _make(cloud)
        server = cloud.core.runtime.databases.find(CONNECTION)
        assert server is not None
        await server.create_user("kept", "secret")
    async with LocalCloud(options) as cloud:
        socket = str(cloud.core.runtime.databases.socket_dir(CONNECTION))
        async with await psycopg.AsyncConnection.connect(
            host=socket, user="kept", password="secret", dbname="postgres"
        ) as connection:
            assert await (await connection.execute(rows)).fetchall() == [(1,)]


async def test_a_missing_version_is_stood_in_for(cloud: LocalCloud, clients: Any) -> None:
    """The instance says the version asked for; its log says what runs."""
    made = Instance(cloud, clients)
    body = {**BODY, "database_version": "POSTGRES_17"}
    await made.done(await made.instances.insert(request={"project": "demo", "body": body}))
    told = cloud.core.runtime.databases.stand_ins()
    if CONNECTION not in told:
        pytest.skip("PostgreSQL 17 is installed here")
    shown = await made.instances.get(request=PLACE)
    assert shown.database_version.name == "POSTGRES_17"
    entries = [entry["textPayload"] for entry in cloud.core.runtime.logs.entries() if "textPayload" in entry]
    assert told[CONNECTION] in entries


async def test_mysql_is_refused_by_name(cloud: LocalCloud, clients: Any) -> None:
    """MySQL is offered under --simulate only, and refused by name here."""
    body = {**BODY, "database_version": "MYSQL_8_0", "settings": {"tier": "db-f1-micro"}}
    with pytest.raises(exceptions.MethodNotImplemented, match="MYSQL_8_0, but for its API under --simulate"):
        await Instance(cloud, clients).instances.insert(request={"project": "demo", "body": body})


async def _make(cloud: LocalCloud) -> None:
    """An instance, over REST."""
    body = {**BODY, "databaseVersion": BODY["database_version"]}
    del body["database_version"]
    headers = {"Host": "sqladmin.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as http:
        await http.post(f"{cloud.rest}/v1/projects/demo/instances", json=body)
        deadline, state = time.monotonic() + 20, ""
        while state != "RUNNABLE" and time.monotonic() < deadline:
            shown = await (await http.get(f"{cloud.rest}/v1/projects/demo/instances/pg")).json()
            state = shown["state"]
            await asyncio.sleep(0.02)
        assert state == "RUNNABLE"
