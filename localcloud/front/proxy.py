"""The HTTPS proxy of one local cloud: Google's names end here, every other host is tunnelled through untouched.

ALPN tells the clients apart: h2 alone is gRPC, all else gets HTTP/1.1 (curl and browsers offer both).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Callable

from localcloud.front.ca import CertificateAuthority
from localcloud.front.relay import Relay, Waiting
from localcloud.front.upstream import Refused, Upstream
from localcloud.gateway.hosts import bare

HEAD_LIMIT_BYTES = 64 * 1024
HANDSHAKE_S = 30.0
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
HTTPS_ONLY = (
    "localcloud's proxy serves https only: set HTTPS_PROXY alone, not HTTP_PROXY, and use https:// for Google's names."
)

logger = logging.getLogger(__name__)


class Proxy:
    """Listens on loopback; `is_ours` says which host names end here."""

    def __init__(
        self,
        authority: CertificateAuthority,
        is_ours: Callable[[str], bool],
        grpc_port: int,
        http: Callable[[], asyncio.Protocol],
        upstream: Upstream,
    ) -> None:
        """`http` makes the server's side of one HTTP/1.1 connection; gRPC goes on to `grpc_port` on loopback."""
        self._authority, self._is_ours, self._grpc_port = authority, is_ours, grpc_port
        self._http, self._upstream = http, upstream
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def start(self, port: int = 0) -> int:
        """Listen on `port`, or on any free one; returns it. Raises OSError where it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Head(self), "127.0.0.1", port, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End the listener and every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in list(self._transports):
            transport.abort()

    def opened(self, transport: asyncio.Transport) -> None:
        """By a client: what ends it ends the TLS inside too."""
        self._transports.add(transport)

    def serve(self, transport: asyncio.Transport, line: str) -> None:
        """Start with the request line of a client."""
        task = asyncio.create_task(self._serve(transport, line), name=f"proxy {line[:100]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, transport: asyncio.Transport, line: str) -> None:
        try:
            verb, _, target = line.partition(" ")
            target = target.partition(" ")[0]
            host, _, port = target.rpartition(":")
            if verb != "CONNECT" or not port.isdigit():
                _answer(transport, "400 Bad Request", HTTPS_ONLY)
            elif self._is_ours(bare(host)):
                await self._end_here(transport, bare(host))
            else:
                await self._tunnel(transport, host.strip("[]").lower(), int(port))
        except Refused as error:
            _answer(transport, "403 Forbidden", str(error))
        except TimeoutError:
            _answer(transport, "504 Gateway Timeout", f"{line.split(' ')[1]} did not answer.")
        except OSError as error:  # also a client that does not trust the authority, or went away
            logger.debug("%s: %s", line, error)
            _answer(transport, "502 Bad Gateway", f"{line.split(' ')[1]} cannot be reached: {error}.")

    async def _end_here(self, transport: asyncio.Transport, host: str) -> None:
        loop = asyncio.get_running_loop()
        transport.write(ESTABLISHED)
        waiting = Waiting()
        context = self._authority.context(host)
        try:
            tls = await loop.start_tls(transport, waiting, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S)
        except OSError as error:
            logger.debug("%s: the client ended the TLS handshake: %s", host, error)
            transport.abort()
            return
        if tls is None:  # closed during the handshake
            return
        if tls.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            waiting.hand_over(tls, self._http())
            return
        inner = Relay()
        waiting.hand_over(tls, inner)
        _, outer = await loop.create_connection(Relay, "127.0.0.1", self._grpc_port)
        inner.join(outer)

    async def _tunnel(self, transport: asyncio.Transport, host: str, port: int) -> None:
        transport.pause_reading()
        outer = await self._upstream.connect(host, port, Relay)
        inner = Relay()
        transport.set_protocol(inner)
        inner.connection_made(transport)
        if not transport.is_closing():
            transport.write(ESTABLISHED)
            transport.resume_reading()
        inner.join(outer)


class _Head(asyncio.Protocol):
    """Reads the head of a client's request."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.opened(transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._data += data
        head, found, _ = bytes(self._data).partition(b"\r\n\r\n")
        if found:
            self._proxy.serve(self._transport, head.partition(b"\r\n")[0].decode("latin-1"))
        elif len(self._data) > HEAD_LIMIT_BYTES:
            self._transport.abort()


def _answer(transport: asyncio.Transport, status: str, text: str) -> None:
    """A plain refusal, for people who read it in a client's error."""
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    with contextlib.suppress(OSError, RuntimeError):
        if not transport.is_closing():
            transport.write(f"{head}Connection: close\r\n\r\n".encode() + body)
            transport.close()
