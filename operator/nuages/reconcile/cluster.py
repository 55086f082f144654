"""What the engine needs of Kubernetes; `nuages.kube` implements it, so that this side knows no Kubernetes client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Body = Mapping[str, Any]  # a Kubernetes object as JSON


class Cluster(Protocol):
    """Reads come from the API server; writes carry the resourceVersion that was read. Raises ClusterError."""

    async def app(self, namespace: str, name: str) -> Body | None:
        """The DjangoApp, or None."""

    async def tenant(self, namespace: str) -> Body | None:
        """The namespace's DjangoTenant "default", or None."""

    async def apps(self, namespace: str) -> list[Body]:
        """All DjangoApps of a namespace."""

    async def secret(self, namespace: str, name: str) -> Body | None:
        """A Kubernetes Secret, or None."""

    async def config_map(self, namespace: str, name: str) -> Body | None:
        """A ConfigMap, or None."""

    async def write_status(self, body: Body, status: Mapping[str, Any]) -> Body:
        """Replace the status of an app or a tenant; returns the object as it is now."""

    async def write_finalizers(self, body: Body, finalizers: list[str]) -> Body:
        """Replace metadata.finalizers, of an app or a tenant."""

    async def event(self, app: Body, kind: str, reason: str, message: str) -> None:
        """Tell people: `kind` Normal or Warning. Never raises: an event is not worth a failed pass."""


class ClusterError(Exception):
    """A call of the API server's that did not do what it was to do."""


class Gone(ClusterError):
    """The object is no longer there."""


class Stale(ClusterError):
    """Somebody wrote in between: read again."""


class ClusterUnavailable(ClusterError):
    """No answer, or that of a server that cannot just now: it says nothing of any object."""


class ClusterDenied(ClusterError):
    """The operator may not; the API server's own words name who, the verb and the resource, or what refuses it."""
