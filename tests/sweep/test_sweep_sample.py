"""Which points `make test` takes of the sweeps."""

from __future__ import annotations

import pytest
from sweep_points import Point
from sweep_sample import SAMPLE, drawn, sample_of_today

POINTS = [Point("deploy", "kubernetes", "PUT leases", "", nth) for nth in range(300)]


def test_each_day_has_a_sample_of_its_own() -> None:
    """Within a year nearly all points have been in one."""
    samples = [drawn(POINTS, f"2026-11-{day:02}", 3) for day in range(1, 31)]
    assert len({point.id for sample in samples for point in sample}) > 60
    year = {point.id for day in range(365) for point in drawn(POINTS, str(day), 3)}
    assert len(year) > 0.9 * len(POINTS)


def test_a_sample_is_taken_again_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order the points were recorded in."""
    monkeypatch.setenv(SAMPLE, "2026-11-21")
    assert sample_of_today() == "2026-11-21"
    assert drawn(POINTS, "2026-11-21", 9) == drawn(reversed(POINTS), "2026-11-21", 9)
