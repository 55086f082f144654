"""`make smoke` and `make demo`, as the Makefile calls them: the status they end with, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import demo_processes
import pytest
from aiohttp import web

from localcloud.demo import PRODUCTS
from localcloud.demo_check import CheckFailed, check
from localcloud.demo_progress import LATE_S
from localcloud.folder import Folder
from localcloud.runtime.probes import outside_address

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 240.0  # a demo takes half a minute on a machine that does nothing else
STOP_S = 60.0
TEXTS = ("etcd", "postgres", "gunicorn", "nuages")  # in the commands of what a demo that is up runs
TOTAL = re.compile(
    r"\n([\d.]+) s until the app was Ready:\n"
    r" +([\d.]+) s  start of .*\n +([\d.]+) s  image of .*\n"
    r" +([\d.]+) s  installation .*\n +([\d.]+) s  deployment, .*\n"
    r" +([\d.]+) s  the cloud's own operations, 60 times faster here: at Google (\d+) minutes\n"
    r" +([\d.]+) s  Django: .*\n +([\d.]+) s  the rest: .*\n"
)
HAS_GCLOUD = shutil.which("gcloud") is not None
SHOWN = {  # the lines that it ends with, and what each shows
    "kubectl get djangoapps -A -o wide": r"^demo +shop +True +Available ",
    "kubectl describe djangoapp shop -n demo": r"^Name: +shop$",
    "gcloud run services list --region europe-west1": r"^.? +demo-shop ",
    "gcloud sql instances list": r"^demo-shop-\w+ +POSTGRES_",
    "gcloud secrets list": r"^demo-shop-superuser-password ",
}
PROGRESS = (  # each behind the seconds since the start
    r"Created: User nuages-admin",
    r"Created: storage\.objectAdmin on demo-demo-shop-media for serviceAccount:demo-shop@",
    r"Operation under way: jobs/demo-shop-migrate",
    r"Operation done: jobs/demo-shop-migrate, after \d+\.\d s",
    *(rf"Release: {stage}" for stage in ("DbInit", "Migrate", "Candidate", "Traffic", "Superuser", "Done")),
    r"Available: ",
)
ORDER = (  # what comes before what
    ("Created: Instance ", "Operation under way: instances/demo-shop-", "InstanceCreating: "),
    ("InstanceCreating: ", "Operation done: instances/demo-shop-", "Created: User nuages-admin", "Release: DbInit"),
    ("Release: DbInit", "Operation under way: jobs/demo-shop-db-init", ".*: db-init is being started"),
    ("InitialisingDatabase: ", "Operation done: jobs/demo-shop-db-init", "InitialisingDatabase: db-init is running"),
    ("Release: Migrate", "Operation under way: jobs/demo-shop-migrate", ".*: migrate is being started"),
    ("Migrating: ", "Operation done: jobs/demo-shop-migrate", "Migrating: migrate is running"),
    ("Operation done: services/demo-shop, ", "Release: Superuser", "Operation under way: jobs/demo-shop-superuser"),
    ("Operation under way: jobs/demo-shop-superuser", "Available: "),
)
INSTANCE_S = 6.0  # what Cloud SQL takes at Google, sixty times faster
ROUNDED_S = 0.05

pytestmark = pytest.mark.xdist_group("demo")


def command(target: str) -> list[str]:
    """The one line of the target's recipe, with the programs of this environment."""
    found = re.search(rf"^{target}:.*\n\t@\$\(BIN\)/(.+)\n(?!\t)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None, target
    program, *arguments = found[1].split()
    return [str(PROGRAMS / program), *arguments]


@dataclass
class Running:
    """A command of the Makefile's in a session of its own, as a shell with job control starts it."""

    process: asyncio.subprocess.Process
    folder: Path
    output: str = ""

    async def until(self, text: str) -> None:
        """Reads its output up to the line with the text; fails where it ends before."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            while line := (await self.process.stdout.readline()).decode():
                self.output += line
                if text in line:
                    return
        raise AssertionError(self.output)

    async def ended(self, within_s: float) -> int:
        """Its exit status, all output read."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within_s):
            self.output += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    def interrupt(self) -> None:
        """As Ctrl-C does: the whole foreground group hears it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def processes(self) -> set[demo_processes.Process]:
        """Its own and all that it started, whatever they have done to get away."""
        return demo_processes.of(self.process.pid, str(self.folder))


@contextlib.asynccontextmanager
async def started(target: str, folder: Path) -> AsyncIterator[Running]:
    """In a folder of its own, whose name everything that it starts bears. What a failure left is ended here."""
    process = await asyncio.create_subprocess_exec(
        *command(target),
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    running = Running(process, folder)
    try:
        yield running
    finally:
        for left in running.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)
        await process.wait()


async def test_smoke_checks_the_shop_and_leaves_nothing(tmp_path: Path) -> None:
    """Status 0 after the page and the login were seen; no process and no file stays; the times add up."""
    began = time.monotonic()
    async with started("smoke", tmp_path) as smoke:
        await smoke.until("Available: ")
        up = smoke.processes()
        assert await smoke.ended(DEADLINE_S) == 0, smoke.output
        took = time.monotonic() - began
        assert "Checked: the page lists the products, and the admin login works." in smoke.output
        assert demo_processes.still(up) | smoke.processes() == set()
    assert os.listdir(tmp_path) == []
    check_split(smoke.output, took)
    check_order(smoke.output)


def check_split(output: str, took: float) -> None:
    """None of the parts is negative, and who adds up what is printed comes to the total, and to what a line says."""
    found = TOTAL.search(output)
    assert found is not None, output
    total, start, image, install, deployment, cloud, minutes, django, rest = (float(part) for part in found.groups())
    assert total < took
    assert round(start + image + install + deployment, 1) == total, found[0]
    assert round(cloud + django + rest, 1) == deployment, found[0]
    assert abs(minutes - cloud) <= 0.5 + ROUNDED_S  # 60 times faster: seconds here are minutes there
    assert cloud >= INSTANCE_S
    assert all(part > 0 for part in (start, image, install, django, rest)), found[0]
    ready = re.search(r"^ *([\d.]+) s  Available: ", output, re.MULTILINE)
    assert ready is not None
    assert abs(float(ready[1]) - total) < LATE_S + ROUNDED_S


def check_order(output: str) -> None:
    """Later lines have later times, and nothing ends, is ready or is used before it began."""
    lines = re.findall(r"^(?=.{6} s  ) *(\d+\.\d) s  (.*)", output, re.MULTILINE)
    assert lines[0][1].startswith("starting ")
    times = [float(seconds) for seconds, _ in lines]
    assert times == sorted(times)
    texts = "\n".join(text for _, text in lines)
    for order in ORDER:
        assert re.search("^" + r"(?:\n|.)*^".join(order), texts, re.MULTILINE), f"{order} is not in:\n{output}"


@pytest.mark.parametrize("moment", ["Ctrl-C ends all of it", "Operation under way: jobs/demo-shop-migrate"])
async def test_ctrl_c_ends_the_demo_and_all_that_it_runs(tmp_path: Path, moment: str) -> None:
    """Once it is up, and in the middle of the first deploy: status 0, no traceback, no process left behind."""
    async with started("demo", tmp_path) as demo:
        await demo.until(moment)
        up = demo.processes()
        if "Ctrl-C" in moment:  # or the search below would prove nothing
            commands = " ".join(process.command for process in up)
            assert [text for text in TEXTS if text not in commands] == []
            check_progress(demo.output)
            check_listeners(up)
            await check_lines(demo.output, tmp_path)
        demo.interrupt()
        assert await demo.ended(STOP_S) == 0, demo.output
        assert demo_processes.still(up) | demo.processes() == set()
    assert "Traceback" not in demo.output
    if "Ctrl-C" in moment and not HAS_GCLOUD:
        pytest.skip("gcloud is not installed: all but its lines was checked")


def check_progress(output: str) -> None:
    """Resources, operations and the release's steps are told as they happen."""
    for text in PROGRESS:
        assert re.search(rf"^ *\d+\.\d s  {text}", output, re.MULTILINE), f"{text} is not in:\n{output}"


def check_listeners(running: set[demo_processes.Process]) -> None:
    """All that listens does so on loopback, the app too; this machine's other addresses are refused."""
    found = demo_processes.listening(running)
    assert len(found) >= len(TEXTS)
    assert {host for host, _ in found} <= {"127.0.0.1", "127.0.0.2", "::1"}
    outside = outside_address()
    for _, port in found if outside else ():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((outside, port), timeout=5)


async def check_lines(output: str, home: Path) -> None:
    """What it ends with can be pasted: the page, the login, and the lines for another shell."""
    curl = re.search(r"or: +(curl .*)", output)
    login = re.search(r"Its admin: +(http://\S+/)admin/ +(\S+) / (\S+)", output)
    shell = re.search(r"In another shell:\n((?:    .*\n)+)", output)
    assert curl, output
    assert login, output
    assert shell, output
    assert PRODUCTS[0] in await pasted(curl[1], home)
    await check(login[1], PRODUCTS, login[2], login[3])
    enter, *lines = [line.strip() for line in shell[1].splitlines()]
    assert lines == list(SHOWN)
    for line, shown in SHOWN.items():
        if HAS_GCLOUD or not line.startswith("gcloud"):
            said = await pasted(f"{enter}\n{line}", home)
            assert re.search(shown, said, re.MULTILINE), f"{line}: {said}"


async def pasted(script: str, home: Path) -> str:
    """What a shell of somebody without settings of their own prints; it ends with 0."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-ec", script),
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await asyncio.wait_for(process.communicate(), STOP_S)
    assert process.returncode == 0, errors.decode()
    return said.decode()


async def test_a_demo_that_cannot_begin_says_why(tmp_path: Path) -> None:
    """Status 1 and one sentence, as for all that goes wrong."""
    with Folder(tmp_path / ".localcloud").used():
        async with started("demo", tmp_path) as demo:
            assert await demo.ended(DEADLINE_S) == 1
    assert "Failed: " in demo.output
    assert "a localcloud runs here already" in demo.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("page", "says"),
    [("Teapot", "does not list Tin of Assam"), ("Teapot, Tin of Assam", "has no form with a CSRF token")],
)
async def test_a_page_that_is_not_the_shops_fails_the_check(page: str, says: str) -> None:
    """Whatever it answers: the products have to be on it, and a login behind it."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=page)

    server = web.Server(answer)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        with pytest.raises(CheckFailed, match=says):
            await check(f"http://127.0.0.1:{runner.addresses[0][1]}/", ("Teapot", "Tin of Assam"), "admin", "secret")
    finally:
        await runner.cleanup()


LEAVER = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("gone", flush=True)
        os.close(1)  # asyncio waits for the end of a process and of all that hold its pipes
        time.sleep(600)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not demo_processes.HAS_PROC, reason="this system does not show a process's folder")
async def test_the_search_finds_what_ran_away(tmp_path: Path) -> None:
    """A process without its parent, its session and its environment, after its leader has ended."""
    leader = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", LEAVER),
        cwd=tmp_path,
        env={},
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert leader.stdout is not None
    assert await leader.stdout.readline() == b"gone\n"
    assert await leader.wait() == 0
    (left,) = demo_processes.of(leader.pid, str(tmp_path))  # the folder is its only mark
    assert demo_processes.still({left}) == {left}
    os.kill(left.pid, signal.SIGKILL)


def test_ps_shows_what_proc_does() -> None:
    """Where there is no /proc, as on macOS, the search goes on with what ps says; sockets are lsof's to tell."""
    (mine,) = [found for found in demo_processes.from_ps() if found.pid == os.getpid()]
    assert (mine.parent, mine.session) == (os.getppid(), os.getsid(0))
    assert "python" in mine.command
