"""The tenant of a namespace. While an app with Google resources needs it, a finalizer of ours holds it.

When a namespace is deleted, all its objects go at once: without the tenant nobody would know any more in which project
the apps' resources are, and as whom they may be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant
from nuages.api.validate import InvalidSpec, parse_tenant
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Body, Cluster, Stale
from nuages.reconcile.settings import Settings
from nuages.reconcile.trouble import Trouble

FINALIZER = "nuages.dev/google-resources"


async def tenant_of(app: DjangoApp, cluster: Cluster, settings: Settings) -> DjangoTenant:
    """The namespace's own, held, else the operator's default. Raises Trouble; Stale, Gone."""
    namespace = app.metadata.namespace
    body = await cluster.tenant(namespace)
    if body is not None:
        try:
            tenant = parse_tenant(body)
        except InvalidSpec as error:
            raise Trouble(reasons.TENANT_INVALID, f"DjangoTenant {error}") from error
        if not app.is_deleting:
            await _hold(body, app, cluster)
        return tenant
    if settings.default_tenant is None:
        raise Trouble(
            reasons.TENANT_MISSING,
            f"namespace {namespace} has no DjangoTenant named default, and the operator no default project. Create "
            "one, or start the operator with --project.",
        )
    return settings.default_tenant(namespace)


async def _hold(body: Body, app: DjangoApp, cluster: Cluster) -> None:
    if not body["metadata"].get("deletionTimestamp"):
        if FINALIZER not in finalizers(body):
            await cluster.write_finalizers(body, [*finalizers(body), FINALIZER])
    elif FINALIZER not in app.metadata.finalizers:  # it has nothing yet, and is to have nothing
        raise Trouble(
            reasons.TENANT_MISSING, "DjangoTenant default is being deleted: nothing is made for it. Create it again."
        )


async def hold(app: Body, tenant: DjangoTenant, cluster: Cluster) -> Body:
    """The app with our finalizer: whoever never came so far has made nothing, and goes without us. Raises Stale, Gone.

    The tenant goes once no app of its namespace bears the finalizer, so it may have gone just before.
    """
    if FINALIZER in finalizers(app):
        return app
    held = await cluster.write_finalizers(app, [*finalizers(app), FINALIZER])
    found = await cluster.tenant(app["metadata"]["namespace"])
    metadata: Mapping[str, Any] = {} if found is None else found["metadata"]
    if metadata.get("uid", "") != tenant.metadata.uid or metadata.get("deletionTimestamp"):
        await cluster.write_finalizers(held, finalizers(app))
        raise Stale
    return held


async def let_go(namespace: str, cluster: Cluster) -> None:
    """A tenant that is being deleted goes once no app of the namespace has resources. Raises Stale, Gone."""
    body = await cluster.tenant(namespace)
    if body is None or not body["metadata"].get("deletionTimestamp") or FINALIZER not in finalizers(body):
        return
    if not any(FINALIZER in finalizers(app) for app in await cluster.apps(namespace)):
        await cluster.write_finalizers(body, [item for item in finalizers(body) if item != FINALIZER])


def finalizers(body: Body) -> list[str]:
    """Of an app or a tenant."""
    return list(body["metadata"].get("finalizers") or [])
