"""The servers behind Cloud SQL instances: real PostgreSQL, or under `--simulate` nothing but what they would know."""

from __future__ import annotations

import abc
import asyncio
import json
import logging
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from localcloud.runtime.postgres import Database, PostgresRefusedError, PostgresServer

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

logger = logging.getLogger(__name__)

VERSION = re.compile(r"(POSTGRES|MYSQL)_(\d+)(?:_(\d+))?")
ADMINISTRATORS = {"POSTGRES": "postgres", "MYSQL": "root@%", "SQLSERVER": "sqlserver"}
LOG = {"POSTGRES": "cloudsql.googleapis.com/postgres.log", "MYSQL": "cloudsql.googleapis.com/mysql.err"}


class Server(Protocol):
    """One instance's server; PostgresServer is the real one. All but `set_flags` and `stop` want it running."""

    socket_dir: Path

    @property
    def stands_in(self) -> str | None:
        """The sentence to show where another version stands in for the one asked for."""

    @property
    def is_running(self) -> bool: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None:
        """At the end of localcloud: stopped, and nothing left outside of its folder."""

    async def set_flags(self, flags: Mapping[str, str]) -> None: ...

    async def create_user(self, name: str, password: str) -> None:
        """Raises PostgresRefusedError with Google's words, as the others below do."""

    async def set_password(self, name: str, password: str) -> None: ...

    async def drop_user(self, name: str) -> None: ...

    async def list_users(self) -> list[str]: ...

    async def create_database(self, name: str, charset: str = ..., collation: str = ...) -> None: ...

    async def drop_database(self, name: str) -> None: ...

    async def list_databases(self) -> list[Database]: ...

    async def dump(self, path: Path) -> None: ...

    async def restore(self, path: Path) -> None: ...

    async def delete(self) -> None: ...


class Servers(abc.ABC):
    """Servers by connection name (`P:R:I`). `on_close` holds what must end before them."""

    simulated: bool

    def __init__(self, cloud: Cloud) -> None:
        self.on_close: list[Callable[[], Awaitable[None]]] = []
        self._cloud = cloud
        self._folder = cloud.dir / "sql"
        self._servers: dict[str, Server] = {}

    def add(self, connection_name: str, version: str, flags: Mapping[str, str]) -> Server:
        """The server of an instance that exists; not started. `version`: the API's, such as POSTGRES_16."""
        if connection_name not in self._servers:
            self._servers[connection_name] = self._make(connection_name, version, flags)
        return self._servers[connection_name]

    def find(self, connection_name: str) -> Server | None:
        return self._servers.get(connection_name)

    def socket_dir(self, connection_name: str) -> Path | None:
        """Where the socket is while the server runs; None for an instance that does not exist."""
        server = self._servers.get(connection_name)
        return None if server is None else server.socket_dir

    def stand_ins(self) -> dict[str, str]:
        """Connection name -> why another version runs than the one asked for."""
        return {name: server.stands_in for name, server in self._servers.items() if server.stands_in}

    async def remove(self, connection_name: str) -> None:
        """Stop it and remove all that it kept, its backups too."""
        server = self._servers.pop(connection_name, None)
        if server is not None:
            await server.delete()
        await asyncio.to_thread(shutil.rmtree, self.backups(connection_name), ignore_errors=True)

    def backups(self, connection_name: str) -> Path:
        """The folder of an instance's backups."""
        return self._folder / "backups" / self._path(connection_name)

    @property
    def final_backups(self) -> Path:
        """The folder of backups that outlive their instances."""
        return self._folder / "final"

    async def close(self) -> None:
        """Stop all of them; they are found again by `add`."""
        for ending in self.on_close:
            await ending()
        await asyncio.gather(*(server.close() for server in self._servers.values()))

    @abc.abstractmethod
    def say_stand_in(self, connection_name: str) -> None:
        """Tell, in the instance's log and localcloud's, when another version runs than the one asked for."""

    @abc.abstractmethod
    def _make(self, connection_name: str, version: str, flags: Mapping[str, str]) -> Server:
        """A server that is not started yet."""

    def _path(self, connection_name: str) -> Path:
        project, _, instance = connection_name.split(":")
        return Path(project) / instance


class Databases(Servers):
    """Real PostgreSQL servers."""

    simulated = False

    def _make(self, connection_name: str, version: str, flags: Mapping[str, str]) -> Server:
        found = VERSION.fullmatch(version)
        processes = self._cloud.runtime.processes
        if found is None or found.group(1) != "POSTGRES" or processes is None:
            raise ValueError(f"{version} does not run here.")
        folder = self._folder / "instances" / self._path(connection_name)

        def heard(_: str, line: str) -> None:
            self.log(connection_name, line)

        return PostgresServer(folder, processes, version=int(found.group(2)), flags=flags, on_line=heard)

    def log(self, connection_name: str, line: str) -> None:
        """A line of the instance's own log, as Cloud Logging shows it."""
        project, region, instance = connection_name.split(":")
        labels = {"project_id": project, "region": region, "database_id": f"{project}:{instance}"}
        self._cloud.runtime.logs.write("cloudsql_database", labels, LOG["POSTGRES"], line)

    def say_stand_in(self, connection_name: str) -> None:
        server = self.find(connection_name)
        if server is not None and server.stands_in:
            self.log(connection_name, server.stands_in)
            logger.warning("%s: %s", connection_name, server.stands_in)


