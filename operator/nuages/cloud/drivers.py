"""Which driver serves which desired type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from nuages.cloud.call import Call
from nuages.cloud.clients import Clients
from nuages.cloud.driver import Driver
from nuages.cloud.iam import ServiceAccountDriver
from nuages.cloud.payloads import Copies, Payloads
from nuages.cloud.policies import PolicyApis
from nuages.cloud.policy import IamMemberDriver
from nuages.cloud.run import RunJobDriver, RunServiceDriver
from nuages.cloud.secretmanager import SecretDriver
from nuages.cloud.serviceusage import ProjectServiceDriver
from nuages.cloud.sql import ExistingSqlInstanceDriver, SqlInstanceDriver
from nuages.cloud.sqluser import SqlUserDriver
from nuages.cloud.storage import BucketDriver
from nuages.desired.iam import IamMember, ProjectService, ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import ExistingSqlInstance, SqlInstance, SqlUser
from nuages.desired.storage import Bucket

R = TypeVar("R", bound=Resource)


class Drivers:
    """The drivers of one credential; each is made, with its client, when it is first needed."""

    def __init__(self, clients: Clients, call: Call, copies: Copies) -> None:
        self._clients, self._call, self._copies = clients, call, copies
        self._made: dict[type[Resource], Driver[Any]] = {}

    def of(self, kind: type[R]) -> Driver[R]:
        """Raises KeyError for a type that has no driver, which is a bug."""
        if kind not in self._made:
            self._made[kind] = FACTORIES[kind](self, self._clients, self._call)
        return cast(Driver[R], self._made[kind])

    def all(self) -> tuple[type[Resource], ...]:
        """Every type that has a driver."""
        return tuple(FACTORIES)

    def payloads(self) -> Payloads:
        return Payloads(self._clients.secrets, self._call, self._copies)

    def secrets(self) -> SecretDriver:
        return SecretDriver(self._clients.secrets, self._call, self.payloads())

    def sql_users(self) -> SqlUserDriver:
        clients = self._clients
        return SqlUserDriver(
            clients.sql_users, clients.sql_instances, clients.sql_operations, self._call, self.payloads()
        )

    def sql_instances(self) -> SqlInstanceDriver:
        return SqlInstanceDriver(self._clients.sql_instances, self._clients.sql_operations, self._call)


Factory = Callable[[Drivers, Clients, Call], Driver[Any]]

FACTORIES: dict[type[Resource], Factory] = {
    ProjectService: lambda own, clients, call: ProjectServiceDriver(clients.service_usage, call),
    ServiceAccount: lambda own, clients, call: ServiceAccountDriver(clients.iam, call),
    IamMember: lambda own, clients, call: IamMemberDriver(PolicyApis(clients, call)),
    Secret: lambda own, clients, call: own.secrets(),
    Bucket: lambda own, clients, call: BucketDriver(clients.storage, call),
    SqlInstance: lambda own, clients, call: own.sql_instances(),
    ExistingSqlInstance: lambda own, clients, call: ExistingSqlInstanceDriver(own.sql_instances()),
    SqlUser: lambda own, clients, call: own.sql_users(),
    RunService: lambda own, clients, call: RunServiceDriver(clients.services, call),
    RunJob: lambda own, clients, call: RunJobDriver(clients.jobs, call),
}
