"""What counts as wrong with a disturbed life, with both sides of each limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_lives import Life
from sweep_points import GoogleCall, Point
from sweep_site import WIPED, State
from sweep_snapshot import Snapshot
from sweep_verdict import Seen, verdict

SECRETS = "secretmanager.googleapis.com/SecretManagerService"
READ = GoogleCall("run.googleapis.com/Services.GetService", "shop")
DELETED = GoogleCall(f"{SECRETS}.DeleteSecret", "shop-key", "shop-key")
LIFE = Life("rotation", State(Path(), {}), (READ,) * 20, (), "release-1", Snapshot({}, {}))
DELETION = replace(LIFE, name="deletion", calls=(*LIFE.calls, DELETED))
KILL, FAULT = Point("rotation", "google", "Get", "shop", 0), Point("rotation", "google", "Get", "shop", 0, fault="500")
WIPE = replace(KILL, wiped=True)
# Of a life that went well, and whose operator was killed.
WELL = Seen(
    is_killed=True,
    lease_s=0.4,
    began_with=WIPED,
    had={"key/versions/1": "one"},
    has={"key/versions/1": "one", "key/versions/2": "two"},
    calls=LIFE.calls,
)


@pytest.mark.parametrize("point", [KILL, WIPE, FAULT], ids=["kill", "wipe", "fault"])
def test_nothing_is_wrong_with_a_life_that_went_well(point: Point) -> None:
    """Rotation adds versions; it changes none."""
    assert verdict(WELL, LIFE, point) == []


def test_every_difference_is_wrong() -> None:
    """All are told of a life that ended; of one that did not, why, and the first of them."""
    many = [f"missing: {number}" for number in range(9)]
    assert verdict(replace(WELL, differences=many), LIFE, KILL) == many
    told = verdict(replace(WELL, differences=many, not_over="Ready=False"), LIFE, KILL)
    assert told == ["did not converge: Ready=False", *many[:5]]


def test_a_life_that_did_not_end_is_wrong_whatever_it_looks_like() -> None:
    assert verdict(replace(WELL, not_over="Ready=False"), LIFE, FAULT) == ["did not converge: Ready=False"]


@pytest.mark.parametrize(
    ("has", "told"),
    [
        ({"key/versions/1": "other"}, ["made anew: key/versions/1"]),
        ({"other/versions/1": "other"}, []),  # the differences tell of what is missing and of what is too much
    ],
)
def test_a_payload_that_was_there_stays_what_it_was(has: Mapping[str, str], told: list[str]) -> None:
    assert verdict(replace(WELL, has=has), LIFE, KILL) == told


@pytest.mark.parametrize("point", [KILL, FAULT], ids=["kill", "fault"])
@pytest.mark.parametrize(
    "method",
    [
        f"{SECRETS}.DeleteSecret",
        f"{SECRETS}.DestroySecretVersion",
        "sqladmin.googleapis.com/SqlInstancesService.Delete",
        "storage.googleapis.com/DELETE /storage/v1/b/{bucket}",
    ],
)
def test_nothing_that_bears_data_is_deleted_meanwhile(method: str, point: Point) -> None:
    """Though it be made anew, and look as before; told once."""
    calls = (*LIFE.calls, *[GoogleCall(method, "*", "shop-key")] * 2)
    assert verdict(replace(WELL, calls=calls), LIFE, point) == [f"deleted meanwhile: {method} shop-key"]


def test_what_the_undisturbed_life_deletes_may_be_deleted() -> None:
    """As a deletion does, more than once; nor is a revision, which a release cleans up, data."""
    calls = (*DELETION.calls, DELETED)
    assert verdict(replace(WELL, calls=calls), DELETION, KILL) == []
    calls = (*LIFE.calls, GoogleCall("run.googleapis.com/Revisions.DeleteRevision", "shop-1"))
    assert verdict(replace(WELL, calls=calls), LIFE, KILL) == []


@pytest.mark.parametrize(
    ("point", "count", "told"),
    [(FAULT, 50, []), (FAULT, 51, ["51 calls, undisturbed 20"]), (KILL, 51, [])],
    ids=["at the limit", "beyond", "killed"],
)
def test_a_failed_call_makes_at_most_twice_the_calls_and_ten(point: Point, count: int, told: list[str]) -> None:
    """Who was killed begins anew."""
    assert verdict(replace(WELL, is_killed=not point.fault, calls=(READ,) * count), LIFE, point) == told


@pytest.mark.parametrize(
    ("lease_s", "told"),
    [
        (5.0, []),
        (5.1, ["the Lease was retaken after 5.1 s"]),
        (None, ["the Lease was not retaken"]),
    ],
)
def test_who_is_started_after_a_kill_has_the_lease_within_five_seconds(lease_s: float | None, told: list[str]) -> None:
    """Where nobody was killed, nobody has to."""
    assert verdict(replace(WELL, lease_s=lease_s), LIFE, KILL) == told
    assert verdict(replace(WELL, lease_s=lease_s, is_killed=False), LIFE, KILL) == []


@pytest.mark.parametrize(
    ("point", "status", "told"),
    [
        (WIPE, {**WIPED, "url": "https://shop"}, ["the status was not wiped"]),
        (WIPE, {}, ["the status was not wiped"]),
        (WIPE, None, []),  # the app was gone already
        (KILL, {"url": "https://shop"}, []),
    ],
)
def test_a_wiped_status_is_wiped(point: Point, status: Mapping[str, object] | None, told: list[str]) -> None:
    """Before the operator comes back; where it is to be kept, it may be anything."""
    assert verdict(replace(WELL, began_with=status), LIFE, point) == told
    assert verdict(replace(WELL, began_with=status, is_killed=False), LIFE, point) == []
