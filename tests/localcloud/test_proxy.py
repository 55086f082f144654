"""The HTTPS proxy: Google's names end in localcloud, all other hosts pass untouched."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from localcloud.front import upstream
from localcloud.front.ca import CertificateAuthority
from localcloud.front.proxy import Proxy
from localcloud.front.relay import Relay
from localcloud.front.upstream import Refused, Upstream
from localcloud.localcloud import LocalCloud


async def _curl(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--max-time", "20", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


async def _ask(proxy: str, head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rpartition(":")[2]))
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_curl_reaches_googles_names_with_nothing_else_set(simulated: LocalCloud) -> None:
    """The environment of `localcloud env` is enough: proxy and CA bundle."""
    out = await _curl(
        "-H", "Authorization: Bearer any", "https://secretmanager.googleapis.com/v1/projects/demo/secrets"
    )
    assert "error" not in out
    assert out.strip().startswith("{")


@pytest.mark.parametrize("option", ["--http1.1", "--http2"])
async def test_curl_is_served_http_1_whatever_it_offers(simulated: LocalCloud, option: str) -> None:
    """h2 alone means gRPC; curl offers both."""
    out = await _curl(option, "-o", "/dev/null", "-w", "%{http_version}", "https://www.googleapis.com/oauth2/v1/certs")
    assert out == "1.1"


async def test_registry_and_app_names_end_here_too(simulated: LocalCloud) -> None:
    """pkg.dev, gcr.io and run.app never leave the machine."""
    for host in ("europe-west1-docker.pkg.dev", "gcr.io", "eu.gcr.io", "nothing-187635794409.europe-west1.run.app"):
        out = await _curl("-o", "/dev/null", "-w", "%{http_code} %{ssl_verify_result}", f"https://{host}/v2/")
        assert out.split()[1] == "0", out


async def test_two_hundred_requests_at_once(simulated: LocalCloud) -> None:
    """Each over a connection of its own."""
    context = ssl.create_default_context(cafile=str(simulated.authority.certificate))

    async def one() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(simulated.proxy_url.rpartition(":")[2]))
        writer.write(b"CONNECT oauth2.googleapis.com:443 HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(context, server_hostname="oauth2.googleapis.com")
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: oauth2.googleapis.com\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer.split(b" ")[1].decode()

    assert set(await asyncio.gather(*(one() for _ in range(200)))) == {"404"}


@pytest.mark.parametrize("target", ["127.0.0.1:80", "localhost:8080", "[::1]:443", "shop.localhost:80"])
async def test_this_machine_is_not_reached_through_the_proxy(simulated: LocalCloud, target: str) -> None:
    """403 says to go directly."""
    answer = await _ask(simulated.proxy_url, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"NO_PROXY" in answer


async def test_plain_http_is_refused_with_the_remedy(simulated: LocalCloud) -> None:
    """An HTTP_PROXY set by mistake is named."""
    answer = await _ask(simulated.proxy_url, b"GET http://storage.googleapis.com/ HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"set HTTPS_PROXY alone" in answer


async def test_a_host_that_does_not_exist_is_a_bad_gateway(simulated: LocalCloud) -> None:
    """The name is in the answer."""
    answer = await _ask(simulated.proxy_url, b"CONNECT host.invalid:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 "))
    assert b"host.invalid:443" in answer


async def test_a_client_that_does_not_trust_the_authority_disturbs_nobody(
    simulated: LocalCloud, caplog: pytest.LogCaptureFixture
) -> None:
    """Its handshake ends, and nothing is logged."""
    out = await _curl("--cacert", "/dev/null", "https://run.googleapis.com/")
    assert "curl:" in out
    assert not [record for record in caplog.records if record.name == "asyncio"]
    assert await _curl("-o", "/dev/null", "-w", "%{http_code}", "https://run.googleapis.com/x") in ("404", "501")


@asynccontextmanager
async def _echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        content = await reader.read()  # until the client closes its half
        writer.write(content[::-1])
        writer.write_eof()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class _Elsewhere(Upstream):
    """Leads every host to a server of the test."""

    async def connect(self, host: str, port: int, protocol: type[Relay]) -> Relay:  # type: ignore[override]
        _, made = await asyncio.get_running_loop().create_connection(protocol, "127.0.0.1", port)
        return made


async def test_other_hosts_are_tunnelled_with_half_closed_ends(tmp_path: Path) -> None:
    """What the client sends before it closes its half is answered in full."""
    async with _echo() as port:
        proxy = Proxy(CertificateAuthority(tmp_path), lambda _: False, 0, asyncio.Protocol, _Elsewhere())
        listening = await proxy.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", listening)
        writer.write(f"CONNECT pypi.example:{port} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        content = bytes(range(256)) * 40_000
        writer.write(content)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 20) == content[::-1]
        writer.close()
        await proxy.stop()


class _ClosesTwice(asyncio.Protocol):
    """As servers do that end a connection whose other side goes away just then."""

    def __init__(self) -> None:
        self.closed, self.lost = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
        transport.close()
        self.closed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def test_the_proxys_end_is_that_of_connections_which_are_closing(tmp_path: Path) -> None:
    """Also where one was closed twice already: to abort its TLS fails in Debian 12's Python, 3.11.2."""
    authority, served = CertificateAuthority(tmp_path), _ClosesTwice()
    proxy = Proxy(authority, lambda _: True, 0, lambda: served, Upstream())
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with socket.create_connection(("127.0.0.1", await proxy.start())) as client:
        client.sendall(b"CONNECT run.googleapis.com:443 HTTP/1.1\r\n\r\n")
        assert (await asyncio.to_thread(client.recv, 1024)).startswith(b"HTTP/1.1 200 ")
        with await asyncio.to_thread(context.wrap_socket, client, server_hostname="run.googleapis.com"):
            await asyncio.wait_for(served.closed.wait(), 10)
            assert not served.lost.is_set()
            await proxy.stop()
            await asyncio.wait_for(served.lost.wait(), 10)


