"""The executor: each action as soon as what it depends on is ready, all others in parallel.

Every write follows a fresh read of that resource, decides again on what it shows, and is followed by another read.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from nuages.cloud.driver import Observed, Operation, Readiness
from nuages.cloud.drivers import Drivers
from nuages.cloud.errors import CloudError, Conflict, NotFound
from nuages.cloud.inventory import Inventory
from nuages.desired.resource import Resource
from nuages.reconcile.plan import REFUSED, Action, Plan, Verb, decide, versions_of

ATTEMPTS = 3  # of one resource in one pass, when the world moves under it


class State(enum.Enum):
    READY = "Ready"
    WAITING = "Waiting"  # an operation is under way, or what it needs is not ready
    FAILED = "Failed"


@dataclass(frozen=True)
class Result:
    """How one resource stands after the pass. `did` is the verb that was carried out, None where nothing was."""

    resource: Resource
    state: State
    observed: Observed[Any] | None = None
    did: Verb | None = None
    operation: Operation | None = None
    refused: Action | None = None
    error: CloudError | None = None
    blocked_by: str = ""  # full name of what it waits for
    taken_back: bool = False  # it was kept from an earlier life of the app

    @property
    def is_being_made(self) -> bool:
        """Rather than changed: it was of no use before."""
        return self.observed is None or self.observed.readiness is Readiness.BUSY


class Executor:
    """Carries out the plan of one app."""

    def __init__(self, drivers: Drivers, inventory: Inventory, adopt: bool = False) -> None:
        self._drivers, self._inventory, self._adopt = drivers, inventory, adopt

    async def execute(
        self,
        plan: Plan,
        underway: Iterable[Operation] = (),
        failed: Mapping[str, CloudError] = MappingProxyType({}),
    ) -> dict[str, Result]:
        """One result a resource, by full name. Never raises CloudError: failures are results.

        `underway`: operations of earlier passes that are not done; their resources are waited for, not touched.
        `failed`: why operations of earlier passes failed, by resource. What they should have done is told as not done,
        and tried again in a later pass.
        """
        busy = {operation.resource: operation for operation in underway}
        tasks: dict[str, asyncio.Task[Result]] = {}
        for action in plan.actions:  # topological order: what an action needs has its task already
            needed = [tasks[name] for name in sorted(action.resource.needs) if name in tasks]
            name = action.resource.name
            work = self._one(action, needed, busy.get(name), failed.get(name))
            tasks[name] = asyncio.create_task(work, name=name)
        try:
            return {name: await task for name, task in tasks.items()}
        finally:
            for task in tasks.values():
                task.cancel()

    async def _one(
        self,
        action: Action,
        needed: list[asyncio.Task[Result]],
        operation: Operation | None,
        failure: CloudError | None,
    ) -> Result:
        before = [await task for task in needed]
        if operation is not None:
            return Result(action.resource, State.WAITING, action.observed, operation=operation)
        changed = any(result.did is not None for result in before)  # the version that it is made of, perhaps
        if action.verb is Verb.KEEP and not changed:
            return Result(action.resource, State.READY, action.observed)
        blocker = next((result for result in before if result.state is not State.READY), None)
        if blocker is not None:
            return Result(action.resource, State.WAITING, action.observed, blocked_by=blocker.resource.name)
        try:
            return await self._act(action, before, failure)
        except CloudError as error:
            return Result(action.resource, State.FAILED, error=error)

    async def _act(self, action: Action, before: list[Result], failure: CloudError | None) -> Result:
        if action.verb is Verb.DELETE:
            return await self._delete(action, failure)
        resource, driver = action.resource, self._drivers.of(type(action.resource))
        versions = versions_of({result.resource.name: result.observed for result in before})
        attempt = 0
        while True:
            attempt += 1
            found = await self._inventory.fresh(type(resource), resource.name)
            now = decide(resource, found, versions, driver.owned, self._adopt)
            if now.verb in REFUSED and (failure is None or now.verb is not Verb.FAILED):
                return Result(resource, State.FAILED, found, refused=now)
            if now.verb in (Verb.KEEP, Verb.WAIT):
                return _as_seen(resource, found, None)
            if failure is not None:
                raise failure
            try:
                if now.verb is Verb.CREATE or found is None:
                    operation = await driver.create(now.resource)
                else:
                    operation = await driver.update(now.resource, found, now.paths)
            except (Conflict, NotFound):  # somebody was faster: what is there now?
                if attempt == ATTEMPTS:
                    raise
                continue
            finally:
                self._inventory.forget(resource.name)
            if operation is not None and operation.error is not None:
                raise operation.error
            taken_back = found is not None and found.owner is not None and found.owner.retained
            if operation is not None and not operation.done:
                return Result(resource, State.WAITING, found, now.verb, operation, taken_back=taken_back)
            seen = await self._inventory.fresh(type(resource), resource.name)
            return replace(_as_seen(resource, seen, now.verb), taken_back=taken_back)

    async def _delete(self, action: Action, failure: CloudError | None) -> Result:
        """Only what still bears the marker that the plan saw."""
        resource = action.resource
        found = await self._inventory.fresh(type(resource), resource.name)
        if found is None or found.owner != resource.owner:
            return Result(resource, State.READY, found)
        if failure is not None:
            raise failure
        try:
            operation = await self._drivers.of(type(resource)).delete(resource.name, found.etag)
        finally:
            self._inventory.forget(resource.name)
        if operation is not None and operation.error is not None:
            raise operation.error
        waiting = operation is not None and not operation.done
        return Result(resource, State.WAITING if waiting else State.READY, None, Verb.DELETE, operation)


def _as_seen(resource: Resource, found: Observed[Any] | None, did: Verb | None) -> Result:
    """A write whose effect is not to be seen yet is waited for, never repeated in this pass."""
    if found is None or found.readiness is Readiness.BUSY:
        return Result(resource, State.WAITING, found, did)
    return Result(resource, State.READY, found, did)
