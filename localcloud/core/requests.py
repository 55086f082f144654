"""What was asked of the cloud: counted by method, and the last requests kept for people and tests."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT = 20_000


@dataclass(frozen=True)
class Request:
    """One call: `method` is "run.googleapis.com/Services.CreateService"; `reason` is X-Goog-Request-Reason."""

    method: str
    resource: str
    caller: str
    reason: str
    status: int  # HTTP status of the answer, over gRPC too
    milliseconds: float
    at: float = field(default_factory=time.time)


class RequestLog:
    """No payloads here: only who asked what."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._last: collections.deque[Request] = collections.deque(maxlen=KEPT)

    def add(self, request: Request) -> None:
        self.counts[request.method] += 1
        self._last.append(request)

    def last(self, reason_prefix: str = "") -> Iterable[Request]:
        """The kept requests, oldest first, whose reason begins so."""
        kept = tuple(self._last)  # at once: the cloud may run in another thread than who asks
        return [r for r in kept if r.reason.startswith(reason_prefix)]

    def clear(self) -> None:
        self.counts.clear()
        self._last.clear()
