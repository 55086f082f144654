"""What the services of SQL Admin have in common: one set of handlers under v1, `sql/v1beta4` and `v1beta4`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from localcloud.api.messages import sql as pb
from localcloud.api.sql_state import Instances
from localcloud.core.cloud import Cloud
from localcloud.core.errors import Family
from localcloud.core.service import Method, Rule, Service

INSTANCE = "/v1/projects/{project}/instances/{instance}"


class SqlService(Service):
    """A service of v1; its host stands in the concrete classes."""

    title = "Cloud SQL Admin API"
    errors = Family.LEGACY
    always: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "User": ("host",),
        "Settings": ("authorized_gae_applications",),
        "IpConfiguration": ("authorized_networks",),
    }
    root: ClassVar[str] = "https://sqladmin.googleapis.com/v1"

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.sql = cloud.shared(Instances)

    async def resume(self) -> None:
        await self.sql.resume()

    def link(self, path: str) -> str:
        """The URL that answers show; it is of the version that was called."""
        return f"{self.root}/{path}"

    def shown(self, operation: pb.Operation) -> pb.Operation:
        """With its links."""
        project = operation.target_project
        operation.self_link = self.link(f"projects/{project}/operations/{operation.name}")
        operation.target_link = self.link(f"projects/{project}/instances/{operation.target_id}")
        return operation


class Beta(SqlService):
    """Goes before a service of v1 among the bases: the same under the paths of v1beta4, as gcloud calls it."""

    root = "https://sqladmin.googleapis.com/sql/v1beta4"

    def methods(self) -> list[Method]:
        return [
            Method(m.name, tuple(_beta(m.rules)), m.request, m.response, m.permission, m.handler)
            for m in super().methods()
        ]


def _beta(rules: tuple[Rule, ...]) -> list[Rule]:
    roots = ("/sql/v1beta4", "/v1beta4")
    return [replace(rule, path=root + rule.path.removeprefix("/v1")) for root in roots for rule in rules]
