"""Policies over REST, as Terraform, gcloud and Config Connector write and read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.iam.v1 import policy_pb2
from google.type import expr_pb2

from localcloud.core.identity import Caller
from localcloud.localcloud import LocalCloud

PROJECT = ("cloudresourcemanager.googleapis.com", "/v1/projects/demo")
AUDIT = {"service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ"}]}
VIEWERS = {"role": "roles/viewer", "members": ["user:a@example.com"]}
TITLED = {"title": "t", "expression": "resource.name == 'x'"}
CONDITIONAL = {**VIEWERS, "condition": TITLED}


class Rest:
    """JSON to and from Google's hosts."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, verb: str, host: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self._session.request(verb, path, json=body, headers={"Host": host}) as answer:
            return answer.status, await answer.json()

    async def get(self, version: int | None = None) -> Any:
        body = {} if version is None else {"options": {"requestedPolicyVersion": version}}
        return await self("POST", PROJECT[0], f"{PROJECT[1]}:getIamPolicy", body)

    async def set(self, policy: dict[str, Any], mask: str = "") -> Any:
        body = {"policy": policy, **({"updateMask": mask} if mask else {})}
        return await self("POST", PROJECT[0], f"{PROJECT[1]}:setIamPolicy", body)


@pytest.fixture
async def rest(simulated: LocalCloud) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession(simulated.rest, headers={"Authorization": "Bearer any"}) as session:
        yield Rest(session)


# masks


async def test_a_mask_keeps_what_it_does_not_name(rest: Rest) -> None:
    """Audit settings alone leave the bindings; so google_project_iam_audit_config never touches them."""
    await rest.set({"bindings": [VIEWERS]})
    status, answer = await rest.set({"auditConfigs": [AUDIT]}, "auditConfigs")
    assert (status, answer["bindings"], answer["auditConfigs"]) == (200, [VIEWERS], [AUDIT])
    _, answer = await rest.set({"bindings": []}, "bindings,etag")
    assert ("bindings" in answer, answer["auditConfigs"]) == (False, [AUDIT])


async def test_without_a_mask_bindings_and_etag_are_written(rest: Rest) -> None:
    """The default that iam_policy.proto names: audit settings are neither set nor lost."""
    _, answer = await rest.set({"bindings": [VIEWERS], "auditConfigs": [AUDIT]})
    assert "auditConfigs" not in answer
    await rest.set({"auditConfigs": [AUDIT]}, "auditConfigs")
    _, answer = await rest.set({"bindings": []})
    assert ("bindings" in answer, answer["auditConfigs"]) == (False, [AUDIT])


async def test_an_etag_that_the_mask_leaves_out_is_not_judged(rest: Rest) -> None:
    """With it in the mask the same write aborts."""
    stale = (await rest.get())[1]["etag"]
    await rest.set({"bindings": [VIEWERS]})
    assert (await rest.set({"bindings": [], "etag": stale}, "bindings,etag"))[0] == 409
    assert (await rest.set({"bindings": [], "etag": stale}, "bindings"))[0] == 200


async def test_a_mask_names_fields_of_a_policy(rest: Rest) -> None:
    """Another is a 400, and nothing is written."""
    await rest.set({"bindings": [VIEWERS]})
    assert (await rest.set({"bindings": []}, "roles"))[0] == 400
    assert (await rest.get())[1]["bindings"] == [VIEWERS]


@pytest.mark.parametrize(
    ("host", "make", "body", "resource"),
    [
        (
            "secretmanager.googleapis.com",
            "/v1/projects/demo/secrets?secretId=s",
            {"replication": {"automatic": {}}},
            "/v1/projects/demo/secrets/s",
        ),
        (
            "iam.googleapis.com",
            "/v1/projects/demo/serviceAccounts",
            {"accountId": "web-app"},
            "/v1/projects/demo/serviceAccounts/web-app@demo.iam.gserviceaccount.com",
        ),
    ],
)
async def test_masks_hold_for_every_resource(rest: Rest, host: str, make: str, body: Any, resource: str) -> None:
    """Secrets and accounts judge them as projects do."""
    await rest("POST", host, make, body)
    bound = {"policy": {"bindings": [VIEWERS]}}
    assert (await rest("POST", host, f"{resource}:setIamPolicy", bound))[0] == 200
    audited = {"policy": {"auditConfigs": [AUDIT]}, "updateMask": "auditConfigs"}
    assert (await rest("POST", host, f"{resource}:setIamPolicy", audited))[1]["bindings"] == [VIEWERS]


