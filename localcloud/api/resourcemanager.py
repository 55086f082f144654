"""Resource Manager: projects and their policies, v3, and v1 as gcloud uses it (gcp/behaviour-runtime.md, section 6)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.longrunning import operations_pb2

from localcloud.api import listing
from localcloud.api.messages import resourcemanager as pb
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family, plain
from localcloud.core.identity import current_caller
from localcloud.core.projects import Project
from localcloud.core.rest import RestRequest, RestResponse, RestService, route
from localcloud.core.service import Service, rpc

PROJECT_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
PARENT = re.compile(r"(folders|organizations)/\d+")
PERMISSION = re.compile(r"[a-zA-Z]\w*(\.\w+){2,}")
NOT_OF_PROJECTS = frozenset({"resourcemanager.projects.create", "resourcemanager.projects.list"})
MAX_PERMISSIONS = 100


class Directory:
    """What v3 and v1 tell of projects; one for each cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.about = cloud.store.records("resourcemanager.projects")  # id -> display name, labels, parent, times

    def visible(self, name: str) -> Project:
        """By `projects/P` or `P`, id or number. Raises 403 for what the caller may not see."""
        project = self.named(name)
        self.require("resourcemanager.projects.get", project)
        return project

    def all_visible(self) -> list[Project]:
        return [p for p in self._cloud.projects.all() if self.allows("resourcemanager.projects.get", p)]

    def shown(self, project: Project) -> pb.Project:
        about = self._about(project)
        shown = pb.Project(
            name=f"projects/{project.number}",
            parent=about["parent"],
            project_id=project.id,
            state=pb.ACTIVE,
            display_name=about["displayName"],
            etag=about["etag"],
            labels=about["labels"],
        )
        shown.create_time.FromJsonString(about["createTime"])
        shown.update_time.FromJsonString(about["createTime"])
        return shown

    def _about(self, project: Project) -> dict[str, Any]:
        """What the core does not keep of a project; made at first sight for those that were there from the start."""
        about: dict[str, Any] = {"displayName": project.id, "labels": {}, "parent": ""}
        about |= self.about.find(project.id) or {}
        if "etag" not in about or "createTime" not in about:
            about.setdefault("createTime", self._cloud.clock.timestamp().ToJsonString())
            about["etag"] = f'W/"{secrets.token_hex(8)}"'
            self.about.put(project.id, about)
        return about

    def named(self, name: str) -> Project:
        return self._cloud.projects.get(name.removeprefix("projects/"))

    def allows(self, permission: str, project: Project) -> bool:
        return self._cloud.policies.allows(current_caller.get(), permission, f"projects/{project.id}")

    def require(self, permission: str, project: Project) -> None:
        if not self.allows(permission, project):
            raise plain(Code.PERMISSION_DENIED)


class Projects(Service):
    """Projects are looked up by id or by number; one that the caller may not see is denied, not missing."""

    host = "cloudresourcemanager.googleapis.com"
    grpc = "google.cloud.resourcemanager.v3.Projects"
    title = "Cloud Resource Manager API"

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._directory = cloud.shared(Directory)
        cloud.operations.register("resourcemanager.projects.create", self._created)

    @rpc("GET /v3/{name=projects/*}")
    async def get_project(self, request: pb.GetProjectRequest) -> pb.Project:
        return self._directory.shown(self._directory.visible(request.name))

    @rpc("GET /v3/projects")
    async def list_projects(self, request: pb.ListProjectsRequest) -> pb.ListProjectsResponse:
        _check_parent(request.parent)
        found = [
            shown
            for project in self._directory.all_visible()
            if (shown := self._directory.shown(project)).parent == request.parent
        ]
        items, token = listing.page(found, request.page_size, request.page_token, 300, 300)
        return pb.ListProjectsResponse(projects=items, next_page_token=token)

    @rpc("GET /v3/projects:search")
    async def search_projects(self, request: pb.SearchProjectsRequest) -> pb.SearchProjectsResponse:
        everything = [self._directory.shown(project) for project in self._directory.all_visible()]
        found = listing.matching(everything, _as_fields(request.query))
        items, token = listing.page(found, request.page_size, request.page_token, 300, 300)
        return pb.SearchProjectsResponse(projects=items, next_page_token=token)

    @rpc("POST /v3/projects", body="project")
    async def create_project(self, request: pb.CreateProjectRequest) -> operations_pb2.Operation:
        project = request.project
        if not PROJECT_ID.fullmatch(project.project_id):
            raise ApiError(Code.INVALID_ARGUMENT, f"field [project_id] has issue [{_issue(project.project_id)}]")
        if project.parent:
            _check_parent(project.parent)
        known = self.cloud.projects.find(project.project_id) is not None
        if known or self.cloud.operations.pending(project.project_id):
            raise plain(Code.ALREADY_EXISTS)
        about = {
            "displayName": project.display_name or project.project_id,
            "labels": dict(project.labels),
            "parent": project.parent,
            "createTime": self.cloud.clock.timestamp().ToJsonString(),
            "owner": current_caller.get().member,
        }
        self._directory.about.put(project.project_id, about)
        return self.cloud.operations.start(
            "", "resourcemanager.projects.create", project.project_id, pb.CreateProjectMetadata()
        )

    @rpc("POST /v3/{resource=projects/*}:getIamPolicy", "POST /v1/projects/{resource}:getIamPolicy", body="*")
    async def get_iam_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        project = self._directory.visible(request.resource)
        self._directory.require("resourcemanager.projects.getIamPolicy", project)
        return self.cloud.policies.shown(f"projects/{project.id}", request)

    @rpc("POST /v3/{resource=projects/*}:setIamPolicy", "POST /v1/projects/{resource}:setIamPolicy", body="*")
    async def set_iam_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        project = self._directory.visible(request.resource)
        self._directory.require("resourcemanager.projects.setIamPolicy", project)
        return self.cloud.policies.change(f"projects/{project.id}", request)

    @rpc(
        "POST /v3/{resource=projects/*}:testIamPermissions",
        "POST /v1/projects/{resource}:testIamPermissions",
        body="*",
    )
    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        project = self._directory.named(request.resource)
        if len(request.permissions) > MAX_PERMISSIONS:
            raise ApiError(Code.INVALID_ARGUMENT, f"At most {MAX_PERMISSIONS} permissions can be tested at once.")
        for permission in request.permissions:
            if not PERMISSION.fullmatch(permission) or permission in NOT_OF_PROJECTS:
                raise ApiError(Code.INVALID_ARGUMENT, f"Permission {permission} is not valid for this resource.")
        allowed = [p for p in request.permissions if self._directory.allows(p, project)]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=allowed)

    async def _created(self, project_id: str) -> pb.Project:
        """The creator becomes the owner, as at Google."""
        project = self.cloud.projects.create(project_id)
        owner = (self._directory.about.find(project_id) or {}).get("owner", "")
        policy = policy_pb2.Policy(bindings=[policy_pb2.Binding(role="roles/owner", members=[owner])])
        self.cloud.policies.set(f"projects/{project_id}", policy)
        return self._directory.shown(project)


