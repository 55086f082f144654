"""A sample of the fault sweep; `make soak` runs all points (docs/quality.md)."""

from __future__ import annotations

import pytest
from sweep_lives import LIVES
from sweep_points import fault_points
from sweep_sample import Sample

POINTS = 2  # of each life


@pytest.mark.xdist_group("sweep")
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("life", LIVES)
async def test_failed_call_changes_nothing_of_the_end(sample: Sample, life: str) -> None:
    """Whatever Google answers to one call: the same end, and at most twice the calls and ten."""
    assert await sample.problems(life, fault_points, POINTS) == {}
