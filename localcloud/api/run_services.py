"""Cloud Run v2, services (gcp/behaviour.md, section 1; behaviour-runtime.md, section 3)."""

from __future__ import annotations

import asyncio

from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.longrunning import operations_pb2

from localcloud.api.masks import chosen, take
from localcloud.api.messages import run as pb
from localcloud.api.run_defaults import fill_service
from localcloud.api.run_names import already_exists, last, location_of, require_etag
from localcloud.api.run_rollout import Rollouts, Target
from localcloud.api.run_state import RunState
from localcloud.api.run_validation import SERVICE_ID_LIMIT, check_first_traffic, check_id, check_service, violation
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code
from localcloud.core.service import Service, rpc

NAME = "/v2/{name=projects/*/locations/*/services/*}"
RESOURCE = "/v2/{resource=projects/*/locations/*/services/*}"
RESOURCE_V1 = "/v1/{resource=projects/*/locations/*/services/*}"  # gcloud reads and writes policies there
# What a client may write; the rest is Google's.
WRITABLE = [
    "description",
    "labels",
    "annotations",
    "client",
    "client_version",
    "ingress",
    "launch_stage",
    "binary_authorization",
    "template",
    "traffic",
    "scaling",
    "invoker_iam_disabled",
    "default_uri_disabled",
    "iap_enabled",
    "multi_region_settings",
    "custom_audiences",
    "threat_detection_enabled",
    "build_config",
]


