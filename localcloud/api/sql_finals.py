"""SQL Admin v1: final backups, taken when an instance is deleted, which they outlive.

`gcloud sql instances delete --enable-final-backup` and `gcloud sql backups` (cloud.google.com/sdk/gcloud/reference/sql)
tell how they are asked for, shown and restored.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from pathlib import Path

from localcloud.api import listing, sql_errors
from localcloud.api.messages import sql as pb
from localcloud.api.sql_queue import Task, Work
from localcloud.api.sql_service import Beta, SqlService
from localcloud.api.sql_state import Instances
from localcloud.core.cloud import Cloud
from localcloud.core.errors import not_modelled
from localcloud.core.service import rpc

TTL_DAYS, LONGEST_TTL_DAYS = 30, 365


class FinalBackups:
    """One for each cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._sql = cloud.shared(Instances)
        self.items = cloud.store.collection("sql.finals", pb.Backup, sql_errors.no_backup)
        queue = self._sql.queue
        queue.register("deleteWithBackup", Work("sql.instances.delete", self._removed, self._copy, self._failed))
        queue.register("restoreFinal", Work("sql.backups.create", self._restored))

    def start(self, key: str, request: pb.SqlInstancesDeleteRequest) -> pb.Operation:
        """The deletion of an instance, with a backup before it. Raises ApiError for a time that cannot be."""
        days = request.final_backup_ttl_days or TTL_DAYS
        if not 1 <= days <= LONGEST_TTL_DAYS or request.HasField("final_backup_expiry_time"):
            raise sql_errors.invalid(f"final_backup_ttl_days must be between 1 and {LONGEST_TTL_DAYS}.")
        instance = self._sql.items.get(key)
        backup = pb.Backup(
            kind="sql#backup",
            name=f"projects/{instance.project}/backups/{uuid.uuid4()}",
            description=request.final_backup_description,
            instance=instance.name,
            location=instance.region,
            database_version=instance.database_version,
            instance_settings=instance,
        )
        backup.type_ = pb.number(backup, "type_", "FINAL")
        backup.backup_kind = pb.number(backup, "backup_kind", "SNAPSHOT")
        backup.state = pb.number(backup, "state", "ENQUEUED")
        operation = self._sql.queue.start("DELETE", key, "deleteWithBackup", backup=backup.name, days=days)
        self.items.put(backup.name, backup)
        return operation

    def restore(self, key: str, name: str) -> pb.Operation:
        """Overwrites an instance by a final backup. Raises ApiError where it has not succeeded."""
        if pb.name_of(self.items.get(name), "state") != "SUCCESSFUL":
            raise sql_errors.invalid("The backup has not succeeded.")
        return self._sql.queue.start("RESTORE_VOLUME", key, "restoreFinal", backup=name)

    async def _copy(self, task: Task) -> None:
        backup = self._set(task, "RUNNING")
        backup.backup_interval.start_time.CopyFrom(self._cloud.clock.timestamp())
        self.items.put(backup.name, backup)
        folder = self._folder(backup.name)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)  # of an interrupted copy
        folder.parent.mkdir(parents=True, exist_ok=True)
        await self._sql.server(self._sql.items.get(task.instance)).dump(folder)

    async def _removed(self, task: Task) -> None:
        backup = self._set(task, "SUCCESSFUL")
        now = self._cloud.clock.timestamp()
        backup.backup_interval.end_time.CopyFrom(now)
        backup.instance_deletion_time.CopyFrom(now)
        backup.expiry_time.CopyFrom(now)
        backup.expiry_time.seconds += 86_400 * task.arguments["days"]
        self.items.put(backup.name, backup)
        await self._sql.removed(task)

    async def _failed(self, task: Task) -> None:
        self._set(task, "FAILED")

    async def _restored(self, task: Task) -> None:
        _, server = self._sql.running(task.instance)
        await server.restore(self._folder(task.arguments["backup"]))

    def _set(self, task: Task, state: str) -> pb.Backup:
        backup = self.items.get(task.arguments["backup"])
        backup.state = pb.number(backup, "state", state)
        self.items.put(backup.name, backup)
        return backup

    def _folder(self, name: str) -> Path:
        return self._sql.servers.final_backups / name.rsplit("/", 1)[-1]


class SqlBackups(SqlService):
    """Looks only: these backups go by themselves, when their time is over."""

    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlBackupsService"

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._finals = cloud.shared(FinalBackups)

    @rpc("GET /v1/{name=projects/*/backups/*}")
    async def get_backup(self, request: pb.GetBackupRequest) -> pb.Backup:
        self.sql.require("backupRuns.get", "/".join(request.name.split("/")[:2]))
        return self._finals.items.get(request.name)

    @rpc("GET /v1/{parent=projects/*}/backups")
    async def list_backups(self, request: pb.ListBackupsRequest) -> pb.ListBackupsResponse:
        """Newest first."""
        self.sql.require("backupRuns.list", request.parent)
        if request.filter:
            raise not_modelled("a filter of backups")
        found = list(reversed(self._finals.items.under(request.parent)))
        items, token = listing.page(found, request.page_size, request.page_token, 50, 500)
        return pb.ListBackupsResponse(backups=items, next_page_token=token)


class SqlBackupsBeta(Beta, SqlBackups):
    grpc = "google.cloud.sql.v1beta4.SqlBackupsService"
