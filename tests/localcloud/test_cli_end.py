"""`localcloud up --detach` and `down`: what they say is so when they return."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time

import demo_processes
import pytest
from cli_support import DEADLINE_S, UP, Shell
from run_support import until

ROUNDED_S = 0.06  # to tenths of a second, from hundredths


async def test_down_returns_once_all_of_it_has_ended(shell: Shell) -> None:
    """The process that held the folder, and the control plane that it ran: who looks then finds none of them."""
    await shell("up", "-d", "--simulate", "--no-operator", "--speed", "1000")
    pid = int(shell.address()["pid"])
    up = {found for found in demo_processes.of(pid, str(shell.folder)) if found.session != os.getsid(0)}
    assert [text for text in ("localcloud up", "etcd") if text not in str(up)] == []
    assert await shell("down") == "Stopped.\n"
    assert demo_processes.still(up) == set()


async def test_ctrl_c_while_kubernetes_starts_is_quiet(shell: Shell) -> None:
    """Status 0, one word, and nothing of it runs on."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "localcloud", "up", "--simulate", "--no-operator"),
        cwd=shell.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    folder = shell.folder / ".localcloud"
    begun = (folder / "ports.json", folder / "kubernetes" / "kube-apiserver.log")  # seconds before either is ready
    async with asyncio.timeout(DEADLINE_S):
        await until(lambda: all(path.is_file() for path in begun))
        up = {found for found in demo_processes.of(process.pid, str(folder)) if found.session != os.getsid(0)}
        process.send_signal(signal.SIGINT)
        said, _ = await process.communicate()
    assert (process.returncode, said.decode()) == (0, "stopping\n")
    assert demo_processes.still(up) == set()


SLEEPER = "import time; print('asleep', flush=True); time.sleep(600)"
STARTER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"


async def test_ctrl_c_of_a_build_ends_what_it_ran(shell: Shell) -> None:
    """Also what says nothing, and what that started; who runs `localcloud up` hears nothing of it."""
    await shell(*UP)
    context = shell.folder / "app"
    context.mkdir()
    (context / "build.py").write_text(f"{STARTER}\n")
    (context / "Dockerfile").write_text("FROM python:3.11-slim\nCOPY build.py .\nRUN python build.py\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "localcloud", "build", "app", "--tag", "europe-west1-docker.pkg.dev/demo/a/b:v1"),
        cwd=shell.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        while b"asleep" not in (line := await process.stdout.readline()):
            assert line, "the build ended"
        up = demo_processes.of(int(shell.address()["pid"]), str(shell.folder))
        building = {found for found in up if "asleep" in found.command or "build.py" in found.command}
        assert building
        process.send_signal(signal.SIGINT)
        said, _ = await process.communicate()
        await until(lambda: not demo_processes.still(building))
    assert b"Traceback" not in said
    assert process.returncode != 0
    assert (shell.folder / ".localcloud" / "localcloud.log").read_text().count("Traceback") == 0


@pytest.mark.skipif(not demo_processes.HAS_PROC, reason="this system does not show who has ended and is not buried")
async def test_down_does_not_wait_for_a_parent_that_buries_nobody(shell: Shell) -> None:
    """As process 1 of many containers: what is left then is an entry in the system's list."""
    argv = [sys.executable, "-m", "localcloud", *UP[:1], *UP[2:]]
    with subprocess.Popen(argv, cwd=shell.folder, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        try:  # not asyncio's, which would bury it
            assert process.stdout is not None
            line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), DEADLINE_S)
            assert b"is ready" in line
            assert await shell("down") == "Stopped.\n"
            assert process.returncode is None
        finally:
            process.kill()


HELD_UP = """
import io, sys, time

class HeldUp(io.TextIOWrapper):
    def write(self, text):
        written = super().write(text)
        if "is ready" in text:
            self.flush()
            time.sleep(1)
        return written

sys.stdout = HeldUp(open(1, "wb", closefd=False))
"""


async def test_up_says_all_that_was_said_in_the_background(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though that process is held up between two lines."""
    (shell.folder / "sitecustomize.py").write_text(HELD_UP)
    monkeypatch.setenv("PYTHONPATH", str(shell.folder))
    said = (await shell(*UP)).splitlines()
    assert [line.split(":")[0].strip() for line in said[-3:]] == ["in a shell", "plain REST", "to end it"]


@pytest.mark.skipif(sys.platform != "linux", reason="this system does not say when a process began")
async def test_up_counts_from_the_start_of_the_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What who typed it waits for: both interpreters' own starts too, each a second and a half here."""
    (shell.folder / "sitecustomize.py").write_text("import time\ntime.sleep(1.5)\n")
    monkeypatch.setenv("PYTHONPATH", str(shell.folder))
    began = time.monotonic()
    said = re.search(r"localcloud is ready after ([\d.]+) s", await shell(*UP))
    took = time.monotonic() - began
    assert said is not None
    assert 3.0 <= float(said[1]) <= took + ROUNDED_S