# versions and members


async def test_conditions_are_shown_to_who_asks_for_version_3(rest: Rest) -> None:
    """Others see version 1, roles whose name says that something is missing, and no condition."""
    plain = {"role": "roles/browser", "members": ["user:b@example.com"]}
    await rest.set({"version": 3, "bindings": [plain, CONDITIONAL]})
    _, whole = await rest.get(3)
    assert (whole["version"], whole["bindings"]) == (3, [plain, CONDITIONAL])
    for version in (None, 1):
        _, older = await rest.get(version)
        shown, hidden = older["bindings"]
        assert (older["version"], older["etag"], shown) == (1, whole["etag"], plain)
        assert hidden["role"].startswith("roles/viewer_withcond_")
        assert "condition" not in hidden
    assert (await rest.get(2))[0] == 400


async def test_a_bucket_hides_conditions_in_the_same_way(rest: Rest, bucket: Any) -> None:
    """Its parameter is optionsRequestedPolicyVersion."""
    host, path = "storage.googleapis.com", "/storage/v1/b/demo-media/iam"
    assert (await rest("PUT", host, path, {"version": 3, "bindings": [CONDITIONAL]}))[0] == 200
    _, older = await rest("GET", host, path)
    assert (older["version"], older["bindings"][0]["role"][:22]) == (1, "roles/viewer_withcond_")
    _, whole = await rest("GET", host, f"{path}?optionsRequestedPolicyVersion=3")
    assert (whole["version"], whole["bindings"]) == (3, [CONDITIONAL])


async def test_members_are_kept_in_lower_case_and_once(rest: Rest) -> None:
    """E-mails and domains; the identifiers of federated identities keep their case."""
    pool = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/P/subject/Sub"
    members = ["user:A@Example.com", "user:a@example.com", "domain:Example.com", pool]
    _, answer = await rest.set({"bindings": [{"role": "roles/viewer", "members": members}]})
    assert answer["bindings"][0]["members"] == ["user:a@example.com", "domain:example.com", pool]


# roles


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("viewer", "The role name must be in the form"),
        ("roles/no-dash.allowed", "The role name must be in the form"),
        ("roles/securityReviewer", "Role roles/securityReviewer is not supported for this resource."),
        ("roles/viewer_withcond_abc123", "Role roles/viewer_withcond_abc123 is not supported for this resource."),
    ],
)
async def test_what_can_be_no_role_is_refused(rest: Rest, role: str, message: str) -> None:
    """In the words of Google's 400."""
    status, answer = await rest.set({"bindings": [{**VIEWERS, "role": role}]})
    assert status == 400
    assert answer["error"]["message"].startswith(message)


async def _as(simulated: LocalCloud, role: str) -> dict[str, str]:
    """Headers of someone who has the role in the project, and nothing else."""
    binding = policy_pb2.Binding(role=role, members=["user:dev@example.com"])
    simulated.core.policies.set("projects/demo", policy_pb2.Policy(bindings=[binding]))
    return {"Authorization": f"Bearer {simulated.core.tokens.issue('dev@example.com')}"}


