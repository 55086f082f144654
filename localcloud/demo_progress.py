"""What the demo shows while an app is deployed: its events, operations and release steps, as they happen."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config, watch
from kubernetes.aio.client.exceptions import ApiException

WATCH_S = 300


class Lines:
    """Prints lines with the seconds since the start in front."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self, text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {text}\n")
        sys.stdout.flush()


class Stalled(Exception):
    """The operator says that somebody has to act; the message is its own."""


async def follow(kubeconfig: Path, namespace: str, name: str, say: Lines) -> dict[str, Any]:
    """Shows all news of a DjangoApp until it is Ready; returns the object. Raises Stalled."""
    async with await config.new_client_from_config(config_file=str(kubeconfig)) as api:  # type: ignore[no-untyped-call]
        events = asyncio.create_task(_events(api, namespace, name, say))
        try:
            return await _states(api, namespace, name, say)
        finally:
            events.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await events


async def _states(api: client.ApiClient, namespace: str, name: str, say: Lines) -> dict[str, Any]:
    shown, read = _Shown(say), client.CustomObjectsApi(api).list_namespaced_custom_object
    place, only = ("nuages.dev", "v1alpha1", namespace, "djangoapps"), f"metadata.name={name}"
    while True:
        stream = _watched(read, *place, field_selector=only)
        with contextlib.suppress(aiohttp.ClientError, ApiException):
            async for event in stream:
                app = event["object"]
                shown.news(app.get("status") or {})
                if shown.is_ready(app):
                    await asyncio.sleep(0.2)  # its last event is on its way
                    return dict(app)
        await asyncio.sleep(1)


async def _events(api: client.ApiClient, namespace: str, name: str, say: Lines) -> None:
    """Each event once, also when the watch is renewed."""
    seen: set[str] = set()
    while True:
        stream = _watched(client.EventsV1Api(api).list_namespaced_event, namespace)
        with contextlib.suppress(aiohttp.ClientError, ApiException):
            async for found in stream:
                event = found["object"]
                if event.metadata.uid not in seen and event.regarding.name == name:
                    seen.add(event.metadata.uid)
                    say(f"{'! ' if event.type == 'Warning' else ''}{event.reason}: {event.note}")
        await asyncio.sleep(1)


def _watched(read: Callable[..., Any], *place: str, **options: str) -> AsyncIterator[dict[str, Any]]:
    """What is there and then what happens, until the server ends the watch."""
    stream: AsyncIterator[dict[str, Any]] = watch.Watch().stream(  # type: ignore[no-untyped-call]
        read, *place, timeout_seconds=WATCH_S, **options
    )
    return stream


class _Shown:
    """What was said of the status so far."""

    def __init__(self, say: Lines) -> None:
        self._say = say
        self._operations: dict[str, tuple[str, float]] = {}
        self._states: dict[str, str] = {}
        self._stage = ""
        self._stalled_since: float | None = None

    def news(self, status: Mapping[str, Any]) -> None:
        """Prints what is new. Raises Stalled where that lasts."""
        self._show_operations({item["name"]: item["resource"] for item in status.get("operations") or []})
        for row in status.get("resources") or []:
            if row["state"] == "Ready" and self._states.get(row["name"]) not in ("Ready", None):
                self._say(f"Ready: {_kind(row['kind'])} {_id(row['name'])}")
            self._states[row["name"]] = row["state"]
        stage = (status.get("release") or {}).get("stage", "")
        if stage != self._stage:
            self._say(f"Release: {stage}")
            self._stage = stage

    def is_ready(self, app: Mapping[str, Any]) -> bool:
        """Of this generation. Raises Stalled."""
        status = app.get("status") or {}
        if status.get("observedGeneration") != app["metadata"]["generation"]:
            return False
        found = {item["type"]: item for item in status.get("conditions") or []}
        stalled = found.get("Stalled")
        if stalled is not None and stalled["status"] == "True":
            raise Stalled(f"{stalled['reason']}: {stalled['message']}")
        return bool(found.get("Ready", {}).get("status") == "True")

    def _show_operations(self, now: dict[str, str]) -> None:
        for name, resource in now.items():
            if name not in self._operations:
                self._operations[name] = (resource, time.monotonic())
                self._say(f"Operation under way: {_id(resource)}")
        for name in [name for name in self._operations if name not in now]:
            resource, since = self._operations.pop(name)
            self._say(f"Operation done: {_id(resource)}, after {time.monotonic() - since:.1f} s")


def _kind(kind: str) -> str:
    return kind.rsplit("/", 1)[-1]


def _id(name: str) -> str:
    """The last part of a name; a grant also says of what."""
    target, _, rest = name.partition("#")
    return f"{rest.partition('#')[0]} on {target.rsplit('/', 1)[-1]}" if rest else target.rsplit("/", 1)[-1]
