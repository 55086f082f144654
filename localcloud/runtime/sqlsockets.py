"""The /cloudsql sockets of one instance: each connection is judged by IAM, as the Auth Proxy inside Cloud Run does.

The folder is there whether or not the database answers, and whoever may not connect notices at connect
(gcp/behaviour-runtime.md, section 8).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud.core.identity import Caller

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

SOCKET = ".s.PGSQL.5432"
MOST_CONNECTIONS = 100  # from one Run instance to one SQL instance
CHUNK = 64 * 1024
# A socket's path may have 104 bytes on macOS, whose own temporary folder takes half of them.
SHORT_ROOT = "/tmp"  # noqa: S108 - the folder made in it is private

Log = Callable[[str, str], None]  # text, severity


class SqlSockets:
    """The sockets to several SQL instances, in short folders of their own."""

    def __init__(self, cloud: Cloud, account: str, log: Log) -> None:
        self._cloud, self._account, self._log = cloud, account, log
        self._folder = Path(tempfile.mkdtemp(prefix="lc-", dir=SHORT_ROOT))
        self._servers: list[asyncio.Server] = []
        self._pipes: set[asyncio.Task[None]] = set()
        self._open: dict[str, int] = {}

    async def listen(self, connection_name: str) -> Path:
        """The folder that stands at `/cloudsql/<connection name>`."""
        folder = self._folder / str(len(self._servers))
        folder.mkdir(mode=0o755)

        # With a task of our own: of one that asyncio made, it would tell as an error that `close` has cancelled it.
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(connection_name, reader, writer))
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)
            task.add_done_callback(lambda _: writer.close())

        self._servers.append(await asyncio.start_unix_server(serve, folder / SOCKET, limit=CHUNK))
        return folder

    async def close(self) -> None:
        """End all connections and remove the folders."""
        for server in self._servers:
            server.close()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._may_connect(name):
            self._log(
                "Cloud SQL connection failed. Please see https://cloud.google.com/sql/docs/mysql/connect-run for "
                f'additional details: ensure that the account has access to "{name}" (and make sure there\'s no typo '
                f"in that name). Error during generateEphemeral for {name}: googleapi: Error 403: The client is not "
                "authorized to make this request., notAuthorized",
                "ERROR",
            )
            return
        if self._open.get(name, 0) >= MOST_CONNECTIONS:
            self._log(
                "Cloud SQL connection failed. Please see https://cloud.google.com/sql/docs/mysql/connect-run for "
                f'additional details: Exceeded maximum of {MOST_CONNECTIONS} connections per instance for "{name}".',
                "ERROR",
            )
            return
        self._open[name] = self._open.get(name, 0) + 1
        try:
            await self._pipe(name, reader, writer)
        finally:
            self._open[name] -= 1

    async def _pipe(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        folder = self._cloud.runtime.databases.socket_dir(name)
        try:
            if folder is None:
                raise FileNotFoundError(name)
            inner_reader, inner_writer = await asyncio.open_unix_connection(Path(folder) / SOCKET, limit=CHUNK)
        except OSError:
            self._log(
                "Cloud SQL connection failed. Please see https://cloud.google.com/sql/docs/mysql/connect-run for "
                f'additional details: dial error: failed to dial (connection name = "{name}"): connection to Cloud SQL '
                "instance at 127.0.0.1:3307 failed: timed out after 10s",
                "ERROR",
            )
            return
        copies = [
            asyncio.create_task(_copy(reader, inner_writer)),
            asyncio.create_task(_copy(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            inner_writer.close()

    def _may_connect(self, name: str) -> bool:
        rest, _, instance = name.rpartition(":")
        project = rest.rpartition(":")[0]  # may hold a colon itself: example.com:app
        resource, caller = f"projects/{project}/instances/{instance}", Caller(self._account)
        allows = self._cloud.policies.allows
        return all(
            allows(caller, permission, resource)
            for permission in ("cloudsql.instances.connect", "cloudsql.instances.get")
        )


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
