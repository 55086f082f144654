"""Backups that people make and restore by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from e2e_release import eventually
from e2e_world import World
from google.cloud.sqladmin_v1 import (
    SqlBackupRunsServiceAsyncClient,
    SqlInstancesServiceAsyncClient,
    SqlOperationsServiceAsyncClient,
)


async def back_up(world: World, instance: str) -> int:
    """The id of a new backup run, as `gcloud sql backups create` makes it."""
    runs, asked = world.google(SqlBackupRunsServiceAsyncClient), {"project": world.site.project, "instance": instance}
    await _done(world, await runs.insert(request={**asked, "body": {"description": "by hand"}}))
    listed = await runs.list(request=asked)
    return next(int(item.id) for item in listed.items if item.description == "by hand")


async def restore(world: World, instance: str, body: Mapping[str, Any]) -> None:
    """As `gcloud sql backups restore` does: over all that is there."""
    instances = world.google(SqlInstancesServiceAsyncClient)
    request = {"project": world.site.project, "instance": instance, "body": body}
    await _done(world, await instances.restore_backup(request=request))


async def _done(world: World, started: Any) -> None:
    operations = world.google(SqlOperationsServiceAsyncClient)

    async def is_done() -> bool:
        asked = {"project": world.site.project, "operation": started.name}
        return bool((await operations.get(request=asked)).status.name == "DONE")

    await eventually(is_done, f"operation {started.operation_type.name}")
