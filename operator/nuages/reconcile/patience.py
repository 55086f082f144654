"""How long what heals by itself is waited for: a fresh identity or grant that Google does not know everywhere yet.

What is over is told by Google's clock or the status's alone, so that a restart neither shortens nor lengthens the wait;
of a log it is told by this process's alone. When the next try is due is told by the operator's own clock too, which may
be wrong: it may shorten a wait by any time, and lengthen it by SKEW_S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nuages.cloud.logs import LATE

PROPAGATION_S = 420.0  # "up to 7 minutes": cloud.google.com/iam/docs/access-change-propagation
FIRST, LAST = 1 / 84, 1 / 7  # pauses, as shares of it: 5 s, doubled up to 60 s
SKEW_S = 5.0  # by which a clock that somebody keeps right may be behind Google's; NTP keeps most within a tenth
LOG_FIRST, LOG_LAST = 2.0, 15.0  # pauses between looks for a log: most have come within seconds, all reads are counted


@dataclass(frozen=True)
class Patience:
    """`seconds`: from the first failure on."""

    seconds: float = PROPAGATION_S

    def pause(self, failures: Sequence[float], now: float) -> float:
        """Seconds until the next try; 0.0 where it is due. `failures`: when each try began, oldest first.

        `now` is by the operator's clock.
        """
        row = self._row(failures)
        pause = self.seconds * min(LAST, FIRST * 2.0 ** (len(row) - 1))
        return max(0.0, pause - passed(row[-1], now))

    def is_over(self, failures: Sequence[float]) -> bool:
        """Whether a try that began that long after the first one has failed too."""
        row = self._row(failures)
        return row[-1] - row[0] >= self.seconds

    def _row(self, failures: Sequence[float]) -> Sequence[float]:
        """Those in a row: what came long before is another story, or the operator was not there meanwhile."""
        gaps = [index for index, (one, next_) in enumerate(pairwise(failures), 1) if next_ - one > self.seconds]
        return failures[gaps[-1] if gaps else 0 :]


PATIENCE = Patience()  # as Google is


def passed(stamp: float, now: float) -> float:
    """Seconds since Google's stamp, by the operator's clock.

    `inf` where that one has yet to come to it: it is wrong, and whatever it were asked at every pass until then would
    wait for the clock, not for Google.
    """
    return max(0.0, now - stamp) if now > stamp - SKEW_S else math.inf


def until_log(waited: float) -> float:
    """Seconds until a log that has not come is looked for again, as many as it has been waited for (`Tail.waited`); 0.0
    where it is waited for no longer.
    """
    return max(LOG_FIRST, min(LOG_LAST, waited, LATE - waited)) if waited < LATE else 0.0
