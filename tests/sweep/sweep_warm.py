"""Operators forked from the warm process (sweep_zygote.py): started in an instant, killed, waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

ZYGOTE = Path(__file__).with_name("sweep_zygote.py")
ANSWER_S = 60.0


class Operator:
    """One running `nuages run`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = asyncio.Event()

    def is_busy(self) -> bool:
        """Whether it runs, or waits for a processor or a disk, at this very moment (proc(5), the state)."""
        return any(state in "RD" for state in states(Path(f"/proc/{self.pid}/task")))

    async def kill(self) -> None:
        """As kill -9 does; returns once it is gone."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await asyncio.wait_for(self.ended.wait(), ANSWER_S)


def states(threads: Path) -> Iterator[str]:
    """Of those that are still there; none where the system has no /proc (then only calls tell that it is at work)."""
    with contextlib.suppress(FileNotFoundError):
        for thread in threads.iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield (thread / "stat").read_text().rpartition(")")[2].split()[0]


class Warm:
    """The warm process; `warm()` makes it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._running: dict[int, Operator] = {}
        self._started: asyncio.Queue[Operator] = asyncio.Queue()
        self.ready = asyncio.Event()

    async def start(self, env: Mapping[str, str], log: Path, hold: bool) -> Operator:
        """An operator with exactly this environment; its output is appended to the file. `hold`: till SIGUSR1."""
        assert self._process.stdin is not None
        await asyncio.wait_for(self.ready.wait(), ANSWER_S)
        self._process.stdin.write(json.dumps({"env": dict(env), "log": str(log), "hold": hold}).encode() + b"\n")
        return await asyncio.wait_for(self._started.get(), ANSWER_S)

    async def listen(self) -> None:
        """Until the warm process ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "pid" in told:
                self._running[told["pid"]] = operator = Operator(told["pid"])
                self._started.put_nowait(operator)
            elif "ended" in told:
                self._running.pop(told["ended"]).ended.set()
            else:
                self.ready.set()


@contextlib.asynccontextmanager
async def warm(kubeconfig: Path, authorities: Path) -> AsyncIterator[Warm]:
    """It ends with all that it started, also when this process is killed.

    Of all its operators: `kubeconfig`, whose name the client looks for when it is imported; it need not be there yet.
    `authorities`: whom to trust, which aiohttp reads when it is imported.
    """
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "KUBECONFIG": str(kubeconfig), "SSL_CERT_FILE": str(authorities)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(ZYGOTE), stdin=pipe, stdout=pipe, env=env)
    made = Warm(process)
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await listening
