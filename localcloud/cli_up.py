"""`localcloud up` and `down`: the process that serves, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import typer

from localcloud.cli_client import fail
from localcloud.controlplane.errors import MissingError, StartError
from localcloud.folder import Folder, InUse, NotRunning
from localcloud.localcloud import LocalCloud, Options
from localcloud.signals import until_signalled

LAST_LINE = "  to end it:   "  # of what is said once all is up
START_S = 900.0  # the first start may build the control plane
POLL_S = 0.05


def foreground(options: Options, with_operator: bool, began: float) -> int:
    """Serve until a signal; returns the exit status. `began`: of the command, by time.monotonic()."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        asyncio.run(_serve(options, with_operator, began))
    except (InUse, MissingError, StartError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"localcloud cannot start in {options.dir}: {error}.")
    return 0


async def _serve(options: Options, with_operator: bool, began: float) -> None:
    async with (
        until_signalled(typer.echo),
        LocalCloud(options, progress=typer.echo) as cloud,
        contextlib.AsyncExitStack() as stack,
    ):
        if with_operator:
            await stack.enter_async_context(_operator(cloud))
        _announce(cloud, time.monotonic() - began)
        await cloud.exited()


@contextlib.asynccontextmanager
async def _operator(cloud: LocalCloud) -> AsyncIterator[None]:
    """The operator is a package of its own; localcloud serves without it too."""
    if importlib.util.find_spec("nuages") is None:
        typer.echo("The operator (package nuages) is not installed: without it.")
        yield
        return
    from localcloud.operator import running

    async with running(cloud, typer.echo):
        yield


def _announce(cloud: LocalCloud, seconds: float) -> None:
    command = cloud.folder.command
    typer.echo(f"localcloud is ready after {seconds:.1f} s; operations end {cloud.options.speed:g} times faster.")
    typer.echo(f'  in a shell:  eval "$({command("env")})"')
    typer.echo(f"  plain REST:  {cloud.rest}")
    keys = "Ctrl-C, or " if sys.stdin.isatty() else ""  # nobody's terminal: started by --detach or a service
    down = command("down")
    typer.echo(f"{LAST_LINE}{keys}{down}")
    sys.stdout.flush()


def detached(options: Options, with_operator: bool, began: float) -> int:
    """Start in the background; returns once it is ready, or with what it said when it failed."""
    folder = Folder(options.dir)
    if folder.is_used():
        fail(f"{folder.path}: a localcloud runs here already. Use it, or run 'localcloud down'.")
    argv = [sys.executable, "-m", "localcloud", "up", "--dir", str(folder.path), "--speed", str(options.speed)]
    argv += ["--project", options.project, "--region", options.region]
    argv += ["--simulate"] * options.simulate + ["--no-control-plane"] * (not options.control_plane)
    argv += ["--no-operator"] * (not with_operator) + ["--began", str(began)]
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with folder.used():  # so that it is known for a localcloud's before the log is in it
            log = folder.log.open("wb")
    except OSError as error:
        fail(f"localcloud cannot start in {folder.path}: {error}.")
    with log:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            fail(_last_line(folder.log) or f"localcloud ended with {child.returncode}; its log is {folder.log}.")
        if _is_ready(folder, child.pid):
            typer.echo(folder.log.read_text().rstrip())
            return 0
        time.sleep(POLL_S)
    fail(f"localcloud was not ready after {START_S:.0f} s; its log is {folder.log}.")


def _is_ready(folder: Folder, pid: int) -> bool:
    try:
        if folder.address().pid != pid:
            return False
    except NotRunning:
        return False
    said = folder.log.read_text().splitlines(keepends=True)
    return any(line.startswith(LAST_LINE) and line.endswith("\n") for line in said)


def _last_line(log: Path) -> str:
    return (log.read_text().strip().splitlines() or [""])[-1]
