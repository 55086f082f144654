"""Servers of apps listen on loopback only, however they ask for more; nothing else of the app's Python is different."""

# ruff: noqa: S104

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from localcloud.runtime.environments import Environments, cache_folder
from localcloud.runtime.loopback import INSTANCE_ADDRESS

PORT = "18080"
DEADLINE_S = 30.0
BOUND = """
import json, os, socket
names = []
for family, host, port in {asked!r}:
    with socket.socket(getattr(socket, family)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        names.append(server.getsockname()[0])
print(json.dumps(names))
"""
SERVING = """
import asyncio, json
async def serve():
    server = await asyncio.start_server(lambda *_: None, None, 0)
    print(json.dumps(sorted(found.getsockname()[0] for found in server.sockets)))
asyncio.run(serve())
"""
FORKED = """
import json, os, socketserver
if os.fork() == 0:
    with socketserver.ThreadingTCPServer(("", 0), None) as server:
        print(json.dumps(server.server_address[0]), flush=True)
    os._exit(0)
os.wait()
"""
ITSELF = """
import asyncio, json, os, socket
async def peer(port):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return writer.get_extra_info("peername")[0]
async def ask():
    async with await asyncio.start_server(lambda *_: None, "0.0.0.0", int(os.environ["PORT"])) as mine:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as other:
            with socket.socket() as plain:
                refused = plain.connect_ex(("localhost", int(os.environ["PORT"])))
            ports = [found.sockets[0].getsockname()[1] for found in (mine, other)]
            print(json.dumps([refused, *[await peer(port) for port in ports]]))
asyncio.run(ask())
"""
UNCHANGED = """
import json, os, socket, sys
with socket.socket(type=socket.SOCK_DGRAM) as resolver, socket.socket(socket.AF_UNIX) as worker:
    resolver.bind(("", 0))
    worker.bind(os.path.join(os.environ["FOLDER"], "worker"))
    datagrams = resolver.getsockname()[0]
try:
    socket.socket().bind(("127.0.0.1", "no port"))
except TypeError as error:
    refused = str(error)
print(json.dumps([datagrams, refused, sys.modules["sitecustomize"].__file__, sorted(os.environ)]))
"""

Python = Callable[..., Awaitable[Any]]


@pytest.fixture
async def python() -> Python:
    """Runs a script in an image's environment; what it printed, as JSON."""
    environments = Environments(cache_folder())
    made = await environments.empty(await environments.interpreter("", lambda _: None))

    async def run(script: str, **env: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            *(made.directory / "bin" / "python", "-c", script), env=env, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode == 0
        return json.loads(output)

    return run


async def test_every_wildcard_is_the_instances_own_address(python: Python) -> None:
    """On PORT the one where the front door and Google's probes reach it, which 127.0.0.1 alone is not."""
    asked = [("AF_INET", host, int(PORT)) for host in ("", "0.0.0.0", "0", "127.0.0.1")]
    found = await python(BOUND.format(asked=asked), PORT=PORT)
    assert found == [INSTANCE_ADDRESS] * 3 + ["127.0.0.1"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_a_socket_of_both_families_serves_ipv4_too(python: Python) -> None:
    """As `--bind [::]` does on Cloud Run."""
    asked = [("AF_INET6", "::", int(PORT)), ("AF_INET6", "::1", int(PORT))]
    assert await python(BOUND.format(asked=asked), PORT=PORT) == [f"::ffff:{INSTANCE_ADDRESS}", "::1"]


async def test_other_ports_are_on_localhost(python: Python) -> None:
    """Where the container's other processes look for them."""
    assert await python(BOUND.format(asked=[("AF_INET", "0.0.0.0", 0)]), PORT=PORT) == ["127.0.0.1"]


async def test_localhost_at_port_is_the_instance(python: Python) -> None:
    """Whether the socket blocks or not; what listens on another port is where it was."""
    with socket.socket() as probe:
        probe.bind((INSTANCE_ADDRESS, 0))
        port = probe.getsockname()[1]
    assert await python(ITSELF, PORT=str(port)) == [0, INSTANCE_ADDRESS, "127.0.0.1"]


async def test_asyncio_and_forked_servers_are_kept_too(python: Python) -> None:
    """uvicorn, hypercorn and daphne begin as the one, gunicorn's workers as the other."""
    assert set(await python(SERVING)) <= {"127.0.0.1", "::1"}
    assert await python(FORKED) == "127.0.0.1"


async def test_nothing_else_is_different(python: Python, tmp_path: Path) -> None:
    """Datagrams, sockets of files and refusals are Python's; a sitecustomize runs; no variable is added."""
    own = tmp_path / "sitecustomize.py"
    own.write_text("")
    given = {"FOLDER": str(tmp_path), "PYTHONPATH": str(tmp_path), "LC_CTYPE": "C.UTF-8"}
    datagrams, refused, found, names = await python(UNCHANGED, **given)
    assert datagrams == "0.0.0.0"
    assert "integer" in refused
    assert found == str(own)
    assert [name for name in names if name != "__CF_USER_TEXT_ENCODING"] == sorted(given)  # macOS adds that one


async def test_what_was_imported_before_is_kept_too(tmp_path: Path) -> None:
    """Another .pth file may have imported socket."""
    script = (
        "import json, socket\n"
        "from localcloud.runtime import loopback\n"
        "loopback.install()\n"
        f"{BOUND.format(asked=[('AF_INET', '', 0)])}"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert json.loads(output) == ["127.0.0.1"]
