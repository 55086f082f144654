"""Google's clients, each made when it is first used; default endpoints, one set per credential."""

from __future__ import annotations

import asyncio
from functools import cached_property

from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2AsyncClient
from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.cloud.run_v2 import (
    ExecutionsAsyncClient,
    JobsAsyncClient,
    RevisionsAsyncClient,
    ServicesAsyncClient,
    TasksAsyncClient,
)
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.service_usage_v1 import ServiceUsageAsyncClient
from google.cloud.sqladmin_v1 import (
    SqlInstancesServiceAsyncClient,
    SqlOperationsServiceAsyncClient,
    SqlUsersServiceAsyncClient,
)
from google.cloud.storage import Client
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from nuages.cloud.call import request_reason

POOL = 32  # connections to Cloud Storage: as many as calls at once


class Clients:
    """Belongs to the event loop in which the first call is made."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    @cached_property
    def services(self) -> ServicesAsyncClient:
        return ServicesAsyncClient(credentials=self._credentials)

    @cached_property
    def revisions(self) -> RevisionsAsyncClient:
        return RevisionsAsyncClient(credentials=self._credentials)

    @cached_property
    def jobs(self) -> JobsAsyncClient:
        return JobsAsyncClient(credentials=self._credentials)

    @cached_property
    def executions(self) -> ExecutionsAsyncClient:
        return ExecutionsAsyncClient(credentials=self._credentials)

    @cached_property
    def tasks(self) -> TasksAsyncClient:
        return TasksAsyncClient(credentials=self._credentials)

    @cached_property
    def sql_instances(self) -> SqlInstancesServiceAsyncClient:
        return SqlInstancesServiceAsyncClient(credentials=self._credentials)

    @cached_property
    def sql_users(self) -> SqlUsersServiceAsyncClient:
        return SqlUsersServiceAsyncClient(credentials=self._credentials)

    @cached_property
    def sql_operations(self) -> SqlOperationsServiceAsyncClient:
        return SqlOperationsServiceAsyncClient(credentials=self._credentials)

    @cached_property
    def secrets(self) -> SecretManagerServiceAsyncClient:
        return SecretManagerServiceAsyncClient(credentials=self._credentials)

    @cached_property
    def iam(self) -> IAMAsyncClient:
        return IAMAsyncClient(credentials=self._credentials)

    @cached_property
    def projects(self) -> ProjectsAsyncClient:
        return ProjectsAsyncClient(credentials=self._credentials)

    @cached_property
    def service_usage(self) -> ServiceUsageAsyncClient:
        return ServiceUsageAsyncClient(credentials=self._credentials)

    @cached_property
    def logging(self) -> LoggingServiceV2AsyncClient:
        return LoggingServiceV2AsyncClient(credentials=self._credentials)

    @cached_property
    def storage(self) -> Client:
        """Every call names its project; the client's own is never used."""
        return Client(project="none", credentials=self._credentials, _http=_session(self._credentials))

    async def close(self) -> None:
        """Close what was opened."""
        made = [value for name, value in vars(self).items() if name != "_credentials"]
        for client in made:
            if isinstance(client, Client):
                await asyncio.to_thread(client.close)
            else:
                await client.transport.close()


def _session(credentials: Credentials) -> AuthorizedSession:
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    session.mount("https://", HTTPAdapter(pool_maxsize=POOL))
    session.auth = _with_reason
    return session


def _with_reason(request: PreparedRequest) -> PreparedRequest:
    """Names to the audit log the object behind the call, as `Call` does for the asyncio clients."""
    request.headers["X-Goog-Request-Reason"] = request_reason.get()
    return request
