"""What a pass left under way at Google: while it is, and nobody touched the app, nothing else is looked at.

Kept in memory alone: without it (after a restart) a whole pass finds the same out from the status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nuages.cloud import errors
from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Operation
from nuages.reconcile.cluster import Body
from nuages.reconcile.release.outcome import Waiting
from nuages.reconcile.report import Report


@dataclass(frozen=True)
class Wait:
    """Operations, or else a job's execution (full name); `resource_version`: of the app as the pass left it."""

    cloud: CloudAccess
    resource_version: str
    operations: tuple[Operation, ...]
    execution: str

    @classmethod
    def of(cls, report: Report, body: Body, cloud: CloudAccess) -> Wait | None:
        """What the pass waits for; None where another pass has something to do."""
        version = str(body["metadata"].get("resourceVersion", ""))
        if report.operations:
            return cls(cloud, version, report.operations, "")
        outcome = report.outcome
        execution = outcome.awaited if isinstance(outcome, Waiting) else ""
        return cls(cloud, version, (), execution) if execution else None

    async def goes_on(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the app is untouched and all of it still under way. An operation more that ended is news."""
        if metadata.get("resourceVersion") != self.resource_version:
            return False
        if self.execution:
            return await self._runs()
        return not any(operation.done for operation in await poll(self.operations, self.cloud))

    async def _runs(self) -> bool:
        try:
            return await self.cloud.runs.is_running(self.execution)
        except errors.Transient:
            return True
        except errors.CloudError:  # the pass will say what it is
            return False


async def poll(operations: tuple[Operation, ...], cloud: CloudAccess) -> tuple[Operation, ...]:
    """The same as they are now. What Google has forgotten counts as done: the resource itself will tell."""
    return tuple(await asyncio.gather(*(_poll_one(operation, cloud) for operation in operations)))


async def _poll_one(operation: Operation, cloud: CloudAccess) -> Operation:
    try:
        return await cloud.operations.poll(operation)
    except (errors.Transient, errors.Conflict):
        return operation
    except errors.CloudError:
        return replace(operation, done=True)
