"""Cloud Run v1, services: Knative's API over the state of v2, as gcloud speaks it (shared with api/run_*.py)."""

from __future__ import annotations

from typing import Any

from localcloud.api.knative_bodies import name_in, service_message
from localcloud.api.knative_objects import configuration_object, revision_object, route_object, service_object
from localcloud.api.knative_scope import SERVING, V1, Object, Scope, is_dry_run, listed, require_version
from localcloud.api.messages import run as pb
from localcloud.api.run_names import REGION_CODES, last
from localcloud.api.run_revisions import Revisions
from localcloud.api.run_services import Services
from localcloud.core.cloud import Cloud
from localcloud.core.rest import RestRequest, RestResponse, route
from localcloud.core.state import parent_of

NAMESPACE = "/apis/serving.knative.dev/v1/namespaces/{project}"
PROJECT = "/v1/projects/{project}/locations/{location}"
OWNER = "projects/{project}"
GONE = {"status": "Success"}


class KnativeServices(V1):
    """Services, and the configurations, routes and revisions that Knative divides them into."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._services, self._revisions = cloud.shared(Services), cloud.shared(Revisions)

    @route(f"GET {NAMESPACE}/services", f"GET {PROJECT}/services", resource=OWNER)
    async def list_services(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.services.list")
        found = [service_object(service, scope) for service in self.state.services.under(scope.parent)]
        return listed(found, request, SERVING, "Service")

    @route(f"POST {NAMESPACE}/services", f"POST {PROJECT}/services", resource=OWNER)
    async def create_service(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.services.create")
        scope.require_region()
        body = request.json()
        service_id = name_in(body, SERVING, "Service", scope)
        name = f"{scope.parent}/services/{service_id}"
        create = pb.CreateServiceRequest(
            parent=scope.parent,
            service=service_message(body, name),
            service_id=service_id,
            validate_only=is_dry_run(request),
        )
        return self._answered(await self._services.create_service(create), request, scope)

    @route(f"GET {NAMESPACE}/services/{{name}}", f"GET {PROJECT}/services/{{name}}", resource=OWNER)
    async def get_service(self, request: RestRequest) -> RestResponse:
        service, scope = self._service(request, "run.services.get")
        return RestResponse.of(service_object(service, scope))

    @route(f"PUT {NAMESPACE}/services/{{name}}", f"PUT {PROJECT}/services/{{name}}", resource=OWNER)
    async def replace_service(self, request: RestRequest) -> RestResponse:
        before, scope = self._service(request, "run.services.update")
        body = request.json()
        name_in(body, SERVING, "Service", scope, expected=last(before.name))
        require_version(body, before.etag, before.name)
        wanted = service_message(body, before.name)
        _keep_template(before, wanted, scope)
        update = pb.UpdateServiceRequest(service=wanted, validate_only=is_dry_run(request))
        return self._answered(await self._services.update_service(update), request, scope)

    @route(f"DELETE {NAMESPACE}/services/{{name}}", f"DELETE {PROJECT}/services/{{name}}", resource=OWNER)
    async def delete_service(self, request: RestRequest) -> RestResponse:
        service, _ = self._service(request, "run.services.delete")
        delete = pb.DeleteServiceRequest(name=service.name, validate_only=is_dry_run(request))
        await self._services.delete_service(delete)
        return RestResponse.of(GONE)

    @route(f"GET {NAMESPACE}/configurations", f"GET {PROJECT}/configurations", resource=OWNER)
    async def list_configurations(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.configurations.list")
        found = [configuration_object(service, scope) for service in self.state.services.under(scope.parent)]
        return listed(found, request, SERVING, "Configuration")

    @route(f"GET {NAMESPACE}/configurations/{{name}}", f"GET {PROJECT}/configurations/{{name}}", resource=OWNER)
    async def get_configuration(self, request: RestRequest) -> RestResponse:
        service, scope = self._service(request, "run.configurations.get")
        return RestResponse.of(configuration_object(service, scope))

    @route(f"GET {NAMESPACE}/routes", f"GET {PROJECT}/routes", resource=OWNER)
    async def list_routes(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.routes.list")
        found = [route_object(service, scope) for service in self.state.services.under(scope.parent)]
        return listed(found, request, SERVING, "Route")

    @route(f"GET {NAMESPACE}/routes/{{name}}", f"GET {PROJECT}/routes/{{name}}", resource=OWNER)
    async def get_route(self, request: RestRequest) -> RestResponse:
        service, scope = self._service(request, "run.routes.get")
        return RestResponse.of(route_object(service, scope))

    @route(f"GET {NAMESPACE}/revisions", f"GET {PROJECT}/revisions", resource=OWNER)
    async def list_revisions(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.revisions.list")
        found = self.state.revisions.under(f"{scope.parent}/services/-")[::-1]
        return listed([self._shown(revision, scope) for revision in found], request, SERVING, "Revision")

    @route(f"GET {NAMESPACE}/revisions/{{name}}", f"GET {PROJECT}/revisions/{{name}}", resource=OWNER)
    async def get_revision(self, request: RestRequest) -> RestResponse:
        revision, scope = self._revision(request, "run.revisions.get")
        return RestResponse.of(self._shown(revision, scope))

    @route(f"DELETE {NAMESPACE}/revisions/{{name}}", f"DELETE {PROJECT}/revisions/{{name}}", resource=OWNER)
    async def delete_revision(self, request: RestRequest) -> RestResponse:
        revision, _ = self._revision(request, "run.revisions.delete")
        delete = pb.DeleteRevisionRequest(name=revision.name, validate_only=is_dry_run(request))
        await self._revisions.delete_revision(delete)
        return RestResponse.of(GONE)

    @route("GET /v1/projects/{project}/locations", resource=OWNER)
    async def list_locations(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.locations.list")
        found = [
            {
                "name": f"projects/{scope.project}/locations/{region}",
                "locationId": region,
                "displayName": region,
                "labels": {"cloud.googleapis.com/region": region},
            }
            for region in sorted(REGION_CODES)
        ]
        return RestResponse.of({"locations": found})

    def _service(self, request: RestRequest, permission: str) -> tuple[pb.Service, Scope]:
        name, scope = self.named(request, "services", permission)
        return self.state.services.get(name), scope

    def _revision(self, request: RestRequest, permission: str) -> tuple[pb.Revision, Scope]:
        """v1 does not name a revision's service; its own name begins with it, and is unique in the region."""
        name, scope = self.named(request, "services/-/revisions", permission)
        found = next((r for r in self.state.revisions.under(parent_of(name)) if last(r.name) == last(name)), None)
        return (found or self.state.revisions.get(name)), scope

    def _shown(self, revision: pb.Revision, scope: Scope) -> Object:
        return revision_object(revision, self.state.services.find(parent_of(revision.name)), scope)

    def _answered(self, operation: Any, request: RestRequest, scope: Scope) -> RestResponse:
        """v1 answers with the object; what v2 calls an operation goes on behind it."""
        service = pb.Service()
        operation.metadata.Unpack(service)
        stored = None if is_dry_run(request) else self.state.services.find(service.name)
        return RestResponse.of(service_object(stored or service, scope))


def _keep_template(before: pb.Service, wanted: pb.Service, scope: Scope) -> None:
    """Where the client sends the template that it read, nothing of it changed, nor what v1 cannot show of it.

    Else moving traffic (gcloud run services update-traffic sends all back) would make a revision.
    """
    if wanted.template == service_message(service_object(before, scope), before.name).template:
        wanted.template.CopyFrom(before.template)
