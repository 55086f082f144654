"""`nuages plan`: what an apply would do, told by its exit status too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from e2e_plan import plan
from e2e_release import Deployment, eventually, shared_instance
from e2e_world import World

if TYPE_CHECKING:
    from e2e_local import LocalSite


@pytest.mark.xdist_group("plan")
async def test_plan_says_what_would_be_done(world: World, local: LocalSite) -> None:
    """2 with what would be created or changed, 0 with nothing, 1 with the reason why it cannot be told."""
    image = await world.site.image("shop", "v1")
    spec: dict[str, Any] = {"image": image, "database": {"engine": "None"}}
    manifest = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp", "metadata": {"name": "shop"}, "spec": spec}
    code, output = await plan(local, world, manifest)
    assert code == 2, output
    assert f"+ create Service {world.google_id('shop')}" in output
    assert "+ create Secret" in output
    await Deployment(world, "shop").release(**spec)
    assert await plan(local, world, manifest) == (0, f"{world.namespace}/shop: no changes\n")
    spec["env"] = [{"name": "GREETING", "value": "hello"}]
    code, output = await plan(local, world, manifest)
    assert (code, "~ update Service" in output) == (2, True), output


@pytest.mark.xdist_group("plan")
async def test_plan_tells_of_a_migration_without_another_image(world: World, local: LocalSite) -> None:
    """2 with its job, where the policy or an annotation brings one about; 0 where it has run, or none would."""
    await shared_instance(world, f"{world.namespace}-pg")
    shop = Deployment(world, "shop")
    await shop.release(image=await shop.image("v1"), migrations={"policy": "Never"})
    nothing = (0, f"{world.namespace}/shop: no changes\n")
    assert await plan(local, world, shop.manifest) == nothing
    wanted = {**shop.manifest, "spec": {**shop.spec, "migrations": {"policy": "BeforeTraffic"}}}
    created = f"+ create Job {world.google_id('shop', 'migrate')}\n{world.namespace}/shop: 1 change\n"
    assert await plan(local, world, wanted) == (2, created)
    await shop.release(migrations=None)
    assert await plan(local, world, shop.manifest) == nothing
    again = {**shop.manifest, "metadata": {"name": "shop", "annotations": {"nuages.dev/retry-migration": "1"}}}
    runs = "".join(f"> run Job {world.google_id('shop', part)}\n" for part in ("db-init", "migrate"))
    assert await plan(local, world, again) == (2, f"{runs}{world.namespace}/shop: 2 changes\n")
    await world.annotate("shop", "nuages.dev/retry-migration", "1")

    async def has_run() -> bool:
        return [item.succeeded_count for item in await shop.executions()] == [1, 1]

    await eventually(has_run, "another migration")
    assert await plan(local, world, again) == nothing


@pytest.mark.xdist_group("plan")
async def test_plan_of_bad_input_is_one_sentence(world: World, local: LocalSite) -> None:
    """No traceback: the file, the field and the remedy."""
    code, output = await plan(local, world, "{")
    assert (code, output.count("\n")) == (1, 1), output
    missing = {
        "apiVersion": "nuages.dev/v1alpha1",
        "kind": "DjangoApp",
        "metadata": {"name": "shop"},
        "spec": {"image": f"{world.site.region}-docker.pkg.dev/{world.site.project}/apps/shop:absent"},
    }
    code, output = await plan(local, world, missing)
    assert (code, output.count("\n")) == (1, 1), output
    assert "spec.image" in output


@pytest.mark.xdist_group("plan")
async def test_plan_refuses_what_an_apply_would(world: World, local: LocalSite) -> None:
    """What the tenant does not allow, whether the file brings the tenant, the cluster has one, or nobody."""
    image = await world.site.image("shop", "v1")
    shop = Deployment(world, "shop", {"image": image, "database": {"instance": {"existing": "acme-pg"}}})
    place = {"project": world.site.project, "region": world.site.region}
    of = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoTenant", "metadata": {"name": "default"}}
    tenant = {**of, "spec": place}
    field, rest = "shop: spec.database.instance.existing", "does not allow instance acme-pg. Name another, or"
    granted = f"create a DjangoTenant in namespace {world.namespace} with spec.allow.instances: [acme-pg]."
    nobodys = (1, f"{field}: The operator's default tenant {rest} {granted}\n")
    tenants = (1, f"{field}: The tenant {rest} add it to DjangoTenant spec.allow.instances.\n")
    assert await plan(local, world, shop.manifest) == nobodys
    assert await plan(local, world, yaml.safe_dump_all([tenant, shop.manifest])) == tenants
    await world.apply(tenant)
    assert await plan(local, world, shop.manifest) == tenants
