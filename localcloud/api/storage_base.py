"""What all parts of the Cloud Storage API share: buckets and objects by name, permissions, preconditions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from multidict import MultiMapping

from localcloud.api import storage_buckets as rules
from localcloud.api.storage_types import invalid, whole
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, not_modelled
from localcloud.core.identity import ANONYMOUS, Caller, current_caller
from localcloud.core.rest import RestRequest, RestService
from localcloud.core.roles import permits
from localcloud.runtime.objects import Meta, ObjectStore

BUCKET, OBJECT = "Google Cloud Storage bucket", "Google Cloud Storage object"
MOST_RESULTS = 1000  # of one page of a list
INNER = ("_file",)


class NotModified(Exception):
    """A read whose `…NotMatch` precondition says that the caller has it already: 304."""


@dataclass(frozen=True)
class Preconditions:
    """Generations as the caller expects them; "" where it does not."""

    generation: str = ""
    not_generation: str = ""
    metageneration: str = ""
    not_metageneration: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], source: bool = False) -> Preconditions:
        """From `ifGenerationMatch` and its kin, or `ifSourceGenerationMatch`. Raises 400 for what is no number."""
        prefix = "ifSource" if source else "if"
        names = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        given = {name: query.get(prefix + name, "") for name in names}
        for name, value in given.items():
            if value:
                whole(value, prefix + name)
        return cls(*given.values())

    def check(self, there: Meta | None) -> None:
        """Raises 412; generation 0 means that nothing is there."""
        generation = "0" if there is None else str(there["generation"])
        metageneration = "0" if there is None else str(there["metageneration"])
        wrong = (
            (self.generation and self.generation != generation)
            or (self.metageneration and self.metageneration != metageneration)
            or (self.not_generation and self.not_generation == generation)
            or (self.not_metageneration and self.not_metageneration == metageneration)
        )
        if wrong:
            raise precondition_failed()

    def check_read(self, there: Meta) -> None:
        """The same for reads. Raises NotModified where only a `…NotMatch` fails."""
        Preconditions(self.generation, "", self.metageneration, "").check(there)
        same = (self.not_generation, there["generation"]), (self.not_metageneration, there["metageneration"])
        if any(given and given == actual for given, actual in same):
            raise NotModified


class StorageBase(RestService):
    """State and judgements; the routes are in the classes that derive from it."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.buckets = cloud.store.records("storage.buckets")
        self.sessions = cloud.store.records("storage.uploads")  # resumable uploads under way
        self.objects = ObjectStore(cloud.store, cloud.runtime.buckets)

    def bucket(self, name: str, permission: str) -> rules.Bucket:
        """The bucket, for who may do this to it. Raises 404 only to who may know."""
        found = self.buckets.find(name)
        if found is None:
            if self.caller is ANONYMOUS:
                raise _denied(self.caller, permission, BUCKET)
            raise ApiError(Code.NOT_FOUND, "The specified bucket does not exist.", reason="notFound")
        if not self.allows(found, permission):
            raise _denied(self.caller, permission, BUCKET)
        return found

    def bucket_of(self, name: str, object_name: str, permission: str) -> rules.Bucket:
        """The bucket of an object with which the caller may do this."""
        found = self.buckets.find(name)
        if found is None:
            raise ApiError(Code.NOT_FOUND, "The specified bucket does not exist.", reason="notFound")
        if not self.allows(found, permission, object_name):
            raise _denied(self.caller, permission, OBJECT)
        return found

    def allows(self, bucket: rules.Bucket, permission: str, object_name: str = "") -> bool:
        """Judged by the bucket's policy and its project's."""
        resource = policy_name(bucket["name"])
        if object_name:
            resource += f"/objects/{object_name}"
        project = bucket["_project"]
        return self.cloud.policies.allows(self.caller, permission, resource, parent=f"projects/{project}") or (
            bool(object_name) and not rules.uniform(bucket) and self._listed(permission, project)
        )

    def _listed(self, permission: str, project: str) -> bool:
        """What the access lists say that objects get by default: OWNER for owners and editors, READER for viewers."""
        roles = {"owners": "Owner", "editors": "Owner", "viewers": "Reader"}
        return any(
            permits(f"roles/storage.legacyObject{role}", permission)
            and self.cloud.policies.has_basic_role(self.caller, team, project)
            for team, role in roles.items()
        )

    @property
    def caller(self) -> Caller:
        return current_caller.get()

    async def object(self, bucket: str, name: str, generation: str = "") -> Meta:
        """Raises 404."""
        found = await self.objects.find(bucket, name, generation)
        if found is None:
            raise no_object(bucket, name)
        return found

    def require_unretained(self, bucket: rules.Bucket, there: Meta | None) -> None:
        """Raises 403 while the bucket's retention policy or a hold keeps the object."""
        if there is None:
            return
        name = f"{there['bucket']}/{there['name']}"
        if there.get("temporaryHold") or there.get("eventBasedHold"):
            raise _retained(f"Object '{name}' is under active Temporary hold and cannot be deleted or overwritten.")
        period = int(bucket.get("retentionPolicy", {}).get("retentionPeriod", 0))
        until = dt.datetime.fromisoformat(there["timeCreated"]) + dt.timedelta(seconds=period)
        if period and until > self.cloud.clock.now():
            raise _retained(
                f"Object '{name}' is subject to bucket's retention policy or object retention and cannot be deleted "
                f"or overwritten until {until.isoformat()}"
            )


