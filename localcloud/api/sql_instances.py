"""SQL Admin v1: instances (gcp/behaviour.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from localcloud.api import listing, sql_defaults, sql_rules
from localcloud.api.messages import sql as pb
from localcloud.api.sql_errors import invalid, protected, stale
from localcloud.api.sql_finals import FinalBackups
from localcloud.api.sql_merge import merge, merge_json
from localcloud.api.sql_replicas import SqlReplicas
from localcloud.api.sql_service import INSTANCE, Beta
from localcloud.core.bodies import current_body
from localcloud.core.errors import not_modelled
from localcloud.core.service import rpc
from localcloud.gateway.json_parse import field_named

# What only the server writes; a caller's value is ignored, as Google does.
OUTPUT_ONLY = (
    "kind",
    "state",
    "etag",
    "replica_names",
    "current_disk_size",
    "ip_addresses",
    "server_ca_cert",
    "project",
    "service_account_email_address",
    "backend_type",
    "self_link",
    "connection_name",
    "name",
    "gce_zone",
    "create_time",
    "database_installed_version",
    "available_maintenance_versions",
    "upgradable_database_versions",
    "sql_network_architecture",
    "gemini_config",
    "satisfies_pzi",
    "satisfies_pzs",
    "root_password",
)


class SqlInstances(SqlReplicas):
    host = "sqladmin.googleapis.com"
    grpc = "google.cloud.sql.v1.SqlInstancesService"

    @rpc("POST /v1/projects/{project}/instances", body="body")
    async def insert(self, request: pb.SqlInstancesInsertRequest) -> pb.Operation:
        project, sent = self.sql.project(request.project), request.body
        self.sql.require("instances.create", f"projects/{project.id}")
        instance = pb.DatabaseInstance()
        instance.CopyFrom(sent)
        if instance.master_instance_name and self.cloud.simulate:
            self._follow(instance, project.id)
        sql_rules.check_new(instance, project.id, self.cloud.simulate)
        key, password = self.sql.key(project.id, sent.name), sent.root_password
        for field in OUTPUT_ONLY:
            if field != "name":
                instance.ClearField(field)
        sql_defaults.complete(instance, project, self.cloud.clock.now())
        sql_rules.check(instance, self.sql.service_networking(project.id), self.cloud.simulate)
        return self.shown(self.sql.insert(key, instance, password))

    @rpc(f"GET {INSTANCE}")
    async def get(self, request: pb.SqlInstancesGetRequest) -> pb.DatabaseInstance:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("instances.get", key)
        return self._linked(self.sql.items.get(key))

    @rpc("GET /v1/projects/{project}/instances")
    async def list(self, request: pb.SqlInstancesListRequest) -> pb.InstancesListResponse:
        project = self.sql.project(request.project)
        self.sql.require("instances.list", f"projects/{project.id}")
        everything = [self._linked(instance) for instance in self.sql.items.under(f"projects/{project.id}")]
        found = listing.matching(everything, request.filter)
        items, token = listing.page(found, request.max_results, request.page_token, 500, 1000)
        return pb.InstancesListResponse(kind="sql#instancesList", items=items, next_page_token=token)

    @rpc(f"PATCH {INSTANCE}", body="body", merges=True)
    async def patch(self, request: pb.SqlInstancesPatchRequest) -> pb.Operation:
        """Merges. Over gRPC what protobuf cannot tell from absent (an emptied list) needs `update`, as at Google."""
        key = self._changing(request)
        before = self.sql.items.get(key)
        after = self.sql.items.get(key)
        sent = current_body.get()
        if sent is None:
            merge(_cleaned(request.body), after)
        else:
            merge_json(_without_outputs(sent), request.body, after)
        return self._change(key, before, after)

    @rpc(f"PUT {INSTANCE}", body="body")
    async def update(self, request: pb.SqlInstancesUpdateRequest) -> pb.Operation:
        """Replaces the settings; what the caller leaves out becomes the server's default again."""
        key = self._changing(request)
        before = self.sql.items.get(key)
        after, sent = self.sql.items.get(key), _cleaned(request.body)
        if not sent.settings.tier:
            raise invalid("Missing parameter: settings.tier.")
        settings = pb.Settings()
        settings.CopyFrom(sent.settings)
        sent.ClearField("settings")
        merge(sent, after)
        after.settings.CopyFrom(settings)
        if not settings.HasField("data_disk_size_gb"):
            after.settings.data_disk_size_gb.CopyFrom(before.settings.data_disk_size_gb)
        if not settings.location_preference.zone:
            after.settings.location_preference.zone = before.settings.location_preference.zone
        return self._change(key, before, after)

    @rpc(f"DELETE {INSTANCE}")
    async def delete(self, request: pb.SqlInstancesDeleteRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("instances.delete", key)
        instance = self.sql.items.get(key)
        if instance.settings.deletion_protection_enabled.value:
            raise protected()
        if request.enable_final_backup:
            return self.shown(self.cloud.shared(FinalBackups).start(key, request))
        return self.shown(self.sql.queue.start("DELETE", key, "delete"))

    @rpc(f"POST {INSTANCE}/restart")
    async def restart(self, request: pb.SqlInstancesRestartRequest) -> pb.Operation:
        key = self.sql.key(request.project, request.instance)
        self.sql.require("instances.restart", key)
        self.sql.running(key)
        return self.shown(self.sql.queue.start("RESTART", key, "restart"))

    @rpc(f"POST {INSTANCE}/failover", body="body")
    async def failover(self, request: pb.SqlInstancesFailoverRequest) -> pb.Operation:
        """The stand-by takes over: for clients, a restart."""
        key = self.sql.key(request.project, request.instance)
        self.sql.require("instances.failover", key)
        instance, _ = self.sql.running(key)
        if pb.name_of(instance.settings, "availability_type") != "REGIONAL":
            raise invalid("Only instances with regional availability can fail over.")
        given = request.body.failover_context.settings_version
        if given and given != instance.settings.settings_version.value:
            raise stale()
        return self.shown(self.sql.queue.start("FAILOVER", key, "restart"))

    @rpc(f"POST {INSTANCE}/restoreBackup", body="body")
    async def restore_backup(self, request: pb.SqlInstancesRestoreBackupRequest) -> pb.Operation:
        key, context = self.sql.key(request.project, request.instance), request.body.restore_backup_context
        self.sql.require("instances.restoreBackup", key)
        self.sql.running(key)
        if request.body.backup:
            return self.shown(self.cloud.shared(FinalBackups).restore(key, request.body.backup))
        if not context.backup_run_id:
            raise not_modelled("restoring from anything but a backup run or a final backup")
        source = self.sql.key(context.project or request.project, context.instance_id or request.instance)
        run = self.sql.backups.get(f"{source}/backupRuns/{context.backup_run_id}")
        if pb.name_of(run, "status") != "SUCCESSFUL":
            raise invalid("The backup run has not succeeded.")
        arguments = {"source": source, "backup": str(run.id)}
        return self.shown(self.sql.queue.start("RESTORE_VOLUME", key, "restore", **arguments))

    @rpc(f"POST {INSTANCE}/clone", body="body")
    async def clone(self, request: pb.SqlInstancesCloneRequest) -> pb.Operation:
        """A new instance with the source's settings, users and data."""
        source, context = self.sql.key(request.project, request.instance), request.body.clone_context
        self.sql.require("instances.clone", source)
        original, _ = self.sql.running(source)
        if context.HasField("point_in_time") or context.HasField("bin_log_coordinates") or context.database_names:
            raise not_modelled("clones of anything but a whole instance as it is now")
        project = self.sql.project(request.project)
        sql_rules.check_name(context.destination_instance_name, project.id)
        instance = self.sql.items.get(source)
        for field in OUTPUT_ONLY:
            instance.ClearField(field)
        instance.name = context.destination_instance_name
        instance.settings.location_preference.zone = context.preferred_zone or original.gce_zone
        sql_defaults.complete(instance, project, self.cloud.clock.now())
        return self.shown(self.sql.clone(source, self.sql.key(project.id, instance.name), instance))

    def _follow(self, replica: pb.DatabaseInstance, project: str) -> None:
        """A read replica: its primary, which must be there and idle, decides version and place."""
        key = self.sql.key(project, replica.master_instance_name)
        primary, _ = self.sql.running(key)
        self.sql.queue.require_idle(key)
        replica.master_instance_name = f"{project}:{primary.name}"
        replica.instance_type = pb.number(replica, "instance_type", "READ_REPLICA_INSTANCE")
        replica.database_version = replica.database_version or primary.database_version
        replica.region = replica.region or primary.region

    def _changing(self, request: Message) -> str:
        key = self.sql.key(request.project, request.instance)  # type: ignore[attr-defined]
        self.sql.require("instances.update", key)
        self.sql.items.get(key)
        self.sql.queue.require_idle(key)
        return key

    def _change(self, key: str, before: pb.DatabaseInstance, after: pb.DatabaseInstance) -> pb.Operation:
        """Checked, complete, kept; settingsVersion counts only what changed."""
        after.maintenance_version = after.maintenance_version or before.maintenance_version
        sql_rules.check_change(before, after, self.cloud.simulate)
        sql_defaults.complete_settings(after)
        after.database_installed_version = after.maintenance_version.partition(".")[0]
        after.settings.settings_version.CopyFrom(before.settings.settings_version)
        if after.database_version != before.database_version:
            sql_defaults.set_version(after)
        sql_rules.check(after, self.sql.service_networking(key.split("/")[1]), self.cloud.simulate)
        if after != before:
            after.settings.settings_version.value += 1
        operation = self.sql.queue.start("UPDATE", key, "update")
        self.sql.put(key, after)
        return self.shown(operation)

    def _linked(self, instance: pb.DatabaseInstance) -> pb.DatabaseInstance:
        instance.self_link = self.link(f"projects/{instance.project}/instances/{instance.name}")
        return instance


class SqlInstancesBeta(Beta, SqlInstances):
    grpc = "google.cloud.sql.v1beta4.SqlInstancesService"


def _cleaned(sent: pb.DatabaseInstance) -> pb.DatabaseInstance:
    """The caller's wish without what only the server writes."""
    clean = pb.DatabaseInstance()
    clean.CopyFrom(sent)
    for field in OUTPUT_ONLY:
        clean.ClearField(field)
    return clean


def _without_outputs(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The same of the JSON that was sent, in either spelling of the fields."""
    fields = {key: field_named(pb.DatabaseInstance.DESCRIPTOR, key) for key in sent}
    return {key: sent[key] for key, field in fields.items() if field is not None and field.name not in OUTPUT_ONLY}
