"""What a DjangoTenant says of itself: whether its project answers, and how near that is to Google's limits."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from e2e_audit import reads
from e2e_release import GROUP_VERSION, Deployment, condition, eventually
from e2e_site import Site
from e2e_world import World, is_current, open_world
from google.cloud.iam_admin_v1 import IAMAsyncClient

from tests.argocd_lua import CUSTOMIZATION, health

if TYPE_CHECKING:
    from e2e_local import LocalSite

HEALTH = (CUSTOMIZATION.parent / "DjangoTenant/health.lua").read_text()
NO_DATABASE = {"engine": "None"}


async def make_tenant(world: World, **spec: Any) -> dict[str, Any]:
    place = {"project": world.site.project, "region": world.site.region}
    return await world.apply(
        {
            "apiVersion": GROUP_VERSION,
            "kind": "DjangoTenant",
            "metadata": {"name": "default"},
            "spec": {**place, **spec},
        }
    )


async def tenant_says(world: World, reason: str, type_: str = "Ready") -> dict[str, Any]:
    """The tenant once this generation's condition has the reason."""

    async def found() -> dict[str, Any] | None:
        body = await world.get("DjangoTenant", "default")
        return body if body and is_current(body) and condition(body, type_).get("reason") == reason else None

    said: dict[str, Any] = await eventually(found, f"tenant of {world.namespace}: {type_} {reason}")
    return said


def of_the_tenant(local: LocalSite, world: World) -> list[str]:
    """What the operator asked of Google for the tenant itself."""
    return [request.method for request in local.requests(world.namespace, "")]


@pytest.mark.xdist_group("tenant_status")
async def test_a_tenant_through_its_life(world: World, local: LocalSite) -> None:
    """Ready before any app; what an app adds is counted; rest costs nothing; while it is held, it says so."""
    made = await make_tenant(world)
    assert health(HEALTH, made) == {"status": "Progressing", "message": "Generation 1 waits for the operator"}
    first = await tenant_says(world, "Available")
    assert health(HEALTH, first)["status"] == "Healthy"
    assert condition(first, "Ready")["message"] == f"Project {world.site.project} answers."
    shop = Deployment(world, "shop")
    await shop.release(image=await shop.image("v1"), database=NO_DATABASE)

    async def counted() -> dict[str, Any] | None:
        """Service accounts as Google lists them, once the tenant agrees."""
        accounts = await world.google(IAMAsyncClient).list_service_accounts(name=f"projects/{world.site.project}")
        there = len([item async for item in accounts])
        body = await world.get("DjangoTenant", "default")
        assert body is not None
        limits = body["status"].get("limits") or {}
        agrees = limits.get("serviceAccounts") == {"used": there, "limit": 100}
        return body if agrees and limits.get("services", {}).get("used", 0) >= 1 else None

    await world.alone()
    await world.annotate("shop", "nuages.dev/reconcile-at", "1")
    before, asked = await eventually(counted, "limits"), of_the_tenant(local, world)
    version = before["metadata"]["resourceVersion"]
    for note in ("1", "2", "3"):  # a pass has ended when the next one has begun
        looked = reads(local.audit_log, world.namespace, "djangotenants", "default")
        await world.annotate("shop", "nuages.dev/note", note)

        def has_looked(looked: int = looked) -> bool:
            return reads(local.audit_log, world.namespace, "djangotenants", "default") > looked

        await eventually(has_looked, "a pass")
    after = await tenant_says(world, "Available")
    assert (after["metadata"]["resourceVersion"], of_the_tenant(local, world)) == (version, asked)

    world.kubectl("delete", "djangotenant", "default", "--wait=false")
    held = await tenant_says(world, "Deleting")
    assert health(HEALTH, held)["status"] == "Progressing"
    waits = "It goes once these apps have nothing at Google any more: shop. To have it back, run: kubectl patch "
    assert condition(held, "Reconciling")["message"].startswith(waits)
    await world.delete("DjangoApp", "shop")

    async def gone() -> bool:
        return await world.get("DjangoTenant", "default") is None

    await eventually(gone, "the tenant's end")


async def test_a_tenant_that_admission_could_not_refuse(site: Site, google_environment: None) -> None:
    """It says which field breaks which rule, without any app."""
    async with open_world(site, f"7-{uuid.uuid4().hex[:6]}") as world:
        await make_tenant(world)
        invalid = await tenant_says(world, "TenantInvalid", "Stalled")
        assert health(HEALTH, invalid)["status"] == "Degraded"
        stalled = condition(invalid, "Stalled")
        assert stalled["message"].startswith(f"DjangoTenant spec.deploymentId: The namespace {world.namespace} begins")
        await world.delete("DjangoTenant", "default")
        await make_tenant(world, deploymentId="seven")
        await tenant_says(world, "Available")


async def test_a_project_out_of_reach(world: World) -> None:
    """Which permission is missing to whom, before somebody's app waits for it."""
    await make_tenant(world, project="nobody-knows-it")
    said = await tenant_says(world, "PermissionDenied")
    assert "lacks resourcemanager.projects.get in nobody-knows-it" in condition(said, "Ready")["message"]
    assert condition(said, "Reconciling"), "a fresh grant may not be known everywhere yet"