async def test_the_systems_own_proxy_is_used_for_other_hosts(tmp_path: Path) -> None:
    """One proxy through another: the first asks the second to connect."""
    async with _echo() as port:
        outer = Proxy(CertificateAuthority(tmp_path), lambda _: False, 0, asyncio.Protocol, _Elsewhere())
        outer_port = await outer.start()
        found = Upstream.of({"HTTPS_PROXY": f"http://me:secret@127.0.0.1:{outer_port}"})
        relay = await found.connect("pypi.example", port, Relay)
        assert relay.transport is not None
        relay.transport.close()
        await outer.stop()


async def test_a_local_clouds_proxy_is_not_taken_for_the_systems() -> None:
    """A shell that uses one local cloud may start another."""
    assert Upstream.of({"HTTPS_PROXY": "http://127.0.0.1:1", "LOCALCLOUD_REST": "http://127.0.0.1:2"}) == Upstream()


async def test_names_that_lead_to_this_machine_are_refused() -> None:
    """Whatever the spelling."""
    for host in ("127.1.2.3", "::1", "::", "localhost"):
        assert upstream.is_loopback(host)
        with pytest.raises(Refused):
            await Upstream().connect(host, 80, Relay)


async def test_many_connections_at_once_ask_the_resolver_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty that come together share one answer; the next one asks anew."""
    asked: list[str] = []

    def resolve(host: str, *_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(host)
        return [(2, 1, 6, "", ("192.0.2.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    lookups = upstream.Lookups()
    answers = await asyncio.gather(*(lookups.addresses("pypi.example") for _ in range(50)))
    assert answers == [["192.0.2.7"]] * 50
    assert asked == ["pypi.example"]
    await lookups.addresses("pypi.example")
    assert asked == ["pypi.example"] * 2


def test_the_authority_is_kept_and_private(tmp_path: Path) -> None:
    """The same certificate after a restart; keys that only the owner reads."""
    first = CertificateAuthority(tmp_path).certificate.read_bytes()
    assert CertificateAuthority(tmp_path).certificate.read_bytes() == first
    for name in ("ca.key", "leaf.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_bundle_trusts_what_the_system_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own authority first, then the system's, never another local cloud's bundle."""
    roots = tmp_path / "roots.pem"
    roots.write_text("SYSTEM ROOTS")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    made = CertificateAuthority(tmp_path / "a")
    content = made.bundle.read_bytes()
    assert made.certificate.read_bytes() in content
    assert content.endswith(b"SYSTEM ROOTS")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.bundle))
    assert made.certificate.read_bytes() not in CertificateAuthority(tmp_path / "b").bundle.read_bytes()
