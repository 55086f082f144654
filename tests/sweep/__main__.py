"""The sweeps of `make soak`, from a shell:

    python tests/sweep crash fault real-crash --shard 3/8 --minutes 30 --results DIR

Points are run side by side, in processes with a cloud and an API server of their own (--jobs). All sweeps together end
in that time, each with its share of it and what the ones before it did not use. A point's result is a line of JSON in
the folder; what is there is not done again, so that a sweep that was stopped goes on. Points that failed are, and those
that were run with older code. Ends with 1 where a point failed, with 3 (LEFT) where the time was up before the last
point, or where --summary finds points without a result.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sweep_crew import Crew
from sweep_lives import LIVES
from sweep_points import Point
from sweep_results import Results, hash_of_code
from sweep_run import Result
from sweep_worker import POINTS

WORKER = Path(__file__).with_name("sweep_worker.py")
PASSED, FAILED, LEFT = 0, 1, 3  # 2 is argparse's
POINT_S = 30.0  # what nearly every point ends in: none begins that late
JOBS = (os.cpu_count() or 1) + 1  # a third of a point is waiting


@dataclass(frozen=True)
class Order:
    """One sweep as it was asked for."""

    sweep: str  # of POINTS
    shard: str
    lives: tuple[str, ...]
    only: str
    jobs: int

    def mine(self, points: list[Point]) -> list[Point]:
        """Of this shard."""
        number, shards = (int(part) for part in self.shard.split("/"))
        return [point for point in points if self.only in point.id and int(point.order, 16) % shards == number - 1]


class CodeChanged(Exception):
    """While a sweep ran: its results would be of neither code."""


async def sweep(order: Order, results: Results, ends: float) -> bool:
    """This shard's points that have no result yet; whether all have one at the end. No point begins after `ends`."""

    def begin(points: list[Point]) -> list[Point]:
        done = results.done()
        return [point for point in order.mine(results.expect(points)) if point.id not in done]

    async def note(result: Result) -> None:
        if await asyncio.to_thread(hash_of_code) != results.code:
            raise CodeChanged
        results.add(result, order.shard)
        say(f"{crew.left} left: {result.outcome} {result.seconds:.1f} s {result.point.id} {result.problems or ''}")

    crew = Crew([sys.executable, str(WORKER), order.sweep, *order.lives], begin, note, ends)
    return await crew.run(order.jobs)


async def sweeps(orders: list[tuple[Order, Results]], minutes: float) -> bool:
    """One after the other; whether nothing is left. What is under way when the time is up has no result."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + 60 * minutes - POINT_S
    is_all = True
    try:
        async with asyncio.timeout(60 * minutes) as budget:
            for count, (order, results) in enumerate(orders):
                share = (ends - loop.time()) / (len(orders) - count)
                is_all &= await sweep(order, results, loop.time() + share)
    except* CodeChanged:
        say("The code was changed meanwhile: begin again.")
        is_all = False
    except* TimeoutError:
        if not budget.expired():
            raise
        is_all = False
    return is_all


def summary(of: list[Results]) -> bool:
    """Prints it; whether no point failed, and nearly all of them came."""
    for results in of:
        for line in results.summary():
            say(line)
    return not any(results.failed() or results.misses() for results in of)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweeps", nargs="+", choices=sorted(POINTS), metavar="sweep", help=", ".join(POINTS))
    parser.add_argument("--shard", default="1/1", help="which part of how many")
    parser.add_argument("--results", type=Path, default=Path(".sweep"), help="folder of the results")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"points at a time ({JOBS}), each about a gigabyte")
    parser.add_argument("--minutes", type=float, default=30.0, help="of all together; what is left then stays left")
    parser.add_argument("--lives", nargs="+", choices=LIVES, default=list(LIVES))
    parser.add_argument("--only", default="", help="only points whose id holds this")
    parser.add_argument("--summary", action="store_true", help="run nothing, show what there is")
    given = parser.parse_args()
    code = hash_of_code()  # as it is now, before the operator is loaded
    orders = [
        (Order(name, given.shard, tuple(given.lives), given.only, given.jobs), Results(given.results, name, code))
        for name in given.sweeps
    ]
    of = [results for _, results in orders]
    is_all = not given.summary and asyncio.run(sweeps(orders, given.minutes))
    if not summary(of):
        return FAILED
    if given.summary:
        is_all = all(results.is_complete() for results in of)
    elif not is_all:
        say(f"shard {given.shard}: points are left after {given.minutes:g} minutes; the next run goes on with them")
    return PASSED if is_all else LEFT


if __name__ == "__main__":
    sys.exit(main())
