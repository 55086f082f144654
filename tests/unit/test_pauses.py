"""How long what heals by itself is waited for, with Google's times alone."""

from __future__ import annotations

import pytest

from nuages.reconcile.patience import Patience

PATIENCE = Patience()


def tries(patience: Patience) -> list[float]:
    """When each began, from 0 on, while all fail at once."""
    began = [0.0]
    while not patience.is_over(began):
        began.append(began[-1] + patience.pause(began, began[-1]))
    return began


def test_the_pauses_grow_and_end_after_seven_minutes() -> None:
    """Ten calls in that time, none back to back, and the last one after the grant must have come."""
    assert tries(PATIENCE) == [0, 5, 15, 35, 75, 135, 195, 255, 315, 375, 435]


def test_in_a_faster_cloud_it_is_the_same() -> None:
    """Every time shrinks alike."""
    assert tries(Patience(4.2)) == pytest.approx([time / 100 for time in tries(PATIENCE)])


def test_what_failed_long_ago_is_another_story() -> None:
    """An operator that was away, or somebody who asked for another try, begins the wait anew."""
    assert not PATIENCE.is_over([0.0, 5.0, 10_000.0])
    assert PATIENCE.pause([0.0, 5.0, 10_000.0], 10_001.0) == 4.0


def test_a_try_that_is_overdue_is_due() -> None:
    """However late it is."""
    assert PATIENCE.pause([0.0], 3600.0) == 0.0


@pytest.mark.parametrize(("now", "left"), [(1000.0, 0.0), (1597.0, 5.0), (1600.0, 5.0), (1603.0, 2.0), (2200.0, 0.0)])
def test_a_wrong_clock_lengthens_no_pause(now: float, left: float) -> None:
    """One that is behind tells no time until it comes to the try; one that is ahead ends the pause."""
    assert PATIENCE.pause([1600.0], now) == left
