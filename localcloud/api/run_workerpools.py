"""Cloud Run v2, worker pools (gcp/behaviour.md, section 1: a Service without URL, ingress and traffic).

Their resources alone, and only under `--simulate`: nothing here runs a pool's instances yet.
"""

from __future__ import annotations

from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.longrunning import operations_pb2

from localcloud.api.masks import chosen, take
from localcloud.api.messages import run as pb
from localcloud.api.run_defaults import fill_worker_pool
from localcloud.api.run_names import already_exists, last, location_of, missing, random_suffix, require_etag
from localcloud.api.run_state import RunState
from localcloud.api.run_validation import SERVICE_ID_LIMIT, check_id, check_worker_pool, violation
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, not_modelled
from localcloud.core.service import Service, rpc

NAME = "/v2/{name=projects/*/locations/*/workerPools/*}"
RESOURCE = "/v2/{resource=projects/*/locations/*/workerPools/*}"
WRITABLE = (
    *("description", "labels", "annotations", "client", "client_version", "launch_stage", "binary_authorization"),
    *("template", "instance_splits", "scaling", "threat_detection_enabled", "custom_audiences"),
)


class WorkerPools(Service):
    """`google.cloud.run.v2.WorkerPools`: what runs on its own, without requests."""

    host = "run.googleapis.com"
    grpc = "google.cloud.run.v2.WorkerPools"
    title = "Cloud Run Admin API"
    by_project_id = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        store = cloud.store
        self._state = cloud.shared(RunState)
        self._pools = store.collection("run.workerpools", pb.WorkerPool, missing("WORKER_POOL"))
        self._deleted = store.collection("run.workerpools.deleted", pb.WorkerPool, missing("WORKER_POOL"))
        for verb in ("create", "update"):
            cloud.operations.register(f"run.workerPools.{verb}", self._settle, self._pools.find)
        cloud.operations.register("run.workerPools.delete", self._finish_deletion, self._deleted.find)

    @rpc(
        "POST /v2/{parent=projects/*/locations/*}/workerPools", body="worker_pool", permission="run.workerpools.create"
    )
    async def create_worker_pool(self, request: pb.CreateWorkerPoolRequest) -> operations_pb2.Operation:
        check_id("CreateWorkerPoolRequest.worker_pool_id", request.worker_pool_id, SERVICE_ID_LIMIT)
        name = f"{request.parent}/workerPools/{request.worker_pool_id}"
        if request.worker_pool.name not in ("", name):
            raise violation("CreateWorkerPoolRequest.worker_pool.name", "must be empty, or that of parent and id.")
        if name in self._pools:
            raise already_exists(request.worker_pool_id)
        return self._create(name, request.worker_pool, request.validate_only)

    @rpc(f"GET {NAME}", permission="run.workerpools.get")
    async def get_worker_pool(self, request: pb.GetWorkerPoolRequest) -> pb.WorkerPool:
        return self._pools.get(request.name)

    @rpc("GET /v2/{parent=projects/*/locations/*}/workerPools", permission="run.workerpools.list")
    async def list_worker_pools(self, request: pb.ListWorkerPoolsRequest) -> pb.ListWorkerPoolsResponse:
        found = self._pools.under(request.parent)
        if request.show_deleted:
            found += self._deleted.under(request.parent)
        items, token = self._state.page(found, request)
        return pb.ListWorkerPoolsResponse(worker_pools=items, next_page_token=token)

    @rpc(
        "PATCH /v2/{worker_pool.name=projects/*/locations/*/workerPools/*}",
        body="worker_pool",
        permission="run.workerpools.update",
    )
    async def update_worker_pool(self, request: pb.UpdateWorkerPoolRequest) -> operations_pb2.Operation:
        name = request.worker_pool.name
        if name not in self._pools and request.allow_missing:
            self._state.require("run.workerpools.create", location_of(name))
            return self._create(name, request.worker_pool, request.validate_only)
        before, after = self._pools.get(name), self._pools.get(name)
        require_etag(request.worker_pool.etag, before.etag, name)
        if before.HasField("delete_time"):
            raise ApiError(Code.FAILED_PRECONDITION, f"WorkerPool '{last(name)}' is being deleted.")
        for path in chosen(request.update_mask.paths, after, WRITABLE, _refused):
            take(path, request.worker_pool, after)
        self._check(before, after)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(name), after, after)
        after.generation += 1
        return self._put("run.workerPools.update", after, is_revised=after.template != before.template)

    @rpc(f"DELETE {NAME}", permission="run.workerpools.delete")
    async def delete_worker_pool(self, request: pb.DeleteWorkerPoolRequest) -> operations_pb2.Operation:
        pool = self._pools.get(request.name)
        require_etag(request.etag, pool.etag, request.name)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(pool.name), pool, pool)
        if not pool.HasField("delete_time"):
            self._state.deleting(pool)
            self._pools.put(pool.name, pool)
        return self.cloud.operations.start(location_of(pool.name), "run.workerPools.delete", pool.name, pool)

    @rpc(f"GET {RESOURCE}:getIamPolicy", permission="run.workerpools.getIamPolicy")
    async def get_iam_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        return self.cloud.policies.shown(self._pools.get(request.resource).name, request)

    @rpc(f"POST {RESOURCE}:setIamPolicy", body="*", permission="run.workerpools.setIamPolicy")
    async def set_iam_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        return self.cloud.policies.change(self._pools.get(request.resource).name, request)

    @rpc(f"POST {RESOURCE}:testIamPermissions", body="*")
    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        return self.cloud.policies.tested(request.resource, request)

    def _create(self, name: str, wanted: pb.WorkerPool, validate_only: bool) -> operations_pb2.Operation:
        pool = pb.WorkerPool()
        for field in WRITABLE:
            take(field, wanted, pool)
        self._state.born(pool, name)
        self._check(pb.WorkerPool(name=name), pool)
        if validate_only:
            return self.cloud.operations.finished(location_of(name), pool, pool)
        self._deleted.remove(name)
        return self._put("run.workerPools.create", pool, is_revised=True)

    def _check(self, before: pb.WorkerPool, after: pb.WorkerPool) -> None:
        if not self.cloud.simulate:
            raise not_modelled("worker pools of Cloud Run, but for their API under --simulate")
        fill_worker_pool(after, self._state.number(after.name))
        check_worker_pool(after, last(after.name))
        if after.template != before.template:
            self._state.require_act_as(after.name, after.template.service_account)

    def _put(self, verb: str, pool: pb.WorkerPool, is_revised: bool) -> operations_pb2.Operation:
        self._state.pending(pool)
        self._state.touched(pool)
        operation = self.cloud.operations.start(location_of(pool.name), verb, pool.name, pool)
        if is_revised:
            record = self._state.internal.find(pool.name) or {"configuration": 0}
            record["configuration"] += 1
            self._state.internal.put(pool.name, record)
            usual = f"{last(pool.name)}-{record['configuration']:05d}-{random_suffix(3)}"
            pool.latest_created_revision = f"{pool.name}/revisions/{pool.template.revision or usual}"
        self._pools.put(pool.name, pool)
        return operation

    async def _settle(self, name: str) -> pb.WorkerPool:
        pool, good = self._pools.get(name), pb.State.CONDITION_SUCCEEDED
        pool.reconciling, pool.observed_generation = False, pool.generation
        pool.latest_ready_revision = pool.latest_created_revision
        self._state.condition(pool.terminal_condition, "Ready", good)
        self._state.named(pool, "ConfigurationsReady", good)
        del pool.instance_split_statuses[:]
        for split in pool.instance_splits:
            pool.instance_split_statuses.add(type_=split.type_, revision=split.revision, percent=split.percent)
        return self._pools.put(name, pool)

    async def _finish_deletion(self, name: str) -> pb.WorkerPool:
        pool = self._pools.find(name)
        if pool is None:
            return self._deleted.get(name)
        self._state.deleted(pool)
        self._deleted.put(name, pool)
        self._pools.remove(name)
        self._state.internal.remove(name)
        self.cloud.policies.remove(name)
        return pool


def _refused(path: str) -> ApiError:
    return violation("UpdateWorkerPoolRequest.update_mask", f"'{path}' is not a field of a worker pool to be changed.")
