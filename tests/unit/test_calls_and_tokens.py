"""Calls of Google, and the token that each of them bears."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import Any

from google.auth import credentials as auth

from nuages.cloud.call import Call
from nuages.cloud.credentials import Identity
from nuages.cloud.deadline import left
from nuages.cloud.errors import Transient

PARALLEL = 4


class Expired(auth.Credentials):  # type: ignore[misc]
    """Good for an hour from its next refresh on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.refreshed = 0

    def refresh(self, request: Any) -> None:
        self.refreshed += 1
        self.token = "ya29.fresh"
        self.expiry = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(hours=1)


async def test_a_token_expires_under_as_many_calls_as_may_run() -> None:
    """One of them gets the next one, and none waits for another's place: all of them are made, with that token."""
    credentials, call = Expired(), Call(PARALLEL, deadline=5.0)
    call.bearer = Identity(credentials, call)
    seen: list[str] = []

    async def get_secret(*, metadata: tuple[tuple[str, str], ...], **_: Any) -> None:
        seen.append(dict(metadata)["authorization"])

    async with asyncio.timeout(4.0):
        await asyncio.gather(*(call(get_secret) for _ in range(PARALLEL * 3)))
    assert seen == ["Bearer ya29.fresh"] * (PARALLEL * 3)
    assert credentials.refreshed == 1


async def test_what_a_thread_writes_has_ended_before_the_clouds_are_closed() -> None:
    """A cancelled task leaves its thread behind: whoever gives up the Lease waits for that."""
    call, begun, may_end = Call(PARALLEL, deadline=30.0), threading.Event(), threading.Event()
    written: list[str] = []

    def write() -> None:
        begun.set()
        may_end.wait()
        written.append("an object")

    task = asyncio.create_task(call.in_thread("Objects.insert", write))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.wait({task})
    ended = asyncio.create_task(call.all_ended())
    await asyncio.sleep(0)
    assert not ended.done()
    may_end.set()
    await ended
    assert written == ["an object"]


async def test_a_thread_that_comes_too_late_does_nothing() -> None:
    """A call that waited for one past its deadline was told as failed, and is not made any more."""
    call, may_end, seconds = Call(1, deadline=0.5), threading.Event(), []

    def write() -> None:
        seconds.append(left())
        may_end.wait()

    calls = [call.in_thread("Objects.insert", write) for _ in range(2)]
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in told] == [Transient, Transient]
    may_end.set()
    await call.all_ended()
    assert len(seconds) == 1
    assert 0 < seconds[0] <= 0.5
