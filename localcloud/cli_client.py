"""How the commands talk to the running local cloud, and how they end with one sentence."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import typer

from localcloud.admin_token import TOKEN_HEADER
from localcloud.folder import Address, Folder, NotRunning

END_S = 60.0
POLL_S = 0.05


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command with one line."""
    typer.secho(message, err=True, fg=typer.colors.RED)
    raise typer.Exit(code)


def running(folder: Path) -> Address:
    """Where the folder's local cloud listens; ends the command where none runs."""
    try:
        return Folder(folder).address()
    except NotRunning as error:
        fail(str(error))


def request(address: Address, method: str, path: str, body: Any = None) -> Any:
    """One answer as JSON."""
    return json.loads("".join(lines(address, method, path, body)) or "null")


def lines(address: Address, method: str, path: str, body: Any = None) -> Iterator[str]:
    """The answer line by line, as it comes. Ends the command on a refusal or a lost connection."""
    url = urlsplit(address.rest)
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    try:
        content = None if body is None else json.dumps(body).encode()
        headers = {TOKEN_HEADER: address.token, "Content-Type": "application/json"}
        connection.request(method, f"/_localcloud/{path}", content, headers)
        response = connection.getresponse()
        if response.status >= 400:
            fail(json.loads(response.read())["error"])
        while line := response.readline():
            yield line.decode()
    except (OSError, http.client.HTTPException) as error:
        fail(f"The local cloud at {address.rest} went away: {error}.")
    finally:
        connection.close()


def end(folder: Folder) -> None:
    """Ask the local cloud of the folder to end, and wait until its process has, which ends all that it runs before.

    Ends the command where none runs.
    """
    try:
        pid = folder.address().pid
    except NotRunning as error:
        fail(str(error))
    os.kill(pid, signal.SIGTERM)  # the lock is held, so the process is the one that wrote its number
    deadline = time.monotonic() + END_S
    while not _has_ended(pid):
        if time.monotonic() > deadline:
            fail(f"Process {pid} did not end within {END_S:.0f} s: see {folder.log}, or kill it.")
        time.sleep(POLL_S)


def _has_ended(pid: int) -> bool:
    """Also where its parent never buries it, as process 1 of many containers."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (ProcessLookupError, PermissionError):  # nobody has its number, or a stranger by now
        return True
    except FileNotFoundError:  # a system without /proc, or it is gone since
        return False
