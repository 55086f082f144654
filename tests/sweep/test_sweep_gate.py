"""Which writes the gate takes for accepted, and which of them for the Lease."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sweep_gate import Gate, Write
from sweep_run import _note_lease

LEASES = "/apis/coordination.k8s.io/v1/namespaces/nuages-system/leases"


@pytest.mark.parametrize(
    ("status", "accepted"),
    [(200, ["PUT leases"]), (201, ["PUT leases"]), (409, []), (500, []), (302, [])],
)
async def test_a_refused_write_is_not_accepted(status: int, accepted: list[str]) -> None:
    """It is a write all the same: it can be killed at."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, status=status)

    found: list[str] = []
    async with _server(answer) as upstream, aiohttp.ClientSession() as session:
        way = Gate(str(upstream.make_url("")).rstrip("/"), session)
        way.on_accepted = lambda write: found.append(write.what)
        async with _server(way.handle) as entry, session.put(entry.make_url(f"{LEASES}/nuages"), json={}) as answered:
            assert answered.status == status
    assert found == accepted
    assert [write.what for write in way.writes] == ["PUT leases"]


@pytest.mark.parametrize(("what", "is_held"), [("POST leases", True), ("PUT leases", True), ("POST events x", False)])
async def test_the_lease_is_held_once_it_was_written(what: str, is_held: bool) -> None:
    """Made or taken; later renewals change nothing of when."""
    held: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    writes = [Write(what, {}), Write(what, {})]
    for write in writes:
        _note_lease(write, held, writes)
    assert held.done() is is_held


async def test_a_write_of_the_one_that_died_is_not_its_successors() -> None:
    """Though it be answered later, and look the same."""
    held: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    _note_lease(Write("PUT leases", {}), held, [Write("PUT leases", {})])
    assert not held.done()


def _server(handler: object) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
    return TestServer(app)
