"""What the connections to Cloud Storage share: whom they trust."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from http_support import bounded_session, serving

from localcloud.front.ca import CertificateAuthority


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"a")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to standard error."""


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path / "ca")


@pytest.fixture
def url(authority: CertificateAuthority) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.socket = authority.context("localhost").wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield f"https://localhost:{server.server_port}/"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with bounded_session() as made:
        yield made


class Late:
    """What was set in any context when it was too late."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def told(self, name: str, too_late: threading.Event) -> Callable[..., None]:
        real = getattr(ssl.SSLContext, name)

        def told(context: ssl.SSLContext, *args: Any, **fields: Any) -> None:
            if too_late.is_set():
                self.names.append(name)
            real(context, *args, **fields)

        return told


def test_connections_share_what_they_trust(
    url: str, session: requests.Session, authority: CertificateAuthority
) -> None:
    """Each TLS context holds all authorities of the system: 1 MB for each thread that talks to Cloud Storage."""
    session.verify = str(authority.bundle)
    with ThreadPoolExecutor(5) as threads:
        held = list(threads.map(lambda _: session.get(url, stream=True), range(5)))
    sockets = [answer.raw.connection.sock for answer in held]
    assert [answer.status_code for answer in held] == [200] * 5
    assert len({socket.getsockname() for socket in sockets}) == 5
    assert len({id(socket.context) for socket in sockets}) == 1
    for answer in held:
        answer.close()


def test_nothing_is_set_in_what_threads_share(
    url: str, session: requests.Session, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that connects reads the protocols that another one would set anew (cpython#141012)."""
    session.verify = str(authority.bundle)
    connected, late = threading.Event(), Late()
    for name in ("set_alpn_protocols", "load_verify_locations"):
        monkeypatch.setattr(ssl.SSLContext, name, late.told(name, connected))
    first = session.get(url, stream=True)
    connected.set()
    second = session.get(url, stream=True)
    assert first.raw.connection.sock.context is second.raw.connection.sock.context
    assert not late.names
    first.close()
    second.close()


def test_what_is_not_trusted_is_refused(url: str, session: requests.Session, authority: CertificateAuthority) -> None:
    """Nor is it after a request that trusted it."""
    session.verify = str(authority.bundle)
    assert session.get(url).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url.replace("localhost", "127.0.0.1"))
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url)


def test_a_file_of_authorities_that_is_not_there_is_named(session: requests.Session) -> None:
    session.verify = "/nowhere/ca.pem"
    with pytest.raises(OSError, match=r"/nowhere/ca\.pem does not exist"):
        session.get("https://localhost:9/")
