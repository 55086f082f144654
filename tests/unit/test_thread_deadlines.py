"""A thread's HTTP requests end with the call that they are made for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from http_support import bounded_session, serving

from nuages.cloud.call import Call
from nuages.cloud.errors import Transient

DEADLINE_S = 2.0
LONG_S = 20.0  # of an answer that drips


class Slow(BaseHTTPRequestHandler):
    """`/drip` answers byte by byte, `/page` after most of the time that a call has."""

    paths: list[str]
    stopped: threading.Event

    def do_GET(self) -> None:
        self.paths.append(self.path)
        drips = self.path == "/drip"
        pieces = round(LONG_S / 0.05) if drips else 1
        if not drips:
            self.stopped.wait(0.6 * DEADLINE_S)
        self.send_response(200)
        self.send_header("Content-Length", str(pieces))
        self.end_headers()
        for _ in range(pieces):
            if drips and self.stopped.wait(0.05):
                return
            try:
                self.wfile.write(b"a")
            except OSError:  # nobody reads it any more
                return

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to standard error."""


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        self.paths, self.stopped = [], threading.Event()
        told = {"paths": self.paths, "stopped": self.stopped}
        super().__init__(("127.0.0.1", 0), type("Told", (Slow,), told))

    paths: list[str]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with serving(made):
        yield made
        made.stopped.set()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with bounded_session() as made:
        yield made


async def ended(call: Call) -> None:
    """Within as much again as a call may take. An unrelated call then finds the thread free."""
    await call.all_ended()
    assert not call._threads
    assert await call.in_thread("Other.get", lambda: "an answer") == "an answer"


async def test_an_answer_that_drips_ends_with_its_call(server: Server, session: requests.Session) -> None:
    """Each of its bytes is in time, and all of them together are not."""
    call, began = Call(1, deadline=DEADLINE_S), time.monotonic()

    def get() -> bytes:
        return session.get(f"http://127.0.0.1:{server.server_port}/drip", timeout=LONG_S).content

    with pytest.raises(Transient):
        await call.in_thread("Objects.get", get)
    await ended(call)
    assert time.monotonic() - began < LONG_S / 2


async def test_no_page_is_asked_for_after_the_deadline(server: Server, session: requests.Session) -> None:
    """Of a list that goes on: each request has what the call has left, and there is none once that is over."""
    call = Call(1, deadline=DEADLINE_S)

    def pages() -> None:
        while True:
            assert session.get(f"http://127.0.0.1:{server.server_port}/page", timeout=LONG_S).content == b"a"

    task = asyncio.create_task(call.in_thread("Objects.list", pages))
    with pytest.raises(Transient):
        await task
    await ended(call)
    assert server.paths == ["/page", "/page"]
