"""Cloud Run v2, revisions (gcp/behaviour.md, section 1; behaviour-runtime.md, section 3)."""

from __future__ import annotations

from google.longrunning import operations_pb2

from localcloud.api.messages import run as pb
from localcloud.api.run_names import last, location_of, require_etag
from localcloud.api.run_rollout import Rollouts
from localcloud.api.run_state import RunState
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code
from localcloud.core.service import Service, rpc
from localcloud.core.state import parent_of

NAME = "/v2/{name=projects/*/locations/*/services/*/revisions/*}"


class Revisions(Service):
    """`google.cloud.run.v2.Revisions`: made by services, only read and deleted here."""

    host = "run.googleapis.com"
    grpc = "google.cloud.run.v2.Revisions"
    title = "Cloud Run Admin API"
    by_project_id = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._state, self._rollouts = cloud.shared(RunState), cloud.shared(Rollouts)
        self._leaving: dict[str, pb.Revision] = {}
        cloud.operations.register("run.revisions.delete", self._finish_deletion, self._left)

    @rpc(f"GET {NAME}", permission="run.revisions.get")
    async def get_revision(self, request: pb.GetRevisionRequest) -> pb.Revision:
        return self._state.revisions.get(request.name)

    @rpc("GET /v2/{parent=projects/*/locations/*/services/*}/revisions", permission="run.revisions.list")
    async def list_revisions(self, request: pb.ListRevisionsRequest) -> pb.ListRevisionsResponse:
        found = self._state.revisions.under(request.parent)[::-1]
        items, token = self._state.page(found, request)
        return pb.ListRevisionsResponse(revisions=items, next_page_token=token)

    @rpc(f"DELETE {NAME}", permission="run.revisions.delete")
    async def delete_revision(self, request: pb.DeleteRevisionRequest) -> operations_pb2.Operation:
        revision = self._state.revisions.get(request.name)
        require_etag(request.etag, revision.etag, request.name)
        self._check_unused(revision)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(request.name), revision, revision)
        now = self.cloud.clock.timestamp()
        revision.delete_time.CopyFrom(now)
        revision.expire_time.CopyFrom(now)
        revision.generation += 1
        revision.reconciling = True
        self._state.touched(revision)
        self._state.revisions.put(revision.name, revision)
        return self.cloud.operations.start(location_of(request.name), "run.revisions.delete", request.name, revision)

    def _check_unused(self, revision: pb.Revision) -> None:
        """Raise FAILED_PRECONDITION for one that can receive traffic, is the latest, or the only one."""
        service = self._state.services.find(parent_of(revision.name))
        if service is None:
            return
        name = last(revision.name)
        if revision.name in (service.latest_created_revision, service.latest_ready_revision):
            raise ApiError(
                Code.FAILED_PRECONDITION,
                f"Revision '{name}' cannot be deleted because it is the latest revision of service "
                f"'{last(service.name)}'.",
            )
        named = {target.revision for target in (*service.traffic, *service.traffic_statuses)}
        if name in named:
            raise ApiError(
                Code.FAILED_PRECONDITION,
                f"Revision '{name}' cannot be deleted because it is able to receive traffic.",
            )

    async def _finish_deletion(self, name: str) -> pb.Revision:
        revision = self._state.revisions.find(name)
        if revision is None:
            raise ApiError(Code.NOT_FOUND, f"Revision '{last(name)}' does not exist.")
        revision.observed_generation, revision.reconciling = revision.generation, False
        self._leaving[name] = revision
        self._rollouts.forget(name)
        await self.cloud.runtime.revisions.remove(name)
        return revision

    def _left(self, name: str) -> pb.Revision | None:
        return self._leaving.pop(name, None)
