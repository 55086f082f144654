"""Faults on request: any method can fail, be slow, lose its answer after the work was done, or answer from the past."""

from __future__ import annotations

import asyncio
import enum
import fnmatch
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from localcloud.core.errors import ApiError, Code

T = TypeVar("T")


class Kind(enum.Enum):
    FAIL = "fail"  # nothing is done, `error` is answered
    DELAY = "delay"  # `seconds` of wall-clock time, then as usual
    LOSE = "lose"  # the work is done, UNAVAILABLE is answered
    STALE = "stale"  # the answer that the same request got before, where there was one
    CALL = "call"  # `hook` is awaited before (or after) the work: kill the caller, say


@dataclass
class Fault:
    """Strikes calls whose method fits `method` (glob over "run.googleapis.com/Services.CreateService")."""

    method: str
    kind: Kind
    error: ApiError = field(default_factory=lambda: ApiError(Code.UNAVAILABLE, "The service is currently unavailable."))
    seconds: float = 0.0
    times: int = 1  # how many calls it strikes; -1: all
    skip: int = 0  # how many it lets pass first
    resource: str = "*"  # glob over the resource
    after: bool = False  # CALL: after the work instead of before
    hook: Callable[[], Awaitable[None]] | None = None

    def strikes(self, method: str, resource: str) -> bool:
        """Whether this call is the one; counts it."""
        if self.times == 0 or not fnmatch.fnmatch(method, self.method) or not fnmatch.fnmatch(resource, self.resource):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= self.times > 0
        return True


class Faults:
    """The faults in force, tried in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._before: dict[tuple[str, bytes], Any] = {}  # last answers but one, kept while a STALE is in force

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()
        self._before.clear()

    def all(self) -> list[Fault]:
        return list(self._faults)

    async def around(self, method: str, resource: str, request: bytes, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work, disturbed by the first fault that strikes."""
        fault = next((f for f in self._faults if f.strikes(method, resource)), None)
        if fault is None:
            return self._remember(method, request, await work())
        if fault.kind is Kind.FAIL:
            raise fault.error
        if fault.kind is Kind.STALE and (method, request) in self._before:
            return self._before[method, request]  # type: ignore[no-any-return]
        if fault.kind is Kind.DELAY:
            await asyncio.sleep(fault.seconds)
        if fault.kind is Kind.CALL and fault.hook and not fault.after:
            await fault.hook()
        answer = self._remember(method, request, await work())
        if fault.kind is Kind.CALL and fault.hook and fault.after:
            await fault.hook()
        if fault.kind is Kind.LOSE:
            raise ApiError(Code.UNAVAILABLE, "Connection reset by peer.")
        return answer

    def _remember(self, method: str, request: bytes, answer: T) -> T:
        if any(f.kind is Kind.STALE and f.times for f in self._faults):
            self._before.setdefault((method, request), answer)
        return answer
