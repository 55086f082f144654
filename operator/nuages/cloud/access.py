"""Everything that one credential gives access to, and the credentials of all tenants."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from google.auth.credentials import Credentials

from nuages.cloud.backups import Backups
from nuages.cloud.call import CALL_TIMEOUT, Call
from nuages.cloud.clients import Clients
from nuages.cloud.credentials import Identity, application_default, impersonated
from nuages.cloud.drivers import Drivers
from nuages.cloud.executions import JobRuns
from nuages.cloud.images import Images
from nuages.cloud.inventory import Inventory
from nuages.cloud.logs import Logs
from nuages.cloud.operations import Operations
from nuages.cloud.payloads import Copies
from nuages.cloud.projects import Projects
from nuages.cloud.revisions import Revisions
from nuages.cloud.run import RunJobDriver


@dataclass(frozen=True)
class CloudAccess:
    """Google Cloud as one identity sees it."""

    drivers: Drivers
    inventory: Inventory
    runs: JobRuns
    revisions: Revisions
    logs: Logs
    images: Images
    operations: Operations
    backups: Backups
    projects: Projects
    identity: Identity

    @classmethod
    def of(cls, clients: Clients, call: Call, identity: Identity, copies: Copies) -> CloudAccess:
        drivers = Drivers(clients, call, copies)
        return cls(
            drivers=drivers,
            inventory=Inventory(drivers),
            runs=JobRuns(RunJobDriver(clients.jobs, call), clients.executions, clients.tasks, call),
            revisions=Revisions(clients.revisions, call),
            logs=Logs(lambda: clients.logging, call),
            images=Images(identity, call),
            operations=Operations(clients, call),
            backups=Backups(clients.sql_backup_runs, clients.sql_backups, call),
            projects=Projects(clients.projects, call),
            identity=identity,
        )


class Clouds:
    """One CloudAccess per identity, shared by all tenants that name it."""

    def __init__(
        self, copies: Copies, credentials: Credentials | None = None, call_timeout: float = CALL_TIMEOUT
    ) -> None:
        """`copies` reads the payload of a Kubernetes Secret; `credentials` default to the application's.

        `call_timeout`: seconds that one call may take.
        """
        self._copies, self._credentials, self._call_timeout = copies, credentials, call_timeout
        self._made: dict[str, CloudAccess] = {}
        self._opened: list[tuple[Call, Clients]] = []
        self._lock = asyncio.Lock()

    async def for_tenant(self, impersonate: str = "") -> CloudAccess:
        """As the service account with this email, "" for the operator's own credentials. Raises CloudError."""
        async with self._lock:
            if impersonate not in self._made:
                self._made[impersonate] = await self._make(impersonate)
            return self._made[impersonate]

    async def close(self) -> None:
        """After the last call that anybody waits for. Once it has returned, nothing that writes is sent any more."""
        for call, clients in self._opened:
            await call.all_ended()
            await clients.close()
        self._opened.clear()
        self._made.clear()

    async def _make(self, impersonate: str) -> CloudAccess:
        if self._credentials is None:
            self._credentials = await application_default()
        credentials = impersonated(self._credentials, impersonate) if impersonate else self._credentials
        call = Call(deadline=self._call_timeout)
        identity = Identity(credentials, call)
        call.bearer = identity
        if impersonate:
            await identity.access_token()  # a denial is told here; the clients would call it a lost connection
        clients = Clients(credentials)
        self._opened.append((call, clients))
        return CloudAccess.of(clients, call, identity, self._copies)
