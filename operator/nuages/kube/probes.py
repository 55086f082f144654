"""What the kubelet and Prometheus ask: /healthz, /readyz, /metrics."""

from __future__ import annotations

import time

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

STUCK = 120.0  # seconds without a turn of the event loop's heartbeat


class Probes:
    """`alive` is beaten by the operator's loop; `ready` once the watches have begun or the Lease is waited for."""

    def __init__(self) -> None:
        self.beat, self.ready = time.monotonic(), False
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Serve; returns the port, which may have been asked for as 0."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        stuck = time.monotonic() - self.beat > STUCK
        return web.Response(status=503 if stuck else 200, text="stuck\n" if stuck else "ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503, text="ok\n" if self.ready else "starting\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
