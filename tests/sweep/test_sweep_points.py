"""Which points a recorded life has, and which differences of its end are told."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud import secretmanager_v1
from sweep_lives import Life
from sweep_points import GoogleCall, crash_points, fault_points
from sweep_site import State
from sweep_snapshot import Snapshot, payloads, snapshot

from localcloud.core.state import Store
from nuages.api.status import DjangoAppStatus

READ, WRITE, POLL = "run.googleapis.com/Services.GetService", "x/Services.CreateService", "x/Operations.GetOperation"
CALLS = (
    GoogleCall(READ, "shop"),
    GoogleCall(WRITE, "shop"),
    GoogleCall(POLL, "operations/*", "operations/1"),
    GoogleCall(POLL, "operations/*", "operations/1"),
    GoogleCall(POLL, "operations/*", "operations/2"),
    GoogleCall(READ, "shop"),
)
WRITES = ("POST leases", "PUT leases", "PUT djangoapps/status", "PUT leases", "PUT djangoapps/status")
END = Snapshot(
    google={
        "run.executions shop-migrate-run-1": {"state": "done"},
        "secretmanager.secrets shop-key": {"labels": {"app": "shop"}},
        "run.services shop": {"template": {"revision": "shop-1"}},
    },
    kubernetes={"status.url": "https://shop"},
)
LIFE = Life("deploy", State(Path(), {}), CALLS, WRITES, "release-1", END)
# A poll of one operation counts once, and keeps its number among all; the Lease's renewals count once.
MOMENTS = (
    f"{READ} shop #0",
    f"{WRITE} shop #0",
    f"{POLL} operations/* #0",
    f"{POLL} operations/* #2",
    f"{READ} shop #1",
)
WRITTEN = ("POST leases  #0", "PUT leases  #0", "PUT djangoapps/status  #0", "PUT djangoapps/status  #1")


def test_crash_points_are_before_and_after_every_call() -> None:
    """Of both sides, with the status kept and wiped; repeated polls of one thing and renewals of the Lease once."""
    found = [point.id for point in crash_points(LIFE)]
    assert found == [
        f"deploy {moment}{wiped} {call}"
        for wiped in ("", " wiped")
        for call in (*MOMENTS, *WRITTEN)
        for moment in ("before", "after")
    ]


def test_fault_points_are_every_call_with_each_fault_that_it_can_have() -> None:
    """An answer is lost of a write, and stale of a read; all other faults are of both."""
    common = ("429", "500", "503", "timeout", "409", "403")
    expected = {
        f"deploy {fault} {moment}"
        for moment in MOMENTS
        for fault in (*common, "lost" if moment.startswith(WRITE) else "stale")
    }
    found = [point.id for point in fault_points(LIFE)]
    assert len(found) == len(expected) == 5 * 7
    assert set(found) == expected


def test_the_same_end_has_no_difference() -> None:
    """Nor has one that was copied."""
    assert END.differences(Snapshot(dict(END.google), dict(END.kubernetes))) == []


@pytest.mark.parametrize(
    ("google", "kubernetes", "told"),
    [
        (
            {**END.google, "run.executions shop-migrate-run-2": {}},
            END.kubernetes,
            "too much: run.executions shop-migrate-run-2",
        ),
        (
            {name: body for name, body in END.google.items() if "secrets" not in name},
            END.kubernetes,
            "missing: secretmanager.secrets shop-key",
        ),
        (
            {**END.google, "run.services shop": {"template": {"revision": "shop-2"}}},
            END.kubernetes,
            'differs: run.services shop: .template.revision was to be "shop-1", is "shop-2"',
        ),
        (END.google, {"status.url": None}, 'differs: status.url:  was to be "https://shop", is null'),
    ],
    ids=["double", "missing", "field", "status"],
)
def test_each_difference_is_told(google: dict[str, Any], kubernetes: dict[str, Any], told: str) -> None:
    """What is double, what is missing, which field differs and how."""
    assert END.differences(dataclasses.replace(END, google=google, kubernetes=kubernetes)) == [told]


async def test_every_field_of_the_status_is_compared() -> None:
    """Also of the release; clocks are not."""
    names = sorted(field.alias or name for name, field in DjangoAppStatus.model_fields.items())
    ends = [await _end({name: [{"what": what, "since": what}] for name in names}) for what in ("one", "other")]
    told = [problem.split(": ")[1] for problem in ends[0].differences(ends[1])]
    assert told == [f"status.{name}" for name in names]
    clocks = {"release": {"startedAt": "1", "migration": {"logUri": "1"}}, "waiting": {"since": "1"}}
    later = {"release": {"startedAt": "2", "migration": {"logUri": "2"}}, "waiting": {"since": "2"}}
    assert (await _end(clocks)).differences(await _end(later)) == []


async def test_a_wiped_status_forgets_its_history_alone() -> None:
    """Of the release's fields all others are compared there too."""
    release = {"id": "2", "history": [{"id": "2"}, {"id": "1"}]}
    end = await _end({"release": release})
    again = await _end({"release": {**release, "history": [{"id": "2"}]}})
    other = await _end({"release": {**release, "id": "3"}})
    assert end.differences(again)
    assert end.without_history().differences(again.without_history()) == []
    assert end.without_history().differences(other.without_history())


async def _end(status: dict[str, Any]) -> Snapshot:
    """Of an app in an empty cloud."""

    async def app() -> dict[str, Any]:
        return {"metadata": {"finalizers": ["nuages.dev/cleanup"]}, "status": status}

    store = Store(None)
    site: Any = SimpleNamespace(real=False, app=app, cloud=SimpleNamespace(core=SimpleNamespace(store=store)))
    try:
        return await snapshot(site)
    finally:
        store.close()


def test_payloads_are_told_apart_without_being_shown() -> None:
    """By version, a hash: another payload is another hash."""
    kind = secretmanager_v1.SecretPayload.pb()
    store = Store(None)
    site: Any = SimpleNamespace(cloud=SimpleNamespace(core=SimpleNamespace(store=store)))
    found = []
    for payload in (b"one", b"two"):
        store.save("secretmanager.payloads", "shop-key/versions/1", kind(data=payload).SerializeToString())
        found.append(payloads(site))
    store.close()
    hashes = [hashlib.sha256(payload).hexdigest() for payload in (b"one", b"two")]
    assert found == [{"shop-key/versions/1": value} for value in hashes]
