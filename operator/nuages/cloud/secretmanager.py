"""Driver of secrets (gcp/behaviour.md, section 3): the secret, and the one version that is current.

Made in three steps: the secret, a version, the annotation that names the version and what it was made of. After a
crash between any two the next pass goes on with what is there: a random payload is generated once, and one that can be
made again is compared before a version is added.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, SecretVersion
from google.cloud.secretmanager_v1.types import Secret as Found

from nuages.cloud.call import Call
from nuages.cloud.driver import NO_OUTPUTS, Observed, Owned
from nuages.cloud.errors import Conflict, VersionDisabled
from nuages.cloud.labels import besides_owner, merged
from nuages.cloud.paging import all_pages
from nuages.cloud.payloads import ANNOTATION, Made, Payloads, random_payload
from nuages.desired.resource import Owner
from nuages.desired.secretmanager import Random, Secret

ENABLED, DISABLED = SecretVersion.State.ENABLED, SecretVersion.State.DISABLED
PAGE = 25_000  # the most that the API gives
# Of one secret, by full name, across the drivers of all credentials: what tenants share gets one version.
_writers: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class SecretDriver:
    owned = Owned(mutable=("source", "labels"))

    def __init__(self, api: SecretManagerServiceAsyncClient, call: Call, payloads: Payloads) -> None:
        self._api, self._call, self._payloads = api, call, payloads

    def scope(self, name: str) -> str:
        return "/".join(name.split("/")[:2])

    async def observe_all(self, scope: str) -> Sequence[Observed[Secret]]:
        """Lists show no versions: whether the annotated one still is enabled is for a deep look."""
        found = await all_pages(self._call, self._api.list_secrets, {"parent": scope, "page_size": PAGE}, "secrets")
        # Answers name the project by its number.
        return [_observed(f"{scope}/secrets/{item.name.rsplit('/', 1)[1]}", item, deep=False) for item in found]

    async def observe(self, name: str) -> Observed[Secret] | None:
        found = await self._call.or_none(self._api.get_secret, {"name": name})
        if found is None:
            return None
        made = Made.of(found)
        is_usable = bool(made.version) and await self._state(name, made.version) == ENABLED
        return _observed(name, found, deep=True, is_usable=is_usable)

    async def deepen(self, listed: Observed[Secret]) -> Observed[Secret]:
        """Whether the version that the annotation names can be used."""
        version = listed.outputs.get("version", "")
        if version and await self._state(listed.state.name, version) == ENABLED:
            return replace(listed, deep=True)
        return replace(listed, state=replace(listed.state, source=""), outputs={}, deep=True)

    async def create(self, desired: Secret) -> None:
        secret = {"replication": {"automatic": {}}, "labels": merged({}, desired.owner, desired.labels)}
        request = {"parent": self.scope(desired.name), "secret_id": desired.id, "secret": secret}
        async with _writer(desired.name):
            found = await self._call(self._api.create_secret, request)
            await self._settle(desired, found, {})  # it cannot have versions yet

    async def update(self, desired: Secret, observed: Observed[Secret], paths: Sequence[str]) -> None:
        """Of the observed version: raises Conflict where it has changed since. What others put on it stays."""
        async with _writer(desired.name):
            await self._update(desired, observed, paths)

    async def _update(self, desired: Secret, observed: Observed[Secret], paths: Sequence[str]) -> None:
        found = await self._call(self._api.get_secret, {"name": desired.name})
        if found.etag != observed.etag:  # before a version is added that nobody asks for any more
            raise Conflict(f"The secret {desired.id} has changed since it was looked at.")
        if "labels" in paths or "owner" in paths:
            labels = merged(found.labels, desired.owner, desired.labels)
            found = await self._patch(desired.name, found, "labels", labels)
        if "source" in paths:
            await self._settle(desired, found, await self._versions(desired.name))

    async def retire(self, name: str, current: int, in_use: Collection[str]) -> int:
        """Disable the versions before `current` that nothing in use refers to; how many that were."""
        old = [
            number for number, state in (await self._versions(name)).items() if state == ENABLED and number < current
        ]
        spare = [number for number in old if str(number) not in in_use]
        for number in spare:
            await self._call(self._api.disable_secret_version, {"name": f"{name}/versions/{number}"})
        return len(spare)

    async def delete(self, name: str, etag: str = "") -> None:
        await self._call.or_none(self._api.delete_secret, {"name": name, "etag": etag})

    async def _settle(self, desired: Secret, found: Found, versions: dict[int, SecretVersion.State]) -> None:
        """A version with the payload that is wanted, then the annotation that names it."""
        version = await self._version(desired, Made.of(found), versions)
        annotations = {**found.annotations, ANNOTATION: str(Made(desired.source, version))}
        await self._patch(desired.name, found, "annotations", annotations)

    async def _version(self, desired: Secret, made: Made, versions: dict[int, SecretVersion.State]) -> str:
        """The number of the version to use: one that an interrupted pass has left, or a new one."""
        payload = await self._payloads.derived(desired)
        if payload is None:
            return await self._random_version(desired, made, versions)
        newest = max((number for number, state in versions.items() if state == ENABLED), default=0)
        if newest and await self._payloads.of_version(desired.name, str(newest)) == payload:
            return str(newest)
        return await self._add(desired.name, payload)

    async def _random_version(self, desired: Secret, made: Made, versions: dict[int, SecretVersion.State]) -> str:
        """Never generated again while it can still be had: what it opened knows no other.

        Raises VersionDisabled: whoever disabled it, after a leak perhaps, must not find it enabled again.
        """
        annotated = int(made.version or 0)
        if annotated in versions and made.source == desired.source:
            candidates = [annotated]
        else:  # of a rotation, what an interrupted pass has left behind
            candidates = [number for number in versions if number > annotated]
        if candidates:
            best = max(candidates, key=lambda number: (versions[number] == ENABLED, number))
            if versions[best] != ENABLED:
                raise VersionDisabled(f"version {best} is disabled.")
            return str(best)
        length = desired.payload.length if isinstance(desired.payload, Random) else Random().length
        return await self._add(desired.name, random_payload(length))

    async def _versions(self, name: str) -> dict[int, SecretVersion.State]:
        """All that are not destroyed, by number."""
        request = {"parent": name, "page_size": PAGE}
        found = await all_pages(self._call, self._api.list_secret_versions, request, "versions")
        return {int(v.name.rsplit("/", 1)[1]): v.state for v in found if v.state in (ENABLED, DISABLED)}

    async def _state(self, name: str, version: str) -> SecretVersion.State | None:
        found = await self._call.or_none(self._api.get_secret_version, {"name": f"{name}/versions/{version}"})
        return None if found is None else found.state

    async def _add(self, name: str, payload: bytes) -> str:
        request = {"parent": name, "payload": {"data": payload}}
        added = await self._call(self._api.add_secret_version, request)
        return added.name.rsplit("/", 1)[1]

    async def _patch(self, name: str, found: Found, field: str, value: dict[str, str]) -> Found:
        secret = {"name": name, "etag": found.etag, field: value}
        return await self._call(self._api.update_secret, {"secret": secret, "update_mask": {"paths": [field]}})


def _writer(name: str) -> asyncio.Lock:
    """Whoever comes second finds the version that the first has made, or the secret changed under its observation."""
    return _writers.setdefault(name, asyncio.Lock())


def _observed(name: str, found: Found, *, deep: bool, is_usable: bool = True) -> Observed[Secret]:
    """A version that cannot be used counts as made of nothing, so that the plan has it made good."""
    made = Made.of(found) if is_usable else Made()
    labels = dict(found.labels)
    state = Secret(
        name=sys.intern(name),
        owner=Owner.of_labels(labels),
        payload=Random(),  # Google does not know how it came to be
        source=made.source,
        labels=besides_owner(labels),
    )
    outputs = {"version": sys.intern(made.version)} if made.version else NO_OUTPUTS
    return Observed(state, outputs=outputs, etag=found.etag, deep=deep)