class Services(Service):
    """`google.cloud.run.v2.Services`: what answers requests."""

    host = "run.googleapis.com"
    grpc = "google.cloud.run.v2.Services"
    title = "Cloud Run Admin API"
    by_project_id = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._state, self._rollouts = cloud.shared(RunState), cloud.shared(Rollouts)
        rollouts, operations = self._rollouts, cloud.operations
        operations.register("run.services.create", rollouts.settle, self._snapshot)
        operations.register("run.services.update", rollouts.settle, self._snapshot)
        operations.register("run.services.delete", self._finish_deletion, self._deleted_snapshot)

    @rpc("POST /v2/{parent=projects/*/locations/*}/services", body="service", permission="run.services.create")
    async def create_service(self, request: pb.CreateServiceRequest) -> operations_pb2.Operation:
        check_id("CreateServiceRequest.service_id", request.service_id, SERVICE_ID_LIMIT)
        name = f"{request.parent}/services/{request.service_id}"
        if request.service.name not in ("", name):
            raise violation("CreateServiceRequest.service.name", "must be empty, or that of the parent and service_id.")
        if name in self._state.services:
            raise already_exists(request.service_id)
        return self._create(name, request.service, request.validate_only)

    @rpc(f"GET {NAME}", permission="run.services.get")
    async def get_service(self, request: pb.GetServiceRequest) -> pb.Service:
        return self._state.services.get(request.name)

    @rpc("GET /v2/{parent=projects/*/locations/*}/services", permission="run.services.list")
    async def list_services(self, request: pb.ListServicesRequest) -> pb.ListServicesResponse:
        found = self._state.services.under(request.parent)
        if request.show_deleted:
            found += self._state.deleted_services.under(request.parent)
        items, token = self._state.page(found, request)
        return pb.ListServicesResponse(services=items, next_page_token=token)

    @rpc(
        "PATCH /v2/{service.name=projects/*/locations/*/services/*}",
        body="service",
        permission="run.services.update",
    )
    async def update_service(self, request: pb.UpdateServiceRequest) -> operations_pb2.Operation:
        name = request.service.name
        if name not in self._state.services and request.allow_missing:
            self._state.require("run.services.create", location_of(name))
            check_id("UpdateServiceRequest.service.name", last(name), SERVICE_ID_LIMIT)
            return self._create(name, request.service, request.validate_only)
        before = self._state.services.get(name)
        require_etag(request.service.etag, before.etag, name)
        if before.HasField("delete_time"):
            raise ApiError(Code.FAILED_PRECONDITION, f"Service '{last(name)}' is being deleted.")
        after = pb.Service()
        after.CopyFrom(before)
        for path in chosen(request.update_mask.paths, after, WRITABLE, _refused):
            take(path, request.service, after)
        fill_service(after, self._state.number(name))
        check_service(after, last(name), self.cloud.simulate)
        self._require_rights(before, after)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(name), after, after)
        return self._update(before, after)

    @rpc(f"DELETE {NAME}", permission="run.services.delete")
    async def delete_service(self, request: pb.DeleteServiceRequest) -> operations_pb2.Operation:
        service = self._state.services.get(request.name)
        require_etag(request.etag, service.etag, request.name)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(request.name), service, service)
        if not service.HasField("delete_time"):
            self._state.deleting(service)
            self._state.services.put(service.name, service)
        return self.cloud.operations.start(location_of(service.name), "run.services.delete", service.name, service)

    @rpc(f"GET {RESOURCE}:getIamPolicy", f"GET {RESOURCE_V1}:getIamPolicy", permission="run.services.getIamPolicy")
    async def get_iam_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        return self.cloud.policies.shown(self._state.services.get(request.resource).name, request)

    @rpc(
        f"POST {RESOURCE}:setIamPolicy",
        f"POST {RESOURCE_V1}:setIamPolicy",
        body="*",
        permission="run.services.setIamPolicy",
    )
    async def set_iam_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        return self.cloud.policies.change(self._state.services.get(request.resource).name, request)

    @rpc(f"POST {RESOURCE}:testIamPermissions", f"POST {RESOURCE_V1}:testIamPermissions", body="*")
    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        return self.cloud.policies.tested(request.resource, request)

    async def resume(self) -> None:
        self._rollouts.resume()

    def _create(self, name: str, wanted: pb.Service, validate_only: bool) -> operations_pb2.Operation:
        service = pb.Service()
        for field in WRITABLE:
            take(field, wanted, service)
        self._state.born(service, name)
        fill_service(service, self._state.number(name))
        check_service(service, last(name), self.cloud.simulate)
        check_first_traffic(service)
        self._require_rights(pb.Service(name=name), service)
        if validate_only:
            return self.cloud.operations.finished(location_of(name), service, service)
        self._state.pending(service)
        self._state.deleted_services.remove(name)
        return self._roll_out("run.services.create", service, service, self._rollouts.revise(service))

    def _update(self, before: pb.Service, after: pb.Service) -> operations_pb2.Operation:
        after.generation += 1
        self._state.pending(after)
        self._state.touched(after)
        revision = self._rollouts.revise(after) if after.template != before.template else ""
        snapshot = pb.Service()
        snapshot.CopyFrom(after)  # still names the old revision (behaviour.md, section 1)
        return self._roll_out("run.services.update", after, snapshot, revision)

    def _roll_out(
        self, verb: str, service: pb.Service, snapshot: pb.Service, revision: str
    ) -> operations_pb2.Operation:
        target = str(Target(service.name, revision))
        operation = self.cloud.operations.start(location_of(service.name), verb, target, snapshot)
        if revision:
            service.latest_created_revision = revision
            self._rollouts.judge(revision)
        self._state.services.put(service.name, service)
        return operation

    def _require_rights(self, before: pb.Service, after: pb.Service) -> None:
        if after.template != before.template:
            self._state.require_act_as(after.name, after.template.service_account)
        if after.invoker_iam_disabled and not before.invoker_iam_disabled:
            self._state.require("run.services.setIamPolicy", after.name)

    async def _finish_deletion(self, name: str) -> pb.Service:
        service = self._state.services.find(name)
        if service is None:  # two deletions at once, or done before a restart
            return self._state.deleted_services.get(name)
        self._state.deleted(service)
        self._state.deleted_services.put(name, service)
        self._state.services.remove(name)
        self._state.internal.remove(name)
        self.cloud.policies.remove(name)
        revisions = [revision.name for revision in self._state.revisions.under(name)]
        for revision in revisions:
            self._rollouts.forget(revision)
        await asyncio.gather(*(self.cloud.runtime.revisions.remove(revision) for revision in revisions))
        return service

    def _snapshot(self, target: str) -> pb.Service | None:
        return self._state.services.find(Target.of(target).service)

    def _deleted_snapshot(self, name: str) -> pb.Service | None:
        return self._state.deleted_services.find(name)


def _refused(path: str) -> ApiError:
    return violation("UpdateServiceRequest.update_mask", f"'{path}' is not a field of a service to be changed.")
