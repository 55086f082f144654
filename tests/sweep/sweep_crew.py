"""The workers of a sweep (sweep_worker.py), side by side: whoever is free is given the next point."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweep_points import Point
from sweep_run import Result

LINE = 1 << 24  # bytes at most: all points of a sweep
STOPPING_S = 30.0


class WorkerEnded(Exception):
    """By itself, in the middle of its work; why is on its standard error."""


@dataclass
class Crew:
    """`begin` is given the points that the first worker found, and answers those to run; `note` is told each result."""

    command: Sequence[str]  # of one worker
    begin: Callable[[list[Point]], Sequence[Point]]
    note: Callable[[Result], Awaitable[None]]
    ends: float  # the loop's time, after which no point begins
    left: int = 0
    _next: Iterator[Point] | None = field(default=None, init=False)

    async def run(self, jobs: int) -> bool:
        """With so many workers; whether all points have a result. Raises a group, of WorkerEnded or from `note`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(self._one())
        return self.left == 0

    async def _one(self) -> None:
        async with _started(self.command) as worker:
            points = [Point(**body) for body in (await _heard(worker))["points"]]
            if self._next is None:
                mine = self.begin(points)
                self.left, self._next = len(mine), iter(mine)
            for point in self._next:
                if asyncio.get_running_loop().time() > self.ends:
                    return
                assert worker.stdin is not None
                worker.stdin.write(json.dumps(point.json()).encode() + b"\n")
                result = Result.of(await _heard(worker))
                self.left -= 1
                await self.note(result)


async def _heard(worker: asyncio.subprocess.Process) -> dict[str, Any]:
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    if not line:
        raise WorkerEnded("a worker ended by itself")
    found: dict[str, Any] = json.loads(line)
    return found


@contextlib.asynccontextmanager
async def _started(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Once it has said that it is there, before which it makes nothing; it is waited for, whatever happens."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=LINE)
    assert process.stdin is not None
    try:
        await _heard(process)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOPPING_S)
        except TimeoutError:
            process.kill()
            await process.wait()
