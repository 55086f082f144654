"""Driver of buckets (gcp/behaviour.md, section 4): the one Google client here that has no asyncio form."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from google.api_core import exceptions as google
from google.cloud.storage import Client

from nuages.cloud.call import Call
from nuages.cloud.driver import Observed, Owned
from nuages.cloud.errors import Conflict, NotFound, Unfinished
from nuages.cloud.labels import besides_owner, merged
from nuages.desired.resource import Owner
from nuages.desired.storage import Bucket

AT_ONCE = 1000  # objects that one pass of a deletion takes


class BucketDriver:
    """One call a write. Who may read a bucket is its policy's to say: that is a driver of its own."""

    owned = Owned(
        mutable=("versioning", "uniform_bucket_level_access", "public_access_prevention", "labels"),
        immutable=("location",),
    )

    def __init__(self, api: Client, call: Call) -> None:
        self._api, self._call = api, call

    def scope(self, name: str) -> str:
        return "/".join(name.split("/")[:2])

    async def observe_all(self, scope: str) -> Sequence[Observed[Bucket]]:
        found = await self._call.in_thread("Buckets.list", self._list, scope.split("/")[1])
        return [_observed(scope, item) for item in found]

    async def observe(self, name: str) -> Observed[Bucket] | None:
        """A name that somebody else's project has is denied, which raises."""
        found = await self._get(name)
        return None if found is None else _observed(self.scope(name), found)

    async def create(self, desired: Bucket) -> None:
        bucket = self._api.bucket(desired.id)
        _assign(bucket, desired, self.owned.mutable)
        await self._call.in_thread(
            "Buckets.insert",
            self._api.create_bucket,
            bucket,
            project=desired.project,
            location=desired.location,
            retry=None,
        )

    async def update(self, desired: Bucket, observed: Observed[Bucket], paths: Sequence[str]) -> None:
        """Of the observed version: raises Conflict where it has changed since."""
        bucket = await self._get(desired.name)
        if bucket is None:
            raise NotFound(f"The bucket {desired.id} is not there.")
        _assign(bucket, desired, paths)
        generation = int(observed.etag)
        await self._call.in_thread("Buckets.patch", bucket.patch, if_metageneration_match=generation, retry=None)

    async def delete(self, name: str, etag: str = "") -> None:
        """With all that is in it, noncurrent versions too. Raises Unfinished while there is more than a pass takes."""
        bucket = self._api.bucket(name.rsplit("/", 1)[1])
        bound = {"if_metageneration_match": int(etag)} if etag else {}
        try:
            if etag:
                await self._require(name, etag)
            await self._empty(bucket)
            await self._call.in_thread("Buckets.delete", bucket.delete, **bound, retry=None)
        except NotFound:
            return

    async def _require(self, name: str, etag: str) -> None:
        """Before the first object goes. Raises NotFound, Conflict."""
        found = await self._get(name)
        if found is None:
            raise NotFound(f"The bucket {name} is not there.")
        if str(found.metageneration) != etag:
            raise Conflict(f"The bucket {found.name} has changed since it was looked at.")

    async def _empty(self, bucket: Any) -> None:
        found = await self._call.in_thread("Objects.list", self._objects, bucket.name)
        deletions = (self._call.in_thread("Objects.delete", self._delete_object, blob) for blob in found)
        failures = [item for item in await asyncio.gather(*deletions, return_exceptions=True) if item is not None]
        gone = len(found) - len(failures)
        if failures and not gone:
            raise failures[0]
        if failures or len(found) == AT_ONCE:
            raise Unfinished(f"{bucket.name} may still have objects: {gone} of them were deleted, the rest is next")

    def _objects(self, bucket: str) -> list[Any]:
        return list(self._api.list_blobs(bucket, versions=True, max_results=AT_ONCE, retry=None))

    def _delete_object(self, blob: Any) -> None:
        with contextlib.suppress(google.NotFound):  # an earlier try's answer was lost
            blob.bucket.delete_blob(blob.name, generation=blob.generation, retry=None)

    async def _get(self, name: str) -> Any:
        try:
            return await self._call.in_thread("Buckets.get", self._api.get_bucket, name.rsplit("/", 1)[1], retry=None)
        except NotFound:
            return None

    def _list(self, project: str) -> list[Any]:
        return list(self._api.list_buckets(project=project, retry=None))


def _assign(bucket: Any, desired: Bucket, paths: Sequence[str]) -> None:
    access = bucket.iam_configuration
    if "versioning" in paths:
        bucket.versioning_enabled = desired.versioning
    if "uniform_bucket_level_access" in paths:
        access.uniform_bucket_level_access_enabled = desired.uniform_bucket_level_access
    if "public_access_prevention" in paths:
        access.public_access_prevention = desired.public_access_prevention
    if "labels" in paths or "owner" in paths:
        bucket.labels = merged(bucket.labels, desired.owner, desired.labels)


def _observed(scope: str, found: Any) -> Observed[Bucket]:
    labels, access = dict(found.labels), found.iam_configuration
    state = Bucket(
        name=f"{scope}/buckets/{found.name}",
        owner=Owner.of_labels(labels),
        location=found.location,
        versioning=bool(found.versioning_enabled),
        uniform_bucket_level_access=bool(access.uniform_bucket_level_access_enabled),
        public_access_prevention=access.public_access_prevention,
        labels=besides_owner(labels),
    )
    return Observed(state, etag=str(found.metageneration))
