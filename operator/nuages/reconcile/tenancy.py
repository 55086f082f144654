"""The tenant of a namespace. While an app with Google resources needs it, a finalizer of ours holds it.

When a namespace is deleted, all its objects go at once: without the tenant nobody would know any more in which project
the apps' resources are, and as whom they may be deleted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from nuages.api.app import DjangoApp
from nuages.api.permission import check_allowed
from nuages.api.tenant import DjangoTenant
from nuages.api.validate import InvalidSpec, parse_app, parse_tenant
from nuages.cloud import errors
from nuages.cloud.access import CloudAccess, Clouds
from nuages.cloud.call import request_reason
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Body, Cluster, ClusterError, Stale
from nuages.reconcile.gather import project_number
from nuages.reconcile.moves import check_tenant
from nuages.reconcile.queue import Next
from nuages.reconcile.settings import Settings
from nuages.reconcile.tenantstatus import tenant_status, usage, with_limits
from nuages.reconcile.trouble import Trouble, of_error

FINALIZER = "nuages.dev/google-resources"
NAMED = 5  # apps in a message


@dataclass(frozen=True)
class Held:
    """An app's tenant, and its object as it was read; None where it is the operator's default."""

    tenant: DjangoTenant
    body: Body | None


async def tenant_of(app: DjangoApp, known: Iterable[Mapping[str, Any]], cluster: Cluster, settings: Settings) -> Held:
    """The namespace's own, held, else the operator's default. Raises Trouble; Stale, Gone.

    `known`: the app's resources as its status has them. A tenant that says another place is not held, or it could not
    be deleted and made anew.
    """
    namespace = app.metadata.namespace
    body = await cluster.tenant(namespace)
    if body is not None:
        tenant = parsed(body)
        check_tenant(app, tenant, known)
        if not app.is_deleting:
            await _hold(body, app, cluster)
        return Held(tenant, body)
    if settings.default_tenant is None:
        raise Trouble(
            reasons.TENANT_MISSING,
            f"namespace {namespace} has no DjangoTenant named default, and the operator no default project. Create "
            "one, or start the operator with --project.",
        )
    tenant = settings.default_tenant(namespace)
    check_tenant(app, tenant, known)
    return Held(tenant, None)


def check_reach(app: DjangoApp, tenant: DjangoTenant) -> None:
    """What the app names besides its own, the tenant allows. Raises Trouble."""
    violations = check_allowed(app, tenant)
    if violations:
        raise Trouble(reasons.NOT_ALLOWED, str(violations[0]))


async def access(tenant: DjangoTenant, clouds: Clouds) -> CloudAccess:
    """Google Cloud as the tenant's identity sees it. Raises Trouble."""
    impersonated = tenant.spec.impersonate_service_account or ""
    try:
        return await clouds.for_tenant(impersonated)
    except errors.CloudError as error:
        who = impersonated or "the operator's own credentials"
        raise of_error(error, f"DjangoTenant spec.impersonateServiceAccount: {who}") from error


async def look_at_tenant(namespace: str, cluster: Cluster, clouds: Clouds, settings: Settings) -> Next:
    """One pass over the namespace's tenant: whether it may go, else what its status says. Raises Stale, Gone."""
    await let_go(namespace, cluster)
    body = await cluster.tenant(namespace)
    if body is None:
        return Next()
    request_reason.set(f"nuages/{namespace}/@{body['metadata'].get('generation', 0)}")
    before = body.get("status") or {}
    limits, trouble = {}, None
    try:
        if body["metadata"].get("deletionTimestamp"):
            raise _going(body, await _keepers(body, cluster))
        limits = await _check(body, clouds)
    except Trouble as found:
        trouble = found
    after = tenant_status(body, trouble, limits, dt.datetime.now(dt.UTC), settings.patience.seconds)
    if after != before:
        await cluster.write_status(body, after)
    if trouble is None or trouble.reason in (reasons.DELETING, reasons.TENANT_INVALID):  # an event comes by itself
        return Next()
    return Next(failed=True, at_least=trouble.retry_after)


async def _check(body: Body, clouds: Clouds) -> dict[str, Any]:
    """The limits of a tenant whose project answers. Raises Trouble."""
    tenant = parsed(body)
    cloud = await access(tenant, clouds)
    await project_number(tenant, cloud)  # asked once for each project and identity
    return usage(tenant, cloud.inventory)


