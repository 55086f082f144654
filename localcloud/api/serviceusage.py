"""Service Usage v1 (gcp/behaviour-runtime.md, section 6)."""

from __future__ import annotations

import zlib

from google.longrunning import operations_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from localcloud.api import listing
from localcloud.api.messages import serviceusage as pb
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family, error_info, permission_denied
from localcloud.core.identity import current_caller
from localcloud.core.projects import Project
from localcloud.core.rest import RestRequest, RestResponse, RestService, route
from localcloud.core.service import Service, rpc

TITLES = {
    "artifactregistry.googleapis.com": "Artifact Registry API",
    "certificatemanager.googleapis.com": "Certificate Manager API",
    "cloudbuild.googleapis.com": "Cloud Build API",
    "cloudresourcemanager.googleapis.com": "Cloud Resource Manager API",
    "cloudscheduler.googleapis.com": "Cloud Scheduler API",
    "cloudtrace.googleapis.com": "Cloud Trace API",
    "compute.googleapis.com": "Compute Engine API",
    "dns.googleapis.com": "Cloud DNS API",
    "iam.googleapis.com": "Identity and Access Management (IAM) API",
    "iamcredentials.googleapis.com": "IAM Service Account Credentials API",
    "iap.googleapis.com": "Cloud Identity-Aware Proxy API",
    "logging.googleapis.com": "Cloud Logging API",
    "monitoring.googleapis.com": "Cloud Monitoring API",
    "oauth2.googleapis.com": "Google OAuth2 API",
    "redis.googleapis.com": "Google Cloud Memorystore for Redis API",
    "run.googleapis.com": "Cloud Run Admin API",
    "secretmanager.googleapis.com": "Secret Manager API",
    "servicenetworking.googleapis.com": "Service Networking API",
    "serviceusage.googleapis.com": "Service Usage API",
    "sql-component.googleapis.com": "Cloud SQL",
    "sqladmin.googleapis.com": "Cloud SQL Admin API",
    "storage-api.googleapis.com": "Google Cloud Storage JSON API",
    "storage-component.googleapis.com": "Cloud Storage",
    "storage.googleapis.com": "Cloud Storage API",
    "sts.googleapis.com": "Security Token Service API",
    "vpcaccess.googleapis.com": "Serverless VPC Access API",
}
AGENTS = {  # where the service agent's domain is not gcp-sa-<service>
    "artifactregistry": "gcp-sa-artifactregistry",
    "redis": "cloud-redis",
    "run": "serverless-robot-prod",
    "servicenetworking": "service-networking",
    "sqladmin": "gcp-sa-cloud-sql",
}
MAX_BATCH = 20


