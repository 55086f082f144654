"""What Google's clients of one credential share: a channel for each host, and whom they trust."""

from __future__ import annotations

import gc
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from google.auth.credentials import AnonymousCredentials

from localcloud.front.ca import CertificateAuthority
from nuages.cloud.clients import Clients
from nuages.cloud.deadline import BoundedAdapter


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
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    made = requests.Session()
    made.trust_env = False
    made.mount("https://", BoundedAdapter())
    yield made
    made.close()


def contexts() -> int:
    return sum(isinstance(found, ssl.SSLContext) for found in gc.get_objects())


def test_connections_share_what_they_trust(
    url: str, session: requests.Session, authority: CertificateAuthority
) -> None:
    """Each TLS context holds all authorities of the system: 1 MB for each thread that talks to Cloud Storage."""
    session.verify = str(authority.bundle)
    before = contexts()
    held = [session.get(url, stream=True) for _ in range(5)]
    assert [answer.status_code for answer in held] == [200] * 5
    assert len({answer.raw.connection.sock.getsockname() for answer in held}) == 5
    assert contexts() == before
    for answer in held:
        answer.close()


def test_what_is_not_trusted_is_refused(url: str, session: requests.Session, authority: CertificateAuthority) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url)
    session.verify = str(authority.bundle)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url.replace("localhost", "127.0.0.1"))


async def test_clients_of_a_host_share_a_channel() -> None:
    clients = Clients(AnonymousCredentials())  # type: ignore[no-untyped-call]
    run = {getattr(clients, name).transport.grpc_channel for name in ("services", "jobs", "revisions", "executions")}
    sql = {getattr(clients, name).transport.grpc_channel for name in ("sql_instances", "sql_users", "sql_operations")}
    assert len(run) == len(sql) == 1
    assert run != sql
    await clients.close()
    for channel in run | sql:
        with pytest.raises(Exception, match="closed"):
            await channel.unary_unary("/any/Method")(b"")
