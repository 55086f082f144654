"""How long what heals by itself is waited for: a fresh identity or grant that Google does not know everywhere yet.

What is over is told by Google's clock or the status's alone, so that a restart neither shortens nor lengthens the wait.
When the next try is due is told by the operator's own clock too, which may be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

PROPAGATION_S = 420.0  # "up to 7 minutes": cloud.google.com/iam/docs/access-change-propagation
FIRST, LAST = 1 / 84, 1 / 7  # pauses, as shares of it: 5 s, doubled up to 60 s


@dataclass(frozen=True)
class Patience:
    """`seconds`: from the first failure on."""

    seconds: float = PROPAGATION_S

    def pause(self, failures: Sequence[float], now: float) -> float:
        """Seconds until the next try; 0.0 where it is due. `failures`: when each try began, oldest first.

        `now` is by the operator's clock: one that is behind Google's makes no pause longer than it is, one that is
        ahead ends it early.
        """
        row = self._row(failures)
        pause = self.seconds * min(LAST, FIRST * 2.0 ** (len(row) - 1))
        return min(pause, max(0.0, row[-1] + pause - now))

    def is_over(self, failures: Sequence[float]) -> bool:
        """Whether a try that began that long after the first one has failed too."""
        row = self._row(failures)
        return row[-1] - row[0] >= self.seconds

    def _row(self, failures: Sequence[float]) -> Sequence[float]:
        """Those in a row: what came long before is another story, or the operator was not there meanwhile."""
        gaps = [index for index, (one, next_) in enumerate(pairwise(failures), 1) if next_ - one > self.seconds]
        return failures[gaps[-1] if gaps else 0 :]


PATIENCE = Patience()  # as Google is
