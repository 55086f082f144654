"""The sweeps of `make soak`, from a shell:

    python tests/sweep crash --shard 3/8 --results DIR
    python tests/sweep fault --shard 3/8 --results DIR

Each point's result is a line of JSON in the folder; what is there is not done again, so that a sweep that was stopped
goes on. Points that failed are, and those that were run with older code. Ends with 1 where a point failed, with 3 where
the time was up before the last point.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from sweep_lives import LIVES, Life, live_all
from sweep_points import Point, crash_points, fault_points
from sweep_results import Results, hash_of_code
from sweep_run import run
from sweep_site import site

POINTS = {"crash": crash_points, "fault": fault_points}


async def sweep(arguments: argparse.Namespace) -> int:
    """This shard's points that have no result yet."""
    number, shards = (int(part) for part in arguments.shard.split("/"))
    ends = time.monotonic() + 60 * arguments.minutes
    results = results_of(arguments)  # of the code as it is now, before the operator is loaded
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        async with site(Path(folder), arguments.real) as place:
            last = max(arguments.lives, key=LIVES.index)
            lives = {life.name: life for life in await live_all(place, last)}
            todo = [point for point in points(arguments, lives) if int(point.order, 16) % shards == number - 1]
            done = results.done()
            left = [point for point in todo if point.id not in done]
            for count, point in enumerate(left):
                if time.monotonic() > ends:
                    say(f"time is up: {len(left) - count} of {len(todo)} points are left")
                    return 3
                result = await run(place, lives[point.life], point)
                if hash_of_code() != results.code:
                    say("The code was changed meanwhile: begin again.")
                    return 1
                results.add(result, arguments.shard)
                what = f"{result.outcome} {result.seconds:.1f} s {point.id} {result.problems or ''}"
                say(f"{count + 1}/{len(left)} {what}")
    return summary(results)


def results_of(arguments: argparse.Namespace) -> Results:
    return Results(arguments.results, name_of(arguments), hash_of_code())


def name_of(arguments: argparse.Namespace) -> str:
    """Of its results."""
    return f"real-{arguments.sweep}" if arguments.real else str(arguments.sweep)


def points(arguments: argparse.Namespace, lives: dict[str, Life]) -> list[Point]:
    """In an order that leaves no part of a life for the end."""
    found = [point for name in arguments.lives for point in POINTS[arguments.sweep](lives[name])]
    found = [point for point in found if arguments.only in point.id and (point.is_real or not arguments.real)]
    return sorted(found, key=lambda point: point.order)


def summary(results: Results) -> int:
    """1 where a point failed."""
    for line in results.summary():
        say(line)
    return 1 if results.failed() else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweep", choices=sorted(POINTS))
    parser.add_argument("--shard", default="1/1", help="which part of how many")
    parser.add_argument("--results", type=Path, default=Path(".sweep"), help="folder of the results")
    parser.add_argument("--minutes", type=float, default=30.0, help="no point begins later than that")
    parser.add_argument("--lives", nargs="+", choices=LIVES, default=list(LIVES))
    parser.add_argument("--only", default="", help="only points whose id holds this")
    parser.add_argument("--real", action="store_true", help="with real processes, only the points that touch them")
    parser.add_argument("--summary", action="store_true", help="run nothing, show what there is")
    arguments = parser.parse_args()
    return summary(results_of(arguments)) if arguments.summary else asyncio.run(sweep(arguments))


if __name__ == "__main__":
    sys.exit(main())
