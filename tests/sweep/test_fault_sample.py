"""A sample of the fault sweep; `make soak` runs all points (docs/quality.md)."""

from __future__ import annotations

import pytest
from sweep_points import fault_points
from sweep_sample import Sample

POINTS = {"deploy": 2, "release": 2, "rotation": 2, "deletion": 1, "leaving": 1}


@pytest.mark.xdist_group("sweep")
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("life", "points"), POINTS.items())
async def test_failed_call_changes_nothing_of_the_end(sample: Sample, life: str, points: int) -> None:
    """Whatever Google answers to one call: the same end, and at most twice the calls and ten."""
    assert await sample.problems(life, fault_points, points) == {}
