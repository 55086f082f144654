"""The PostgreSQL of localcloud: real servers with Cloud SQL's roles."""

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from postgres_versions import VERSIONS

from localcloud.runtime.postgres import PostgresRefusedError, PostgresServer, PostgresStartError
from localcloud.runtime.postgres_files import live_postmaster
from localcloud.runtime.postgres_programs import (
    WAYS_OF_ROOT,
    PostgresMissingError,
    Unprivileged,
    choose,
    unprivileged,
)
from localcloud.runtime.processes import Processes

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADMIN_PASSWORD = "admin-password"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def processes() -> AsyncIterator[Processes]:
    running = Processes()
    yield running
    await running.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=VERSIONS)
async def server(request, processes, tmp_path_factory) -> AsyncIterator[PostgresServer]:
    instance = PostgresServer(tmp_path_factory.mktemp("pg") / "main", processes, version=request.param)
    await instance.start()
    await instance.create_user("admin", ADMIN_PASSWORD)
    yield instance
    await instance.delete()


async def connect(server: PostgresServer, user="admin", password=ADMIN_PASSWORD, **where) -> psycopg.AsyncConnection:
    place = {"host": str(server.socket_dir), "dbname": "postgres"} | where
    return await psycopg.AsyncConnection.connect(user=user, password=password, autocommit=True, **place)


async def one(connection: psycopg.AsyncConnection, query: str):
    cursor = await connection.execute(query)
    row = await cursor.fetchone()
    return row and row[0]


async def test_socket_is_the_default_port_and_short(server):
    """Clients that are told no port find the socket, on macOS too."""
    assert len(str(server.socket_dir / ".s.PGSQL.5432")) <= 104
    async with await connect(server) as connection:
        assert await one(connection, "SELECT inet_server_port()") is None


async def test_loopback_wants_the_password(server):
    """127.0.0.1 serves the same users, and trusts nobody."""
    async with await connect(server, host="127.0.0.1", port=server.port) as connection:
        assert await one(connection, "SELECT current_user") == "admin"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await connect(server, host="127.0.0.1", port=server.port, password="wrong")


@pytest.mark.parametrize("user", ["cloudsqladmin", "postgres", "nobody"])
async def test_no_other_door(server, user):
    """Neither the cloud's superuser nor a user without password can be reached by guessing."""
    with pytest.raises(psycopg.OperationalError):
        await connect(server, user=user, password="")
    with pytest.raises(psycopg.OperationalError):
        await connect(server, user=user, password="cloudsqladmin", host="127.0.0.1", port=server.port)


async def test_api_users_are_administrators_but_no_superusers(server):
    """As users.insert makes them."""
    async with await connect(server) as connection:
        cursor = await connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, pg_has_role(oid, 'cloudsqlsuperuser', 'MEMBER') "
            "FROM pg_roles WHERE rolname = current_user"
        )
        assert await cursor.fetchone() == (False, True, True, True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT pg_read_file('PG_VERSION')")


async def test_users_come_change_and_go(server):
    """Passwords change; a user who owns something stays, with Google's words."""
    await server.create_user("ana", "first")
    await server.set_password("ana", "second")
    assert await server.list_users() == ["admin", "ana", "postgres"]
    async with await connect(server, "ana", "second") as connection:
        await connection.execute("CREATE DATABASE anas")
    with pytest.raises(
        PostgresRefusedError, match=r'failed to delete user ana: \. role "ana" cannot be dropped because'
    ):
        await server.drop_user("ana")
    with pytest.raises(PostgresRefusedError, match=r"must be owner of database anas\. \(Please use psql client"):
        await server.drop_database("anas")
    async with await connect(server, "ana", "second") as connection:
        await connection.execute("DROP DATABASE anas")
    await server.drop_user("ana")
    assert await server.list_users() == ["admin", "postgres"]


async def test_reserved_and_missing_users_are_refused(server):
    """The cloud's own superuser cannot be changed through the API."""
    with pytest.raises(PostgresRefusedError, match="reserved"):
        await server.set_password("cloudsqladmin", "x")
    with pytest.raises(PostgresRefusedError, match="does not exist"):
        await server.set_password("ghost", "x")
    with pytest.raises(PostgresRefusedError, match="already exists"):
        await server.create_user("admin", "x")


async def test_databases_of_the_api(server):
    """Owned by cloudsqlsuperuser, listed without the cloud's own; one in use is not deleted."""
    await server.create_database("sales")
    assert [(d.name, d.charset, d.collation) for d in await server.list_databases()] == [
        ("postgres", "UTF8", "en_US.UTF8"),
        ("sales", "UTF8", "en_US.UTF8"),
    ]
    async with await connect(server, dbname="sales"):
        with pytest.raises(
            PostgresRefusedError, match=r'failed to delete database "sales"\. Detail: pq: .*being accessed'
        ):
            await server.drop_database("sales")
    deadline = time.monotonic() + 5
    while True:  # the server needs a moment to see that the client went
        try:
            await server.drop_database("sales")
            break
        except PostgresRefusedError:
            assert time.monotonic() < deadline
    with pytest.raises(PostgresRefusedError, match="does not exist"):
        await server.drop_database("sales")


async def test_extensions_of_cloud_sql(server):
    """An administrator creates them; what Cloud SQL does not offer cannot be created."""
    available = await server.available_extensions()
    assert {"pg_trgm", "unaccent", "hstore", "citext", "pg_stat_statements", "postgres_fdw"} <= set(available)
    assert "file_fdw" not in available
    await server.create_database("words")
    async with await connect(server, dbname="words") as connection:
        for name in ("pg_trgm", "unaccent", "hstore", "citext", "postgres_fdw", "pg_buffercache"):
            await connection.execute(f"CREATE EXTENSION {name}")
        assert await one(connection, "SELECT unaccent('été')") == "ete"
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="is not available"):
            await connection.execute("CREATE EXTENSION file_fdw")


