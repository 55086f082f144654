"""Driver of a project's Google APIs (gcp/behaviour-runtime.md, section 6). They are turned on, never off."""

from __future__ import annotations

from collections.abc import Sequence

from google.cloud.service_usage_v1 import ServiceUsageAsyncClient, State

from nuages.cloud.call import Call
from nuages.cloud.driver import Observed, Operation, Owned
from nuages.cloud.errors import Conflict, Invalid, of_operation
from nuages.cloud.paging import all_pages
from nuages.desired.iam import ProjectService

PAGE = 200  # the most that the API gives


class ProjectServiceDriver:
    owned = Owned()

    def __init__(self, api: ServiceUsageAsyncClient, call: Call) -> None:
        self._api, self._call = api, call

    def scope(self, name: str) -> str:
        return "/".join(name.split("/")[:2])

    async def observe_all(self, scope: str) -> Sequence[Observed[ProjectService]]:
        request = {"parent": scope, "filter": "state:ENABLED", "page_size": PAGE}
        found = await all_pages(self._call, self._api.list_services, request, "services")
        # Answers name the project by its number.
        return [Observed(ProjectService(name=f"{scope}/services/{item.name.rsplit('/', 1)[1]}")) for item in found]

    async def observe(self, name: str) -> Observed[ProjectService] | None:
        """None while it is off."""
        found = await self._call(self._api.get_service, {"name": name})
        return Observed(ProjectService(name=name)) if found.state == State.ENABLED else None

    async def create(self, desired: ProjectService) -> Operation:
        try:
            started = await self._call(self._api.enable_service, {"name": desired.name})
        except Invalid as error:
            if "in progress" in error.cause:  # one activation at a time in a project
                raise Conflict(error.cause) from error
            raise
        operation = started.operation
        why = of_operation(operation.error.code, operation.error.message)
        return Operation("serviceusage", operation.name, desired.name, operation.done, why)

    async def update(self, desired: ProjectService, observed: Observed[ProjectService], paths: Sequence[str]) -> None:
        """There is nothing of ours on it to change."""

    async def delete(self, name: str, etag: str = "") -> None:
        """Others may use it: it stays on."""
