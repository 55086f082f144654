"""The order in which the demo tells what happens: status and events come by two watches, each at its own pace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from localcloud.demo_progress import Telling

JOB = {"name": "operations/1", "resource": "projects/demo/locations/x/jobs/migrate"}
INSTANCE = {"name": "operations/0", "resource": "projects/demo/instances/pg"}


def status(reason: str, stage: str, operations: list[dict[str, str]], **states: str) -> dict[str, Any]:
    rows = [{"kind": f"sqladmin.googleapis.com/{name}", "name": f"a/{name}", "state": s} for name, s in states.items()]
    rows += [
        {"kind": "x/Instance", "name": INSTANCE["resource"], "state": "Creating" if INSTANCE in operations else "Ready"}
    ]
    head = {"type": "Ready", "status": "False", "reason": reason, "message": ""}
    return {"operations": operations, "resources": rows, "release": {"stage": stage}, "conditions": [head]}


class Said:
    """Keeps what is said, with its time."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.texts: list[str] = []

    def __call__(self, text: str, at: float) -> None:
        self.times.append(at)
        self.texts.append(text.partition(", after")[0])


FIRST, SECOND = status("Creating", "", [INSTANCE], User="Blocked"), status("Migrating", "Migrate", [JOB], User="Ready")
TOLD = [
    "Created: Instance pg (under way)",
    "Operation under way: pg",
    "Creating: takes minutes",
    "Operation done: pg",
    "Ready: Instance pg",
    "Created: User",
    "Ready: User User",
    "Release: Migrate",
    "Operation under way: migrate",
    "Migrating: has begun",
]


@pytest.mark.parametrize("events_first", [False, True])
async def test_what_happened_is_told_in_the_order_in_which_it_did(events_first: bool) -> None:
    """What ended, what was written, what that made ready, the step, what began, the verdict; whichever came first."""
    said = Said()
    telling = Telling(said)
    for seen, events in (
        (FIRST, [("Created", "Created: Instance pg (under way)"), ("Creating", "Creating: takes minutes")]),
        (SECOND, [("Created", "Created: User"), ("Migrating", "Migrating: has begun")]),
    ):
        for reason, text in events if events_first else ():
            telling.event(reason, text)
        telling.status(seen)
        for reason, text in () if events_first else events:
            telling.event(reason, text)
        await asyncio.wait_for(telling.told.wait(), 5)
    assert said.texts == TOLD
    assert said.times == sorted(said.times)


async def test_news_whose_event_never_comes_is_told_all_the_same() -> None:
    """The next status ends the wait, and so does a second."""
    said = Said()
    telling = Telling(said)
    telling.status(FIRST)
    telling.status(SECOND)
    assert said.texts == ["Operation under way: pg"]
    await asyncio.wait_for(telling.told.wait(), 5)
    assert said.texts[-1] == "Operation under way: migrate"