async def test_flags_take_effect_and_bad_ones_are_undone(server):
    """max_connections after a restart; a value that the server refuses leaves it running as before."""
    await server.set_flags({"max_connections": "37", "cloudsql.iam_authentication": "on"})
    with pytest.raises(PostgresStartError, match="no_such_flag"):
        await server.set_flags({"no_such_flag": "1"})
    async with await connect(server) as connection:
        assert await one(connection, "SHOW max_connections") == "37"


async def test_state_and_port_survive_a_stop(server):
    """A stopped instance keeps its data, its users and its address."""
    await server.create_database("kept")
    port = server.port
    await server.stop()
    assert not server.is_running
    begun = time.monotonic()
    await server.start()
    assert time.monotonic() - begun < 3  # measured 0.05 s; slow machines are no failure
    assert server.port == port
    assert "kept" in {database.name for database in await server.list_databases()}


async def test_the_end_of_localcloud_leaves_no_socket_folder(server):
    """It lies outside of the cloud's own folder; the next start makes it again."""
    await server.close()
    assert not server.socket_dir.exists()
    await server.start()
    assert await server.list_databases()


async def test_the_socket_folder_stays_the_same(server):
    """Apps that run have it mounted, and meet the server there again after its restart."""
    before = server.socket_dir.stat().st_ino
    await server.stop()
    assert server.socket_dir.stat().st_ino == before
    await server.start()
    assert server.socket_dir.stat().st_ino == before


async def test_state_survives_kill_9(server):
    """What was committed is there after a crash."""
    async with await connect(server) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS facts (what text)")
        await connection.execute("INSERT INTO facts VALUES ('committed')")
    pid = live_postmaster(server._data / "postmaster.pid")
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.is_running:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await server.start()
    async with await connect(server) as connection:
        assert await one(connection, "SELECT what FROM facts") == "committed"


async def test_backup_restores_users_and_data(server, tmp_path):
    """Taken while it serves; a restore overwrites everything, also in another instance."""
    await server.create_database("before")
    await server.dump(tmp_path / "backup")
    await server.drop_database("before")
    await server.create_user("later", "x")
    await server.restore(tmp_path / "backup")
    assert "before" in {database.name for database in await server.list_databases()}
    assert "later" not in await server.list_users()
    await server.drop_database("before")


async def test_clone_is_another_instance(server, processes, tmp_path):
    """Both run side by side from one backup."""
    await server.dump(tmp_path / "backup")
    clone = PostgresServer(tmp_path / "clone", processes, version=server._version)
    await clone.restore(tmp_path / "backup")
    await clone.start()
    try:
        assert clone.port != server.port
        async with await connect(clone) as connection:
            assert await one(connection, "SELECT current_user") == "admin"
    finally:
        await clone.delete()


async def test_half_a_backup_is_refused(server, tmp_path):
    """An interrupted copy never overwrites an instance."""
    (tmp_path / "data").mkdir()
    with pytest.raises(FileNotFoundError, match="no complete backup"):
        await server.restore(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@pytest.mark.parametrize("way", WAYS_OF_ROOT[:2], ids=["namespace", "uid"])
async def test_root_runs_it_as_somebody_else(processes, tmp_path, way):
    """In a user namespace, or under another uid where those are forbidden; it stops, backs up and restores too."""
    instance = PostgresServer(tmp_path / "own", processes, version=18, run_as=way)
    try:
        await instance.start()
    except (PostgresStartError, PostgresMissingError) as error:
        pytest.skip(f"not permitted here: {error}")
    try:
        await instance.create_user("admin", ADMIN_PASSWORD)
        await instance.dump(tmp_path / "backup")
        await instance.restore(tmp_path / "backup")
        async with await connect(instance) as connection:
            assert await one(connection, "SELECT current_user") == "admin"
    finally:
        await instance.delete()


@dataclass(frozen=True)
class Neighbour(Unprivileged):
    """As another program that takes the port as soon as it was found free, once."""

    taken: list[socket.socket] = field(default_factory=list)

    def own(self, folder: Path) -> None:
        super().own(folder)
        settings = folder / "localcloud.conf"
        said = re.search(r"^port = '(\d+)'", settings.read_text(), re.MULTILINE) if settings.exists() else None
        if said and not self.taken:
            self.taken.append(socket.create_server(("127.0.0.1", int(said[1]))))


async def test_a_port_that_is_taken_meanwhile_is_given_up(processes, tmp_path):
    """The server takes another one."""
    way = await unprivileged((await choose(18)).programs)
    neighbour = Neighbour(way.prefix, way.uid)
    instance = PostgresServer(tmp_path / "main", processes, version=18, run_as=neighbour)
    await instance.start()
    try:
        (taken,) = neighbour.taken
        assert instance.port != taken.getsockname()[1]
        await instance.create_user("admin", ADMIN_PASSWORD)
        async with await connect(instance) as connection:
            assert await one(connection, "SELECT current_user") == "admin"
    finally:
        await instance.delete()
        for listener in neighbour.taken:
            listener.close()


async def test_a_missing_version_is_said(processes, tmp_path):
    """Another version may stand in, but never silently."""
    instance = PostgresServer(tmp_path / "nine", processes, version=9)
    await instance.start()
    try:
        assert "PostgreSQL 9 is not installed here" in instance.stands_in
    finally:
        await instance.delete()
