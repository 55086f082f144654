"""The lives that are swept: how each begins, and what it looks like once it is over.

Each begins without an operator, with what the user did already in the API server: so the app's uid, and with it every
name and hash, is the same however often the life is lived.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from sweep_database import add_product
from sweep_points import GoogleCall
from sweep_site import APP, NAMESPACE, PROJECT, Site, State
from sweep_snapshot import Snapshot, snapshot

LIVES = ("deploy", "release", "rotation", "deletion", "leaving")  # the last: a deletion whose instance stays
DELETIONS = ("deletion", "leaving")
INSTANCE = "shared-pg"
LOOK_S = 0.25  # where no write of an app has been seen, as of one that a collector deletes
QUIET_S, QUIET_LOOK_S = 0.3, 0.02
UNDISTURBED_S = 120.0

Act = Callable[[Site], Awaitable[None]]


@dataclass(frozen=True)
class Life:
    """A life as it goes undisturbed."""

    name: str
    start: State
    calls: tuple[GoogleCall, ...]  # of Google, in the order of their answers
    writes: tuple[str, ...]  # to Kubernetes, in their order
    release: str  # the id of the release at its end
    end: Snapshot


async def live_all(site: Site, last: str = LIVES[-1]) -> list[Life]:
    """Each once, up to the last; every life begins where the one before it ended."""
    return [await _live(site, name) for name in LIVES[: LIVES.index(last) + 1]]


async def _live(site: Site, name: str) -> Life:
    await ACTS[name](site)
    start = await site.save(name)
    before = (await site.app() or {}).get("status") or {}
    await site.restore(start)
    await site.start_operator()
    app = await over(site, name, lambda app: _release(app.get("status") or {}) != _release(before), UNDISTURBED_S)
    await site.kill_operator()
    return Life(
        name=name,
        start=start,
        calls=site.google_calls(),
        writes=tuple(write.what for write in site.gate.writes),
        release=_release((app or {}).get("status") or {}),
        end=await snapshot(site),
    )


class NotOver(Exception):
    """The life did not come to its end in time; the message is what the status says."""


async def over(site: Site, name: str, is_new: Callable[[Mapping[str, Any]], bool], within_s: float) -> Any:
    """The app once the life is over and the operator at rest, None where it is deleted. Raises NotOver."""
    deadline = time.monotonic() + within_s
    written = site.gate.app_written
    while True:
        written.clear()
        app = await site.app()
        if app is None if name in DELETIONS else app is not None and _is_settled(app) and is_new(app):
            await _quiet(site)
            return app
        if time.monotonic() > deadline:
            raise NotOver(_said(app))
        if site.operator is not None and site.operator.ended.is_set():
            raise NotOver("the operator ended by itself")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(written.wait(), LOOK_S)


async def _quiet(site: Site) -> None:
    """Until the operator has asked nothing of Google, and slept, for a moment: a pass after the end is seen too.

    One that waits for a processor is not asleep: so other work on the machine shortens no such moment.
    """
    count, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        asked = site.calls_made()
        if asked != count or (site.operator is not None and site.operator.is_busy()):
            count, since = asked, time.monotonic()
        await asyncio.sleep(QUIET_LOOK_S)


def has_release(life: Life) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an app has come to the release at which the undisturbed life ended."""
    return lambda app: _release(app.get("status") or {}) == life.release


def _is_settled(app: Mapping[str, Any]) -> bool:
    status = app.get("status") or {}
    true = {item["type"] for item in status.get("conditions") or [] if item["status"] == "True"}
    current = status.get("observedGeneration") == app["metadata"]["generation"]
    return current and "Ready" in true and not true & {"Reconciling", "Stalled"}


def _release(status: Mapping[str, Any]) -> str:
    return str((status.get("release") or {}).get("id", ""))


def _said(app: Mapping[str, Any] | None) -> str:
    if app is None:
        return "there is no app"
    found = (app.get("status") or {}).get("conditions") or []
    said = [f"{item['type']}={item['status']} {item['reason']}: {item['message']}" for item in found]
    return " / ".join([*said, f"release {_release(app.get('status') or {})}"])


async def _deploy(site: Site) -> None:
    await _apply(site, "DjangoApp", APP, _shop(site))


def _shop(site: Site) -> dict[str, Any]:
    # Nothing answers in a simulation, so the service is internal, where the startup probe is all there is to see.
    web = {} if site.real else {"web": {"ingress": "Internal"}}
    superuser = {"username": "admin", "email": "admin@example.com"}
    return {**web, "image": site.images["v1"], "superuser": superuser, "deletionPolicy": "Delete"}


async def _apply(site: Site, kind: str, name: str, spec: Mapping[str, Any]) -> None:
    metadata = {"name": name, "namespace": NAMESPACE}
    manifest = {"apiVersion": "nuages.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}
    path = site.folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(manifest))
    await site.kubectl("apply", "--server-side", "-f", str(path))


async def _change(site: Site) -> None:
    """A customer has used the shop by then: a row that no migration makes has to outlive release and rotation."""
    await add_product(site)
    patch = f'{{"spec": {{"image": "{site.images["v2"]}"}}}}'
    await site.kubectl("patch", "djangoapp", APP, "-n", NAMESPACE, "--type=merge", "-p", patch)


async def _rotate(site: Site) -> None:
    await site.kubectl("annotate", "djangoapp", APP, "-n", NAMESPACE, "nuages.dev/rotate=2026-11")


async def _delete(site: Site) -> None:
    await site.kubectl("delete", "djangoapp", APP, "-n", NAMESPACE, "--wait=false")


async def _delete_on_shared_instance(site: Site) -> None:
    """The app is deployed there first, undisturbed."""
    await site.make_instance(INSTANCE)
    spec = {"project": PROJECT, "region": site.cloud.options.region, "database": {"existing": INSTANCE}}
    await _apply(site, "DjangoTenant", "default", spec)
    await _apply(site, "DjangoApp", APP, _shop(site))
    await site.start_operator()
    await over(site, "deploy", lambda app: True, UNDISTURBED_S)
    await site.kill_operator()
    await _delete(site)


ACTS: Mapping[str, Act] = {
    "deploy": _deploy,
    "release": _change,
    "rotation": _rotate,
    "deletion": _delete,
    "leaving": _delete_on_shared_instance,
}
