"""The order in which the demo tells what happens: status and events come by two watches, each at its own pace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from localcloud.demo_progress import LATE_S, Telling

JOB = {"name": "operations/1", "resource": "projects/demo/locations/x/jobs/migrate"}
INSTANCE = {"name": "operations/0", "resource": "projects/demo/instances/pg"}


def status(reason: str, stage: str, *operations: dict[str, str]) -> dict[str, Any]:
    head = {"type": "Ready", "status": "False", "reason": reason, "message": f"{stage} {len(operations)}"}
    return {"operations": list(operations), "release": {"stage": stage}, "conditions": [head]}


class Said:
    """Keeps what is said, with its time."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.texts: list[str] = []

    def __call__(self, text: str, at: float) -> None:
        self.times.append(at)
        self.texts.append(text.partition(", after")[0])


FIRST, SECOND = status("Creating", "", INSTANCE), status("Migrating", "Migrate", JOB)
THIRD = status("Migrating", "Migrate")
TOLD = [
    "Created: Instance pg (under way)",
    "Operation under way: instances/pg",
    "Creating: takes minutes",
    "Operation done: instances/pg",
    "Created: User",
    "Release: Migrate",
    "Operation under way: jobs/migrate",
    "Migrating: is being started",
    "Operation done: jobs/migrate",
    "Migrating: is running",
]
PASSES = (
    (FIRST, [("Created", "Created: Instance pg (under way)"), ("Creating", "Creating: takes minutes")]),
    (SECOND, [("Created", "Created: User"), ("Migrating", "Migrating: is being started")]),
    (THIRD, [("Migrating", "Migrating: is running")]),
)


@pytest.mark.parametrize("first", ["status", "events", "all events"])
async def test_what_happened_is_told_in_the_order_in_which_it_did(first: str) -> None:
    """What ended, what was written, the step, what began, the verdict; whichever watch is ahead, and by how much."""
    said = Said()
    telling = Telling(said)

    def events_of(*passes: tuple[dict[str, Any], list[tuple[str, str]]]) -> None:
        for _, events in passes:
            for reason, text in events:
                telling.event(reason, text)

    if first == "all events":
        events_of(*PASSES)
    for this in PASSES:
        if first == "events":
            events_of(this)
        told = asyncio.create_task(telling.status(this[0]))
        await asyncio.sleep(0)
        if first == "status":
            assert not told.done()
            events_of(this)
        await told
    assert said.texts == TOLD
    assert said.times == sorted(said.times)


async def test_news_whose_event_never_comes_is_told_all_the_same() -> None:
    """With what has come within a second."""
    said = Said()
    telling = Telling(said)
    telling.event("Created", "Created: Instance pg (under way)")
    await telling.status(FIRST)
    await telling.status(SECOND)
    assert said.texts == [
        "Created: Instance pg (under way)",
        "Operation under way: instances/pg",
        "Operation done: instances/pg",
        "Release: Migrate",
        "Operation under way: jobs/migrate",
    ]


async def test_a_status_with_the_same_head_waits_for_nothing() -> None:
    """What is there is told at once: no event comes to close such a pass."""
    said = Said()
    telling = Telling(said)
    telling.event("Creating", "Creating: takes minutes")
    await telling.status(FIRST)
    telling.event("Created", "Created: User")
    again = {**FIRST, "operations": []}
    async with asyncio.timeout(LATE_S / 2):
        await telling.status(again)
    assert said.texts[2:] == ["Operation done: instances/pg", "Created: User"]
