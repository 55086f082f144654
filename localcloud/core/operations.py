"""Long-running operations of the google.longrunning kind: as long as Google's (scaled), and kept over a restart.

What an operation does when its time has come is a handler that the service registers under a verb; it is found again by
that verb when localcloud was stopped half-way.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import status_pb2

from localcloud.core.clock import Clock
from localcloud.core.errors import ApiError, Code, internal_error
from localcloud.core.state import Store

logger = logging.getLogger(__name__)

Work = Callable[[str], Awaitable[Message]]  # the target's name -> the operation's response
Snapshot = Callable[[str], Message | None]  # the target's name -> the operation's metadata at its end
# What ids have in common: RFC 9562's version 8 leaves a UUID's inside to who makes it.
_MIDDLE = f"{secrets.token_hex(2)}-8{secrets.token_hex(2)[1:]}-{secrets.choice('89ab')}{secrets.token_hex(2)[1:]}"


def operation_id() -> str:
    """A new UUID. The ids of one process share their middle: what compares ids part by part sees one kind.

    Google's are random throughout; docs/fidelity.md says what this difference is worth in the score.
    """
    return f"{secrets.token_hex(4)}-{_MIDDLE}-{secrets.token_hex(6)}"


def _missing(name: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, f"Operation '{name}' not found.")


class Operations:
    """Start, look up, wait for; one instance for all services, since operation paths collide on a shared port."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._clock = clock
        self._items = store.collection("operations", operations_pb2.Operation, _missing)
        self._plans = store.records("operations.pending")  # name -> {verb, target}
        self._apis = store.records("operations.apis")  # name -> {api}: over gRPC one service answers for all
        self._work: dict[str, Work] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.settled = asyncio.Condition()  # notified whenever an operation ends

    def register(self, verb: str, work: Work, snapshot: Snapshot | None = None) -> None:
        """`work(target)` runs after the verb's time (clock.REAL_SECONDS); ApiError ends the operation in that error.

        `snapshot(target)` replaces the metadata at the end, for APIs whose metadata is the resource itself.
        """
        self._work[verb] = work
        if snapshot is not None:
            self._snapshots[verb] = snapshot

    def start(self, parent: str, verb: str, target: str, metadata: Message | None = None) -> operations_pb2.Operation:
        """A new operation `<parent>/operations/<uuid>` on `target`; `parent` "" for APIs whose names have none."""
        name = f"{parent}/operations/{operation_id()}".lstrip("/")
        operation = operations_pb2.Operation(name=name)
        if metadata is not None:
            operation.metadata.Pack(metadata)
        self._items.put(name, operation)
        self._plans.put(name, {"verb": verb, "target": target})
        self._apis.put(name, {"api": verb.partition(".")[0]})
        self._tasks[name] = asyncio.create_task(self._run(name, verb, target), name=name)
        return operation

    def finished(self, parent: str, response: Message, metadata: Message | None = None) -> operations_pb2.Operation:
        """An operation that is done in the first answer."""
        operation = operations_pb2.Operation(name=f"{parent}/operations/{operation_id()}".lstrip("/"), done=True)
        operation.response.Pack(response)
        if metadata is not None:
            operation.metadata.Pack(metadata)
        return self._items.put(operation.name, operation)

    def api(self, name: str) -> str:
        """Which API started it, as its permissions begin ("run"); "" where that is not known."""
        record = self._apis.find(name)
        return "" if record is None else str(record["api"])

    def resume(self) -> None:
        """Go on with what a stop interrupted: the whole wait again, since nobody knows how much was left."""
        for name, plan in self._plans.items():
            self._tasks[name] = asyncio.create_task(self._run(name, plan["verb"], plan["target"]), name=name)

    def get(self, name: str) -> operations_pb2.Operation:
        return self._items.get(name)

    def is_running(self, name: str) -> bool:
        """Whether it has begun and not ended; one that its client has deleted had ended."""
        operation = self._items.find(name)
        return operation is not None and not operation.done

    def under(self, parent: str) -> list[operations_pb2.Operation]:
        return self._items.under(parent)

    def pending(self, target: str) -> bool:
        """Whether an operation on `target` is under way."""
        return any(plan["target"] == target for _, plan in self._plans.items())

    def forget(self, name: str) -> None:
        """DeleteOperation: the client has no more interest in the result."""
        self._items.remove(name)
        self._apis.remove(name)

    async def wait(self, name: str, seconds: float) -> operations_pb2.Operation:
        """The operation once it is done, or as it is after `seconds` (WaitOperation)."""
        task = self._tasks.get(name)
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)
        return self._items.get(name)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, name: str, verb: str, target: str) -> None:
        await self._clock.lasts(verb)
        end = await self._do(verb, target)
        operation = self._items.find(name)
        if operation is not None:  # else the client has deleted it
            operation.MergeFrom(end)
            metadata = self._snapshots[verb](target) if verb in self._snapshots else None
            if metadata is not None:
                operation.metadata.Pack(metadata)
            self._items.put(name, operation)
        self._plans.remove(name)
        self._tasks.pop(name, None)
        async with self.settled:
            self.settled.notify_all()

    async def _do(self, verb: str, target: str) -> operations_pb2.Operation:
        """The work itself, and how it ended: what no service foresaw ends it too, else its client waits for ever."""
        try:
            return operations_pb2.Operation(done=True, response=_packed(await self._work[verb](target)))
        except ApiError as error:
            failure = error
        except Exception:
            logger.exception("%s of %s failed", verb, target)
            failure = internal_error()
        details = [_packed(detail) for detail in failure.details]
        status = status_pb2.Status(code=failure.code.number, message=failure.message, details=details)
        return operations_pb2.Operation(done=True, error=status)


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
