"""What is there, as lists show it: snapshots with an age, shared by all apps of a credential.

A snapshot may only prove that nothing is to be done: every write follows a fresh read. So the cost of rest grows with
list pages, not with apps times resources.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from nuages.cloud.driver import Observed
from nuages.cloud.drivers import Drivers
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Owner, Resource
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlInstance, SqlUser
from nuages.desired.storage import Bucket

R = TypeVar("R", bound=Resource)
T = TypeVar("T")
Found = Mapping[str, Observed[Any]]

# Their lists cost a call for each resource that they are of (a policy, an instance): they age as deep looks do.
DEEP = frozenset({IamMember, SqlUser})
# What bears an owner's marker, and whether it lives in a location or right in the project.
MARKED: dict[type[Resource], bool] = {
    ServiceAccount: False,
    Secret: False,
    Bucket: False,
    SqlInstance: False,
    RunService: True,
    RunJob: True,
}
COLLECTIONS: dict[type[Resource], str] = {
    ServiceAccount: "serviceAccounts",
    Secret: "secrets",
    Bucket: "buckets",
    SqlInstance: "instances",
    RunService: "services",
    RunJob: "jobs",
}


LEAST_KEPT = 3600.0  # seconds; longer than any call is under way
SWEEP_EVERY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """An answer of Google's, and when it was asked for (monotonic seconds)."""

    value: T
    began: float


