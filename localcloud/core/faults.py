"""Faults on request: any method can fail, be slow, lose its answer after the work was done, answer from the past, or
see its caller die.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import fnmatch
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from google.rpc import error_details_pb2

from localcloud.core.errors import ApiError, Code, plain
from localcloud.core.past import reading_the_past

T = TypeVar("T")
Hook = Callable[[], Awaitable[None]]

READS = ("Get", "List", "Search", "Access", "Test", "Query")  # what methods that only read begin with


class Kind(enum.Enum):
    FAIL = "fail"  # nothing is done, `error` is answered
    DELAY = "delay"  # `seconds` of wall-clock time, then as usual; a gRPC caller that has left cancels its call
    LOSE = "lose"  # the work is done, UNAVAILABLE is answered
    STALE = "stale"  # a read answers as before the last change of what it reads; writes are let through, uncounted
    CALL = "call"  # `hook` is awaited before (or after) the work, which is done all the same
    KILL = "kill"  # `hook` ends the caller: before the work, which is then not done, or after it, unanswered


@dataclass
class Fault:
    """Strikes calls whose method fits `method` (glob over "run.googleapis.com/Services.CreateService")."""

    method: str
    kind: Kind
    error: ApiError = field(default_factory=lambda: plain(Code.UNAVAILABLE))
    seconds: float = 0.0
    times: int = 1  # how many calls it strikes; -1: all
    skip: int = 0  # how many it lets pass first
    resource: str = "*"  # glob over the resource
    after: bool = False  # CALL, KILL: after the work instead of before
    hook: Hook | None = None
    retry_after_s: float | None = None  # FAIL: told to the caller, as a header and as google.rpc.RetryInfo

    def strikes(self, method: str, resource: str) -> bool:
        """Whether this call is the one; counts it."""
        if self.times == 0 or not fnmatch.fnmatch(method, self.method) or not fnmatch.fnmatch(resource, self.resource):
            return False
        if self.kind is Kind.STALE and not is_read(method):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= self.times > 0
        return True

    def failure(self) -> ApiError:
        """The error to answer: a new one each time, since raising one leaves its trace in it."""
        if self.retry_after_s is None:
            return dataclasses.replace(self.error)
        return with_retry_after(self.error, self.retry_after_s)


class Faults:
    """The faults in force, tried in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def all(self) -> list[Fault]:
        return list(self._faults)

    async def around(
        self, method: str, resource: str, judge: Callable[[], None], work: Callable[[], Awaitable[T]]
    ) -> T:
        """Do the work, disturbed by the first fault that strikes; `judge` raises where the caller may not."""
        fault = next((f for f in self._faults if f.strikes(method, resource)), None)
        if fault is not None:
            await _before(fault)
        judge()
        if fault is None:
            return await work()
        if fault.kind is Kind.STALE:
            with reading_the_past():
                return await work()
        try:
            answer = await work()
        except ApiError:  # an error is an answer too: it can be lost, and its receiver die of it
            await _after(fault)
            raise
        await _after(fault)
        return answer


def is_read(method: str) -> bool:
    """Whether "run.googleapis.com/Services.GetService" or "storage.googleapis.com/GET /storage/…" changes nothing."""
    name = method.partition("/")[2]
    return name.startswith("GET ") or name.rpartition(".")[2].startswith(READS)


def with_retry_after(error: ApiError, seconds: float) -> ApiError:
    """The error with the time after which to come again, in both forms that clients read."""
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(round(seconds * 1_000_000_000))
    headers = {**error.headers, "Retry-After": str(math.ceil(seconds))}
    return dataclasses.replace(error, details=(*error.details, info), headers=headers)


async def _before(fault: Fault) -> None:
    if fault.kind is Kind.FAIL:
        raise fault.failure()
    if fault.kind is Kind.DELAY:
        await asyncio.sleep(fault.seconds)
    if fault.hook is not None and not fault.after:
        await fault.hook()
        if fault.kind is Kind.KILL:
            raise ApiError(Code.CANCELLED, "The caller is gone.")


async def _after(fault: Fault) -> None:
    if fault.hook is not None and fault.after:
        await fault.hook()
    if fault.kind in (Kind.LOSE, Kind.KILL):
        raise ApiError(Code.UNAVAILABLE, "Connection reset by peer.")
