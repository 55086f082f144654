"""SQL Admin v1: backup runs, and restoring from them (gcp/behaviour-runtime.md, section 8)."""

from __future__ import annotations

import asyncio
import shutil

from localcloud.api import listing, sql_errors
from localcloud.api.messages import sql as pb
from localcloud.api.sql_queue import Task, Work
from localcloud.api.sql_service import INSTANCE, Beta, SqlService
from localcloud.api.sql_state import Instances
from localcloud.core.cloud import Cloud
from localcloud.core.service import rpc

RUN = INSTANCE + "/backupRuns/{id}"


class BackupWorks:
    """What the operations on backups do."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._sql = cloud.shared(Instances)
        queue = self._sql.queue
        queue.register("backup", Work("sql.backups.create", self._made, self._copy, self._failed))
        queue.register("deleteBackup", Work("sql.databases.change", self._deleted))
        queue.register("clone", Work("sql.instances.create", self._sql.created, self._clone, self._sql.failed))
        queue.register("restore", Work("sql.backups.create", self._restored))

    async def _clone(self, task: Task) -> None:
        """A server of its own with the source's databases and users."""
        await self._sql.start_new(task)
        source = self._sql.items.get(task.arguments["source"])
        server = self._sql.server(self._sql.items.get(task.instance))
        copy = self._sql.servers.backups(source.connection_name) / f"clone-{task.operation}"
        await self._sql.server(source).dump(copy)
        await server.restore(copy)
        await asyncio.to_thread(shutil.rmtree, copy, ignore_errors=True)

    async def _copy(self, task: Task) -> None:
        run = self._sql.backups.get(_key(task))
        run.status = pb.number(run, "status", "RUNNING")
        run.start_time.CopyFrom(self._cloud.clock.timestamp())
        self._sql.backups.put(_key(task), run)
        instance, server = self._sql.running(task.instance)
        await server.dump(self._sql.servers.backups(instance.connection_name) / task.arguments["backup"])

    async def _made(self, task: Task) -> None:
        self._end(task, "SUCCESSFUL")

    async def _failed(self, task: Task) -> None:
        self._end(task, "FAILED")

    def _end(self, task: Task, status: str) -> None:
        run = self._sql.backups.get(_key(task))
        run.status = pb.number(run, "status", status)
        run.end_time.CopyFrom(self._cloud.clock.timestamp())
        self._sql.backups.put(_key(task), run)

    async def _deleted(self, task: Task) -> None:
        self._sql.backups.remove(_key(task))

    async def _restored(self, task: Task) -> None:
        """Overwrites databases and users."""
        _, server = self._sql.running(task.instance)
        source = self._sql.items.get(task.arguments["source"])
        await server.restore(self._sql.servers.backups(source.connection_name) / task.arguments["backup"])


class SqlBackupRuns(SqlService):
    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlBackupRunsService"

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        cloud.shared(BackupWorks)

    @rpc(f"POST {INSTANCE}/backupRuns", body="body")
    async def insert(self, request: pb.SqlBackupRunsInsertRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("backupRuns.create", key)
        instance, _ = self.sql.running(key)
        self.sql.queue.require_idle(key)
        now = self.cloud.clock.now()
        run = pb.BackupRun(
            kind="sql#backupRun",
            id=int(now.timestamp() * 1000),
            description=request.body.description,
            location=request.body.location or _multi_region(instance.region),
            instance=instance.name,
            database_version=instance.database_version,
        )
        run.status = pb.number(run, "status", "ENQUEUED")
        run.type_ = pb.number(run, "type_", "ON_DEMAND")  # whatever was asked for
        run.backup_kind = pb.number(run, "backup_kind", "SNAPSHOT")
        run.enqueued_time.FromDatetime(now)
        run.window_start_time.FromDatetime(now)
        self.sql.backups.put(f"{key}/backupRuns/{run.id}", run)
        operation = self.sql.queue.start("BACKUP_VOLUME", key, "backup", backup=str(run.id))
        operation.backup_context.kind = "sql#backupContext"
        operation.backup_context.backup_id = run.id
        return self.shown(self.sql.queue.change(operation))

    @rpc(f"GET {RUN}")
    async def get(self, request: pb.SqlBackupRunsGetRequest) -> pb.BackupRun:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("backupRuns.get", key)
        self.sql.items.get(key)
        return self._linked(request.project, self.sql.backups.get(f"{key}/backupRuns/{request.id}"))

    @rpc(f"GET {INSTANCE}/backupRuns")
    async def list(self, request: pb.SqlBackupRunsListRequest) -> pb.BackupRunsListResponse:
        """Newest first."""
        key = self.sql.key(request.project, request.instance)
        self.sql.require("backupRuns.list", key)
        self.sql.items.get(key)
        found = [self._linked(request.project, run) for run in reversed(self.sql.backups.under(key))]
        items, token = listing.page(found, request.max_results, request.page_token, 20, 500)
        return pb.BackupRunsListResponse(kind="sql#backupRunsList", items=items, next_page_token=token)

    @rpc(f"DELETE {RUN}")
    async def delete(self, request: pb.SqlBackupRunsDeleteRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("backupRuns.delete", key)
        self.sql.items.get(key)
        if f"{key}/backupRuns/{request.id}" not in self.sql.backups:
            raise sql_errors.no_backup("")
        operation = self.sql.queue.start("DELETE_BACKUP", key, "deleteBackup", backup=str(request.id))
        return self.shown(operation)

    def _linked(self, project: str, run: pb.BackupRun) -> pb.BackupRun:
        path = f"projects/{self.sql.project(project).id}/instances/{run.instance}/backupRuns/{run.id}"
        run.self_link = self.link(path)
        return run


class SqlBackupRunsBeta(Beta, SqlBackupRuns):
    grpc = "google.cloud.sql.v1beta4.SqlBackupRunsService"


def _key(task: Task) -> str:
    return f"{task.instance}/backupRuns/{task.arguments['backup']}"


def _multi_region(region: str) -> str:
    """Backups stand in the multi-region nearest to the instance."""
    return {"europe": "eu", "asia": "asia"}.get(region.split("-")[0], "us")
