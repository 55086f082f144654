"""Resource Manager, through Google's client and over REST as gcloud calls it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.iam.v1 import policy_pb2

from localcloud.localcloud import LocalCloud

NUMBER = "187635794409"
SOMEONE = "someone@example.com"


async def test_a_project_is_found_by_id_and_number(simulated: LocalCloud, clients: Any) -> None:
    """And answers with both."""
    projects = clients(ProjectsAsyncClient)
    for name in ("projects/demo", f"projects/{NUMBER}"):
        found = await projects.get_project(name=name)
        assert (found.name, found.project_id, found.state.name) == (f"projects/{NUMBER}", "demo", "ACTIVE")


async def test_what_cannot_be_seen_is_denied(simulated: LocalCloud, clients: Any) -> None:
    """Google does not tell whether it exists."""
    with pytest.raises(exceptions.PermissionDenied, match="The caller does not have permission"):
        await clients(ProjectsAsyncClient).get_project(name="projects/no-such-project")
    stranger = clients(ProjectsAsyncClient, token=simulated.core.tokens.issue(SOMEONE))
    with pytest.raises(exceptions.PermissionDenied, match="The caller does not have permission"):
        await stranger.get_project(name="projects/demo")


async def test_a_new_project_belongs_to_its_creator(simulated: LocalCloud, clients: Any) -> None:
    """Created by an operation, found by search."""
    projects = clients(ProjectsAsyncClient, token=simulated.core.tokens.issue(SOMEONE))
    project = {"project_id": "acme-prod", "display_name": "Acme", "labels": {"env": "prod"}}
    made = await (await projects.create_project(request={"project": project})).result(timeout=10)
    assert (made.project_id, made.display_name) == ("acme-prod", "Acme")
    found = [p.project_id async for p in await projects.search_projects(query="labels.env:prod")]
    assert found == ["acme-prod"]
    policy = await projects.get_iam_policy(resource="projects/acme-prod")
    assert [(b.role, list(b.members)) for b in policy.bindings] == [("roles/owner", [f"user:{SOMEONE}"])]
    with pytest.raises(exceptions.AlreadyExists):
        await projects.create_project(request={"project": project})


async def test_policies_are_replaced_under_an_etag(simulated: LocalCloud, clients: Any) -> None:
    """A stale etag aborts; conditions want version 3."""
    projects = clients(ProjectsAsyncClient)
    binding = policy_pb2.Binding(role="roles/run.viewer", members=[f"user:{SOMEONE}"])
    first = await projects.get_iam_policy(resource="projects/demo")
    policy = policy_pb2.Policy(bindings=[*first.bindings, binding], etag=first.etag)
    await projects.set_iam_policy(request={"resource": "projects/demo", "policy": policy})
    with pytest.raises(exceptions.Aborted, match="There were concurrent policy changes"):
        await projects.set_iam_policy(request={"resource": f"projects/{NUMBER}", "policy": policy})


async def test_permissions_are_tested_for_the_caller(simulated: LocalCloud, clients: Any) -> None:
    """The subset that is held; one wildcard or stranger spoils the call."""
    stranger = clients(ProjectsAsyncClient, token=simulated.core.tokens.issue(SOMEONE))
    binding = policy_pb2.Binding(role="roles/run.viewer", members=[f"user:{SOMEONE}"])
    simulated.core.policies.set("projects/demo", policy_pb2.Policy(bindings=[binding]))
    asked = ["run.services.get", "run.services.create"]
    answer = await stranger.test_iam_permissions(resource="projects/demo", permissions=asked)
    assert list(answer.permissions) == ["run.services.get"]
    for wrong in ("run.*", "resourcemanager.projects.create"):
        with pytest.raises(exceptions.InvalidArgument):
            await stranger.test_iam_permissions(resource="projects/demo", permissions=[wrong])


async def test_v1_reads_as_gcloud_wants_it(simulated: LocalCloud) -> None:
    """projectNumber as text, lifecycleState, and the policy by POST."""
    headers = {"Host": "cloudresourcemanager.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as http:
        one = await (await http.get(f"{simulated.rest}/v1/projects/demo")).json()
        assert (one["projectNumber"], one["projectId"], one["lifecycleState"]) == (NUMBER, "demo", "ACTIVE")
        listed = await (await http.get(f"{simulated.rest}/v1/projects?filter=id:demo")).json()
        assert [project["projectId"] for project in listed["projects"]] == ["demo"]
        listed = await (await http.get(f"{simulated.rest}/v1/projects?filter=lifecycleState:ACTIVE+id:none")).json()
        assert listed == {"projects": []}
        policy = await (await http.post(f"{simulated.rest}/v1/projects/demo:getIamPolicy", json={})).json()
        assert policy["etag"]


@pytest.mark.parametrize("parent", ["weird", "folders/", "folders/abc", "projects/1"])
async def test_a_parent_is_a_folder_or_an_organization(simulated: LocalCloud, clients: Any, parent: str) -> None:
    """Another is refused before anything is made, and lists go on."""
    projects = clients(ProjectsAsyncClient)
    with pytest.raises(exceptions.InvalidArgument, match="parent"):
        await projects.create_project(request={"project": {"project_id": "acme-prod", "parent": parent}})
    headers = {"Host": "cloudresourcemanager.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as http:
        listed = await (await http.get(f"{simulated.rest}/v1/projects")).json()
        assert [project["projectId"] for project in listed["projects"]] == ["demo"]
        assert (await http.get(f"{simulated.rest}/v1/projects?pageSize=a")).status == 400


async def test_an_id_is_taken_from_the_call_on(simulated: LocalCloud, clients: Any) -> None:
    """The operation that makes the project need not have ended."""
    projects = clients(ProjectsAsyncClient)
    request = {"project": {"project_id": "acme-prod", "parent": "folders/123"}}
    operation = await projects.create_project(request=request)
    with pytest.raises(exceptions.AlreadyExists):
        await projects.create_project(request=request)
    assert (await operation.result(timeout=10)).parent == "folders/123"
