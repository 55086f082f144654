"""The sweeps of `make soak`, from a shell:

    python tests/sweep crash fault real-crash --shard 3/8 --minutes 30 --results DIR

All of them together end in that time, each with its share of it and what the ones before it did not use. A point's
result is a line of JSON in the folder; what is there is not done again, so that a sweep that was stopped goes on.
Points that failed are, and those that were run with older code. Ends with 1 where a point failed, with 3 (LEFT) where
the time was up before the last point.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sweep_lives import LIVES, Life, live_all
from sweep_points import Point, crash_points, fault_points
from sweep_results import Results, hash_of_code
from sweep_run import run
from sweep_site import site

POINTS = {"crash": crash_points, "fault": fault_points, "real-crash": crash_points, "real-fault": fault_points}
PASSED, FAILED, LEFT = 0, 1, 3  # 2 is argparse's
POINT_S = 30.0  # what nearly every point ends in: none begins that late


@dataclass(frozen=True)
class Order:
    """One sweep as it was asked for."""

    sweep: str  # "crash", "fault"; with real processes, and only the points that touch them: "real-crash"
    shard: str
    lives: tuple[str, ...]
    only: str

    @property
    def is_real(self) -> bool:
        return self.sweep.startswith("real-")

    def points(self, lives: dict[str, Life]) -> list[Point]:
        """All that there are, in an order that leaves no part of a life for the end."""
        found = [point for name in self.lives for point in POINTS[self.sweep](lives[name])]
        return sorted((point for point in found if point.is_real or not self.is_real), key=lambda point: point.order)

    def mine(self, points: list[Point]) -> list[Point]:
        """Of this shard."""
        number, shards = (int(part) for part in self.shard.split("/"))
        return [point for point in points if self.only in point.id and int(point.order, 16) % shards == number - 1]


async def sweep(order: Order, results: Results, ends: float) -> bool:
    """This shard's points that have no result yet; whether all have one at the end. No point begins after `ends`."""
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        async with site(Path(folder), order.is_real) as place:
            last = max(order.lives, key=LIVES.index)
            lives = {life.name: life for life in await live_all(place, last)}
            points = order.points(lives)
            results.expect(points)
            done = results.done()
            left = [point for point in order.mine(points) if point.id not in done]
            for count, point in enumerate(left):
                if time.monotonic() > ends:
                    return False
                result = await run(place, lives[point.life], point)
                if hash_of_code() != results.code:
                    say("The code was changed meanwhile: begin again.")
                    return False
                results.add(result, order.shard)
                what = f"{result.outcome} {result.seconds:.1f} s {point.id} {result.problems or ''}"
                say(f"{count + 1}/{len(left)} {what}")
    return True


async def sweeps(orders: list[tuple[Order, Results]], minutes: float) -> bool:
    """One after the other; whether nothing is left. What is under way when the time is up has no result."""
    ends = time.monotonic() + 60 * minutes - POINT_S
    is_all = True
    try:
        async with asyncio.timeout(60 * minutes) as budget:
            for count, (order, results) in enumerate(orders):
                share = (ends - time.monotonic()) / (len(orders) - count)
                is_all &= await sweep(order, results, time.monotonic() + share)
    except TimeoutError:
        if not budget.expired():
            raise
        return False
    return is_all


def summary(of: list[Results]) -> bool:
    """Prints it; whether no point failed."""
    for results in of:
        for line in results.summary():
            say(line)
    return not any(results.failed() for results in of)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweeps", nargs="+", choices=sorted(POINTS), metavar="sweep", help=", ".join(POINTS))
    parser.add_argument("--shard", default="1/1", help="which part of how many")
    parser.add_argument("--results", type=Path, default=Path(".sweep"), help="folder of the results")
    parser.add_argument("--minutes", type=float, default=30.0, help="of all together; what is left then stays left")
    parser.add_argument("--lives", nargs="+", choices=LIVES, default=list(LIVES))
    parser.add_argument("--only", default="", help="only points whose id holds this")
    parser.add_argument("--summary", action="store_true", help="run nothing, show what there is")
    given = parser.parse_args()
    code = hash_of_code()  # as it is now, before the operator is loaded
    orders = [
        (Order(name, given.shard, tuple(given.lives), given.only), Results(given.results, name, code))
        for name in given.sweeps
    ]
    is_all = given.summary or asyncio.run(sweeps(orders, given.minutes))
    if not summary([results for _, results in orders]):
        return FAILED
    if not is_all:
        say(f"shard {given.shard}: points are left after {given.minutes:g} minutes; the next run goes on with them")
    return PASSED if is_all else LEFT


if __name__ == "__main__":
    sys.exit(main())
