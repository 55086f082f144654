"""What the demo shows while an app is deployed: its events, operations and release steps, as they happen."""

from __future__ import annotations

import asyncio
import contextlib
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
                await telling.status(app.get("status") or {})
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
    """Tells what is new, pass by pass.

    The operator writes the status at the end of a pass and then the pass's events, of which the last says the head of
    the conditions; they come by two watches. So a status with another head is told with the events up to that one, or
    where it does not come, with those that came within LATE_S.
    """

    def __init__(self, say: Callable[[str, float], None]) -> None:
        self._say = say
        self._events: asyncio.Queue[tuple[str, str]] = asyncio.Queue()  # reason and line
        self._operations: dict[str, tuple[str, float]] = {}  # name: resource, and when it was seen first
        self._stage = ""
        self._head: tuple[str, ...] = ()

    def event(self, reason: str, line: str) -> None:
        """An event that was seen; told with its pass."""
        self._events.put_nowait((reason, line))

    async def status(self, found: Mapping[str, Any]) -> None:
        """A status that was seen, and what its pass did: what has ended, was written, has begun; then the verdict."""
        at = time.monotonic()
        now = {item["name"]: item["resource"] for item in found.get("operations") or []}
        ended, begun = list(self._ended(now, at)), list(self._begun(found, now, at))
        written, verdict = await self._written(found)
        for line in (*ended, *written, *begun, *verdict):
            self._say(line, at)

    async def _written(self, found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """The lines of the pass's events, and of the verdict on it, where it comes to another one."""
        ready: Mapping[str, Any] = next((item for item in found.get("conditions") or [] if item["type"] == "Ready"), {})
        head = tuple(str(ready.get(name, "")) for name in ("reason", "message", "status"))
        awaited = head[0] if head != self._head else None  # None: what is there, and no more
        self._head = head
        lines: list[str] = []
        reason = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if awaited is None else LATE_S):
                while reason != awaited:
                    reason, line = await self._events.get()
                    lines.append(line)
        return (lines[:-1], lines[-1:]) if reason == awaited else (lines, [])

    def _ended(self, now: Mapping[str, str], at: float) -> Iterator[str]:
        for name in [name for name in self._operations if name not in now]:
            resource, since = self._operations.pop(name)
            yield f"Operation done: {_short(resource)}, after {at - since:.1f} s"

    def _begun(self, found: Mapping[str, Any], now: Mapping[str, str], at: float) -> Iterator[str]:
        stage = (found.get("release") or {}).get("stage", "")
        if stage != self._stage:
            self._stage = stage
            yield f"Release: {stage}"
        for name, resource in now.items():
            if name not in self._operations:
                self._operations[name] = (resource, at)
                yield f"Operation under way: {_short(resource)}"


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


def _short(resource: str) -> str:
    """What it is and its id, such as jobs/demo-shop-migrate: an operation on a job is not the job's run."""
    return "/".join(resource.split("/")[-2:])
