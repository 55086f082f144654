"""The queue, in a loop whose clock leaps."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from clock_loop import run
from hypothesis import given
from hypothesis import strategies as st

from nuages.reconcile.queue import BACKOFF_LAST, Next, Queue

Work = Callable[[str], Awaitable[Next]]


class Passes:
    """Work that writes down when it began; `outcomes` are given in turn, then "not again"."""

    def __init__(self, *outcomes: Next, lasts: float = 0.0) -> None:
        self.began: list[tuple[float, str]] = []
        self.most_at_once = 0
        self._active: list[str] = []
        self._outcomes, self._lasts = list(outcomes), lasts

    async def __call__(self, key: str) -> Next:
        assert key not in self._active, "two workers for one key"
        self.began.append((asyncio.get_running_loop().time(), key))
        self._active.append(key)
        self.most_at_once = max(self.most_at_once, len(self._active))
        await asyncio.sleep(self._lasts)
        self._active.remove(key)
        return self._outcomes.pop(0) if self._outcomes else Next()

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.began]


@asynccontextmanager
async def serving(work: Work, parallel: int = 16) -> AsyncIterator[Queue]:
    queue = Queue(work, parallel, seed=1)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_a_key_added_many_times_is_worked_on_once() -> None:
    """Events come in crowds."""

    async def scenario() -> Passes:
        passes = Passes()
        async with serving(passes) as queue:
            for _ in range(100):
                queue.add("acme/shop")
            await asyncio.sleep(10)
        return passes

    assert run(scenario()).began == [(0.0, "acme/shop")]


def test_the_earlier_time_wins() -> None:
    """Whichever was added first; the later one is dropped, not worked on besides."""

    async def scenario() -> Passes:
        passes = Passes()
        async with serving(passes) as queue:
            queue.add("a", 60)
            queue.add("a", 5)
            queue.add("b", 5)
            queue.add("b", 60)
            await asyncio.sleep(1000)
        return passes

    assert run(scenario()).began == [(5.0, "a"), (5.0, "b")]


def test_what_comes_while_a_key_is_worked_on_is_worked_on_afterwards() -> None:
    """Once, at once, by the same worker's place; the pass under way can see that it was superseded."""

    async def scenario() -> tuple[Passes, list[bool]]:
        passes, seen = Passes(Next(after=500), lasts=10), []
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(1)
            seen.append(queue.interrupted("a"))
            queue.add("a")
            queue.add("a")
            seen.append(queue.interrupted("a"))
            await asyncio.sleep(300)
            seen.append(queue.interrupted("a"))
        return passes, seen

    passes, seen = run(scenario())
    assert passes.began == [(0.0, "a"), (10.0, "a")]
    assert seen == [False, True, False]


def test_a_later_visit_asked_for_while_active_is_left_to_the_pass() -> None:
    """Its own answer says when to come again."""

    async def scenario() -> Passes:
        passes = Passes(Next(after=20), lasts=10)
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(1)
            queue.add("a", 3)
            await asyncio.sleep(100)
        return passes

    assert run(scenario()).times == [0.0, 30.0]


def test_failures_back_off_to_two_minutes() -> None:
    """Each wait is twice the one before, give or take a quarter."""

    async def scenario() -> Passes:
        passes = Passes(*[Next(failed=True)] * 12)
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(7200)
        return passes

    gaps = _gaps(run(scenario()).times)
    assert len(gaps) == 12
    for number, gap in enumerate(gaps):
        planned = min(BACKOFF_LAST, 2.0**number)
        assert 0.75 * planned <= gap <= 1.25 * planned


def test_weeks_of_failures_end_nothing() -> None:
    """One app that nobody corrects is no reason to serve no other."""

    async def scenario() -> Passes:
        passes = Passes(*[Next(failed=True)] * 2000)
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(2000 * 1.25 * BACKOFF_LAST)
        return passes

    assert len(run(scenario()).times) >= 2000


def test_success_forgets_the_failures() -> None:
    """The next one begins at a second again."""

    async def scenario() -> Passes:
        passes = Passes(*[Next(failed=True)] * 6, Next(after=0), Next(failed=True))
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(3600)
        return passes

    gaps = _gaps(run(scenario()).times)
    assert gaps[5] > 20
    assert 0.75 <= gaps[-1] <= 1.25


def test_retry_after_is_honoured() -> None:
    """Google's wait, where it is longer than ours; ours, where it is shorter."""

    async def scenario(at_least: float) -> list[float]:
        passes = Passes(Next(failed=True, at_least=at_least))
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(3600)
        return passes.times

    assert run(scenario(90.0)) == [0.0, 90.0]
    assert 0.75 <= run(scenario(0.1))[1] <= 1.25


