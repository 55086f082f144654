"""What is there, as lists show it: snapshots with an age, shared by all apps of a credential.

A snapshot may only prove that nothing is to be done: every write follows a fresh read. So the cost of rest grows with
list pages, not with apps times resources.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
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


@dataclass(frozen=True)
class Seen(Generic[T]):
    """An answer of Google's, and when it was asked for (monotonic seconds)."""

    value: T
    began: float


class Looks(Generic[T]):
    """Answers by key; whoever asks while one is under way that is fresh enough shares it."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, Seen[T]] = {}
        self._under_way: dict[Hashable, tuple[float, asyncio.Task[T]]] = {}

    def last(self, key: Hashable) -> Seen[T] | None:
        return self._seen.get(key)

    async def get(self, key: Hashable, look: Callable[[], Awaitable[T]], since: float) -> Seen[T]:
        """An answer that was asked for at `since` or later. Raises what the look raises."""
        known = self._seen.get(key)
        if known is not None and known.began >= since:
            return known
        began, task = self._under_way.get(key, (0.0, None))
        if task is None or began < since:
            began, task = time.monotonic(), asyncio.ensure_future(look())
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


class Deepens(Protocol):
    """A driver whose lists do not show everything."""

    async def deepen(self, listed: Observed[Any]) -> Observed[Any] | None:
        """The same with what only a look of its own shows. Never writes."""


class Inventory:
    """One for each credential: what one identity may see is not what another sees."""

    def __init__(self, drivers: Drivers) -> None:
        self._drivers = drivers
        self._lists: Looks[Found] = Looks()
        self._singles: Looks[Observed[Any] | None] = Looks()
        self._written: dict[str, float] = {}  # full name -> when we last wrote to it

    async def get(self, kind: type[R], name: str, max_age: float, deep_age: float) -> Observed[R] | None:
        """What is there, or None: from a list at most `max_age` seconds old, where one shows it.

        `deep_age` is for what no list shows. Looks, where nothing known is as young. Raises CloudError.
        """
        now, scope = time.monotonic(), self._drivers.of(kind).scope(name)
        age = max_age if scope and kind not in DEEP else deep_age
        written = self._written.get(name, 0.0)
        listed = self._lists.last((kind, scope))
        if not scope or age <= 0 or (written > now - age and (listed is None or listed.began < written)):
            return await self._look(kind, name, now - age)
        found = (await self._list(kind, scope, now - age)).value.get(name)
        if found is None or found.deep:
            return found
        deep = self._singles.last((kind, name))
        is_same = deep is not None and deep.value is not None and deep.value.etag == found.etag
        return await self._deepen(kind, found, now - deep_age if is_same else now)

    async def fresh(self, kind: type[R], name: str, since: float | None = None) -> Observed[R] | None:
        """What is there, asked for now, or at `since` (monotonic seconds) or later; never before our last write to it.

        Kept, so that the next pass need not ask for it again. Raises CloudError.
        """
        return await self._look(kind, name, time.monotonic() if since is None else since)

    async def owned_by(
        self, owner: Owner, project: str, location: str, max_age: float = 0.0
    ) -> Sequence[Observed[Any]]:
        """Everything in a project and location that bears the owner's marker, whatever its kind. Raises CloudError."""
        parents = {False: f"projects/{project}", True: f"projects/{project}/locations/{location}"}
        lists = await asyncio.gather(
            *(self.list(kind, parents[is_regional], max_age) for kind, is_regional in MARKED.items())
        )
        return [item for found in lists for item in found if owner.may_have(item.owner)]

    def forget(self, name: str) -> None:
        """After a write: nothing that was asked for before it counts any more."""
        self._written[name] = time.monotonic()

    async def list(self, kind: type[R], scope: str, max_age: float) -> Sequence[Observed[R]]:
        """Everything of a kind in a scope, from a list at most `max_age` seconds old. Raises CloudError."""
        siblings = f"{scope}/{COLLECTIONS[kind]}"
        written = (at for name, at in self._written.items() if name.rpartition("/")[0] == siblings)
        since = max(time.monotonic() - max_age, *written, 0.0)
        return tuple((await self._list(kind, scope, since)).value.values())

    def names(self, kind: type[Resource], scope: str) -> frozenset[str] | None:
        """Full names of a kind in a scope, as the last list and the looks after our writes show it; never asks.

        None where it was not listed yet.
        """
        listed = self._lists.last((kind, scope))
        if listed is None:
            return None
        names, siblings = set(listed.value), f"{scope}/{COLLECTIONS[kind]}"
        for name, at in self._written.items():
            single = self._singles.last((kind, name)) if at > listed.began else None
            if single is not None and single.began >= at and name.rpartition("/")[0] == siblings:
                (names.discard if single.value is None else names.add)(name)
        return frozenset(names)

    async def _look(self, kind: type[Resource], name: str, since: float) -> Observed[Any] | None:
        driver, since = self._drivers.of(kind), max(since, self._written.get(name, 0.0))
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
