"""One disturbed life: the operator killed at a point, or a call failed there; and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep_gate import Snare, Write
from sweep_lives import Life, NotOver, has_release, over
from sweep_points import FAULTS, Point
from sweep_site import Site
from sweep_snapshot import payloads, snapshot
from sweep_verdict import LEASE_WITHIN_S, Seen, verdict

WITHIN_S = 75.0  # a release step that failed is tried again after half a minute
LEASE_MORE_S = 1.0  # waited for, to say how late it was


@dataclass
class Result:
    """`outcome`: "passed", "failed", "unreached" (the point did not come; the end was right all the same)."""

    point: Point
    outcome: str = "passed"
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    lease_s: float | None = None  # from the start of the process to the Lease in its hands
    calls: int = 0

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Result:
        """Of what `json` gave."""
        given = {key: value for key, value in body.items() if key not in ("id", "point")}
        return cls(point=Point(**body["point"]), **given)

    def json(self) -> dict[str, Any]:
        return {
            "id": self.point.id,
            "outcome": self.outcome,
            "problems": self.problems,
            "seconds": round(self.seconds, 2),
            "lease_s": self.lease_s,
            "calls": self.calls,
            "point": self.point.json(),
        }


async def run(site: Site, life: Life, point: Point) -> Result:
    """Restore, disturb, wait for the end, compare."""
    began, seen = time.monotonic(), Seen()
    await site.restore(life.start)
    seen.had = payloads(site)
    try:
        reached = await (_fail(site, life, point) if point.fault else _kill(site, life, point, seen))
    except NotOver as error:
        reached, seen.not_over = True, str(error)
    seen.differences = await _differences(site, life, point)
    seen.has, seen.calls = payloads(site), site.google_calls()
    problems = verdict(seen, life, point)
    await site.kill_operator()
    return Result(
        point,
        outcome="failed" if problems else "passed" if reached else "unreached",
        problems=problems,
        seconds=time.monotonic() - began,
        lease_s=seen.lease_s,
        calls=len(seen.calls),
    )


async def _differences(site: Site, life: Life, point: Point) -> list[str]:
    now = await snapshot(site)
    if point.wiped:
        return life.end.without_history().differences(now.without_history())
    return life.end.differences(now)


async def _kill(site: Site, life: Life, point: Point, seen: Seen) -> bool:
    """Whether the point came. Raises NotOver."""
    await site.start_operator(hold=True)
    pid = site.pid
    if point.side == "google":
        await site.fault(
            method=_literally(point.method),
            resource=_literally(point.resource),
            kind="kill",
            pid=pid,
            after=point.after,
            skip=point.nth,
        )
    else:
        site.gate.snare = Snare(point.method, point.nth, point.after, lambda: _sigkill(pid))
    site.let_go()
    if not await _died(site, life):
        return False
    if point.wiped:
        await site.wipe_status()
    app = await site.app()
    seen.began_with, seen.is_killed = None if app is None else app.get("status") or {}, True
    seen.lease_s = await _restart(site)
    await over(site, life.name, has_release(life), WITHIN_S)
    return True


async def _restart(site: Site) -> float | None:
    """How long it took until the Lease was held, None where it is not: before that the operator does nothing at all,
    so that a life which was over when it died would seem to be at its end."""
    began, held, before = time.monotonic(), asyncio.get_running_loop().create_future(), len(site.gate.writes)
    # A write of the one that died may still be answered.
    site.gate.on_accepted = lambda write: _note_lease(write, held, site.gate.writes[before:])
    await site.start_operator()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(held), LEASE_WITHIN_S + LEASE_MORE_S)
    return round(held.result() - began, 2) if held.done() else None


async def _died(site: Site, life: Life) -> bool:
    """Whether the operator was killed before the life was over. Raises NotOver."""
    assert site.operator is not None
    dying = asyncio.create_task(site.operator.ended.wait())
    living = asyncio.create_task(over(site, life.name, has_release(life), WITHIN_S))
    try:
        await asyncio.wait({dying, living}, return_when=asyncio.FIRST_COMPLETED)
        if not site.operator.ended.is_set():
            living.result()
        return site.operator.ended.is_set()
    finally:
        for task in (dying, living):
            task.cancel()
        await asyncio.gather(dying, living, return_exceptions=True)


async def _fail(site: Site, life: Life, point: Point) -> bool:
    """Whether the fault struck. Raises NotOver."""
    method, resource = _literally(point.method), _literally(point.resource)
    await site.fault(method=method, resource=resource, skip=point.nth, **FAULTS[point.fault])
    await site.start_operator()
    await over(site, life.name, has_release(life), WITHIN_S)
    return all(fault.times == 0 for fault in site.cloud.core.faults.all())


def _note_lease(write: Write, held: asyncio.Future[float], of: Collection[Write]) -> None:
    if write.what.endswith(" leases") and any(item is write for item in of) and not held.done():
        held.set_result(time.monotonic())


def _literally(name: str) -> str:
    """As a glob; the * of an id that is made by chance stays one."""
    return name.replace("[", "[[]").replace("?", "[?]")


def _sigkill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