def test_a_new_event_ends_the_backoff() -> None:
    """Who corrects a spec does not wait for two minutes."""

    async def scenario() -> Passes:
        passes = Passes(*[Next(failed=True)] * 9)
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(400)
            queue.add("a")
            await asyncio.sleep(0.5)
        return passes

    assert run(scenario()).times[-1] == 400.0


def test_a_failure_during_which_an_event_came_is_repeated_at_once() -> None:
    """And counts as one: the next failure backs off further."""

    async def scenario() -> Passes:
        passes = Passes(Next(failed=True), Next(failed=True), lasts=10)
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(1)
            queue.add("a")
            await asyncio.sleep(100)
        return passes

    first, second, third = run(scenario()).times
    assert second - first == 10
    assert 11.5 <= third - second <= 12.5


@given(keys=st.integers(1, 30), parallel=st.integers(1, 8))
def test_few_keys_at_once_one_worker_a_key(keys: int, parallel: int) -> None:
    """As many as asked for, in the order of their coming; each is served."""

    async def scenario() -> Passes:
        passes = Passes(lasts=10)
        async with serving(passes, parallel) as queue:
            for number in range(keys):
                queue.add(f"key-{number}")
            await asyncio.sleep(10 * keys + 1)
        return passes

    passes = run(scenario())
    assert [key for _, key in passes.began] == [f"key-{number}" for number in range(keys)]
    assert passes.most_at_once == min(keys, parallel)


def test_a_busy_key_does_not_hold_up_the_others() -> None:
    """Its repetition waits; another key gets the free worker."""

    async def work(key: str) -> Next:
        done.append(key)
        await asyncio.sleep(100 if key == "slow" else 1)
        return Next()

    done: list[str] = []

    async def scenario() -> None:
        async with serving(work, parallel=2) as queue:
            queue.add("slow")
            await asyncio.sleep(1)
            queue.add("slow")
            queue.add("quick")
            await asyncio.sleep(50)

    run(scenario())
    assert done == ["slow", "quick"]


def test_polls_are_exact_and_intervals_are_spread() -> None:
    """Apps that started together drift apart; who waits for an operation does not."""

    async def scenario(after: float, keys: int) -> list[float]:
        passes = Passes(*[Next(after=after)] * keys)
        async with serving(passes, keys) as queue:
            for number in range(keys):
                queue.add(f"key-{number}")
            await asyncio.sleep(after * 1.5)
        return passes.times[keys:]

    assert run(scenario(5.0, 10)) == [5.0] * 10
    spread = run(scenario(600.0, 50))
    assert len(set(spread)) == 50
    assert all(540 <= time <= 660 for time in spread)


def test_a_key_that_asks_for_nothing_is_left_alone() -> None:
    """Until an event comes."""

    async def scenario() -> Passes:
        passes = Passes()
        async with serving(passes) as queue:
            queue.add("a")
            await asyncio.sleep(1e6)
            queue.add("a")
            await asyncio.sleep(1)
        return passes

    assert run(scenario()).times == [0.0, 1e6]


def test_an_end_cancels_the_workers_under_way() -> None:
    """Nothing of a pass goes on behind a lost Lease."""

    async def work(key: str) -> Next:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            ended.append(key)
            raise
        return Next()

    ended: list[str] = []

    async def scenario() -> None:
        async with serving(work) as queue:
            queue.add("a")
            await asyncio.sleep(1)

    run(scenario())
    assert ended == ["a"]


def test_a_bug_in_the_work_ends_the_queue() -> None:
    """It never happens, for a pass raises nothing; if it did, it would not be silent."""

    async def work(key: str) -> Next:
        raise ValueError(key)

    async def scenario() -> None:
        queue = Queue(work)
        queue.add("a")
        await queue.run()

    with pytest.raises(ExceptionGroup):
        run(scenario())


def test_what_is_begun_again_and_fails_again_is_begun_ever_later() -> None:
    """Waiting for an operation forgets no failure; only a pass that is through does."""
    fails, waits = Next(failed=True), Next(after=0.5, under_way=True)
    passes = Passes(fails, waits, fails, waits, fails, waits, Next(after=1.0), fails, waits)

    async def scenario() -> None:
        async with serving(passes) as queue:
            queue.add("a/one")
            await asyncio.sleep(100)

    run(scenario())
    pauses = _gaps(passes.times)
    assert 0.75 <= pauses[0] <= 1.25
    assert 1.5 <= pauses[2] <= 2.5
    assert 3.0 <= pauses[4] <= 5.0
    assert 0.75 <= pauses[7] <= 1.25  # after the pass that was through
