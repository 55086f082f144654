"""How hosts that are not Google's are reached: directly, or through the proxy that this system uses anyway."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from localcloud.front.relay import Waiting

P = TypeVar("P", bound=asyncio.Protocol)
CONNECT_S = 30.0


class Refused(Exception):
    """The host is not to be reached through this proxy, or cannot be; the message says why."""


class Lookups:
    """One at a time for each name, whose answer all who wait for it get.

    Installers open fifty connections at once; resolvers drop some of so many questions, which costs five seconds each.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """In the resolver's order. Raises OSError."""
        running = self._running.get(host)
        if running is None:
            running = self._running[host] = asyncio.create_task(_addresses(host), name=f"lookup {host}")
            running.add_done_callback(lambda _: self._running.pop(host))
        return await asyncio.shield(running)  # who gives up leaves it to the others


async def _addresses(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


@dataclass(frozen=True)
class Upstream:
    """The system's own HTTPS proxy; `host` "" where there is none."""

    host: str = ""
    port: int = 0
    authorization: str = ""
    _lookups: Lookups = field(default_factory=Lookups, repr=False, compare=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Upstream:
        """What HTTPS_PROXY says, unless it is a local cloud's own."""
        url = urlsplit(environment.get("https_proxy") or environment.get("HTTPS_PROXY") or "")
        if "LOCALCLOUD_REST" in environment or url.scheme != "http" or not url.hostname:
            return cls()
        login = f"{unquote(url.username)}:{unquote(url.password or '')}" if url.username else ""
        return cls(url.hostname, url.port or 80, base64.b64encode(login.encode()).decode())

    async def connect(self, host: str, port: int, protocol: Callable[[], P]) -> P:
        """A connection to the host. Raises Refused for this machine itself, OSError and TimeoutError."""
        if is_loopback(host):
            raise Refused(f"{host} is this machine: reach it directly (NO_PROXY=127.0.0.1,localhost).")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            if self.host:
                return await self._through(host, port, protocol)
            addresses = await self._lookups.addresses(host)
            if any(is_loopback(address) for address in addresses):
                raise Refused(f"{host} is a name of this machine: reach it directly (NO_PROXY).")
            failures: list[OSError] = []
            for address in addresses:
                try:
                    _, made = await loop.create_connection(protocol, address, port)
                    return made
                except OSError as error:
                    failures.append(error)
            raise failures[-1] if failures else OSError(f"{host} has no address")

    async def _through(self, host: str, port: int, protocol: Callable[[], P]) -> P:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        login = f"Proxy-Authorization: Basic {self.authorization}\r\n" if self.authorization else ""
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        line = answer.partition(b"\r")[0].decode("latin-1")
        if line.split(" ")[1:2] != ["200"]:
            writer.close()
            raise Refused(f"the proxy {self.host}:{self.port} answered {line!r}.")
        made = protocol()
        Waiting().hand_over(writer.transport, made)  # type: ignore[arg-type]
        return made


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def system() -> Upstream:
    """As the environment of this process says."""
    return Upstream.of(os.environ)