async def tell_usage(held: Held, cloud: CloudAccess, cluster: Cluster) -> None:
    """After a pass over an app: how near the limits are, where that changed and the tenant was looked at before.

    The namespace's other apps may write at the same time: what one of them misses, the next pass tells. Nor has the app
    to do with a tenant that cannot be written.
    """
    limits = usage(held.tenant, cloud.inventory)
    if held.body is None or not with_limits(held.body, limits):
        return
    try:
        body = await cluster.tenant(held.tenant.metadata.namespace)
        if body is not None and (after := with_limits(body, limits)):
            await cluster.write_status(body, after)
    except ClusterError:
        return


def parsed(body: Body) -> DjangoTenant:
    """The tenant in an object of the cluster. Raises Trouble."""
    try:
        return parse_tenant(body)
    except InvalidSpec as error:
        raise Trouble(reasons.TENANT_INVALID, f"DjangoTenant {error}") from error


async def _hold(body: Body, app: DjangoApp, cluster: Cluster) -> None:
    if not body["metadata"].get("deletionTimestamp"):
        if FINALIZER not in finalizers(body):
            await cluster.write_finalizers(body, [*finalizers(body), FINALIZER])
    elif FINALIZER not in app.metadata.finalizers:  # it has nothing yet, and is to have nothing
        raise Trouble(
            reasons.TENANT_MISSING,
            "DjangoTenant default is being deleted: it waits for the apps that have resources, and nothing is made for "
            f"any other. {_way_back(body)}",
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
    """A tenant that is being deleted goes once no app of the namespace has resources in it. Raises Stale, Gone."""
    body = await cluster.tenant(namespace)
    if body is None or not body["metadata"].get("deletionTimestamp") or FINALIZER not in finalizers(body):
        return
    if not await _keepers(body, cluster):
        await cluster.write_finalizers(body, [item for item in finalizers(body) if item != FINALIZER])


async def _keepers(tenant: Body, cluster: Cluster) -> list[str]:
    """The apps that have resources in it, by name."""
    apps = await cluster.apps(tenant["metadata"]["namespace"])
    return sorted(
        app["metadata"]["name"] for app in apps if FINALIZER in finalizers(app) and not _is_elsewhere(app, tenant)
    )


def _going(tenant: Body, keepers: Sequence[str]) -> Trouble:
    """What a tenant that is being deleted waits for: apps, else somebody else's finalizers."""
    if not keepers:
        message = f"It goes once its finalizers are taken away: {', '.join(finalizers(tenant))}."
        return Trouble(reasons.DELETING, message, stalled=False)
    names = ", ".join(keepers[:NAMED]) + (f" and {len(keepers) - NAMED} more" if len(keepers) > NAMED else "")
    message = f"It goes once these apps have nothing at Google any more: {names}. {_way_back(tenant)}"
    return Trouble(reasons.DELETING, message, stalled=False)


def _way_back(tenant: Body) -> str:
    """No deletion can be called off. What runs does not need the tenant for the moment until it is made anew."""
    if FINALIZER not in finalizers(tenant):
        return "To have it back, apply it again once it is gone."
    ours = f"/metadata/finalizers/{finalizers(tenant).index(FINALIZER)}"  # the others are not Nuages's to take away
    patch = [{"op": "test", "path": ours, "value": FINALIZER}, {"op": "remove", "path": ours}]
    command = f"kubectl patch djangotenant default -n {tenant['metadata']['namespace']} --type=json -p '{dumps(patch)}'"
    return (
        f"To have it back, run: {command}; then apply it again at once. What runs goes on. Where the operator has a "
        "default project, stop it first: a new app would begin there."
    )


def _is_elsewhere(app: Body, tenant: Body) -> bool:
    """Whether the app was deployed to another place than the tenant's; of what cannot be read nobody knows."""
    try:
        check_tenant(parse_app(app), parsed(tenant), (app.get("status") or {}).get("resources") or ())
    except InvalidSpec:
        return False
    except Trouble as trouble:
        return trouble.reason == reasons.TENANT_MOVED
    return False


def finalizers(body: Body) -> list[str]:
    """Of an app or a tenant."""
    return list(body["metadata"].get("finalizers") or [])
