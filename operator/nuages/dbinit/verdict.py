"""How a run ended: a reason, the exit code that the task's execution shows, and one JSON line for the log."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass


class Reason(enum.IntEnum):
    """The value is the process's exit code, the only part of the verdict that is certain to arrive."""

    OK = 0
    NAME_CONFLICT = 10
    EXTENSION_NOT_AVAILABLE = 11
    PERMISSION_DENIED = 12
    UNREACHABLE = 13
    BAD_INPUT = 14
    BUSY = 15
    STILL_IN_USE = 16
    NOT_AS_ASKED = 17
    LOGIN_REFUSED = 18
    FAILED = 20

    @property
    def word(self) -> str:
        """The CamelCase reason, as conditions and events show it."""
        return WORDS.get(self, "".join(part.capitalize() for part in self.name.split("_")))


WORDS = {Reason.OK: "Ok"}

# Another run of the same document may end otherwise, LoginRefused once the operator has set the password anew; the rest
# waits for somebody to change something.
RETRYABLE = frozenset(
    map(int, (Reason.UNREACHABLE, Reason.BUSY, Reason.NOT_AS_ASKED, Reason.LOGIN_REFUSED, Reason.FAILED))
)


@dataclass(frozen=True)
class Verdict:
    """What is told to whoever started the job. `changed` lists what was done, in order; empty: all was there."""

    reason: Reason
    message: str
    changed: tuple[str, ...] = ()

    def line(self) -> str:
        """One line of JSON; Cloud Logging reads `severity` and `message` of it."""
        severity = "INFO" if self.reason is Reason.OK else "ERROR"
        told = {"nuages": "dbinit", "severity": severity, "reason": self.reason.word, "message": self.message}
        return json.dumps({**told, "changed": list(self.changed)}, ensure_ascii=False)


class StoppedError(Exception):
    """The run ends here, for this reason. The message says what, why and the remedy, and holds no secret."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
