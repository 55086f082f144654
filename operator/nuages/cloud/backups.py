"""Backups of Cloud SQL: runs on an instance that stays, and final ones, which outlive theirs.

The lists are newest first (gcp/behaviour-runtime.md, section 8).
"""

from __future__ import annotations

from dataclasses import dataclass

from google.cloud.sqladmin_v1 import (
    Backup,
    SqlBackupRunsServiceAsyncClient,
    SqlBackupRunStatus,
    SqlBackupsServiceAsyncClient,
)
from google.cloud.sqladmin_v1 import (
    BackupRun as FoundRun,
)

from nuages.cloud.call import Call
from nuages.cloud.driver import Operation
from nuages.cloud.paging import all_pages
from nuages.cloud.sql import as_operation, named

PAGE = 100
FAILED = frozenset({SqlBackupRunStatus.FAILED, SqlBackupRunStatus.SKIPPED, SqlBackupRunStatus.DELETED})


@dataclass(frozen=True)
class BackupRun:
    """`succeeded` is None while it is under way."""

    id: str
    succeeded: bool | None


class Backups:
    """Google chooses their ids: a backup is known by its description."""

    def __init__(
        self, runs: SqlBackupRunsServiceAsyncClient, backups: SqlBackupsServiceAsyncClient, call: Call
    ) -> None:
        self._runs, self._backups, self._call = runs, backups, call

    async def find(self, instance: str, description: str) -> BackupRun | None:
        """The newest with this description, of an instance (full name). Raises CloudError."""
        run = next((item for item in await self._list(instance) if item.description == description), None)
        if run is None:
            return None
        succeeded = {SqlBackupRunStatus.SUCCESSFUL: True} | dict.fromkeys(FAILED, False)
        return BackupRun(str(run.id), succeeded.get(run.status))

    async def start(self, instance: str, description: str) -> Operation:
        """After an observed absence. Raises CloudError."""
        request = {**named(instance), "body": {"description": description}}
        return as_operation(await self._call(self._runs.insert, request), instance)

    async def final(self, project: str, opening: str) -> str:
        """Full name of the newest final backup whose description begins so; "" for none. Raises CloudError."""
        found = await all_pages(self._call, self._backups.list_backups, {"parent": f"projects/{project}"}, "backups")
        done = Backup.SqlBackupState.SUCCESSFUL
        return next((item.name for item in found if item.description.startswith(opening) and item.state == done), "")

    async def _list(self, instance: str) -> list[FoundRun]:
        page = await self._call(self._runs.list, {**named(instance), "max_results": PAGE})
        return list(page.items)
