"""Where a life can be disturbed, found by recording one: each Google call, each Kubernetes write."""

from __future__ import annotations

import collections
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from localcloud.core.faults import is_read
from localcloud.core.requests import Request

if TYPE_CHECKING:
    from sweep_lives import Life

# What another site names otherwise: ids of Google's, hashes of the app's uid. A glob finds them all the same.
BY_CHANCE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=-)[0-9a-f]{6,10}(?=/|$)")
POLLS = ("GetOperation", "GetExecution", "SqlOperationsService.Get")


# What real processes stand behind: db-init and the other jobs, users of the database, revisions and their traffic.
REAL = re.compile(
    r"Services\.(Create|Update|Delete)Service|/Jobs\.(Create|Update|Delete|Run)Job|Execution|SqlUsers|Insert"
)


@dataclass(frozen=True)
class GoogleCall:
    """One call: `method` "run.googleapis.com/Services.CreateService", `resource` with * where an id is by chance."""

    method: str
    resource: str
    exact: str = ""  # the resource with that id

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.resource

    @property
    def is_poll(self) -> bool:
        return self.method.endswith(POLLS)


@dataclass(frozen=True)
class Point:
    """One moment of one life; `fault` is "" for the death of the operator."""

    life: str
    side: str  # "google", "kubernetes"
    method: str
    resource: str  # "" for Kubernetes
    nth: int  # which of the calls with this method and resource, counted from 0
    after: bool = False
    wiped: bool = False  # the status, before the restart
    fault: str = ""

    @property
    def id(self) -> str:
        """Names it in results."""
        what = self.fault or ("after" if self.after else "before")
        wiped = " wiped" if self.wiped else ""
        return f"{self.life} {what}{wiped} {self.method} {self.resource} #{self.nth}"

    @property
    def is_real(self) -> bool:
        """Whether a simulation alone proves nothing about it."""
        return REAL.search(self.method) is not None or self.method == "PUT djangoapps/status"

    @property
    def order(self) -> str:
        """A place among all points that has nothing to do with their neighbourhood in time."""
        return hashlib.sha256(self.id.encode()).hexdigest()

    def json(self) -> dict[str, Any]:
        return asdict(self)


def google_calls(requests: Iterable[Request], caller: str) -> tuple[GoogleCall, ...]:
    """The operator's."""
    return tuple(
        GoogleCall(request.method, BY_CHANCE.sub("*", request.resource), request.resource)
        for request in requests
        if request.caller == caller
    )


def crash_points(life: Life) -> Iterator[Point]:
    """Before and after everything, with and without the status."""
    for wiped in (False, True):
        for call, nth in _numbered(life.calls):
            for after in (False, True):
                yield Point(life.name, "google", call.method, call.resource, nth, after, wiped)
        for what, nth in _writes(life.writes):
            for after in (False, True):
                yield Point(life.name, "kubernetes", what, "", nth, after, wiped)


def fault_points(life: Life) -> Iterator[Point]:
    """Each call with each fault that means something for it."""
    for call, nth in _numbered(life.calls):
        for fault in FAULTS:
            if (fault in READS_ONLY and not is_read(call.method)) or (fault in WRITES_ONLY and is_read(call.method)):
                continue
            yield Point(life.name, "google", call.method, call.resource, nth, fault=fault)


FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "fail", "code": "RESOURCE_EXHAUSTED", "message": "Quota exceeded.", "retry_after_s": 1},
    "500": {"kind": "fail", "code": "INTERNAL", "message": "Internal error encountered."},
    "503": {"kind": "fail", "code": "UNAVAILABLE", "message": "The service is currently unavailable."},
    "timeout": {"kind": "delay", "seconds": 4},  # twice what the operator waits here
    "lost": {"kind": "lose"},
    "409": {"kind": "fail", "code": "ABORTED", "message": "The operation was aborted: the resource changed."},
    "stale": {"kind": "stale"},
    "403": {"kind": "fail", "code": "PERMISSION_DENIED", "message": "Permission denied, for now."},
}
READS_ONLY = frozenset({"stale"})
WRITES_ONLY = frozenset({"lost"})  # of a read it is the same as 503


def _numbered(calls: Iterable[GoogleCall]) -> Iterator[tuple[GoogleCall, int]]:
    """Repeated polls of one thing once."""
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    polled: set[GoogleCall] = set()
    for call in calls:
        if not (call.is_poll and call in polled):
            yield call, seen[call.key]
        polled.add(call)
        seen[call.key] += 1


def _writes(writes: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The Lease's renewals once."""
    seen: collections.Counter[str] = collections.Counter()
    for what in writes:
        if not (what == "PUT leases" and seen[what]):
            yield what, seen[what]
        seen[what] += 1
