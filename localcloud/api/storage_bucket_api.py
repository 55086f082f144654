"""Buckets of Cloud Storage and their policies: JSON API v1 (gcp/behaviour.md, section 4)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from google.iam.v1 import policy_pb2
from google.protobuf import json_format

from localcloud.api import storage_buckets as rules
from localcloud.api.listing import page
from localcloud.api.storage_base import (
    MOST_RESULTS,
    Preconditions,
    StorageBase,
    every,
    flag,
    page_size,
    policy_name,
    precondition_failed,
    refuse_lists,
)
from localcloud.api.storage_types import invalid, whole
from localcloud.core.bindings import at_version
from localcloud.core.errors import ApiError, Code, not_modelled
from localcloud.core.identity import ANONYMOUS
from localcloud.core.rest import RestRequest, RestResponse, route

B = "/storage/v1/b"
PARENT = "projects/{project}"
RESOURCE = "projects/_/buckets/{bucket}"
NO_CONTENT = RestResponse(204, b"", {"Content-Type": "application/json"})
PUBLIC = frozenset({"allUsers", "allAuthenticatedUsers"})


class BucketRoutes(StorageBase):
    """All open to the gateway: each call is judged by the bucket's policy and its project's."""

    @route(f"POST {B}", resource=PARENT, open=True)
    async def insert_bucket(self, request: RestRequest) -> RestResponse:
        project = request.query.get("project", "")
        if not project:
            raise ApiError(Code.INVALID_ARGUMENT, "Required parameter: project", reason="required")
        found = self.cloud.projects.find(project)
        if found is None:
            raise invalid(f"Unknown project id: {project}")
        self._require_on_project("storage.buckets.create", found.id)
        body = request.json()
        there = self.buckets.find(str(body.get("name", "")))
        if there is not None:
            mine = there["_project"] == found.id
            raise ApiError(Code.ALREADY_EXISTS, TAKEN_BY_YOU if mine else TAKEN, reason="conflict")
        if self.cloud.simulate and flag(request.query, "enableObjectRetention"):
            body["objectRetention"] = {"mode": "Enabled"}
        generation = str(time.time_ns() // 1000)
        bucket = rules.created(body, found.number, generation, self.cloud.simulate) | {"_project": found.id}
        refuse_lists(request.query, bucket)
        self.objects.create_bucket(bucket["name"])
        self.buckets.put(bucket["name"], bucket)
        self.cloud.policies.set(policy_name(bucket["name"]), _default_policy(found.id, rules.uniform(bucket)))
        return RestResponse.of(rules.shown(bucket, request.query.get("projection") == "full"))

    @route(f"GET {B}", resource=PARENT, open=True)
    async def list_buckets(self, request: RestRequest) -> RestResponse:
        project = self.cloud.projects.find(request.query.get("project", ""))
        if project is None:
            raise invalid(f"Unknown project id: {request.query.get('project', '')}")
        self._require_on_project("storage.buckets.list", project.id)
        if flag(request.query, "softDeleted"):
            raise not_modelled("soft-deleted buckets")
        prefix = request.query.get("prefix", "")
        found = [b for name, b in sorted(self.buckets.items(prefix)) if b["_project"] == project.id]
        size = page_size(request.query)
        shown, token = page(found, size, request.query.get("pageToken", ""), MOST_RESULTS, MOST_RESULTS)
        answer: dict[str, Any] = {"kind": "storage#buckets"}
        if shown:
            full = request.query.get("projection") == "full"
            answer["items"] = [rules.shown(bucket, full) for bucket in shown]
        if token:
            answer["nextPageToken"] = token
        return RestResponse.of(answer)

    @route(f"GET {B}/{{bucket}}", resource=RESOURCE, open=True)
    async def get_bucket(self, request: RestRequest) -> RestResponse:
        bucket = self.bucket(request.variables["bucket"], "storage.buckets.get")
        if flag(request.query, "softDeleted"):
            raise not_modelled("soft-deleted buckets")
        Preconditions.of(request.query).check(bucket)
        return RestResponse.of(rules.shown(bucket, request.query.get("projection") == "full"))

    @route(f"PATCH {B}/{{bucket}}", resource=RESOURCE, open=True)
    async def patch_bucket(self, request: RestRequest) -> RestResponse:
        return self._write(request, rules.patched)

    @route(f"PUT {B}/{{bucket}}", resource=RESOURCE, open=True)
    async def update_bucket(self, request: RestRequest) -> RestResponse:
        return self._write(request, rules.replaced)

    @route(f"DELETE {B}/{{bucket}}", resource=RESOURCE, open=True)
    async def delete_bucket(self, request: RestRequest) -> RestResponse:
        bucket = self.bucket(request.variables["bucket"], "storage.buckets.delete")
        Preconditions.of(request.query).check(bucket)
        if await self.objects.list(bucket["name"], versions=True):
            raise ApiError(Code.ALREADY_EXISTS, "The bucket you tried to delete is not empty.", reason="conflict")
        self.buckets.remove(bucket["name"])
        self.cloud.policies.remove(policy_name(bucket["name"]))
        await self.objects.delete_bucket(bucket["name"])
        return NO_CONTENT

    @route(f"GET {B}/{{bucket}}/storageLayout", resource=RESOURCE, open=True)
    async def storage_layout(self, request: RestRequest) -> RestResponse:
        """What gcloud asks before it copies."""
        bucket = self.bucket_of(request.variables["bucket"], request.query.get("prefix", ""), "storage.objects.list")
        return RestResponse.of(
            {
                "kind": "storage#storageLayout",
                "bucket": bucket["name"],
                "location": bucket["location"],
                "locationType": bucket["locationType"],
                "hierarchicalNamespace": {"enabled": False},
            }
        )

    @route(f"GET {B}/{{bucket}}/managedFolders", resource=RESOURCE, open=True)
    async def list_managed_folders(self, request: RestRequest) -> RestResponse:
        """gcloud asks before it removes a bucket; none can be made here, so there is none."""
        self.bucket(request.variables["bucket"], "storage.managedFolders.list")
        return RestResponse.of({"kind": "storage#managedFolders"})

    # policies

    @route(f"GET {B}/{{bucket}}/iam", resource=RESOURCE, open=True)
    async def get_policy(self, request: RestRequest) -> RestResponse:
        bucket = self.bucket(request.variables["bucket"], "storage.buckets.getIamPolicy")
        policy = self.cloud.policies.get(policy_name(bucket["name"]))
        return RestResponse.of(_policy(bucket["name"], at_version(policy, _policy_version(request.query))))

    @route(f"PUT {B}/{{bucket}}/iam", resource=RESOURCE, open=True)
    async def set_policy(self, request: RestRequest) -> RestResponse:
        bucket = self.bucket(request.variables["bucket"], "storage.buckets.setIamPolicy")
        body = {name: value for name, value in request.json().items() if name in ("bindings", "etag", "version")}
        try:
            policy = json_format.ParseDict(body, policy_pb2.Policy())
        except json_format.ParseError as error:
            raise invalid(f"Invalid policy: {error}") from None
        public = {member for binding in policy.bindings for member in binding.members} & PUBLIC
        if public and rules.prevents_public_access(bucket):
            raise ApiError(
                Code.CONDITION_NOT_MET,
                "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access prevention "
                "is enforced.",
                reason="conditionNotMet",
            )
        try:
            made = self.cloud.policies.set(policy_name(bucket["name"]), policy)
        except ApiError as error:
            if error.code is Code.ABORTED:  # this API has no 409 for it
                raise precondition_failed() from None
            raise
        self.buckets.put(
            bucket["name"], rules.patched(bucket, {}, self.cloud.simulate) | {"_project": bucket["_project"]}
        )
        return RestResponse.of(_policy(bucket["name"], made))

    @route(f"GET {B}/{{bucket}}/iam/testPermissions", resource=RESOURCE, open=True)
    async def test_permissions(self, request: RestRequest) -> RestResponse:
        bucket = self.buckets.find(request.variables["bucket"])
        if bucket is None:
            raise ApiError(Code.NOT_FOUND, "The specified bucket does not exist.", reason="notFound")
        answer: dict[str, Any] = {"kind": "storage#testIamPermissionsResponse"}
        allowed = [p for p in every(request, "permissions") if self.allows(bucket, p)]
        return RestResponse.of(answer | ({"permissions": allowed} if allowed else {}))

    # refused by name

    @route(
        *(
            f"{verb} {B}/{{bucket}}/{what}"
            for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")
            for what in ("acl", "acl/{entity}", "defaultObjectAcl", "defaultObjectAcl/{entity}")
        ),
        open=True,
    )
    async def access_lists(self, request: RestRequest) -> RestResponse:
        bucket = self.bucket(request.variables["bucket"], "storage.buckets.getIamPolicy")
        if rules.uniform(bucket):
            raise invalid(
                "Cannot use ACL API to update bucket policy when uniform bucket-level access is enabled. Read more at "
                "https://cloud.google.com/storage/docs/uniform-bucket-level-access"
            )
        raise not_modelled("access control lists of buckets")

    @route("POST /batch/storage/v1", "POST /batch", open=True)
    async def batch(self, request: RestRequest) -> RestResponse:
        raise not_modelled("batch requests of Cloud Storage")

    def _write(self, request: RestRequest, change: Any) -> RestResponse:
        bucket = self.bucket(request.variables["bucket"], "storage.buckets.update")
        Preconditions.of(request.query).check(bucket)
        refuse_lists(request.query, bucket)
        made = change(bucket, request.json(), self.cloud.simulate) | {"_project": bucket["_project"]}
        self.buckets.put(made["name"], made)
        return RestResponse.of(rules.shown(made, request.query.get("projection", "full") == "full"))

    def _require_on_project(self, permission: str, project: str) -> None:
        if self.caller is ANONYMOUS or not self.cloud.policies.allows(self.caller, permission, f"projects/{project}"):
            who = self.caller.email or "Anonymous caller"
            raise ApiError(
                Code.PERMISSION_DENIED if self.caller.email else Code.UNAUTHENTICATED,
                f"{who} does not have {permission} access to the Google Cloud project. Permission '{permission}' "
                "denied on resource (or it may not exist).",
                reason="forbidden" if self.caller.email else "required",
            )


TAKEN_BY_YOU = "Your previous request to create the named bucket succeeded and you already own it."
TAKEN = (
    "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please "
    "select a different name and try again."
)


def _default_policy(project: str, is_uniform: bool) -> policy_pb2.Policy:
    """Bindings of a fresh bucket for its project's basic roles."""
    owners = [f"projectEditor:{project}", f"projectOwner:{project}"]
    kinds = ("Bucket", "Object") if is_uniform else ("Bucket",)
    policy = policy_pb2.Policy()
    for kind in kinds:
        policy.bindings.add(role=f"roles/storage.legacy{kind}Owner", members=owners)
        policy.bindings.add(role=f"roles/storage.legacy{kind}Reader", members=[f"projectViewer:{project}"])
    return policy


def _policy_version(query: Mapping[str, str]) -> int:
    """The one that the caller can read; Google's default is the oldest."""
    return whole(query.get("optionsRequestedPolicyVersion") or 0, "optionsRequestedPolicyVersion")


def _policy(bucket: str, policy: policy_pb2.Policy) -> dict[str, Any]:
    shown = json_format.MessageToDict(policy)
    shown.pop("auditConfigs", None)
    return {"kind": "storage#policy", "resourceId": policy_name(bucket), "version": 1, **shown}
