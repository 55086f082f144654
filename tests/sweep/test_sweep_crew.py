"""Points handed out to workers, which are stood in for by a program that answers at once."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from sweep_crew import Crew
from sweep_points import Point
from sweep_run import Result

POINTS = [Point("deploy", "kubernetes", "PUT leases", "", nth) for nth in range(20)]
# Says which points there are; of each that it is told, that it passed, with its own process as the number of calls.
WORKER = """
import json, os, sys
print("{}")
print(json.dumps({"points": POINTS}), flush=True)
for line in sys.stdin:
    point = json.loads(line)
    print(json.dumps({"id": "", "point": point, "outcome": "passed", "calls": os.getpid()}), flush=True)
    if point["nth"] == LAST:
        sys.exit()
"""


class Noted:
    """What a crew began with and found; a result takes its worker a moment, so that others come to theirs."""

    def __init__(self, folder: Path, last: int = -1) -> None:
        self.begun: list[list[Point]] = []
        self.results: list[Result] = []
        program = folder / "worker.py"
        listed = json.dumps([point.json() for point in POINTS]).replace("false", "False")
        program.write_text(WORKER.replace("POINTS", listed).replace("LAST", str(last)))
        self.command = [sys.executable, str(program)]

    def begin(self, points: list[Point]) -> list[Point]:
        self.begun.append(points)
        return points[1:]

    async def note(self, result: Result) -> None:
        self.results.append(result)
        await asyncio.sleep(0.05)

    def crew(self, within_s: float = 60.0) -> Crew:
        return Crew(self.command, self.begin, self.note, asyncio.get_running_loop().time() + within_s)


async def test_each_point_goes_to_one_worker(tmp_path: Path) -> None:
    """All are run, by more than one process; which there are is asked once."""
    noted = Noted(tmp_path)
    assert await noted.crew().run(3)
    assert noted.begun == [POINTS]
    assert sorted(result.point.nth for result in noted.results) == list(range(1, 20))
    assert len({result.calls for result in noted.results}) > 1


async def test_no_point_begins_after_the_end(tmp_path: Path) -> None:
    """It says that points are left."""
    noted = Noted(tmp_path)
    assert not await noted.crew(within_s=-1.0).run(2)
    assert noted.results == []


async def test_a_worker_that_ends_by_itself_ends_the_sweep(tmp_path: Path) -> None:
    """Its point is not taken for one that was run."""
    with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="a worker ended by itself"), allow_unwrapped=True):
        await Noted(tmp_path, last=5).crew().run(1)
