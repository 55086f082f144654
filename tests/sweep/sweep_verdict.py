"""What is wrong with a disturbed life: what was seen of it, against the undisturbed one; nothing is asked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep_lives import Life
from sweep_points import GoogleCall, Point
from sweep_site import WIPED

LEASE_WITHIN_S = 5.0  # a standby would wait for 15
CALLS_FACTOR, CALLS_MORE = 2, 10  # of the undisturbed calls
NOT_OVER_SHOWN = 5  # of the differences where the life did not end: there is one for nearly everything

# What takes data with it. Revisions, jobs and grants go where a release cleans up after another one that was disturbed.
TAKES_DATA = re.compile(
    r"secretmanager\..*\.(Delete|Destroy)|sqladmin\..*(Instances|Databases)Service\.Delete|storage\.[^/]*/DELETE "
)


@dataclass
class Seen:
    """Of one disturbed life."""

    is_killed: bool = False  # the operator, by the point; another one was started
    lease_s: float | None = None  # from the start of that process to the Lease in its hands
    began_with: Mapping[str, Any] | None = None  # the status that it found; None where there was no app
    not_over: str = ""  # why the life did not come to its end
    differences: list[str] = field(default_factory=list)
    had: Mapping[str, str] = field(default_factory=dict)  # what stands for each secret's payload, before the life
    has: Mapping[str, str] = field(default_factory=dict)  # and after it
    calls: Collection[GoogleCall] = ()


def verdict(seen: Seen, life: Life, point: Point) -> list[str]:
    """In words; empty where nothing is wrong."""
    return [
        *([f"did not converge: {seen.not_over}"] if seen.not_over else []),
        *(seen.differences[:NOT_OVER_SHOWN] if seen.not_over else seen.differences),
        *_of_secrets(seen, life),
        *_of_calls(seen, life, point),
        *(_of_restart(seen, point) if seen.is_killed else ()),
    ]


def _of_secrets(seen: Seen, life: Life) -> Iterator[str]:
    """One that was deleted and made anew looks as before, so the deletion itself is wrong."""
    for name in sorted(seen.had.keys() & seen.has.keys()):
        if seen.had[name] != seen.has[name]:
            yield f"made anew: {name}"
    undisturbed = {call.method for call in life.calls}
    deleted = {call for call in seen.calls if TAKES_DATA.match(call.method) and call.method not in undisturbed}
    for call in sorted(deleted, key=lambda call: (call.method, call.exact)):
        yield f"deleted meanwhile: {call.method} {call.exact}"


def _of_calls(seen: Seen, life: Life, point: Point) -> Iterator[str]:
    """Who was killed asks everything again; a failed call is no reason to."""
    if point.fault and len(seen.calls) > CALLS_FACTOR * len(life.calls) + CALLS_MORE:
        yield f"{len(seen.calls)} calls, undisturbed {len(life.calls)}"


def _of_restart(seen: Seen, point: Point) -> Iterator[str]:
    if point.wiped and seen.began_with is not None and seen.began_with != WIPED:
        yield "the status was not wiped"
    if seen.lease_s is None:
        yield "the Lease was not retaken"
    elif seen.lease_s > LEASE_WITHIN_S:
        yield f"the Lease was retaken after {seen.lease_s:.1f} s"
