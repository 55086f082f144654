"""What would move an app to another instance or project is not followed: what it has stays, and serves."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from e2e_leftovers import left
from e2e_plan import plan
from e2e_release import GROUP_VERSION, Deployment, condition, eventually, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("moved")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with one shared instance, and another instance beside it."""
    async with open_world(site, f"mov-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-new")
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


async def databases(instance: str, world: World, local: LocalSite) -> set[str]:
    """By name, on PostgreSQL itself."""
    server = local.cloud.runtime.databases.find(f"{world.site.project}:{world.site.region}:{instance}")
    assert server is not None
    return {item.name for item in await local.call(server.list_databases())}


async def now_on(world: World, database: dict[str, Any] | None) -> None:
    """The tenant's word on the instance of its apps."""
    await world.patch("DjangoTenant", "default", {"spec": {"database": database}})


async def test_a_tenants_other_instance_is_not_followed(place: World, local: LocalSite) -> None:
    """Stalled before anything is made there; deleted meanwhile, the app's database goes where it is."""
    old, new = f"{place.namespace}-pg", f"{place.namespace}-new"
    shop = Deployment(place, "shop")
    revision = (await shop.release(image=await shop.image("v1"), deletionPolicy="Delete"))["status"]["revision"]
    for other, said in (({"existing": new}, "existing"), (None, "existing")):
        await now_on(place, other)
        await place.annotate("shop", "nuages.dev/reconcile-at", str(other))
        app = await place.wait("shop", "Stalled", reason="DatabaseMoved")
        assert f"spec.database.instance.{said}: {old} in the app." in condition(app, "Stalled")["message"]
        code, output = await plan(local, place, shop.manifest)
        assert (code, f"the data is on {old}" in output) == (1, True), output
    assert served(await shop.status()) == {revision: 100}
    assert "shop" not in await databases(new, place, local)
    await now_on(place, {"existing": new})
    await place.delete("DjangoApp", "shop")
    assert "shop" not in await databases(old, place, local)
    assert await left(place, place.google_id("shop")) == {}
    await now_on(place, {"existing": old})


async def test_an_app_may_stay_by_its_own_word(place: World, local: LocalSite) -> None:
    """While the tenant's others go elsewhere, as the sentence says."""
    old, new = f"{place.namespace}-pg", f"{place.namespace}-new"
    shop = Deployment(place, "stays")
    await shop.release(image=await shop.image("v1"), deletionPolicy="Delete")
    await place.patch("DjangoTenant", "default", {"spec": {"allow": {"instances": [old]}}})
    await now_on(place, {"existing": new})
    await shop.release(database={"instance": {"existing": old}})
    assert (await shop.status())["database"]["instance"] == old
    await place.delete("DjangoApp", "stays")
    assert "stays" not in await databases(old, place, local)
    await now_on(place, {"existing": old})


async def test_a_deletion_without_its_status_asks_the_service(place: World, local: LocalSite) -> None:
    """The tenant names another instance, and nobody but the service knows the one that has the data."""
    old, new, shop = f"{place.namespace}-pg", f"{place.namespace}-new", Deployment(place, "lost")
    await shop.release(image=await shop.image("v1"), deletionPolicy="Delete")
    await now_on(place, {"existing": new})
    await place.wait("lost", "Stalled", reason="DatabaseMoved")
    place.kubectl("patch", "djangoapp", "lost", "--subresource=status", "--type=merge", "-p", '{"status": null}')
    place.kubectl("delete", "djangoapp", "lost", "--wait=false")

    async def is_gone() -> bool:
        return await place.get("DjangoApp", "lost") is None

    await eventually(is_gone, "the app's end")
    assert "lost" not in await databases(old, place, local)
    assert await left(place, place.google_id("lost")) == {}
    await now_on(place, {"existing": old})


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_a_database_that_was_given_up_goes_by_the_policy(place: World, local: LocalSite, policy: str) -> None:
    """engine None takes it from the app, not from the instance: the deletion still knows it."""
    name = f"given-{policy.lower()}"
    shop = Deployment(place, name)
    await shop.release(image=await shop.image("v1"), deletionPolicy=policy)
    await shop.release(database={"engine": "None"})
    assert name in await databases(f"{place.namespace}-pg", place, local)
    await place.delete("DjangoApp", name)
    assert (name in await databases(f"{place.namespace}-pg", place, local)) == (policy == "Retain")
    if policy == "Retain":  # marked as left, so that the app of that name has it back
        await shop.release(database={})
        assert (await (await shop.browser()).get("/")).status == 200


async def test_a_tenant_that_comes_later_does_not_move_an_app(
    site: Site, google_environment: None, local: LocalSite
) -> None:
    """Another deploymentId than the operator's default gave: it can be deleted again, and nothing was made for it."""
    async with open_world(site, f"late-{uuid.uuid4().hex[:4]}") as world:
        shop = Deployment(world, "shop")
        spec = {"image": await shop.image("v1"), "database": {"engine": "None"}, "deletionPolicy": "Delete"}
        revision = (await shop.release(**spec))["status"]["revision"]
        other = {"project": site.project, "region": site.region, "deploymentId": f"{world.namespace}-b"}
        metadata = {"name": "default"}
        await world.apply({"apiVersion": GROUP_VERSION, "kind": "DjangoTenant", "metadata": metadata, "spec": other})
        await world.annotate("shop", "nuages.dev/reconcile-at", "1")
        app = await world.wait("shop", "Stalled", reason="TenantMoved")
        assert f"services/{world.namespace}-shop, and by its tenant" in condition(app, "Stalled")["message"]
        assert served(app["status"]) == {revision: 100}
        assert await left(world, f"{world.namespace}-b-shop") == {}
        code, output = await plan(local, world, shop.manifest)
        assert (code, "and by its tenant it would be" in output) == (1, True), output
        world.kubectl("delete", "djangoapp", "shop", "--wait=false")

        async def waits() -> bool:
            found = condition(await world.app("shop"), "Stalled").get("message", "")
            return "nuages.dev/abandon" in found and "TenantMoved" in json.dumps((await world.app("shop"))["status"])

        await eventually(waits, "a deletion that waits")
        await world.delete("DjangoTenant", "default")
        await world.annotate("shop", "nuages.dev/reconcile-at", "2")
        await world.delete("DjangoApp", "shop")
        assert await left(world, world.google_id("shop")) == {}
