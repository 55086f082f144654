"""Real processes, started, read, stopped, and ended with whoever started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localcloud.runtime.processes import LINE_LIMIT_BYTES, ProcessError, Processes

REPOSITORY = Path(__file__).parents[2]
PYTHON = [sys.executable, "-I", "-S", "-c"]
DEADLINE_S = 20.0
ENV = {"PATH": os.environ["PATH"]}

# Reports its process id, then does as told: each kind of descendant that has to end with us.
SLEEP = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
WITH_CHILD = "import os; os.fork(); " + SLEEP
OUT_OF_GROUP = "import os\nif os.fork() == 0:\n    os.setsid()\n" + SLEEP

PARENT = """
import asyncio, os, sys
from pathlib import Path
from localcloud.runtime.processes import Processes

async def main():
    processes = Processes()
    for number, script in enumerate(sys.argv[1:]):
        await processes.start(
            f"child {number}", [sys.executable, "-I", "-S", "-c", script], env={}, cwd=Path("/"),
            on_line=lambda _, line: print(line, flush=True),
        )
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def until(is_true: Callable[[], bool], what: str) -> None:
    """Waits for a condition, at most DEADLINE_S seconds."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie, whom only its parent can bury, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    try:
        return (
            not state.parent.parent.joinpath("self").exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
        )
    except OSError:
        return False


async def test_exit_codes_and_signals_are_told_apart(processes: Processes, tmp_path: Path) -> None:
    """An exit status is positive, a signal negative, and neither is known while the process lives."""
    failing = await processes.start("failing", [*PYTHON, "raise SystemExit(7)"], env=ENV, cwd=tmp_path)
    assert await failing.wait() == 7
    sleeping = await processes.start("sleeping", [*PYTHON, SLEEP], env=ENV, cwd=tmp_path)
    assert sleeping.returncode is None
    sleeping.signal(signal.SIGKILL)
    assert await sleeping.wait() == -signal.SIGKILL == sleeping.returncode


async def test_environment_is_what_was_given(processes: Processes, tmp_path: Path) -> None:
    """A child sees exactly the environment given, odd names and values included, and its working directory."""
    given = {"A.b-c": "x y\n'ü", "EMPTY": ""}
    lines: list[str] = []
    script = "import os; print(sorted(os.environ.items()), os.getcwd(), os.getsid(0) == os.getpid())"
    child = await processes.start(
        "env", [*PYTHON, script], env=given, cwd=tmp_path, on_line=lambda _, line: lines.append(line)
    )
    assert await child.wait() == 0
    shown = dict(given)
    assert lines in (
        [f"{sorted(shown.items())} {tmp_path} True"],
        [f"{sorted({**shown, 'LC_CTYPE': 'C.UTF-8'}.items())} {tmp_path} True"],  # Python's own addition (PEP 538)
    )


async def test_every_line_arrives_before_wait_returns(processes: Processes, tmp_path: Path) -> None:
    """Output is split into lines by stream, in order, the last without its newline too, and kept in the log."""
    script = "import sys\nfor i in range(5000): print(i)\nprint('wrong', file=sys.stderr)\nsys.stdout.write('end')"
    lines: list[tuple[str, str]] = []
    log = tmp_path / "out.log"
    child = await processes.start(
        "chatty",
        [*PYTHON, script],
        env=ENV,
        cwd=tmp_path,
        log=log,
        on_line=lambda stream, line: lines.append((stream, line)),
    )
    assert await child.wait() == 0
    assert [line for stream, line in lines if stream == "stdout"] == [*map(str, range(5000)), "end"]
    assert [line for stream, line in lines if stream == "stderr"] == ["wrong"]
    assert len(log.read_text().splitlines()) == 5002


async def test_long_lines_are_split(processes: Processes, tmp_path: Path) -> None:
    """A line beyond the limit arrives in parts, and the next one is whole."""
    lines: list[str] = []
    script = f"print('x' * {LINE_LIMIT_BYTES * 3 + 5}); print('next')"
    child = await processes.start(
        "long", [*PYTHON, script], env=ENV, cwd=tmp_path, on_line=lambda _, line: lines.append(line)
    )
    await child.wait()
    assert [len(line) for line in lines] == [LINE_LIMIT_BYTES] * 3 + [5, 4]


async def test_a_reader_that_raises_does_not_stop_the_reading(processes: Processes, tmp_path: Path) -> None:
    """A fault in handling a line is logged; the child never blocks on a full pipe for it."""

    def refuse(stream: str, line: str) -> None:
        raise ValueError(line)

    script = "for i in range(100000): print(i)"
    child = await processes.start("refused", [*PYTHON, script], env=ENV, cwd=tmp_path, on_line=refuse)
    assert await child.wait() == 0


async def test_stop_asks_first_and_kills_after_the_grace(processes: Processes, tmp_path: Path) -> None:
    """SIGTERM ends who listens; who does not gets SIGKILL once the grace is over."""
    ready: list[str] = []
    polite = await processes.start("polite", [*PYTHON, SLEEP], env=ENV, cwd=tmp_path)
    assert await polite.stop(DEADLINE_S) == -signal.SIGTERM
    stubborn = await processes.start(
        "stubborn", [*PYTHON, STUBBORN], env=ENV, cwd=tmp_path, on_line=lambda _, line: ready.append(line)
    )
    await until(lambda: bool(ready), "it never started")
    assert await stubborn.stop(0.2) == -signal.SIGKILL
    assert await stubborn.stop(0.2) == -signal.SIGKILL  # stopping what has ended is no error


async def test_group_ends_with_its_leader(processes: Processes, tmp_path: Path) -> None:
    """What a process left running in its group ends when it does, as in a container."""
    lines: list[str] = []
    script = "import os, sys\nif os.fork():\n    sys.exit(3)\n" + SLEEP
    leader = await processes.start(
        "leader", [*PYTHON, script], env=ENV, cwd=tmp_path, on_line=lambda _, line: lines.append(line)
    )
    assert await leader.wait() == 3
    await until(lambda: not any(is_alive(int(line.split()[1])) for line in lines), "the rest of the group lives")


async def test_standard_input_stays_open_until_closed(processes: Processes, tmp_path: Path) -> None:
    """A child that reads its input to the end ends when we close it, and not before."""
    lines: list[str] = []
    script = "import sys; print('reading', flush=True); sys.stdin.read()"
    child = await processes.start(
        "reader",
        [*PYTHON, script],
        env=ENV,
        cwd=tmp_path,
        stdin_pipe=True,
        on_line=lambda _, line: lines.append(line),
    )
    await until(lambda: lines == ["reading"], "it never started")
    assert child.returncode is None
    child.close_stdin()
    assert await child.wait() == 0


@pytest.mark.parametrize("argv", [["no-such-program"], ["/no/such/program"], ["./none"]])
async def test_missing_program_is_named(processes: Processes, tmp_path: Path, argv: list[str]) -> None:
    """The error names the process and the program."""
    with pytest.raises(ProcessError, match=f"web could not be started: there is no program '{argv[0]}'"):
        await processes.start("web", argv, env=ENV, cwd=tmp_path)


async def test_missing_folder_is_named(processes: Processes, tmp_path: Path) -> None:
    """A working directory or a log that cannot be had is said, and the next start works."""
    with pytest.raises(ProcessError, match=r"web could not be started.*absent"):
        await processes.start("web", [*PYTHON, SLEEP], env=ENV, cwd=tmp_path / "absent")
    with pytest.raises(ProcessError, match=r"web could not be started.*absent"):
        await processes.start("web", [*PYTHON, SLEEP], env=ENV, cwd=tmp_path, log=tmp_path / "absent" / "log")
    fine = await processes.start("web", [*PYTHON, "pass"], env=ENV, cwd=tmp_path)
    assert await fine.wait() == 0


async def test_many_start_at_once_with_large_environments(processes: Processes, tmp_path: Path) -> None:
    """Requests larger than a socket's buffer, side by side, all arrive whole."""
    env = {f"V{number}": "x" * 60_000 for number in range(16)}
    script = (
        "import os, sys; sys.exit(sum(map(len, os.environ.values())) != 960000 + len(os.environ.get('LC_CTYPE', '')))"
    )
    children = await asyncio.gather(
        *(processes.start(f"n{number}", [*PYTHON, script], env=env, cwd=tmp_path) for number in range(20))
    )
    assert await asyncio.gather(*(child.wait() for child in children)) == [0] * 20
    assert len({child.pid for child in children}) == 20


