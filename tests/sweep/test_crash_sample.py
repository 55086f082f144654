"""A sample of the crash sweep; `make soak` runs all points (docs/quality.md)."""

from __future__ import annotations

import pytest
from sweep_points import crash_points
from sweep_sample import Sample

POINTS = {"deploy": 3, "release": 2, "rotation": 3, "deletion": 2, "leaving": 2}


@pytest.mark.xdist_group("sweep")
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("life", "points"), POINTS.items())
async def test_killed_operator_comes_to_the_same_end(sample: Sample, life: str, points: int) -> None:
    """Killed before or after any call, with or without its status: nothing is missing, double or left behind."""
    assert await sample.problems(life, crash_points, points) == {}