def policy_name(bucket: str) -> str:
    """What conditions and policies call a bucket."""
    return f"projects/_/buckets/{bucket}"


def shown(meta: Meta) -> dict[str, Any]:
    """The object resource of a reply."""
    place = f"https://www.googleapis.com/storage/v1/b/{meta['bucket']}/o/{_quoted(meta['name'])}"
    download = f"https://storage.googleapis.com/download/storage/v1/b/{meta['bucket']}/o/{_quoted(meta['name'])}"
    return {
        "kind": "storage#object",
        "id": f"{meta['bucket']}/{meta['name']}/{meta['generation']}",
        "selfLink": place,
        "mediaLink": f"{download}?generation={meta['generation']}&alt=media",
        **{name: value for name, value in meta.items() if name not in INNER},
        "etag": rules.etag(meta["generation"], meta["metageneration"]),
    }


def every(request: RestRequest, name: str) -> list[str]:
    """All values of a query parameter that may be repeated."""
    query = request.query
    if isinstance(query, MultiMapping):
        return list(query.getall(name, []))
    return [query[name]] if name in query else []


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter; Python's client writes it with a capital."""
    return query.get(name, "").lower() == "true"


def page_size(query: Mapping[str, str]) -> int:
    """Of a list. Raises 400 for what is no number."""
    return whole(query.get("maxResults") or MOST_RESULTS, "maxResults")


def refuse_lists(query: Mapping[str, str], bucket: rules.Bucket) -> None:
    """Access control lists: forbidden in uniform buckets, as with Google; elsewhere not modelled."""
    for name in ("predefinedAcl", "predefinedDefaultObjectAcl", "destinationPredefinedAcl"):
        if query.get(name) and rules.uniform(bucket):
            raise invalid(
                "Cannot insert legacy ACL for an object when uniform bucket-level access is enabled. Read more at "
                "https://cloud.google.com/storage/docs/uniform-bucket-level-access"
            )
        if query.get(name) not in (None, "", "private", "projectPrivate", "bucketOwnerFullControl"):
            raise not_modelled(f"access control lists ({name})")


def no_object(bucket: str, name: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, f"No such object: {bucket}/{name}", reason="notFound")


def precondition_failed() -> ApiError:
    return ApiError(
        Code.CONDITION_NOT_MET,
        "At least one of the pre-conditions you specified did not hold.",
        reason="conditionNotMet",
    )


def _denied(caller: Caller, permission: str, what: str) -> ApiError:
    who = "Anonymous caller" if caller is ANONYMOUS or not caller.email else caller.email
    return ApiError(
        Code.UNAUTHENTICATED if who == "Anonymous caller" else Code.PERMISSION_DENIED,
        f"{who} does not have {permission} access to the {what}. Permission '{permission}' denied on resource "
        "(or it may not exist).",
        reason="required" if who == "Anonymous caller" else "forbidden",
    )


def _retained(message: str) -> ApiError:
    return ApiError(Code.PERMISSION_DENIED, message, reason="retentionPolicyNotMet")


def _quoted(name: str) -> str:
    return quote(name, safe="")