class ProjectsV1(RestService):
    """The same projects as `gcloud projects` reads them."""

    host = Projects.host
    title = Projects.title
    errors = Family.ONE_PLATFORM

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._projects = cloud.shared(Directory)

    @route("GET /v1/projects/{project}", resource="projects/{project}")
    async def get(self, request: RestRequest) -> RestResponse:
        return RestResponse.of(self._shown(self._projects.visible(request.variables["project"])))

    @route("GET /v1/projects")
    async def list(self, request: RestRequest) -> RestResponse:
        size, token = _page_size(request.query), request.query.get("pageToken", "")
        everything = {project.id: project for project in self._projects.all_visible()}
        found = listing.matching(
            [self._projects.shown(project) for project in everything.values()],
            _as_fields(request.query.get("filter", "")),
        )
        items, following = listing.page(found, size, token, 500, 500)
        answer: dict[str, Any] = {"projects": [self._shown(everything[item.project_id]) for item in items]}
        return RestResponse.of(answer | ({"nextPageToken": following} if following else {}))

    def _shown(self, project: Project) -> dict[str, Any]:
        v3 = self._projects.shown(project)
        shown: dict[str, Any] = {
            "projectNumber": project.number,
            "projectId": project.id,
            "lifecycleState": "ACTIVE",
            "name": v3.display_name,
            "createTime": v3.create_time.ToJsonString(),
        }
        if v3.labels:
            shown["labels"] = dict(v3.labels)
        if v3.parent:
            kind, number = v3.parent.split("/")
            shown["parent"] = {"type": kind.removesuffix("s"), "id": number}
        return shown


def _as_fields(query: str) -> str:
    """The query's own words for fields: id, name and lifecycleState (v1) are projectId, displayName and state."""
    for word, field in (("id", "projectId"), ("name", "displayName"), ("lifecycleState", "state")):
        query = re.sub(rf"\b(?<![.\w]){word}(?=\s*[:=])", field, query)
    return query


def _check_parent(parent: str) -> None:
    if not PARENT.fullmatch(parent):
        raise ApiError(Code.INVALID_ARGUMENT, "field [parent] has issue [It must be organizations/ID or folders/ID]")


def _page_size(query: Mapping[str, str]) -> int:
    """Raises Google's 400 for what is no int32."""
    size = query.get("pageSize") or "0"
    if not re.fullmatch(r"-?\d{1,9}", size):
        raise ApiError(Code.INVALID_ARGUMENT, f"Invalid value at 'page_size' (TYPE_INT32), \"{size}\"")
    return int(size)


def _issue(project_id: str) -> str:
    if not 6 <= len(project_id) <= 30:
        return "The value must be between 6 and 30 characters"
    return "The value must start with a lowercase letter and hold lowercase letters, digits and hyphens only"
