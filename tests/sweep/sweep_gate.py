"""The way from the operator to the API server: every write is counted here, and its sender can be killed there.

It ends TLS with the API server's own certificate, so that the operator needs nothing but another port in its
kubeconfig. Reads and watches go through as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

HOP = frozenset({"connection", "host", "transfer-encoding", "content-length", "content-encoding", "date", "server"})


@dataclass(frozen=True)
class Write:
    """One write of the operator: `what` is "PUT djangoapps/status" or "POST events Released"."""

    what: str
    body: dict[str, Any]


@dataclass
class Snare:
    """Kills at the nth write of a kind, counted from 0: before it is forwarded, or after its answer was received."""

    what: str
    nth: int
    after: bool
    kill: Callable[[], None]
    sprung: bool = False

    def catches(self, write: Write) -> bool:
        if self.sprung or write.what != self.what:
            return False
        self.nth -= 1
        self.sprung = self.nth < 0
        return self.sprung


class Gate:
    """`gate()` opens one."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._upstream, self._session = upstream, session
        self.url = ""
        self.writes: list[Write] = []
        self.snare: Snare | None = None
        self.on_accepted: Callable[[Write], None] = lambda _: None  # not where the answer is a refusal
        self.app_written = asyncio.Event()  # an app was, since whoever waits for it has cleared it

    def clear(self) -> None:
        """For another life."""
        self.writes, self.snare = [], None
        self.on_accepted = lambda _: None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return await self._pass(request, None)
        body = _json(await request.read())
        write = Write(_what(request, body), body)
        snare = self.snare if self.snare is not None and self.snare.catches(write) else None
        self.writes.append(write)
        if snare is not None and not snare.after:
            snare.kill()
            raise ConnectionResetError
        return await self._pass(request, write, snare)

    async def _pass(self, request: web.Request, write: Write | None, snare: Snare | None = None) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        async with self._session.request(
            request.method, f"{self._upstream}{request.raw_path}", headers=headers, data=await request.read() or None
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            if write is not None:
                body = await answer.read()
                if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    self.on_accepted(write)
                if " djangoapps" in write.what:
                    self.app_written.set()
                if snare is not None:
                    snare.kill()
                    raise ConnectionResetError
                return web.Response(status=answer.status, headers=kept, body=body)
            streamed = web.StreamResponse(status=answer.status, headers=kept)
            await streamed.prepare(request)
            async for chunk in answer.content.iter_any():
                await streamed.write(chunk)
            await streamed.write_eof()
            return streamed


@contextlib.asynccontextmanager
async def gate(upstream: str, credentials: Path) -> AsyncIterator[Gate]:
    """In front of the API server whose certificates are in this folder."""
    trust = ssl.create_default_context(cafile=str(credentials / "ca.crt"))
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(credentials / "server.crt", credentials / "server.key")
    connector, timeout = aiohttp.TCPConnector(ssl=trust, limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=True) as session:
        made = Gate(upstream, session)
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", made.handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1, logger=_log())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=shown)
        await site.start()
        made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield made
        finally:
            await runner.cleanup()


def _what(request: web.Request, body: dict[str, Any]) -> str:
    """The verb, and the kind with its sub-resource, of events their reason: no names, for some hold the time."""
    parts = request.path.strip("/").split("/")
    parts = parts[3:] if parts[0] == "apis" else parts[2:]
    parts = parts[2:] if parts[0] == "namespaces" and len(parts) > 2 else parts
    reason = f" {body['reason']}" if parts[0] == "events" else ""
    return f"{request.method} {'/'.join([parts[0], *parts[2:]])}{reason}"


def _log() -> logging.Logger:
    """Who is killed here does not hear of it; nor need anybody else."""
    made = logging.getLogger("sweep.gate")
    made.propagate = False
    made.addHandler(logging.NullHandler())
    return made


def _json(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        return found if isinstance(found, dict) else {}
    return {}
