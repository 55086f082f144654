"""A Cloud SQL instance for PostgreSQL: a real server, with Cloud SQL's roles, on a socket and on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psycopg

from localcloud.runtime import postgres_files, postgres_sql
from localcloud.runtime.postgres_extensions import trust, trusting
from localcloud.runtime.postgres_programs import Choice, Programs, Unprivileged, choose, unprivileged
from localcloud.runtime.postgres_sql import Database, PostgresRefusedError
from localcloud.runtime.postgres_template import ADMINISTRATOR, make_cluster
from localcloud.runtime.processes import Child, OnLine, Processes

__all__ = ["Database", "PostgresRefusedError", "PostgresServer", "PostgresStartError"]

START_S = 30.0  # a crashed cluster replays its log first
STOP_S = 10.0
POLL_S = 0.01
SAID_WHEN = re.compile(r"^.*?(?=[A-Z]+:  )")  # time, process, database
ORDINARY = ("database system is shut down",)
PORT_TAKEN = "could not create any TCP/IP sockets"
CLOUD_SQL_PORT = 5432  # the port in the socket's name, which clients take when they are told none


class PostgresStartError(Exception):
    """The server does not run; the message carries its last words."""


class PortTakenError(PostgresStartError):
    """Another program has its port."""


class PostgresServer:
    """One instance, kept in `folder`. Its methods may be called from one event loop."""

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        *,
        version: int,
        flags: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
        run_as: Unprivileged | None = None,
    ) -> None:
        """`version` is the major version asked for; `flags` are database flags by name, as the API takes them.

        `on_line` hears the server's log. `run_as` is found out where it is not given.
        """
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._processes = processes
        self._version = version
        self._flags = dict(flags or {})
        self._on_line = on_line
        self._run_as = run_as
        self._child: Child | None = None
        self._choice: Choice | None = None
        self._last_lines: list[str] = []
        self._lock = asyncio.Lock()
        self.port = 0
        digest = hashlib.sha256(str(self._folder).encode()).hexdigest()[:8]
        self.socket_dir = Path(tempfile.gettempdir()) / f"lc-{digest}"  # short: socket paths end at 104 bytes
        _private_folder(self.socket_dir)  # apps have it mounted whether or not the server runs, so it stays the same

    # the server

    @property
    def stands_in(self) -> str | None:
        """The sentence to show where another version stands in for the one asked for; known once started."""
        return self._choice.stands_in if self._choice else None

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._child is not None and self._child.returncode is None

    async def start(self) -> None:
        """Until it answers; makes the cluster first if need be. Raises PostgresStartError, PostgresMissingError."""
        async with self._lock:
            if not self.is_running:
                await self._start()

    async def stop(self) -> None:
        """Ends sessions, writes everything, stops. A stopped server stays stopped."""
        async with self._lock:
            await self._stop()

    async def close(self) -> None:
        """Stops it and leaves nothing outside of its folder; a server made anew finds the rest."""
        await self.stop()
        await asyncio.to_thread(shutil.rmtree, self.socket_dir, ignore_errors=True)

    async def set_flags(self, flags: Mapping[str, str]) -> None:
        """Replaces the database flags; a running server restarts. Raises PostgresStartError, on the old flags again."""
        async with self._lock:
            before, self._flags = self._flags, dict(flags)
            if not self.is_running:
                return
            await self._stop()
            try:
                await self._start()
            except PostgresStartError:
                self._flags = before
                await self._start()
                raise

    async def _start(self) -> None:
        await asyncio.to_thread(postgres_files.finish_replacing, self._folder)
        self._choice = await choose(self._major())
        programs = self._choice.programs
        way = self._run_as or await unprivileged(programs)
        if not (self._data / "PG_VERSION").exists():
            await self._create(programs, way)
        elif self._major() != programs.major:
            raise PostgresStartError(f"{self._data} is a PostgreSQL {self._major()} cluster. {self._choice.stands_in}")
        await self._until_no_other()
        for is_last in (False, False, True):
            await asyncio.to_thread(self._prepare, programs, way)
            try:
                return await self._launch(await trusting(programs), way)
            except PortTakenError:  # since it was found free: connections take ports too
                if is_last:
                    raise

    def _major(self) -> int:
        """The version of the cluster that is there, which no other server reads; else the one asked for."""
        with contextlib.suppress(FileNotFoundError):
            return int((self._data / "PG_VERSION").read_text())
        return self._version

    async def _create(self, programs: Programs, way: Unprivileged) -> None:
        """In a folder beside, so that a cluster is there wholly or not at all."""
        making = self._folder / "data.new"
        self._folder.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(shutil.rmtree, making, ignore_errors=True)
        await make_cluster(making, making / postgres_files.PASSWORD, programs, way)
        making.rename(self._data)

    async def _until_no_other(self) -> None:
        """A server that outlived its localcloud is about to be ended by the guardian; a stale file is removed."""
        pid_file, deadline = self._data / "postmaster.pid", time.monotonic() + STOP_S
        while (pid := postgres_files.live_postmaster(pid_file)) is not None:
            if time.monotonic() > deadline:
                raise PostgresStartError(f"{self._data} is in use by process {pid}. Stop the other localcloud first.")
            await asyncio.sleep(POLL_S)
        pid_file.unlink(missing_ok=True)

    def _prepare(self, programs: Programs, way: Unprivileged) -> None:
        _private_folder(self.socket_dir)
        self.port = _free_port(self.port)
        extensions = trust(self._folder / "extensions", programs)
        settings = postgres_files.settings(self.port, self.socket_dir, extensions, self._flags)
        (self._data / "localcloud.conf").write_text(settings)
        for leftover in self.socket_dir.glob(".s.PGSQL.*"):
            leftover.unlink()
        if self.port != CLOUD_SQL_PORT:
            (self.socket_dir / f".s.PGSQL.{CLOUD_SQL_PORT}").symlink_to(f".s.PGSQL.{self.port}")
        for folder in (self._data, self.socket_dir):
            way.own(folder)

    async def _launch(self, programs: Programs, way: Unprivileged) -> None:
        self._last_lines.clear()
        self._child = await self._processes.start(
            f"postgres {self._folder.name}",
            [*way.prefix, programs.path("postgres"), "-D", str(self._data)],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            cwd=self._data,
            on_line=self._heard,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, nothing is lost
        )
        deadline = time.monotonic() + START_S
        while not await self._answers():
            if self._child.returncode is not None or time.monotonic() > deadline:
                await self._child.stop(0)
                kind = PortTakenError if any(PORT_TAKEN in line for line in self._last_lines) else PostgresStartError
                raise kind(f"{self._folder.name}: the server did not start: {self._last_words()}")
            await asyncio.sleep(POLL_S)

    async def _answers(self) -> bool:
        if not (self.socket_dir / f".s.PGSQL.{self.port}").exists():
            return False
        try:
            async with self._administrator():
                return True
        except psycopg.OperationalError:
            return False  # still starting, or replaying its log

    async def _stop(self) -> None:
        if self._child is not None:
            await self._child.stop(STOP_S)
            self._child = None

    def _heard(self, stream: str, line: str) -> None:
        self._last_lines = [*self._last_lines[-4:], line]
        if self._on_line:
            self._on_line(stream, line)

    def _last_words(self) -> str:
        said = [line for line in self._last_lines if not line.endswith(ORDINARY)]
        return " ".join(SAID_WHEN.sub("", line) for line in said or self._last_lines) or "it said nothing"

    # users and databases

    @property
    def _password_file(self) -> Path:
        return self._data / postgres_files.PASSWORD

    @contextlib.asynccontextmanager
    async def _administrator(self) -> AsyncIterator[psycopg.AsyncConnection]:
        connection = await psycopg.AsyncConnection.connect(
            host=str(self.socket_dir),
            port=self.port,
            user=ADMINISTRATOR,
            password=self._password_file.read_text(),
            dbname=ADMINISTRATOR,
            autocommit=True,
            connect_timeout=int(STOP_S),
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def create_user(self, name: str, password: str) -> None:
        """As users.insert: LOGIN, CREATEROLE, CREATEDB, member of cloudsqlsuperuser. Raises PostgresRefusedError."""
        async with self._administrator() as connection:
            await postgres_sql.create_user(connection, name, password)

    async def set_password(self, name: str, password: str) -> None:
        """As users.update. Raises PostgresRefusedError for a user who is not there."""
        async with self._administrator() as connection:
            await postgres_sql.set_password(connection, name, password)

    async def drop_user(self, name: str) -> None:
        """As users.delete. Raises PostgresRefusedError with Google's words while it owns anything."""
        async with self._administrator() as connection:
            await postgres_sql.drop_user(connection, name)

    async def list_users(self) -> list[str]:
        """Those who may log in, but for the cloud's own, by name."""
        async with self._administrator() as connection:
            return await postgres_sql.list_users(connection)

    async def create_database(self, name: str, charset: str = "UTF8", collation: str = "en_US.UTF8") -> None:
        """As databases.insert: owned by cloudsqlsuperuser. Raises PostgresRefusedError."""
        async with self._administrator() as connection:
            await postgres_sql.create_database(connection, Database(name, charset, collation))

    async def drop_database(self, name: str) -> None:
        """As databases.delete. Raises PostgresRefusedError where it is in use or not cloudsqlsuperuser's."""
        async with self._administrator() as connection:
            await postgres_sql.drop_database(connection, name)

    async def list_databases(self) -> list[Database]:
        """Without templates and the cloud's own, by name."""
        async with self._administrator() as connection:
            return await postgres_sql.list_databases(connection)

    async def available_extensions(self) -> list[str]:
        """What a cloudsqlsuperuser may create here, by name."""
        async with self._administrator() as connection:
            return await postgres_sql.available_extensions(connection)

    # backups

    async def dump(self, path: Path) -> None:
        """Copies the whole instance to the new folder `path`, while it serves where it runs."""
        async with self._lock:
            if not self.is_running:
                await asyncio.to_thread(postgres_files.copy_stopped, self._folder, path)
                return
            async with self._administrator() as connection:
                await postgres_files.copy_running(connection, self._folder, path)

    async def restore(self, path: Path) -> None:
        """Overwrites the instance by what dump() wrote; restarts it where it ran. Port and sockets stay."""
        async with self._lock:
            was_running = self.is_running
            await self._stop()
            await asyncio.to_thread(postgres_files.replace, self._folder, path)
            if was_running:
                await self._start()

    async def delete(self) -> None:
        """Stops it and removes all that it kept."""
        await self.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


def _private_folder(folder: Path) -> None:
    """A folder of ours in a place where everybody may make some. Raises PostgresStartError when it is another's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (os.geteuid() != 0 and found.st_uid != os.geteuid()):
        raise PostgresStartError(f"{folder} belongs to somebody else. Set TMPDIR to a folder of your own.")


def _free_port(wanted: int) -> int:
    """The port that it had, where still free: clients by address find it again."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise PostgresStartError("No port of 127.0.0.1 is free.")
