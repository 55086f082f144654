"""Kopf's part: events become keys in the queue, and nothing else (DESIGN, "The way of the data")."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from nuages.kube.contents import Contents
from nuages.kube.objects import APPS, GROUP, TENANTS, VERSION

Enqueue = Callable[[str], None]
CHUNK = 100  # apps that one answer of the API server's holds


class Watched:
    """Which apps there are, and what of them was seen last: our own status writes must not wake us."""

    def __init__(self, enqueue: Enqueue, contents: Contents) -> None:
        self._enqueue, self._contents = enqueue, contents
        self._seen: dict[str, str] = {}
        self._tenants: dict[str, str] = {}

    def app(self, event_type: str | None, body: Mapping[str, Any]) -> None:
        """An app came, changed or went."""
        metadata = body["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        if event_type == "DELETED":
            self._seen.pop(key, None)
            self._enqueue(f"{metadata['namespace']}/")  # it may have been the last one that its tenant was held for
            self._contents.forget(key)
            return
        mark = _mark(metadata)
        if event_type is not None and self._seen.get(key) == mark:
            return
        self._seen[key] = mark
        self._contents.heed(key, body)
        self._enqueue(key)

    def tenant(self, event_type: str | None, body: Mapping[str, Any]) -> None:
        """A tenant came, changed or went: it is looked at, by a key without a name, and so are its namespace's apps."""
        metadata = body["metadata"]
        namespace, mark = metadata["namespace"], _mark(metadata)
        if event_type == "DELETED":
            self._tenants.pop(namespace, None)
        elif event_type is not None and self._tenants.get(namespace) == mark:
            return
        else:
            self._tenants[namespace] = mark
            self._enqueue(f"{namespace}/")
        for key in [key for key in self._seen if key.startswith(f"{namespace}/")]:
            self._enqueue(key)

    @property
    def count(self) -> int:
        return len(self._seen)


def _mark(metadata: Mapping[str, Any]) -> str:
    """All that a person or another controller changes; a status write changes none of it."""
    return json.dumps(
        [
            metadata.get("uid"),
            metadata.get("generation"),
            metadata.get("deletionTimestamp"),
            {k: v for k, v in (metadata.get("annotations") or {}).items() if k.startswith(GROUP)},
        ],
        sort_keys=True,
    )


def registry(watched: Watched) -> kopf.OperatorRegistry:
    """Only on.event handlers: Kopf keeps no state of its own in the objects."""
    made = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, APPS, registry=made)
    async def app(type: str | None, body: kopf.Body, **_: Any) -> None:
        watched.app(type, body)

    @kopf.on.event(GROUP, VERSION, TENANTS, registry=made)
    async def tenant(type: str | None, body: kopf.Body, **_: Any) -> None:
        watched.tenant(type, body)

    return made


def settings() -> kopf.OperatorSettings:
    """No peering, no posting, no scanning of namespaces and CRDs: each would need a permission of its own."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    # A watch that hangs is noticed (kopf#1120).
    made.watching.server_timeout = 300
    made.watching.client_timeout = 330
    made.watching.connect_timeout = 20
    # An operator that starts is told of all apps at once, and Kopf keeps what it was told while it waits for more.
    made.watching.chunk_size = CHUNK
    made.queueing.idle_timeout = 0.1
    return made
