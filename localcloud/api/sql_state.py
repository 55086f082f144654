"""Cloud SQL instances: what is kept of them, and what their operations do (gcp/behaviour.md, section 2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from urllib.parse import quote

from localcloud.api import sql_defaults, sql_errors, sql_versions
from localcloud.api.messages import sql as pb
from localcloud.api.sql_queue import Queue, Task, Work
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code
from localcloud.core.identity import current_caller
from localcloud.core.projects import Project
from localcloud.runtime.databases import Server, Servers
from localcloud.runtime.postgres import PostgresStartError
from localcloud.runtime.postgres_programs import PostgresMissingError

NAME_KEPT_S = 7 * 24 * 3600.0  # of Google's time: a deleted instance's name is not free before

logger = logging.getLogger(__name__)


class Instances:
    """One for each cloud; the services of SQL Admin share it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.queue = cloud.shared(Queue)
        self.servers: Servers = cloud.runtime.databases
        self.items = cloud.store.collection("sql.instances", pb.DatabaseInstance, sql_errors.no_instance)
        self.users = cloud.store.collection("sql.users", pb.User, sql_errors.no_user)
        self.backups = cloud.store.collection("sql.backups", pb.BackupRun, sql_errors.no_backup)
        self._deleted = cloud.store.records("sql.deleted")  # name -> when
        self._passwords = cloud.store.records("sql.passwords")  # of administrators still to be made; never shown
        self._resumed = False
        self.servers.on_close.append(self.queue.close)
        self.queue.register("create", Work("sql.instances.create", self.created, self.start_new, self.failed))
        self.queue.register("update", Work("sql.instances.update", self._updated))
        self.queue.register("restart", Work("sql.instances.restart", self._restarted))
        self.queue.register("replicate", Work("sql.instances.update"))
        self.queue.register("promote", Work("sql.instances.update", self._promoted))
        self.queue.register("delete", Work("sql.instances.delete", self.removed))

    async def resume(self) -> None:
        """Start the servers that the state says are running, then go on with interrupted operations."""
        if self._resumed:
            return
        self._resumed = True
        await asyncio.gather(*(self._resume(self.items.get(name)) for name in self.items))
        self.queue.resume()

    async def _resume(self, instance: pb.DatabaseInstance) -> None:
        server = self.server(instance)
        if not is_running(instance):
            return
        try:
            await server.start()
        except (PostgresStartError, PostgresMissingError) as error:
            logger.error("%s does not start: %s", instance.connection_name, error)
        self.servers.say_stand_in(instance.connection_name)

    # names, rights

    def project(self, named: str) -> Project:
        return self.cloud.projects.get(named)

    def key(self, project: str, instance: str) -> str:
        """projects/P/instances/I, by the project's id."""
        return f"projects/{self.project(project).id}/instances/{instance.rsplit(':', 1)[-1]}"

    def require(self, permission: str, resource: str) -> None:
        """Raises 403 notAuthorized."""
        if not self.cloud.policies.allows(current_caller.get(), f"cloudsql.{permission}", resource):
            raise sql_errors.not_authorised()

    def running(self, key: str) -> tuple[pb.DatabaseInstance, Server]:
        """The instance and its server, for what goes on inside. Raises 404, or 400 while it does not run."""
        instance = self.items.get(key)
        if not is_running(instance):
            raise sql_errors.not_running()
        return instance, self.server(instance)

    def server(self, instance: pb.DatabaseInstance) -> Server:
        """Its server, started or not."""
        return self.servers.add(instance.connection_name, sql_defaults.version_name(instance), _flags(instance))

    def service_networking(self, project: str) -> bool:
        """Private addresses want this API; the peering itself is taken to be there."""
        return "servicenetworking.googleapis.com" in self.project(project).enabled

    # changes

    def insert(self, key: str, instance: pb.DatabaseInstance, password: str) -> pb.Operation:
        """Keep a new instance, checked and complete, and start to make it."""
        self._keep_new(key, instance)
        if password:
            self._passwords.put(key, {"root": password})
        return self.queue.start("CREATE_REPLICA" if instance.master_instance_name else "CREATE", key, "create")

    def clone(self, source: str, key: str, instance: pb.DatabaseInstance) -> pb.Operation:
        """The same for a copy of `source`. Raises operationInProgress while that one is busy."""
        self.queue.require_idle(source)
        self._keep_new(key, instance)
        return self.queue.start("CLONE", key, "clone", source=source)

    def _keep_new(self, key: str, instance: pb.DatabaseInstance) -> None:
        if key in self.items or self._is_reserved(key):
            raise sql_errors.already_exists()
        instance.state = pb.number(instance, "state", "PENDING_CREATE")
        self.put(key, instance)

    def put(self, key: str, instance: pb.DatabaseInstance) -> pb.DatabaseInstance:
        """With a new etag."""
        instance.ClearField("etag")
        instance.etag = sql_defaults.etag(instance.SerializeToString(deterministic=True))
        return self.items.put(key, instance)

    # what operations do

    async def start_new(self, task: Task) -> None:
        """Make the server of a new instance, with the administrator's password where one was given."""
        instance = self.items.get(task.instance)
        server = self.server(instance)
        with _told():
            await server.start()
        self.servers.say_stand_in(instance.connection_name)
        password = (self._passwords.find(task.instance) or {}).get("root", "")
        if password and sql_versions.engine(sql_defaults.version_name(instance)) == "POSTGRES":
            await server.set_password("postgres", password)
        self._passwords.remove(task.instance)

    async def created(self, task: Task) -> None:
        """The instance can be used."""
        instance = self.items.get(task.instance)
        instance.state = pb.number(instance, "state", "RUNNABLE")
        sql_defaults.set_addresses(instance)
        self.put(task.instance, instance)
        self._tell_primary(instance, is_there=True)
        if not is_running(instance):  # made with activationPolicy NEVER
            await self.server(instance).stop()

    async def failed(self, task: Task) -> None:
        """The instance stays, of no use, until it is deleted."""
        instance = self.items.find(task.instance)
        if instance is not None:
            instance.state = pb.number(instance, "state", "FAILED")
            self.put(task.instance, instance)

    async def _updated(self, task: Task) -> None:
        """Bring the server to what the settings say; they stand since the call itself."""
        instance = self.items.get(task.instance)
        server = self.server(instance)
        if is_running(instance):
            with _told():
                await server.set_flags(_flags(instance))
                await server.start()
        else:
            await server.stop()
        sql_defaults.set_addresses(instance)
        self.put(task.instance, instance)

    async def _restarted(self, task: Task) -> None:
        server = self.server(self.items.get(task.instance))
        await server.stop()
        with _told():
            await server.start()

    async def _promoted(self, task: Task) -> None:
        """A replica becomes an instance of its own, which its primary no longer names."""
        instance = self.items.get(task.instance)
        self._tell_primary(instance, is_there=False)
        instance.ClearField("master_instance_name")
        instance.ClearField("replica_configuration")
        instance.instance_type = pb.number(instance, "instance_type", "CLOUD_SQL_INSTANCE")
        instance.settings.settings_version.value += 1
        self.put(task.instance, instance)

    async def removed(self, task: Task) -> None:
        """The instance goes, with its users and its backup runs."""
        instance = self.items.find(task.instance)
        if instance is None:
            return  # interrupted between the removal and its record
        self._tell_primary(instance, is_there=False)
        await self.servers.remove(instance.connection_name)
        for user in self.users.under(task.instance):
            self.users.remove(user_key(task.instance, user.name, user.host))
        for run in self.backups.under(task.instance):
            self.backups.remove(f"{task.instance}/backupRuns/{run.id}")
        self.items.remove(task.instance)
        self._passwords.remove(task.instance)
        self.cloud.policies.remove(task.instance)
        self._deleted.put(task.instance, {"at": time.time()})

    def _tell_primary(self, replica: pb.DatabaseInstance, is_there: bool) -> None:
        """A primary names its replicas, and a replica that comes or goes changes its settings' version."""
        if not replica.master_instance_name:
            return
        key = self.key(replica.project, replica.master_instance_name)
        primary = self.items.find(key)
        if primary is None:
            return
        others = [name for name in primary.replica_names if name != replica.name]
        primary.replica_names[:] = [*others, replica.name] if is_there else others
        primary.settings.settings_version.value += 1
        self.put(key, primary)

    def _is_reserved(self, key: str) -> bool:
        deleted = self._deleted.find(key)
        return deleted is not None and time.time() - deleted["at"] < NAME_KEPT_S / self.cloud.clock.speed


def is_running(instance: pb.DatabaseInstance) -> bool:
    """A stopped instance stays RUNNABLE; the sign is the activation policy (behaviour-runtime.md, section 8)."""
    stopped = pb.name_of(instance.settings, "activation_policy") == "NEVER"
    return pb.name_of(instance, "state") == "RUNNABLE" and not stopped


def user_key(instance: str, name: str, host: str) -> str:
    """Where a user is kept; names may hold anything."""
    return f"{instance}/users/{quote(name, safe='@')}@{quote(host, safe='')}"


def _flags(instance: pb.DatabaseInstance) -> dict[str, str]:
    """The instance's own flags, and what the machine's size decides."""
    version = sql_defaults.version_name(instance)
    own = {flag.name: flag.value for flag in instance.settings.database_flags}
    tier = sql_versions.find_tier(instance.settings.tier, version)
    if tier is None or sql_versions.engine(version) != "POSTGRES":
        return own
    return {"max_connections": str(sql_versions.max_connections(tier)), **own}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A server that does not start ends the operation in an error that says why."""
    try:
        yield
    except (PostgresStartError, PostgresMissingError) as error:
        raise ApiError(Code.INTERNAL, str(error), reason="INTERNAL_ERROR") from error