class SimulatedDatabases(Servers):
    """No process at all: users and databases are remembered, passwords are not."""

    simulated = True

    def _make(self, connection_name: str, version: str, flags: Mapping[str, str]) -> Server:
        return SimulatedServer(self._cloud, connection_name, version, self._folder / self._path(connection_name))

    def say_stand_in(self, connection_name: str) -> None:
        """Nothing runs, so nothing stands in."""


class SimulatedServer:
    """What an instance's server would answer. A user of MySQL is `name@host`: two hosts are two users."""

    stands_in: str | None = None

    def __init__(self, cloud: Cloud, connection_name: str, version: str, socket_dir: Path) -> None:
        self.socket_dir = socket_dir
        self.is_running = False
        self._records = cloud.store.records(f"sql.simulated.{connection_name}")
        self._engine = version.partition("_")[0]

    async def start(self) -> None:
        if self._records.find("server") is None:
            self._save([ADMINISTRATORS[self._engine]], _own_databases(self._engine))
        self.is_running = True

    async def stop(self) -> None:
        self.is_running = False

    async def close(self) -> None:
        await self.stop()

    async def set_flags(self, flags: Mapping[str, str]) -> None:
        """Flags have no effect where nothing runs."""

    async def create_user(self, name: str, password: str) -> None:
        users, databases = self._load()
        if name in users:
            raise PostgresRefusedError(f"Invalid request: failed to create user {name}: {self._taken(name)}")
        self._save([*users, name], databases)

    async def set_password(self, name: str, password: str) -> None:
        if name not in self._load()[0]:
            message = f'Invalid request: failed to update user {name}: role "{name}" does not exist'
            raise PostgresRefusedError(message)

    async def drop_user(self, name: str) -> None:
        users, databases = self._load()
        if name not in users:
            message = f'Invalid request: failed to delete user {name}: role "{name}" does not exist'
            raise PostgresRefusedError(message)
        self._save([user for user in users if user != name], databases)

    async def list_users(self) -> list[str]:
        return self._load()[0]

    async def create_database(self, name: str, charset: str = "UTF8", collation: str = "en_US.UTF8") -> None:
        users, databases = self._load()
        if any(database["name"] == name for database in databases):
            message = f'failed to create database "{name}". Detail: pq: database "{name}" already exists'
            raise PostgresRefusedError(f"Invalid request: {message}")
        self._save(users, [*databases, {"name": name, "charset": charset, "collation": collation}])

    async def drop_database(self, name: str) -> None:
        users, databases = self._load()
        self._save(users, [database for database in databases if database["name"] != name])

    async def list_databases(self) -> list[Database]:
        return [Database(**database) for database in self._load()[1]]

    async def dump(self, path: Path) -> None:
        users, databases = self._load()
        await asyncio.to_thread(path.mkdir, parents=True)
        whole = json.dumps({"users": users, "databases": databases})
        await asyncio.to_thread((path / "server.json").write_text, whole)

    async def restore(self, path: Path) -> None:
        kept = json.loads(await asyncio.to_thread((path / "server.json").read_text))
        self._save(kept["users"], kept["databases"])

    async def delete(self) -> None:
        self.is_running = False
        for name, _ in self._records.items():
            self._records.remove(name)

    def _taken(self, name: str) -> str:
        """What the engine itself says of a user who is there already."""
        if self._engine == "MYSQL":
            user, _, host = name.rpartition("@")
            return f"Operation CREATE USER failed for '{user}'@'{host}'"
        if self._engine == "SQLSERVER":
            return f"The server principal '{name}' already exists."
        return f'role "{name}" already exists'

    def _load(self) -> tuple[list[str], list[dict[str, Any]]]:
        kept = self._records.find("server") or {"users": [], "databases": []}
        return kept["users"], kept["databases"]

    def _save(self, users: list[str], databases: list[dict[str, Any]]) -> None:
        self._records.put("server", {"users": users, "databases": databases})


def _own_databases(engine: str) -> list[dict[str, Any]]:
    if engine == "POSTGRES":
        return [{"name": "postgres", "charset": "UTF8", "collation": "en_US.UTF8"}]
    if engine == "SQLSERVER":
        collation = "SQL_Latin1_General_CP1_CI_AS"
        return [{"name": name, "charset": "", "collation": collation} for name in ("master", "model", "msdb", "tempdb")]
    names = ("mysql", "information_schema", "performance_schema", "sys")
    return [{"name": name, "charset": "utf8", "collation": "utf8_general_ci"} for name in names]