class ServiceUsage(Service):
    """Which APIs a project has turned on."""

    host = "serviceusage.googleapis.com"
    grpc = "google.api.serviceusage.v1.ServiceUsage"
    title = TITLES[host]

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._under_way: dict[str, str] = {}  # project -> the operation that turns something on or off
        cloud.operations.register("serviceusage.enable", self._enabled)
        cloud.operations.register("serviceusage.batchEnable", self._batch_enabled)
        cloud.operations.register("serviceusage.disable", self._disabled)

    @rpc("GET /v1/{name=projects/*/services/*}")
    async def get_service(self, request: pb.GetServiceRequest) -> pb.Service:
        project, service = self._named(request.name)
        self._require("serviceusage.services.get", project)
        return _service(project, service, whole=True)

    @rpc("GET /v1/{parent=projects/*}/services")
    async def list_services(self, request: pb.ListServicesRequest) -> pb.ListServicesResponse:
        project = self._project(request.parent)
        self._require("serviceusage.services.list", project)
        services = [_service(project, name) for name in sorted({*TITLES, *project.enabled})]
        found = listing.matching(services, request.filter)
        items, token = listing.page(found, request.page_size, request.page_token, 50, 200)
        return pb.ListServicesResponse(services=items, next_page_token=token)

    @rpc("GET /v1/{parent=projects/*}/services:batchGet")
    async def batch_get_services(self, request: pb.BatchGetServicesRequest) -> pb.BatchGetServicesResponse:
        project = self._project(request.parent)
        self._require("serviceusage.services.get", project)
        names = [self._named(name)[1] for name in request.names]
        return pb.BatchGetServicesResponse(services=[_service(project, name, whole=True) for name in names])

    @rpc("POST /v1/{name=projects/*/services/*}:enable", body="*")
    async def enable_service(self, request: pb.EnableServiceRequest) -> operations_pb2.Operation:
        project, service = self._named(request.name)
        self._may_change(project, "enable", [service])
        if service in project.enabled:
            return _already(pb.EnableServiceResponse(service=_service(project, service)))
        return self._start("serviceusage.enable", project, [service])

    @rpc("POST /v1/{parent=projects/*}/services:batchEnable", body="*")
    async def batch_enable_services(self, request: pb.BatchEnableServicesRequest) -> operations_pb2.Operation:
        project, ids = self._project(request.parent), list(request.service_ids)
        if not ids or len(ids) > MAX_BATCH:
            raise ApiError(Code.INVALID_ARGUMENT, f"Between 1 and {MAX_BATCH} service ids must be given.")
        self._may_change(project, "enable", ids)
        if set(ids) <= project.enabled:
            return _already(pb.BatchEnableServicesResponse(services=[_service(project, name) for name in ids]))
        return self._start("serviceusage.batchEnable", project, ids)

    @rpc("POST /v1/{name=projects/*/services/*}:disable", body="*")
    async def disable_service(self, request: pb.DisableServiceRequest) -> operations_pb2.Operation:
        project, service = self._named(request.name)
        self._may_change(project, "disable", [service])
        if service not in project.enabled:
            return _already(pb.DisableServiceResponse(service=_service(project, service)))
        return self._start("serviceusage.disable", project, [service])

    # operations

    def _start(self, verb: str, project: Project, services: list[str]) -> operations_pb2.Operation:
        self._under_way = {p: name for p, name in self._under_way.items() if self.cloud.operations.is_running(name)}
        if project.id in self._under_way:
            raise ApiError(Code.FAILED_PRECONDITION, "Another activation or deactivation is in progress")
        metadata = pb.OperationMetadata(resource_names=[f"projects/{project.number}/services/{s}" for s in services])
        operation = self.cloud.operations.start("", verb, f"{project.id} {' '.join(services)}", metadata)
        self._under_way[project.id] = operation.name
        return operations_pb2.Operation(name=operation.name)

    def _switch(self, target: str, on: bool) -> tuple[Project, list[str]]:
        project, *services = target.split(" ")
        for service in services:
            self.cloud.projects.enable(project, service, on)
        return self.cloud.projects.get(project), services

    async def _enabled(self, target: str) -> pb.EnableServiceResponse:
        project, services = self._switch(target, on=True)
        return pb.EnableServiceResponse(service=_service(project, services[0], whole=True))

    async def _batch_enabled(self, target: str) -> pb.BatchEnableServicesResponse:
        project, services = self._switch(target, on=True)
        return pb.BatchEnableServicesResponse(services=[_service(project, name, whole=True) for name in services])

    async def _disabled(self, target: str) -> pb.DisableServiceResponse:
        project, services = self._switch(target, on=False)
        return pb.DisableServiceResponse(service=_service(project, services[0], whole=True))

    # names and rights

    def _project(self, parent: str) -> Project:
        return self.cloud.projects.get(parent.split("/")[1])

    def _named(self, name: str) -> tuple[Project, str]:
        project, service = self._project(name), name.rsplit("/", 1)[1]
        if service not in TITLES and service not in project.enabled:
            raise _unknown([service])
        return project, service

    def _require(self, permission: str, project: Project) -> None:
        if not self.cloud.policies.allows(current_caller.get(), permission, f"projects/{project.id}"):
            raise permission_denied(permission, f"projects/{project.number}")

    def _may_change(self, project: Project, doing: str, services: list[str]) -> None:
        """Raises PERMISSION_DENIED: without the right, or for services that nobody knows."""
        permission = f"serviceusage.services.{doing}"
        if not self.cloud.policies.allows(current_caller.get(), permission, f"projects/{project.id}"):
            raise _denied(doing, services)
        unknown = [service for service in services if service not in TITLES]
        if unknown:
            raise _unknown(unknown)


class ServiceIdentities(RestService):
    """The v1beta1 call that names a service's agent; Google's Python client does not have it."""

    host = ServiceUsage.host
    title = ServiceUsage.title
    errors = Family.ONE_PLATFORM

    @route("POST /v1beta1/projects/{project}/services/{service}:generateServiceIdentity", resource="projects/{project}")
    async def generate(self, request: RestRequest) -> RestResponse:
        project, service = self.cloud.projects.get(request.variables["project"]), request.variables["service"]
        if service not in TITLES:
            raise _unknown([service])
        short = service.split(".")[0]
        email = f"service-{project.number}@{AGENTS.get(short, f'gcp-sa-{short}')}.iam.gserviceaccount.com"
        identity = {
            "@type": "type.googleapis.com/google.api.serviceusage.v1beta1.ServiceIdentity",
            "email": email,
            "uniqueId": f"1{zlib.crc32(email.encode()):020d}",
        }
        return RestResponse.of({"name": "operations/finished.DONE_OPERATION", "done": True, "response": identity})


def _service(project: Project, name: str, whole: bool = False) -> pb.Service:
    """`whole` adds the configuration, as `get` does and `list` does only in part."""
    service = pb.Service(
        name=f"projects/{project.number}/services/{name}",
        parent=f"projects/{project.number}",
        state=pb.ENABLED if name in project.enabled else pb.DISABLED,
    )
    service.config.name = name
    if whole or name in TITLES:
        service.config.title = TITLES.get(name, name)
    return service


def _already(response: Message) -> operations_pb2.Operation:
    operation = operations_pb2.Operation(name="operations/noop.DONE_OPERATION", done=True)
    operation.response.Pack(response)
    return operation


def _unknown(services: list[str]) -> ApiError:
    names = ",".join(services)
    info = error_info(
        "SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED", "serviceusage.googleapis.com", {"services": names}
    )
    return ApiError(Code.PERMISSION_DENIED, f"Not found or permission denied for service(s): {names}.", details=(info,))


def _denied(doing: str, services: list[str]) -> ApiError:
    message = f"Permission denied to {doing} service [{', '.join(services)}]"
    failure = error_details_pb2.PreconditionFailure()
    failure.violations.add(type="googleapis.com", subject="?error_code=110002&services=" + ",".join(services))
    info = error_info("AUTH_PERMISSION_DENIED", "serviceusage.googleapis.com", {})
    return ApiError(Code.PERMISSION_DENIED, message, details=(failure, info))
