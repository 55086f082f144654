"""What is somebody else's stays so; what the user changes beside the template is carried out too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from e2e_plan import plan
from e2e_release import Deployment, eventually
from e2e_world import World
from google.cloud.run_v2 import ServicesAsyncClient

if TYPE_CHECKING:
    from e2e_local import LocalSite


async def make_service(world: World, name: str, image: str) -> str:
    """A service that was deployed without Nuages; its full name."""
    services = world.google(ServicesAsyncClient)
    parent = f"projects/{world.site.project}/locations/{world.site.region}"
    env = [{"name": "SECRET_KEY", "value": "theirs"}, {"name": "ALLOWED_HOSTS", "value": "*"}]
    body = {"template": {"containers": [{"image": image, "env": env}]}, "labels": {"team": "data"}}
    creation = await services.create_service(request={"parent": parent, "service_id": name, "service": body})
    await creation.result()  # type: ignore[no-untyped-call]
    return f"{parent}/services/{name}"


@pytest.mark.xdist_group("ownership")
async def test_a_service_of_others_is_neither_taken_nor_deleted(world: World) -> None:
    """It has the name that the app would use: the app stalls, and going away leaves the service as it was."""
    image = await world.site.image("shop", "v1")
    name = await make_service(world, world.google_id("shop"), image)
    services = world.google(ServicesAsyncClient)
    before = await services.get_service(request={"name": name})
    await world.apply(
        {
            "apiVersion": "nuages.dev/v1alpha1",
            "kind": "DjangoApp",
            "metadata": {"name": "shop"},
            "spec": {"image": image, "database": {"engine": "None"}},
        }
    )
    app = await world.wait("shop", "Stalled")
    stalled = next(item for item in app["status"]["conditions"] if item["type"] == "Stalled")
    assert stalled["reason"] == "NameConflict"
    assert world.google_id("shop") in stalled["message"]
    assert "resources" not in app["status"] or app["status"]["resources"] == []
    await world.delete("DjangoApp", "shop")
    assert await services.get_service(request={"name": name}) == before


@pytest.mark.xdist_group("ownership")
async def test_a_service_of_others_is_taken_over_on_request(world: World, local: LocalSite) -> None:
    """`nuages plan` shows what the adoption would change; then that is changed, and what others put on it stays."""
    name = await make_service(world, world.google_id("shop"), await world.site.image("shop", "v1"))
    shop = Deployment(world, "shop")
    await shop.stalled("NameConflict", image=await shop.image("v1"), database={"engine": "None"})
    code, output = await plan(local, world, shop.manifest)
    assert (code, "Adopted, it would change: template" in output) == (1, True), output
    annotations = {"nuages.dev/adopt": "true"}
    asking = {**shop.manifest, "metadata": {**shop.manifest["metadata"], "annotations": annotations}}
    code, output = await plan(local, world, asking)
    assert (code, "! adopt Service" in output) == (2, True), output
    await world.annotate("shop", "nuages.dev/adopt", "true")
    await world.wait("shop")
    service = await world.google(ServicesAsyncClient).get_service(name=name)
    assert (service.labels["managed-by"], service.labels["team"]) == ("nuages", "data")


@pytest.mark.xdist_group("ownership")
async def test_changes_beside_the_template_are_carried_out(world: World) -> None:
    """An extension, a superuser: no new revision is needed for them, and yet they come to be."""
    deployed = Deployment(world, "shop")
    await deployed.release(image=await deployed.image("v1"))
    revisions = await deployed.revisions()
    db_inits = len(await deployed.executions("db-init"))
    await deployed.release(
        database={"extensions": ["pg_trgm", "unaccent", "hstore", "citext", "btree_gin"]},
        superuser={"username": "boss", "email": "boss@acme.example"},
    )

    async def done() -> Any:
        return len(await deployed.executions("db-init")) == db_inits + 1 and await deployed.executions("superuser")

    await eventually(done, "db-init and superuser ran again")
    assert await deployed.revisions() == revisions
