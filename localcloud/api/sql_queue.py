"""Operations of SQL Admin: its own kind, one at a time for each instance (gcp/behaviour.md, sections 0 and 2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from localcloud.api import sql_errors
from localcloud.api.messages import sql as pb
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code
from localcloud.core.identity import current_caller
from localcloud.core.operations import operation_id

logger = logging.getLogger(__name__)

PENDING_S = 1.0  # of Google's time, before an operation starts to run


@dataclass(frozen=True)
class Task:
    """What is to be done to an instance; kept over a restart."""

    operation: str  # the operation's id
    instance: str  # projects/P/instances/I
    arguments: dict[str, Any] = field(default_factory=dict)  # JSON


Step = Callable[[Task], Awaitable[None]]


async def _nothing(_: Task) -> None:
    """The step that a kind of operation does not have."""


@dataclass(frozen=True)
class Work:
    """`meanwhile` runs while the operation's time passes, `finish` after both, `undo` where either raised ApiError."""

    verb: str  # how long it lasts: a key of clock.REAL_SECONDS
    finish: Step = _nothing
    meanwhile: Step = _nothing
    undo: Step = _nothing


class Queue:
    """All operations of all instances."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._items = cloud.store.collection("sql.operations", pb.Operation, sql_errors.no_operation)
        self._plans = cloud.store.records("sql.operations.pending")  # id -> {work, instance, arguments}
        self._work: dict[str, Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._held: set[str] = set()  # instances under a change that is done within its call

    def register(self, name: str, work: Work) -> None:
        self._work[name] = work

    def start(self, kind: str, instance: str, work: str, **arguments: Any) -> pb.Operation:
        """A new operation of type `kind`, PENDING. Raises operationInProgress (409)."""
        self.require_idle(instance)
        operation = self._new(kind, instance)
        self._plans.put(operation.name, {"work": work, "instance": instance, "arguments": arguments})
        self._launch(operation.name, work, Task(operation.name, instance, arguments))
        return self._put(operation)

    def change(self, operation: pb.Operation) -> pb.Operation:
        """Keep what was added to an operation that has not run yet (the backup's id)."""
        return self._put(operation)

    @contextlib.asynccontextmanager
    async def at_once(self, kind: str, instance: str, verb: str) -> AsyncIterator[pb.Operation]:
        """An operation that is DONE in the first answer; the change is the body. Raises operationInProgress."""
        self.require_idle(instance)
        self._held.add(instance)
        try:
            operation = self._new(kind, instance)
            operation.start_time.CopyFrom(operation.insert_time)
            yield operation
            await self._cloud.clock.lasts(verb)
        finally:
            self._held.discard(instance)
        operation.end_time.CopyFrom(self._cloud.clock.timestamp())
        operation.status = pb.number(pb.Operation, "status", "DONE")
        self._put(operation)

    def require_idle(self, instance: str) -> None:
        """Raises operationInProgress (409) while an operation on the instance is under way."""
        if instance in self._held or any(plan["instance"] == instance for _, plan in self._plans.items()):
            raise sql_errors.in_progress()

    def get(self, project: str, operation: str) -> pb.Operation:
        """Raises 404."""
        return self._items.get(f"projects/{project}/operations/{operation}")

    def under(self, project: str, instance: str = "") -> list[pb.Operation]:
        """Newest first; of one instance where named."""
        found = self._items.under(f"projects/{project}")
        return [operation for operation in reversed(found) if instance in ("", operation.target_id)]

    def resume(self) -> None:
        """Go on with what a stop interrupted: the whole wait again."""
        for name, plan in self._plans.items():
            self._launch(name, plan["work"], Task(name, plan["instance"], plan["arguments"]))

    async def close(self) -> None:
        """Interrupt all; they are resumed with the state."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _launch(self, name: str, work: str, task: Task) -> None:
        self._tasks[name] = asyncio.create_task(self._run(self._work[work], task), name=f"sql {work} {task.instance}")

    async def _run(self, work: Work, task: Task) -> None:
        try:
            await self._cloud.clock.sleep(PENDING_S)
            project = task.instance.split("/")[1]
            operation = self.get(project, task.operation)
            operation.status = pb.number(pb.Operation, "status", "RUNNING")
            operation.start_time.CopyFrom(self._cloud.clock.timestamp())
            self._put(operation)
            error = await self._do(work, task)
            operation = self.get(project, task.operation)
            if error is not None:
                operation.error.kind = "sql#operationErrors"
                operation.error.errors.add(kind="sql#operationError", code=error.reason, message=error.message)
            operation.status = pb.number(pb.Operation, "status", "DONE")
            operation.end_time.CopyFrom(self._cloud.clock.timestamp())
            self._plans.remove(task.operation)
            self._put(operation)
        finally:
            self._tasks.pop(task.operation, None)

    async def _do(self, work: Work, task: Task) -> ApiError | None:
        """The operation itself; the error that it ends in, None where all is well."""
        try:
            await asyncio.gather(self._cloud.clock.lasts(work.verb), work.meanwhile(task))
            await work.finish(task)
        except ApiError as error:
            await work.undo(task)
            return error
        except Exception:
            logger.exception("%s of %s failed", work.verb, task.instance)
            await work.undo(task)
            return ApiError(Code.INTERNAL, "An unknown error occurred.", reason="INTERNAL_ERROR")
        return None

    def _new(self, kind: str, instance: str) -> pb.Operation:
        _, project, _, name = instance.split("/")
        return pb.Operation(
            kind="sql#operation",
            name=operation_id(),
            operation_type=pb.number(pb.Operation, "operation_type", kind),
            status=pb.number(pb.Operation, "status", "PENDING"),
            user=current_caller.get().email,
            insert_time=self._cloud.clock.timestamp(),
            target_id=name,
            target_project=project,
        )

    def _put(self, operation: pb.Operation) -> pb.Operation:
        return self._items.put(f"projects/{operation.target_project}/operations/{operation.name}", operation)