class Looks(Generic[T]):
    """Answers by key; whoever asks while one is under way that is fresh enough shares it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Hashable, Seen[T]] = {}
        self._under_way: dict[Hashable, tuple[float, asyncio.Task[T]]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def last(self, key: Hashable) -> Seen[T] | None:
        return self._seen.get(key)

    def drop(self, old: Callable[[Any, Seen[T]], bool]) -> None:
        """Forget the answers for which `old(key, answer)` is true."""
        self._seen = {key: seen for key, seen in self._seen.items() if not old(key, seen)}

    async def get(self, key: Hashable, look: Callable[[], Awaitable[T]], since: float) -> Seen[T]:
        """An answer that was asked for at `since` or later. Raises what the look raises."""
        known = self._seen.get(key)
        if known is not None and known.began >= since:
            return known
        began, task = self._under_way.get(key, (0.0, None))
        if task is None or began < since:
            began, task = self._clock(), asyncio.ensure_future(look())
            self._under_way[key] = began, task
            task.add_done_callback(lambda done: self._ended(key, began, done))
        return Seen(await asyncio.shield(task), began)

    def _ended(self, key: Hashable, began: float, task: asyncio.Future[T]) -> None:
        if self._under_way.get(key, (0.0, None))[1] is task:
            del self._under_way[key]
        if task.cancelled() or task.exception() is not None:
            return
        known = self._seen.get(key)
        if known is None or known.began <= began:
            self._seen[key] = Seen(task.result(), began)


class Writes:
    """When we last wrote to what (monotonic seconds), by the list that would show it."""

    def __init__(self) -> None:
        self._at: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        return sum(len(names) for names in self._at.values())

    def mark(self, name: str, at: float) -> None:
        self._at.setdefault(_siblings(name), {})[name] = at

    def last(self, name: str) -> float:
        return self._at.get(_siblings(name), {}).get(name, 0.0)

    def to(self, siblings: str, since: float) -> list[tuple[str, float]]:
        """What one list shows and was written to later than `since`, and when."""
        return [(name, at) for name, at in self._at.get(siblings, {}).items() if at > since]

    def newest(self, siblings: str) -> float:
        """To anything that one list shows."""
        return max(self._at.get(siblings, {}).values(), default=0.0)

    def drop_before(self, since: float) -> None:
        left = {key: {name: at for name, at in names.items() if at >= since} for key, names in self._at.items()}
        self._at = {key: names for key, names in left.items() if names}


class Deepens(Protocol):
    """A driver whose lists do not show everything."""

    async def deepen(self, listed: Observed[Any]) -> Observed[Any] | None:
        """The same with what only a look of its own shows. Never writes."""


class Inventory:
    """One for each credential: what one identity may see is not what another sees.

    What is older than the oldest that anybody has asked for is of no use to anybody, and goes.
    """

    def __init__(self, drivers: Drivers, clock: Callable[[], float] = time.monotonic) -> None:
        self._drivers, self._clock = drivers, clock
        self._lists: Looks[Found] = Looks(clock)
        self._singles: Looks[Observed[Any] | None] = Looks(clock)
        self._written = Writes()
        self._oldest = LEAST_KEPT  # seconds
        self._swept = clock()

    def __len__(self) -> int:
        """How many answers and writes it remembers."""
        return len(self._lists) + len(self._singles) + len(self._written)

    async def get(self, kind: type[R], name: str, max_age: float, deep_age: float) -> Observed[R] | None:
        """What is there, or None: from a list at most `max_age` seconds old, where one shows it.

        `deep_age` is for what no list shows. Looks, where nothing known is as young. Raises CloudError.
        """
        now, scope = self._clock(), self._drivers.of(kind).scope(name)
        self._sweep(now, max(max_age, deep_age))
        age = max_age if scope and kind not in DEEP else deep_age
        written = self._written.last(name)
        listed = self._lists.last((kind, scope))
        if not scope or age <= 0 or (written > now - age and (listed is None or listed.began < written)):
            return await self._look(kind, name, now - age)
        listed = await self._list(kind, scope, now - age)
        found, deep = listed.value.get(name), self._singles.last((kind, name))
        if found is None or found.deep:  # somebody may have looked at it since
            return deep.value if deep is not None and deep.began > listed.began else found
        is_same = deep is not None and deep.value is not None and deep.value.etag == found.etag
        return await self._deepen(kind, found, now - deep_age if is_same else now)

    async def fresh(self, kind: type[R], name: str, since: float | None = None) -> Observed[R] | None:
        """What is there, asked for now, or at `since` (monotonic seconds) or later; never before our last write to it.

        Kept, so that the next pass need not ask for it again. Raises CloudError.
        """
        return await self._look(kind, name, self._clock() if since is None else since)

    async def owned_by(
        self,
        owner: Owner,
        project: str,
        location: str,
        max_age: float = 0.0,
        kinds: Sequence[type[Resource]] = tuple(MARKED),
    ) -> Sequence[Observed[Any]]:
        """Everything of these kinds in a project and location that bears the owner's marker. Raises CloudError.

        What was made since the list may be missing; what we deleted since is.
        """
        parents = {False: f"projects/{project}", True: f"projects/{project}/locations/{location}"}

        def is_own(item: Observed[Any]) -> bool:
            return owner.may_have(item.owner)

        lists = await asyncio.gather(*(self.shown(kind, parents[MARKED[kind]], max_age, is_own) for kind in kinds))
        return [item for found in lists for item in found]

    def forget(self, name: str) -> None:
        """After a write: nothing that was asked for before it counts any more."""
        self._written.mark(name, self._clock())

    def drop(self, names: Iterable[str]) -> None:
        """After a deletion that is through: what was seen of these, and in them, is of no use any more."""
        gone = frozenset(names)

        def is_gone(key: tuple[type[Resource], str], _: object) -> bool:
            name = key[1]
            return name in gone or name.partition("#")[0] in gone or name.partition("/users/")[0] in gone

        self._singles.drop(is_gone)
        self._lists.drop(is_gone)

    async def shown(
        self, kind: type[R], scope: str, max_age: float, which: Callable[[Observed[R]], bool]
    ) -> Sequence[Observed[R]]:
        """Those of a list at most `max_age` seconds old. It is not made again for a write of anybody's: of what it
        shows, that to which we wrote since is looked at by itself; what was made since is missing. Raises CloudError.
        """
        now = self._clock()
        self._sweep(now, max_age)
        listed = await self._list(kind, scope, now - max_age)
        found: list[Observed[R]] = []
        for name, item in listed.value.items():
            if which(item):
                is_old = self._written.last(name) > listed.began
                seen = await self._look(kind, name, 0.0) if is_old else item
                found += [seen] if seen is not None and which(seen) else []
        return found

    async def list(self, kind: type[R], scope: str, max_age: float) -> Sequence[Observed[R]]:
        """Everything of a kind in a scope, from a list at most `max_age` seconds old. Raises CloudError."""
        now, siblings = self._clock(), scope if kind is IamMember else f"{scope}/{COLLECTIONS[kind]}"
        self._sweep(now, max_age)
        since = max(now - max_age, self._written.newest(siblings))
        return tuple((await self._list(kind, scope, since)).value.values())

    def names(self, kind: type[Resource], scope: str) -> frozenset[str] | None:
        """Full names of a kind in a scope, as the last list and the looks after our writes show it; never asks.

        None where it was not listed yet.
        """
        listed = self._lists.last((kind, scope))
        if listed is None:
            return None
        names, siblings = set(listed.value), f"{scope}/{COLLECTIONS[kind]}"
        for name, at in self._written.to(siblings, listed.began):
            single = self._singles.last((kind, name))
            if single is not None and single.began >= at:
                (names.discard if single.value is None else names.add)(name)
        return frozenset(names)

    def _sweep(self, now: float, age: float) -> None:
        """Now and then: what is older than the largest age asked for so far can answer nobody."""
        self._oldest = max(self._oldest, age)
        if now - self._swept < SWEEP_EVERY:
            return
        self._swept, since = now, now - self._oldest
        self._lists.drop(lambda _, seen: seen.began < since)
        self._singles.drop(lambda _, seen: seen.began < since)
        self._written.drop_before(since)

    async def _look(self, kind: type[Resource], name: str, since: float) -> Observed[Any] | None:
        driver, since = self._drivers.of(kind), max(since, self._written.last(name))
        return (await self._singles.get((kind, name), lambda: driver.observe(name), since)).value

    async def _deepen(self, kind: type[Resource], listed: Observed[Any], since: float) -> Observed[Any] | None:
        """What the list has not shown of it; the rest is known already."""
        driver = cast(Deepens, self._drivers.of(kind))
        key = (kind, listed.state.name)
        return (await self._singles.get(key, lambda: driver.deepen(listed), since)).value

    async def _list(self, kind: type[Resource], scope: str, since: float) -> Seen[Found]:
        driver = self._drivers.of(kind)

        async def look() -> Found:
            return {item.state.name: item for item in await driver.observe_all(scope)}

        return await self._lists.get((kind, scope), look, since)


def _siblings(name: str) -> str:
    """Of what is shown by one list: a policy's members, or a collection."""
    target, _, member = name.partition("#")
    return target if member else name.rpartition("/")[0]
