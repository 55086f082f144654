"""How often an app is looked at, and how old what is known of it may be, so that drift is found in its interval. Pure.

A pass may come late and its snapshot may be old: both together stay within the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86_400.0
SHARE = 0.5  # of an interval, for the pause between two passes; what is left is a snapshot's
SPREAD = 0.45  # with the queue's tenth of jitter no more than SHARE


@dataclass(frozen=True)
class Intervals:
    """All in seconds. `pause` until the next pass at rest, None for none by itself; `list_age` and `deep_age`: how old
    a list, or a look at what no list shows, may be."""

    pause: float | None
    list_age: float
    deep_age: float


def intervals(reconcile: int, deep: int) -> Intervals:
    """Of spec.reconcileIntervalSeconds and spec.deepCheckIntervalSeconds; 0 turns one off."""
    shortest = min((item for item in (reconcile, deep) if item), default=0)
    return Intervals(
        pause=SPREAD * shortest or None,
        list_age=SHARE * reconcile or DAY,
        deep_age=deep - SHARE * shortest if deep else DAY,
    )
