"""The sweeps of `make soak`, from a shell:

    python tests/sweep crash --shard 3/8 --results DIR
    python tests/sweep fault --shard 3/8 --results DIR

Each point's result is a line of JSON in the folder; what is there is not done again, so that a sweep that was stopped
goes on. Ends with 1 where a point failed, with 3 where the time was up before the last point.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sweep_lives import LIVES, Life, live_all
from sweep_points import Point, crash_points, fault_points
from sweep_run import run
from sweep_site import site

POINTS = {"crash": crash_points, "fault": fault_points}


async def sweep(arguments: argparse.Namespace) -> int:
    """This shard's points that have no result yet."""
    number, shards = (int(part) for part in arguments.shard.split("/"))
    arguments.results.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * arguments.minutes
    results = arguments.results / f"{name_of(arguments)}-{number}-of-{shards}.jsonl"
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        async with site(Path(folder), arguments.real) as place:
            last = max(arguments.lives, key=LIVES.index)
            lives = {life.name: life for life in await live_all(place, last)}
            todo = [point for point in points(arguments, lives) if int(point.order, 16) % shards == number - 1]
            done = read(arguments.results, name_of(arguments))
            left = [point for point in todo if point.id not in done]
            for count, point in enumerate(left):
                if time.monotonic() > ends:
                    say(f"time is up: {len(left) - count} of {len(todo)} points are left")
                    return 3
                result = await run(place, lives[point.life], point)
                with results.open("a") as file:
                    file.write(json.dumps(result.json()) + "\n")
                what = f"{result.outcome} {result.seconds:.1f} s {point.id} {result.problems or ''}"
                say(f"{count + 1}/{len(left)} {what}")
    return summary(arguments.results, name_of(arguments))


def name_of(arguments: argparse.Namespace) -> str:
    """Of its results."""
    return f"real-{arguments.sweep}" if arguments.real else str(arguments.sweep)


def points(arguments: argparse.Namespace, lives: dict[str, Life]) -> list[Point]:
    """In an order that leaves no part of a life for the end."""
    found = [point for name in arguments.lives for point in POINTS[arguments.sweep](lives[name])]
    found = [point for point in found if arguments.only in point.id and (point.is_real or not arguments.real)]
    return sorted(found, key=lambda point: point.order)


def read(folder: Path, sweep: str) -> dict[str, dict[str, Any]]:
    """All results by the point's id, the last of each."""
    lines = [line for file in sorted(folder.glob(f"{sweep}-*.jsonl")) for line in file.read_text().splitlines()]
    return {found["id"]: found for found in map(json.loads, lines)}


def summary(folder: Path, sweep: str) -> int:
    """The figures of docs/quality.md; 1 where a point failed."""
    results = list(read(folder, sweep).values())
    for life in LIVES:
        mine = [result for result in results if result["point"]["life"] == life]
        outcomes = collections.Counter(result["outcome"] for result in mine)
        if mine:
            median = statistics.median(result["seconds"] for result in mine)
            leases = [result["lease_s"] for result in mine if result["lease_s"] is not None]
            lease = f", Lease at most {max(leases):.1f} s" if leases else ""
            say(f"{sweep} {life}: {len(mine)} points, {dict(outcomes)}, median {median:.1f} s{lease}")
    failed = [result for result in results if result["outcome"] == "failed"]
    for result in failed:
        say(f"FAILED {result['id']}: {result['problems']}")
    return 1 if failed else 0


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
    return summary(arguments.results, name_of(arguments)) if arguments.summary else asyncio.run(sweep(arguments))


if __name__ == "__main__":
    sys.exit(main())
