"""Google in memory, behind the drivers' own protocol: what is there, what is under way, what goes wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from nuages.cloud.driver import Observed, Operation, Owned, Readiness
from nuages.cloud.drivers import Drivers
from nuages.cloud.errors import CloudError, Conflict, NotFound
from nuages.cloud.inventory import Inventory
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import ExistingSqlInstance, SqlInstance
from nuages.desired.storage import Bucket

OWNED: dict[type[Resource], Owned] = {
    Bucket: Owned(("versioning", "labels"), ("location",)),
    Secret: Owned(("source", "labels")),
    ServiceAccount: Owned(("display_name",)),
    SqlInstance: Owned(("tier",), ("region",), ("disk_gb",)),
}


@dataclass
class MemoryCloud:
    """`there` by full name. What is in `fails` is raised before the call does anything, in `loses` after it did."""

    there: dict[str, Observed[Any]] = field(default_factory=dict)
    fails: dict[tuple[str, str], list[Exception]] = field(default_factory=dict)  # (verb, name)
    loses: dict[tuple[str, str], list[Exception]] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)  # names whose creation is an operation that does not end by itself
    ends: dict[str, CloudError] = field(default_factory=dict)  # why those ended at once, failed
    unseen: set[str] = field(default_factory=set)  # names whose creation is not to be seen yet
    calls: list[tuple[str, str]] = field(default_factory=list)
    held: dict[tuple[str, str], asyncio.Event] = field(default_factory=dict)  # calls that wait to be let go
    at_once: int = 0
    most_at_once: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def called(self, verb: str, name: str) -> None:
        """Once that call was made."""
        async with self._news:
            await self._news.wait_for(lambda: (verb, name) in self.calls)

    @property
    def drivers(self) -> Drivers:
        return cast(Drivers, _MemoryDrivers(self))

    @property
    def inventory(self) -> Inventory:
        return Inventory(self.drivers)

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [(verb, name) for verb, name in self.calls if verb not in ("observe", "list")]

    def count(self, verb: str) -> Counter[str]:
        return Counter(name for found, name in self.calls if found == verb)

    async def begin(self, verb: str, name: str) -> None:
        self.calls.append((verb, name))
        async with self._news:
            self._news.notify_all()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if (verb, name) in self.held:
                await self.held[verb, name].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if planned := self.fails.get((verb, name)):
            raise planned.pop(0)

    def end(self, verb: str, name: str) -> None:
        if planned := self.loses.get((verb, name)):
            raise planned.pop(0)

    def finish(self, name: str) -> None:
        """What was under way is done."""
        self.there[name] = replace(self.there[name], readiness=Readiness.READY)


class MemoryDriver:
    """Of any kind."""

    def __init__(self, cloud: MemoryCloud, owned: Owned) -> None:
        self._cloud, self.owned = cloud, owned

    def scope(self, name: str) -> str:
        return ""

    async def observe_all(self, scope: str) -> Sequence[Observed[Any]]:
        return [item for name, item in self._cloud.there.items() if name.startswith(scope)]

    async def observe(self, name: str) -> Observed[Any] | None:
        await self._cloud.begin("observe", name)
        return None if name in self._cloud.unseen else self._cloud.there.get(name)

    async def create(self, desired: Any) -> Operation | None:
        name = desired.name
        await self._cloud.begin("create", name)
        if name in self._cloud.there:
            raise Conflict(f"{name} already exists")
        slow = name in self._cloud.slow
        outputs = {"version": "1"} if isinstance(desired, Secret) else {}
        readiness = Readiness.BUSY if slow else Readiness.READY
        self._cloud.there[name] = Observed(desired, readiness, outputs=outputs)
        self._cloud.end("create", name)
        why = self._cloud.ends.get(name)
        return Operation("sql", f"operations/{desired.id}", name, why is not None, why) if slow else None

    async def update(self, desired: Any, observed: Observed[Any], paths: Sequence[str]) -> Operation | None:
        name = desired.name
        await self._cloud.begin(f"update {','.join(paths)}", name)
        if name not in self._cloud.there:
            raise NotFound(f"{name} is not there")
        known = self._cloud.there[name]
        if known.etag != observed.etag:
            raise Conflict("stale etag")
        outputs = dict(known.outputs)
        if "source" in paths:
            outputs["version"] = str(int(outputs["version"]) + 1)
        state = replace(known.state, **{path: getattr(desired, path) for path in paths})
        self._cloud.there[name] = replace(known, state=state, outputs=outputs)
        self._cloud.end("update", name)
        return None

    async def delete(self, name: str, etag: str = "") -> Operation | None:
        await self._cloud.begin("delete", name)
        self._cloud.there.pop(name, None)
        self._cloud.end("delete", name)
        return None


class _MemoryDrivers:
    def __init__(self, cloud: MemoryCloud) -> None:
        self._cloud = cloud

    def of(self, kind: type[Resource]) -> MemoryDriver:
        assert kind in OWNED or kind in (IamMember, ExistingSqlInstance), kind
        return MemoryDriver(self._cloud, OWNED.get(kind, Owned()))
