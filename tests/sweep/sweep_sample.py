"""What the tests take of the sweeps: a site, its lives, and a few points of each, other ones on each day.

A failure names its sample: `NUAGES_SAMPLE=2026-11-21 pytest tests/sweep` takes the points of that day again.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sweep_lives import Life
from sweep_points import Point
from sweep_run import run
from sweep_site import Site

TRIES = 3  # points for each that is to come
SAMPLE = "NUAGES_SAMPLE"  # any text


def sample_of_today() -> str:
    """The name of the sample: what the environment asks for, or the day in UTC."""
    return os.environ.get(SAMPLE) or datetime.datetime.now(datetime.UTC).date().isoformat()


def drawn(points: Iterable[Point], sample: str, count: int) -> list[Point]:
    """So many of them, the same for the same sample."""
    return sorted(points, key=lambda point: hashlib.sha256(f"{sample} {point.id}".encode()).hexdigest())[:count]


@dataclass(frozen=True)
class Sample:
    """A site and the lives that were recorded there, by name."""

    site: Site
    lives: Mapping[str, Life]

    async def problems(self, life: str, points: Callable[[Life], Iterable[Point]], count: int) -> dict[str, list[str]]:
        """Of today's sample of the points: what was not as it should be, and how to take the same points again.

        A point that did not come counts for nothing: another one is taken, a few times.
        """
        name = sample_of_today()
        problems, struck = dict[str, list[str]](), 0
        for point in drawn(points(self.lives[life]), name, count * TRIES):
            result = await run(self.site, self.lives[life], point)
            struck += result.outcome != "unreached"
            if result.problems:
                problems[point.id] = result.problems
            if struck == count:
                break
        else:
            problems[life] = [f"{struck} of {count} points came"]
        return {**problems, "to repeat": [f"{SAMPLE}={name}"]} if problems else {}
