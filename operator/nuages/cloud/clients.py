"""Google's clients, each made when it is first used; default endpoints, one set per credential."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud.iam_admin_v1 import IAMAsyncClient
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
    SqlBackupRunsServiceAsyncClient,
    SqlBackupsServiceAsyncClient,
    SqlInstancesServiceAsyncClient,
    SqlOperationsServiceAsyncClient,
    SqlUsersServiceAsyncClient,
)
from google.cloud.storage import Client
from requests import PreparedRequest

from nuages.cloud.call import request_reason
from nuages.cloud.deadline import BoundedAdapter

if TYPE_CHECKING:
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2AsyncClient

# As Google's own transports have it: answers may be of any size.
CHANNEL = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
POOL = 32  # connections to Cloud Storage: as many as calls at once

C = TypeVar("C")


class Clients:
    """Belongs to the event loop in which the first call is made."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    @cached_property
    def services(self) -> ServicesAsyncClient:
        return self._made(ServicesAsyncClient)

    @cached_property
    def revisions(self) -> RevisionsAsyncClient:
        return self._made(RevisionsAsyncClient)

    @cached_property
    def jobs(self) -> JobsAsyncClient:
        return self._made(JobsAsyncClient)

    @cached_property
    def executions(self) -> ExecutionsAsyncClient:
        return self._made(ExecutionsAsyncClient)

    @cached_property
    def tasks(self) -> TasksAsyncClient:
        return self._made(TasksAsyncClient)

    @cached_property
    def sql_instances(self) -> SqlInstancesServiceAsyncClient:
        return self._made(SqlInstancesServiceAsyncClient)

    @cached_property
    def sql_users(self) -> SqlUsersServiceAsyncClient:
        return self._made(SqlUsersServiceAsyncClient)

    @cached_property
    def sql_backup_runs(self) -> SqlBackupRunsServiceAsyncClient:
        return self._made(SqlBackupRunsServiceAsyncClient)

    @cached_property
    def sql_backups(self) -> SqlBackupsServiceAsyncClient:
        return self._made(SqlBackupsServiceAsyncClient)

    @cached_property
    def sql_operations(self) -> SqlOperationsServiceAsyncClient:
        return self._made(SqlOperationsServiceAsyncClient)

    @cached_property
    def secrets(self) -> SecretManagerServiceAsyncClient:
        return self._made(SecretManagerServiceAsyncClient)

    @cached_property
    def iam(self) -> IAMAsyncClient:
        return self._made(IAMAsyncClient)

    @cached_property
    def projects(self) -> ProjectsAsyncClient:
        return self._made(ProjectsAsyncClient)

    @cached_property
    def service_usage(self) -> ServiceUsageAsyncClient:
        return self._made(ServiceUsageAsyncClient)

    @cached_property
    def logging(self) -> LoggingServiceV2AsyncClient:
        # Imported here, for it takes 4 MB, and an operator at rest reads no log.
        from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2AsyncClient

        return self._made(LoggingServiceV2AsyncClient)

    @cached_property
    def storage(self) -> Client:
        """Every call names its project; the client's own is never used."""
        return Client(project="none", credentials=self._credentials, _http=_session(self._credentials))

    def _made(self, kind: Callable[..., C]) -> C:
        """Without credentials of its own: `Call` gives each call its token, and no thread is started for that."""
        client: Any = kind
        host = f"{client.DEFAULT_ENDPOINT}:443"
        channel = grpc.aio.secure_channel(host, grpc.ssl_channel_credentials(), options=CHANNEL)
        return kind(transport=client.get_transport_class("grpc_asyncio")(channel=channel))

    async def close(self) -> None:
        """Close what was opened."""
        made = [value for name, value in vars(self).items() if name != "_credentials"]
        for client in made:
            if isinstance(client, Client):
                await asyncio.to_thread(client.close)
            else:
                await client.transport.close()


def _session(credentials: Credentials) -> AuthorizedSession:
    # A 401 is told, like any failure: the session would refresh and write again after the call's deadline.
    session = AuthorizedSession(credentials, max_refresh_attempts=0)  # type: ignore[no-untyped-call]
    session.mount("https://", BoundedAdapter(pool_maxsize=POOL))
    session.auth = _with_reason
    return session


def _with_reason(request: PreparedRequest) -> PreparedRequest:
    """Names to the audit log the object behind the call, as `Call` does for the asyncio clients."""
    request.headers["X-Goog-Request-Reason"] = request_reason.get()
    return request