async def test_close_ends_the_newest_first(tmp_path: Path) -> None:
    """Who was started last, and may need the others, is ended before them; nothing starts afterwards."""
    processes, ended = Processes(), []
    children = [await processes.start(f"n{i}", [*PYTHON, SLEEP], env=ENV, cwd=tmp_path) for i in range(3)]

    async def note(name: str, wait: asyncio.Future[int]) -> None:
        await wait
        ended.append(name)

    notes = [asyncio.create_task(note(c.name, asyncio.ensure_future(c.wait()))) for c in children]
    await processes.close()
    await asyncio.gather(*notes)
    assert ended == ["n2", "n1", "n0"]
    with pytest.raises(ProcessError, match="stopping"):
        await processes.start("late", [*PYTHON, "pass"], env=ENV, cwd=tmp_path)


async def test_cancelled_start_leaves_no_process(processes: Processes, tmp_path: Path) -> None:
    """Who gives up while a process is being started has none afterwards."""
    lines: list[str] = []
    starting = asyncio.create_task(
        processes.start("given up", [*PYTHON, SLEEP], env=ENV, cwd=tmp_path, on_line=lambda _, line: lines.append(line))
    )
    link_opened = await processes.start("first", [*PYTHON, "pass"], env=ENV, cwd=tmp_path)
    await link_opened.wait()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await processes.close()
    assert not any(is_alive(int(line.split()[1])) for line in lines)


@pytest.mark.parametrize("killed", ["parent", "guardian"])
async def test_every_descendant_ends_after_kill_9(tmp_path: Path, killed: str) -> None:
    """With its parent, or with the guardian itself, killed by SIGKILL, every child and grandchild is gone soon."""
    scripts = [SLEEP, STUBBORN, WITH_CHILD]
    expected = 4
    if sys.platform == "linux" and killed == "parent":  # macOS hands over no orphans: groups only
        scripts.append(OUT_OF_GROUP)
        expected = 6
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, *scripts), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pids = [int((await parent.stdout.readline()).split()[1]) for _ in range(expected)]
    assert all(map(is_alive, pids))
    os.kill(parent.pid if killed == "parent" else _only_child_of(parent.pid), signal.SIGKILL)
    try:
        await until(lambda: not any(map(is_alive, pids)), "descendants are alive")
    finally:
        if parent.returncode is None and killed == "guardian":
            parent.kill()
        await parent.wait()


def _only_child_of(pid: int) -> int:
    """The guardian, seen from the process that made it; the first to print its id may be a grandchild of it."""
    return int(subprocess.run(["pgrep", "-P", str(pid)], check=True, capture_output=True).stdout)
