"""Revisions of a Cloud Run service: what may still start, and with which secrets (behaviour-runtime.md, section 3)."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

from google.cloud import run_v2 as run

from nuages.cloud.call import Call
from nuages.cloud.paging import all_pages
from nuages.cloud.runmapping import reason_of
from nuages.cloud.runtemplate import environment
from nuages.desired.secretmanager import SecretRef

PAGE = 100
READY = {run.Condition.State.CONDITION_SUCCEEDED: True, run.Condition.State.CONDITION_FAILED: False}


@dataclass(frozen=True)
class Revision:
    """`ready` is None while it is being judged. `secret_versions`: full name and number of each that it needs."""

    name: str  # short
    ready: bool | None
    reason: str
    message: str
    image: str
    created: dt.datetime
    labels: tuple[tuple[str, str], ...] = ()
    secret_versions: tuple[tuple[str, str], ...] = ()
    service_account: str = ""
    cloud_sql: tuple[str, ...] = ()  # connection names


class Revisions:
    def __init__(self, api: run.RevisionsAsyncClient, call: Call) -> None:
        self._api, self._call = api, call
        self._seen: dict[str, tuple[list[Revision], float]] = {}  # by service: and when they were asked for

    async def seen(self, service: str, max_age: float) -> list[Revision]:
        """The same from an answer at most `max_age` seconds old, and not older than what we did about them."""
        now = time.monotonic()
        self._seen = {name: known for name, known in self._seen.items() if known[1] >= now - max_age}
        if service not in self._seen:
            found = await self.list(service)
            self._seen[service] = found, now
        return self._seen[service][0]

    async def list(self, service: str) -> list[Revision]:
        """Of a service (full name), newest first."""
        self._seen.pop(service, None)
        request = {"parent": service, "page_size": PAGE}
        found = await all_pages(self._call, self._api.list_revisions, request, "revisions")
        return sorted((_seen(item) for item in found), key=lambda item: item.created, reverse=True)

    async def delete(self, service: str, revision: str) -> None:
        """By short name; already gone is done. Raises Invalid for one that may receive traffic, or is the latest."""
        self._seen.pop(service, None)
        await self._call.or_none(self._api.delete_revision, {"name": f"{service}/revisions/{revision}"})


def _seen(found: run.Revision) -> Revision:
    condition = next((c for c in found.conditions if c.type_ == "Ready"), run.Condition())
    project = found.name.split("/")[1]
    variables = [pair for item in found.containers for pair in environment(item.env, project)]
    secrets = {(value.secret, value.version or "") for _, value in variables if isinstance(value, SecretRef)}
    return Revision(
        name=found.name.rsplit("/", 1)[1],
        ready=READY.get(condition.state),
        reason=reason_of(condition),
        message=condition.message,
        image=found.containers[0].image if found.containers else "",
        created=_time(found.create_time),
        labels=tuple(sorted(found.labels.items())),
        secret_versions=tuple(sorted(secrets)),
        service_account=found.service_account,
        cloud_sql=tuple(name for volume in found.volumes for name in volume.cloud_sql_instance.instances),
    )


def _time(stamp: Any) -> dt.datetime:
    """proto-plus gives a datetime where the type says Timestamp."""
    return stamp if isinstance(stamp, dt.datetime) else dt.datetime.fromtimestamp(0, dt.UTC)
