"""One worker of a sweep: a process with a site of its own, which runs the points that it is told, one by one.

    python sweep_worker.py crash deploy release

Told on standard output are {} at its beginning, {"points": [...]} once its lives are recorded, and then a result for
each point of the standard input; all are lines of JSON. It ends with that input, also in the middle of a point.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from sweep_lives import LIVES, Life, live_all
from sweep_points import Point, crash_points, fault_points
from sweep_run import run
from sweep_site import site

POINTS: Mapping[str, Callable[[Life], Iterable[Point]]] = {
    "crash": crash_points,
    "fault": fault_points,
    "real-crash": crash_points,
    "real-fault": fault_points,
}
REAL = "real-"  # with real processes, and only the points that touch them


def points_of(sweep: str, lives: Iterable[Life]) -> list[Point]:
    """All that there are, in an order that leaves no part of a life for the end."""
    found = [point for life in lives for point in POINTS[sweep](life)]
    return sorted((point for point in found if point.is_real or not sweep.startswith(REAL)), key=lambda p: p.order)


async def work(sweep: str, wanted: list[str], told: asyncio.Queue[bytes], output: TextIO) -> None:
    """Until cancelled."""
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        async with site(Path(folder), sweep.startswith(REAL)) as place:
            lives = {life.name: life for life in await live_all(place, max(wanted, key=LIVES.index))}
            points = points_of(sweep, (lives[name] for name in wanted))
            _tell(output, {"points": [point.json() for point in points]})
            while True:
                point = Point(**json.loads(await told.get()))
                _tell(output, (await run(place, lives[point.life], point)).json())


async def serve(sweep: str, wanted: list[str], output: TextIO) -> None:
    """Until the input ends; what goes wrong is raised."""
    told: asyncio.Queue[bytes] = asyncio.Queue()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    working = asyncio.create_task(work(sweep, wanted, told, output))
    listening = asyncio.create_task(_listen(reader, told))
    await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, listening):
        task.cancel()
    outcomes = await asyncio.gather(working, listening, return_exceptions=True)
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]


async def _listen(reader: asyncio.StreamReader, told: asyncio.Queue[bytes]) -> None:
    async for line in reader:
        told.put_nowait(line)


def _tell(output: TextIO, what: Mapping[str, Any]) -> None:
    output.write(json.dumps(what) + "\n")
    output.flush()


def main() -> None:
    # What anything else prints is for people.
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        _tell(output, {})
        asyncio.run(serve(sys.argv[1], sys.argv[2:], output))


if __name__ == "__main__":
    main()
