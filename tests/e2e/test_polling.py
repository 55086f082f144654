"""The client that asks during releases: it has to notice when it was the one that stood still."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from e2e_browser import Page
from e2e_release import asking, eventually

FIRST_SECOND = 50

pytestmark = pytest.mark.skipif("NUAGES_TEST_PROJECT" in os.environ, reason="asks no cloud: a project adds nothing")


async def page() -> Page:
    return Page(200, "http://shop.example/", "", b"", {})


async def test_requests_in_their_slots_are_steady() -> None:
    """Fifty a second, none late."""
    began = time.monotonic()
    async with asking(page) as answers:
        await eventually(lambda: answers.count > FIRST_SECOND, "a first second of requests")
    assert time.monotonic() - began >= 1
    assert answers.bad == []
    answers.assert_steady()


async def test_a_client_that_stood_still_is_not_steady() -> None:
    """What it sends in a burst afterwards makes the number right, not the test."""
    async with asking(page) as answers:
        await eventually(lambda: answers.count > FIRST_SECOND, "a first second of requests")
        time.sleep(3)  # noqa: ASYNC251 - blocks the loop, as a machine does that has no time for this process
        await eventually(lambda: answers.count > 5 * FIRST_SECOND, "a second after it")
    assert answers.sent > 4 * FIRST_SECOND
    with pytest.raises(AssertionError, match=r"a request was sent [23]\.\d s late"):
        answers.assert_steady()


async def test_many_late_requests_are_not_steady() -> None:
    """Each stall is short, yet too many requests were late."""
    async with asking(page) as answers:
        for _ in range(3):
            time.sleep(1)  # noqa: ASYNC251 - as above
            await asyncio.sleep(0.1)
    with pytest.raises(AssertionError, match=r"requests were sent over 0\.5 s late"):
        answers.assert_steady()
