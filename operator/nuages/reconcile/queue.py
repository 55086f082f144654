"""The queue: keys, deduplicated; one worker a key, few keys at once; backoff with jitter; jittered resync.

As controller-runtime's: a key that is added while it is worked on is worked on once more afterwards.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge

BACKOFF_FIRST, BACKOFF_LAST = 1.0, 120.0  # seconds
MOST_DOUBLINGS = 10  # of the first: beyond the last
JITTERED = 30.0  # seconds: shorter waits are polls

DEPTH = Gauge("nuages_queue_depth", "Keys that are due and wait for a worker.")
PASSES = Counter("nuages_reconcile_total", "Passes over an app.", ["result"])


@dataclass(frozen=True)
class Next:
    """When to look at a key again: `after` seconds, None for not by itself. `failed` backs off instead.

    `under_way`: what was begun may still fail, so that earlier failures are not forgotten yet, or an operation that
    fails each time would be begun again each second.
    """

    after: float | None = None
    failed: bool = False
    under_way: bool = False
    at_least: float = 0.0  # Retry-After


@dataclass(order=True)
class _Due:
    at: float
    order: int
    key: str = field(compare=False)


class Queue:
    """`work(key)` is awaited for each key that is due, at most `parallel` at once."""

    def __init__(self, work: Callable[[str], Awaitable[Next]], parallel: int = 16, seed: int | None = None) -> None:
        self._work, self._parallel = work, parallel
        self._random = random.Random(seed)  # noqa: S311 - spreads load, guards nothing
        self._heap: list[_Due] = []
        self._due: dict[str, _Due] = {}
        self._active: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def add(self, key: str, after: float = 0.0) -> None:
        """Work on the key in `after` seconds, or earlier where it was due earlier."""
        if key in self._active:
            if after <= 0:
                self._again.add(key)
            return
        at = asyncio.get_running_loop().time() + after
        known = self._due.get(key)
        if known is not None and known.at <= at:
            return
        self._due[key] = due = _Due(at, next(self._order), key)
        heapq.heappush(self._heap, due)
        self._wake.set()

    def interrupted(self, key: str) -> bool:
        """Whether the key was added again since its worker began: a pass may stop at its next safe point."""
        return key in self._again

    async def run(self) -> None:
        """Serve until cancelled; then the workers under way are cancelled too."""
        slots = asyncio.Semaphore(self._parallel)
        async with asyncio.TaskGroup() as workers:
            while True:
                await slots.acquire()
                key = await self._next()
                self._active.add(key)
                task = workers.create_task(self._serve(key), name=key)
                task.add_done_callback(lambda _: slots.release())

    async def _next(self) -> str:
        loop = asyncio.get_running_loop()
        while True:
            while self._heap and self._due.get(self._heap[0].key) is not self._heap[0]:
                heapq.heappop(self._heap)  # superseded by an earlier time
            now = loop.time()
            DEPTH.set(sum(due.at <= now for due in self._due.values()))
            if self._heap and self._heap[0].at <= now:
                due = heapq.heappop(self._heap)
                del self._due[due.key]
                return due.key
            self._wake.clear()
            timeout = self._heap[0].at - now if self._heap else None
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                continue

    async def _serve(self, key: str) -> None:
        outcome = await self._work(key)
        self._active.discard(key)
        again = key in self._again
        self._again.discard(key)
        PASSES.labels("failed" if outcome.failed else "ok").inc()
        if outcome.failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self.add(key, 0.0 if again else max(self._backoff(failures), outcome.at_least))
            return
        if not outcome.under_way:
            self._failures.pop(key, None)
        if again:
            self.add(key)
        elif outcome.after is not None:
            self.add(key, self.jittered(outcome.after) if outcome.after >= JITTERED else outcome.after)

    def _backoff(self, failures: int) -> float:
        doublings = min(failures - 1, MOST_DOUBLINGS)  # an app may be stalled for weeks, and no float holds 2 ** 1024
        return min(BACKOFF_LAST, BACKOFF_FIRST * 2.0**doublings) * self._random.uniform(0.75, 1.25)

    def jittered(self, seconds: float) -> float:
        """An interval spread by a tenth, so that apps that started together drift apart."""
        return seconds * self._random.uniform(0.9, 1.1)