@pytest.mark.parametrize(
    ("role", "held", "not_held"),
    [
        (
            "roles/editor",
            "run.services.update iam.serviceAccounts.actAs secretmanager.versions.add storage.buckets.create "
            "artifactregistry.repositories.uploadArtifacts resourcemanager.projects.getIamPolicy",
            "run.services.setIamPolicy secretmanager.secrets.setIamPolicy iam.serviceAccounts.setIamPolicy "
            "resourcemanager.projects.setIamPolicy secretmanager.versions.access iam.serviceAccounts.getAccessToken "
            "iam.serviceAccounts.signBlob iam.serviceAccounts.undelete storage.objects.get",
        ),
        (
            "roles/viewer",
            "run.services.get secretmanager.versions.get secretmanager.secrets.getIamPolicy storage.buckets.list",
            "secretmanager.versions.access storage.objects.get storage.buckets.get run.routes.invoke",
        ),
        (
            "roles/cloudsql.editor",
            "cloudsql.instances.update cloudsql.databases.create cloudsql.users.list",
            "cloudsql.instances.delete cloudsql.instances.create cloudsql.databases.delete cloudsql.users.create",
        ),
    ],
)
async def test_roles_hold_what_googles_hold(simulated: LocalCloud, role: str, held: str, not_held: str) -> None:
    """And no more."""
    headers = {**await _as(simulated, role), "Host": PROJECT[0]}
    asked = {"permissions": [*held.split(), *not_held.split()]}
    async with (
        aiohttp.ClientSession(simulated.rest, headers=headers) as session,
        session.post(f"{PROJECT[1]}:testIamPermissions", json=asked) as answer,
    ):
        assert (await answer.json())["permissions"] == held.split()


@pytest.mark.parametrize(("role", "written"), [("roles/editor", 200), ("roles/viewer", 403)])
@pytest.mark.parametrize("uniform", [True, False])
async def test_a_buckets_teams_are_who_has_the_basic_role(
    simulated: LocalCloud, rest: Rest, role: str, written: int, uniform: bool
) -> None:
    """projectEditor and projectViewer of its first policy, and of the lists of objects where there are some."""
    storage = "storage.googleapis.com"
    access = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": uniform}}}
    await rest("POST", storage, "/storage/v1/b?project=demo", {"name": "teams", **access})
    upload = "/upload/storage/v1/b/teams/o?uploadType=media&name="
    await rest("POST", storage, f"{upload}there", {"a": 1})
    headers = {**await _as(simulated, role), "Host": storage}
    async with aiohttp.ClientSession(simulated.rest, headers=headers) as session:
        for path in ("/storage/v1/b/teams", "/storage/v1/b/teams/o", "/storage/v1/b/teams/o/there"):
            async with session.get(path) as answer:
                assert answer.status == 200
        async with session.post(f"{upload}new", data=b"x") as answer:
            assert answer.status == written
        async with session.get("/storage/v1/b/teams/iam") as answer:
            assert answer.status == written


# conditions

INSTANCE = "projects/demo/instances/pg"
CONNECT = "cloudsql.instances.connect"


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        (f'resource.name == "{INSTANCE}"', True),
        (f"resource.name == '{INSTANCE}' && resource.service == 'sqladmin.googleapis.com'", True),
        (f'resource.name.startsWith("{INSTANCE[:-1]}")', True),
        (f'resource.name == "{INSTANCE}" && resource.service == "run.googleapis.com"', False),
        (f'resource.name == "{INSTANCE}" && request.time < timestamp("2020-01-01T00:00:00Z")', False),
        (f'resource.name == "{INSTANCE}" || resource.name == "x"', False),  # not modelled, so not granted
        (f'!(resource.name == "{INSTANCE}")', False),
        ('resource.name == "projects/demo/instances/other"', False),
    ],
)
async def test_a_condition_grants_only_what_all_of_it_says(simulated: LocalCloud, expression: str, holds: bool) -> None:
    """Each clause counts, and one that is not understood grants nothing."""
    email = "a@example.com"
    policy = policy_pb2.Policy(version=3)
    binding = policy.bindings.add(role="roles/cloudsql.client", members=[f"user:{email}"])
    binding.condition.CopyFrom(expr_pb2.Expr(title="t", expression=expression))
    simulated.core.policies.set("projects/demo", policy)
    assert simulated.core.policies.allows(Caller(email), CONNECT, INSTANCE) == holds
