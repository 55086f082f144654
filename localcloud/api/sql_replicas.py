"""SQL Admin v1: what is done to a read replica (gcp/behaviour.md, section 2); replicas are under --simulate only."""

from __future__ import annotations

from localcloud.api.messages import sql as pb
from localcloud.api.sql_errors import invalid
from localcloud.api.sql_service import INSTANCE, SqlService
from localcloud.core.errors import not_modelled
from localcloud.core.service import rpc


class SqlReplicas(SqlService):
    """These calls of SqlInstancesService; a base of the class that has its name."""

    @rpc(f"POST {INSTANCE}/startReplica")
    async def start_replica(self, request: pb.SqlInstancesStartReplicaRequest) -> pb.Operation:
        key = self._replica(request.project, request.instance, "instances.startReplica")
        return self.shown(self.sql.queue.start("START_REPLICA", key, "replicate"))

    @rpc(f"POST {INSTANCE}/stopReplica")
    async def stop_replica(self, request: pb.SqlInstancesStopReplicaRequest) -> pb.Operation:
        key = self._replica(request.project, request.instance, "instances.stopReplica")
        return self.shown(self.sql.queue.start("STOP_REPLICA", key, "replicate"))

    @rpc(f"POST {INSTANCE}/promoteReplica")
    async def promote_replica(self, request: pb.SqlInstancesPromoteReplicaRequest) -> pb.Operation:
        """The replica becomes an instance of its own."""
        key = self._replica(request.project, request.instance, "instances.promoteReplica")
        if request.failover:
            raise not_modelled("switching a primary and its replica (failover=true)")
        return self.shown(self.sql.queue.start("PROMOTE_REPLICA", key, "promote"))

    def _replica(self, project: str, instance: str, permission: str) -> str:
        """Its key. Raises 404, or 400 for an instance that replicates nothing."""
        key = self.sql.key(project, instance)
        self.sql.require(permission, key)
        found, _ = self.sql.running(key)
        if not found.master_instance_name:
            raise invalid("The instance is not a read replica.")
        return key
