"""A way to the API server on which all that it answers is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, TCPConnector, web
from kubernetes.aio import client


@dataclass
class Relay:
    """`configuration` leads there."""

    configuration: client.Configuration
    heard: list[bytearray] = field(default_factory=list)  # the body of each answer, as far as it has come
    requests: list[web.Request] = field(default_factory=list)

    def cut(self) -> None:
        """Breaks what is open."""
        for request in self.requests:
            if request.transport is not None:
                request.transport.abort()


@asynccontextmanager
async def relayed(configuration: client.Configuration) -> AsyncIterator[Relay]:
    made = Relay(client.Configuration(api_key=configuration.api_key))
    async with (
        client.ApiClient(configuration) as api,
        ClientSession(connector=TCPConnector(ssl=api.rest_client.ssl_context)) as session,
    ):

        async def relay(request: web.Request) -> web.StreamResponse:
            url = configuration.host + str(request.rel_url)
            headers = {name: request.headers[name] for name in ("Accept", "Authorization") if name in request.headers}
            async with session.get(url, headers=headers) as found:
                answer = web.StreamResponse(status=found.status, headers={"Content-Type": found.content_type})
                await answer.prepare(request)
                made.requests.append(request)
                body = bytearray()
                made.heard.append(body)
                async for chunk in found.content.iter_any():
                    body += chunk
                    await answer.write(chunk)
                return answer

        server = web.Application()
        server.router.add_get("/{path:.*}", relay)
        runner = web.AppRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield made
        finally:
            await runner.cleanup()
