"""A way to the API server on which calls fail as they do while etcd's leader changes, or while it is overloaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientSession, TCPConnector, web
from kubernetes.aio import client, config

HOP = frozenset({"host", "transfer-encoding", "content-length", "content-encoding", "connection"})
NO_ANSWER = 0


@dataclass
class Hiccup:
    """So many calls of this method, to paths that end so, get this status, or no answer at all."""

    method: str
    path: str
    status: int
    times: int = 1
    words: str = "etcdserver: leader changed"
    struck: int = 0

    def strikes(self, request: web.Request) -> bool:
        if self.struck == self.times or request.method != self.method or not request.path.endswith(self.path):
            return False
        self.struck += 1
        return True


@dataclass
class Gate:
    """`api` leads through it."""

    api: client.ApiClient
    hiccups: list[Hiccup] = field(default_factory=list)

    def fail(self, method: str, path: str, status: int, times: int = 1, words: str = Hiccup.words) -> Hiccup:
        self.hiccups.append(made := Hiccup(method, path, status, times, words))
        return made


@asynccontextmanager
async def gate(kubeconfig: Path) -> AsyncIterator[Gate]:
    """To the API server of this kubeconfig, as its user."""
    real = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=real)
    async with (
        client.ApiClient(real) as api,
        ClientSession(connector=TCPConnector(ssl=api.rest_client.ssl_context)) as session,
    ):

        async def relay(request: web.Request) -> web.Response:
            for hiccup in made.hiccups:
                if hiccup.strikes(request):
                    if hiccup.status == NO_ANSWER:
                        await asyncio.Event().wait()  # until the client goes
                    status = {"kind": "Status", "code": hiccup.status, "message": hiccup.words}
                    return web.json_response(status, status=hiccup.status)
            url, headers = real.host + request.raw_path, _kept(request.headers)
            async with session.request(request.method, url, headers=headers, data=await request.read()) as found:
                return web.Response(status=found.status, headers=_kept(found.headers), body=await found.read())

        server = web.Application()
        server.router.add_route("*", "/{path:.*}", relay)
        runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        through = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}", api_key=real.api_key)
        try:
            async with client.ApiClient(through) as relayed:
                made = Gate(relayed)
                yield made
        finally:
            await runner.cleanup()


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP}
