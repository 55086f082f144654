"""What the tests take of the sweeps: a site, its lives, and a few points of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sweep_lives import Life
from sweep_points import Point
from sweep_run import run
from sweep_site import Site


@dataclass(frozen=True)
class Sample:
    """A site and the lives that were recorded there, by name."""

    site: Site
    lives: Mapping[str, Life]

    async def problems(self, life: str, points: Callable[[Life], Iterable[Point]], count: int) -> dict[str, list[str]]:
        """Of the first points in the order that the whole sweep has too: what was not as it should be."""
        chosen = sorted(points(self.lives[life]), key=lambda point: point.order)[:count]
        results = [await run(self.site, self.lives[life], point) for point in chosen]
        return {result.point.id: result.problems for result in results if result.problems}
