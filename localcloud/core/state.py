"""What the cloud remembers: protobuf messages and JSON records in one SQLite file, all of it in memory too.

Every change is on its way to the file before the call that made it answers, so state survives `down`, `up` and kill -9.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from localcloud.core.past import Past

M = TypeVar("M", bound=Message)
V = TypeVar("V")


class Store:
    """One file of state; `path` None keeps everything in memory only (simulations that are thrown away)."""

    def __init__(self, path: Path | None, seed: Path | None = None) -> None:
        """`seed`: a state that `copy_to` wrote, to begin with where everything is kept in memory."""
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")  # a power cut may lose it; a killed process does not
        self._collections: dict[str, Collection[Any]] = {}
        self._record_kinds: dict[str, Records] = {}
        if path is None and seed is not None:
            with contextlib.closing(sqlite3.connect(seed)) as source:
                source.backup(self._db)
        self._db.execute("CREATE TABLE IF NOT EXISTS item (kind TEXT, name TEXT, body BLOB, PRIMARY KEY (kind, name))")

    def collection(self, kind: str, message: type[M], missing: Callable[[str], Exception]) -> Collection[M]:
        """The messages of one kind, the same for all who ask; `missing` makes the error of `get` for a name."""
        if kind not in self._collections:
            self._collections[kind] = Collection(self, kind, message, missing)
        return self._collections[kind]

    def records(self, kind: str) -> Records:
        """JSON values of one kind, the same for all who ask, for what has no message of Google's."""
        if kind not in self._record_kinds:
            self._record_kinds[kind] = Records(self, kind)
        return self._record_kinds[kind]

    def load(self, kind: str) -> Iterator[tuple[str, bytes]]:
        yield from self._db.execute("SELECT name, body FROM item WHERE kind = ? ORDER BY rowid", (kind,))

    def kinds(self) -> list[str]:
        """Of everything that is kept."""
        return [kind for (kind,) in self._db.execute("SELECT DISTINCT kind FROM item ORDER BY kind")]

    def save(self, kind: str, name: str, body: bytes) -> None:
        self._db.execute(
            "INSERT INTO item VALUES (?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
            (kind, name, body),
        )

    def erase(self, kind: str, name: str) -> None:
        self._db.execute("DELETE FROM item WHERE kind = ? AND name = ?", (kind, name))

    def copy_to(self, path: Path) -> None:
        """A consistent copy of the whole state (snapshots of a test's cloud)."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    def close(self) -> None:
        self._db.close()


class Collection(Generic[M]):
    """Messages by their full resource name. What goes in and comes out are copies."""

    def __init__(self, store: Store, kind: str, message: type[M], missing: Callable[[str], Exception]) -> None:
        self._store, self._kind, self._message, self._missing = store, kind, message, missing
        self._items: dict[str, M] = {}
        self._children: dict[str, dict[str, None]] = {}  # parent -> names, in order of creation
        self._past: Past[M] = Past()
        for name, body in store.load(kind):
            self._keep(name, message.FromString(body))

    def find(self, name: str) -> M | None:
        item = self._past.of(name, self._items.get(name))
        return None if item is None else self._copy(item)

    def get(self, name: str) -> M:
        """Raises the service's NOT_FOUND."""
        item = self.find(name)
        if item is None:
            raise self._missing(name)
        return item

    def put(self, name: str, item: M) -> M:
        """Insert or replace; returns a copy of what is now there."""
        self._past.changed(name, self._items.get(name))
        self._keep(name, self._copy(item))
        self._store.save(self._kind, name, item.SerializeToString(deterministic=True))
        return self._copy(item)

    def remove(self, name: str) -> None:
        """Forget it; a name that is not there is forgotten already."""
        if name in self._items:
            self._past.changed(name, self._items.pop(name))
            self._children.get(parent_of(name), {}).pop(name, None)
            self._store.erase(self._kind, name)

    def under(self, parent: str) -> list[M]:
        """The direct children of `parent`, oldest first; `parent` may use `-` for any one segment."""
        if "/-" not in parent:
            found = {name: self._items[name] for name in self._children.get(parent, ())}
        else:
            pattern = parent.split("/")
            found = {name: item for name, item in self._items.items() if _fits(parent_of(name), pattern)}
        changed = self._past.last_of(lambda name: _fits(parent_of(name), parent.split("/")))
        if changed is not None:
            found = _with(found, *changed)
        return [self._copy(item) for item in found.values()]

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def _keep(self, name: str, item: M) -> None:
        self._items[name] = item
        self._children.setdefault(parent_of(name), {})[name] = None

    def _copy(self, item: M) -> M:
        copy = self._message()
        copy.CopyFrom(item)
        return copy


class Records:
    """JSON objects by name; values are copied on the way in and out."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store, self._kind = store, kind
        self._items: dict[str, str] = {name: body.decode() for name, body in store.load(kind)}
        self._past: Past[str] = Past()

    def find(self, name: str) -> dict[str, Any] | None:
        body = self._past.of(name, self._items.get(name))
        return None if body is None else json.loads(body)

    def put(self, name: str, value: dict[str, Any]) -> None:
        body = json.dumps(value, sort_keys=True)
        self._past.changed(name, self._items.get(name))
        self._items[name] = body
        self._store.save(self._kind, name, body.encode())

    def remove(self, name: str) -> None:
        if name in self._items:
            self._past.changed(name, self._items.pop(name))
            self._store.erase(self._kind, name)

    def items(self, prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
        found = {name: body for name, body in self._items.items() if name.startswith(prefix)}
        changed = self._past.last_of(lambda name: name.startswith(prefix))
        if changed is not None:
            found = _with(found, *changed)
        return [(name, json.loads(body)) for name, body in found.items()]


def parent_of(name: str) -> str:
    """projects/P/locations/L/services/S -> projects/P/locations/L."""
    return name.rsplit("/", 2)[0]


def _with(found: dict[str, V], name: str, before: V | None) -> dict[str, V]:
    """The list before one of its members changed."""
    if before is None:
        return {other: value for other, value in found.items() if other != name}
    return {**found, name: before}


def _fits(name: str, pattern: list[str]) -> bool:
    parts = name.split("/")
    return len(parts) == len(pattern) and all(p in ("-", part) for p, part in zip(pattern, parts, strict=True))
