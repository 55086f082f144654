"""What the tests take of the sweeps: a site, its lives, and a few points of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sweep_lives import Life
from sweep_points import Point
from sweep_run import run
from sweep_site import Site

TRIES = 3  # points for each that is to come


@dataclass(frozen=True)
class Sample:
    """A site and the lives that were recorded there, by name."""

    site: Site
    lives: Mapping[str, Life]

    async def problems(self, life: str, points: Callable[[Life], Iterable[Point]], count: int) -> dict[str, list[str]]:
        """Of the first points in the order that the whole sweep has too: what was not as it should be.

        A point that did not come counts for nothing: another one is taken, a few times.
        """
        coming = sorted(points(self.lives[life]), key=lambda point: point.order)[: count * TRIES]
        problems, struck = dict[str, list[str]](), 0
        for point in coming:
            result = await run(self.site, self.lives[life], point)
            struck += result.outcome != "unreached"
            if result.problems:
                problems[point.id] = result.problems
            if struck == count:
                return problems
        return {**problems, life: [f"{struck} of {count} points came"]}
