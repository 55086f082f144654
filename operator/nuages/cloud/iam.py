"""Driver of service accounts (gcp/behaviour.md, section 5). The owner's marker is the description."""

from __future__ import annotations

from collections.abc import Sequence

from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.iam_admin_v1.types import ServiceAccount as Found

from nuages.cloud.call import Call
from nuages.cloud.driver import Observed, Owned, Readiness
from nuages.cloud.errors import Conflict
from nuages.cloud.paging import all_pages
from nuages.desired.iam import ServiceAccount
from nuages.desired.resource import Owner

PAGE = 100  # the most that the API gives


class ServiceAccountDriver:
    owned = Owned(mutable=("display_name",))

    def __init__(self, api: IAMAsyncClient, call: Call) -> None:
        self._api, self._call = api, call

    def scope(self, name: str) -> str:
        return "/".join(name.split("/")[:2])

    async def observe_all(self, scope: str) -> Sequence[Observed[ServiceAccount]]:
        request = {"name": scope, "page_size": PAGE}
        return [
            _observed(item)
            for item in await all_pages(self._call, self._api.list_service_accounts, request, "accounts")
        ]

    async def observe(self, name: str) -> Observed[ServiceAccount] | None:
        """For up to a minute after creation it may still be missing: the executor waits."""
        found = await self._call.or_none(self._api.get_service_account, {"name": name})
        return None if found is None else _observed(found)

    async def create(self, desired: ServiceAccount) -> None:
        account = {
            "display_name": desired.display_name,
            "description": desired.owner.text() if desired.owner is not None else "",
        }
        request = {
            "name": self.scope(desired.name),
            "account_id": desired.account_id,
            "service_account": account,
        }
        await self._call(self._api.create_service_account, request)

    async def update(self, desired: ServiceAccount, observed: Observed[ServiceAccount], paths: Sequence[str]) -> None:
        """The answer holds only what was changed, so that it tells nothing.

        The account's etag is deprecated and binds no write: what differs just before raises Conflict instead.
        """
        found = await self.observe(desired.name)
        if found is None or found.state != observed.state:
            raise Conflict(f"The service account {desired.account_id} has changed since it was looked at.")
        changes = {"name": desired.name}
        if "display_name" in paths:
            changes["display_name"] = desired.display_name
        if "owner" in paths and desired.owner is not None:
            changes["description"] = desired.owner.text()
        mask = {"paths": sorted(changes.keys() - {"name"})}
        await self._call(self._api.patch_service_account, {"service_account": changes, "update_mask": mask})

    async def delete(self, name: str, etag: str = "") -> None:
        await self._call.or_none(self._api.delete_service_account, {"name": name})


def _observed(found: Found) -> Observed[ServiceAccount]:
    state = ServiceAccount(name=found.name, owner=Owner.of_text(found.description), display_name=found.display_name)
    if found.disabled:
        return Observed(state, Readiness.FAILED, "The service account is disabled.", "Disabled")
    return Observed(state, outputs={"email": found.email, "unique_id": found.unique_id})
