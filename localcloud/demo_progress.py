"""What the demo shows while an app is deployed: its events, operations and release steps, as they happen."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config, watch
from kubernetes.aio.client.exceptions import ApiException

from localcloud.began import process_began

WATCH_S = 300
LATE_S = 1.0  # how long the events of a pass may come after its status


class Lines:
    """Prints lines with the seconds since the command's start in front."""

    def __init__(self) -> None:
        self.began = process_began()

    def __call__(self, text: str, at: float | None = None) -> None:
        """`at`: when it was so, by time.monotonic(), if not now."""
        sys.stdout.write(f"{(time.monotonic() if at is None else at) - self.began:6.1f} s  {text}\n")
        sys.stdout.flush()


class Stalled(Exception):
    """The operator says that somebody has to act; the message is its own."""


async def follow(kubeconfig: Path, namespace: str, name: str, say: Lines) -> dict[str, Any]:
    """Shows all news of a DjangoApp until it is Ready; returns the object. Raises Stalled."""
    telling = Telling(say)
    async with await config.new_client_from_config(config_file=str(kubeconfig)) as api:  # type: ignore[no-untyped-call]
        events = asyncio.create_task(_events(api, namespace, name, telling))
        try:
            return await _states(api, namespace, name, telling)
        finally:
            await telling.told.wait()  # the last event is on its way
            events.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await events


async def _states(api: client.ApiClient, namespace: str, name: str, telling: Telling) -> dict[str, Any]:
    read = client.CustomObjectsApi(api).list_namespaced_custom_object
    place, only = ("nuages.dev", "v1alpha1", namespace, "djangoapps"), f"metadata.name={name}"
    while True:
        stream = _watched(read, *place, field_selector=only)
        with contextlib.suppress(aiohttp.ClientError, ApiException):
            async for event in stream:
                app = event["object"]
                telling.status(app.get("status") or {})
                if _is_ready(app):
                    return dict(app)
        await asyncio.sleep(1)


async def _events(api: client.ApiClient, namespace: str, name: str, telling: Telling) -> None:
    """Each event once, also when the watch is renewed."""
    seen: set[str] = set()
    while True:
        stream = _watched(client.EventsV1Api(api).list_namespaced_event, namespace)
        with contextlib.suppress(aiohttp.ClientError, ApiException):
            async for found in stream:
                event = found["object"]
                if event.metadata.uid not in seen and event.regarding.name == name:
                    seen.add(event.metadata.uid)
                    mark = "! " if event.type == "Warning" else ""
                    telling.event(event.reason, f"{mark}{event.reason}: {event.note}")
        await asyncio.sleep(1)


def _watched(read: Callable[..., Any], *place: str, **options: str) -> AsyncIterator[dict[str, Any]]:
    """What is there and then what happens, until the server ends the watch."""
    stream: AsyncIterator[dict[str, Any]] = watch.Watch().stream(  # type: ignore[no-untyped-call]
        read, *place, timeout_seconds=WATCH_S, **options
    )
    return stream


class Telling:
    """Tells what is new in the order in which it happened.

    The operator writes the status at the end of a pass and then the pass's events, of which the last says the head of
    the conditions; they come by two watches. What belongs together is gathered until that event is there, the next
    status comes, or LATE_S have gone by, and told with the time at which the first of it came.
    """

    def __init__(self, say: Callable[[str, float], None]) -> None:
        self._say = say
        self._operations: dict[str, tuple[str, float]] = {}
        self._states: dict[str, str] = {}
        self._stage = ""
        self._head: tuple[str, ...] = ()
        self._lines: list[tuple[_Rank, str]] = []
        self._events: list[tuple[str, str]] = []  # reason and line
        self._since = 0.0
        self._awaited: str | None = None  # the reason of the event that closes what is gathered, once a status came
        self._late: asyncio.TimerHandle | None = None
        self.told = asyncio.Event()  # nothing is held back
        self.told.set()

    def status(self, found: Mapping[str, Any]) -> None:
        """A status that was seen."""
        if self._awaited is not None:
            self._tell()
        lines = list(self._news(found))
        head: Mapping[str, Any] = next((item for item in found.get("conditions") or [] if item["type"] == "Ready"), {})
        changed = tuple(str(head.get(name, "")) for name in ("reason", "message", "status"))
        if not lines and changed == self._head:
            return
        self._gather()
        self._lines += lines
        self._awaited = changed[0] if changed != self._head else ""
        self._head = changed
        self._tell_if_whole()

    def event(self, reason: str, line: str) -> None:
        """An event that was seen."""
        self._gather()
        self._events.append((reason, line))
        self._tell_if_whole()

    def _gather(self) -> None:
        if self._late is None:
            self._since = time.monotonic()
            self._late = asyncio.get_running_loop().call_later(LATE_S, self._tell)
            self.told.clear()

    def _tell_if_whole(self) -> None:
        if self._awaited in {reason for reason, _ in self._events}:
            self._tell()

    def _tell(self) -> None:
        if self._late is not None:
            self._late.cancel()
        for reason, line in self._events:
            self._lines.append((_Rank.VERDICT if reason == self._awaited else _Rank.WRITTEN, line))
        for _, line in sorted(self._lines, key=lambda ranked: ranked[0]):
            self._say(line, self._since)
        self._lines, self._events, self._awaited, self._late = [], [], None, None
        self.told.set()

    def _news(self, status: Mapping[str, Any]) -> Iterator[tuple[_Rank, str]]:
        now = {item["name"]: item["resource"] for item in status.get("operations") or []}
        ended = [name for name in self._operations if name not in now]
        waited_for = {self._operations[name][0] for name in ended}
        for name in ended:
            resource, since = self._operations.pop(name)
            yield _Rank.ENDED, f"Operation done: {_id(resource)}, after {time.monotonic() - since:.1f} s"
        for row in status.get("resources") or []:
            if row["state"] == "Ready" and self._states.get(row["name"]) not in ("Ready", None):
                rank = _Rank.ENDED if row["name"] in waited_for else _Rank.READY
                yield rank, f"Ready: {_kind(row['kind'])} {_id(row['name'])}"
            self._states[row["name"]] = row["state"]
        stage = (status.get("release") or {}).get("stage", "")
        if stage != self._stage:
            self._stage = stage
            yield _Rank.STEP, f"Release: {stage}"
        for name, resource in now.items():
            if name not in self._operations:
                self._operations[name] = (resource, time.monotonic())
                yield _Rank.BEGUN, f"Operation under way: {_id(resource)}"


class _Rank(enum.IntEnum):
    """Where in a pass a line has its place."""

    ENDED = 0
    WRITTEN = 1
    READY = 2
    STEP = 3
    BEGUN = 4
    VERDICT = 5


def _is_ready(app: Mapping[str, Any]) -> bool:
    """Of this generation. Raises Stalled."""
    status = app.get("status") or {}
    if status.get("observedGeneration") != app["metadata"]["generation"]:
        return False
    found = {item["type"]: item for item in status.get("conditions") or []}
    stalled = found.get("Stalled")
    if stalled is not None and stalled["status"] == "True":
        raise Stalled(f"{stalled['reason']}: {stalled['message']}")
    return bool(found.get("Ready", {}).get("status") == "True")


def _kind(kind: str) -> str:
    return kind.rsplit("/", 1)[-1]


def _id(name: str) -> str:
    """The last part of a name; a grant also says of what."""
    target, _, rest = name.partition("#")
    return f"{rest.partition('#')[0]} on {target.rsplit('/', 1)[-1]}" if rest else target.rsplit("/", 1)[-1]
