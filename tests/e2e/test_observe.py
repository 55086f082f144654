"""What only looks, writes nothing: management Observe, and the annotation nuages.dev/plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from e2e_release import Deployment, condition, shared_instance
from e2e_world import World
from google.cloud.run_v2 import EnvVar, ServicesAsyncClient

if TYPE_CHECKING:
    from e2e_local import LocalSite

NO_DATABASE = {"engine": "None"}


def writes(local: LocalSite, world: World) -> list[str]:
    """What the operator wrote to Google for the app."""
    asked = local.requests(world.namespace, "shop")
    return [f"{request.method} {request.resource}" for request in asked if local.is_write(request)]


def planned(app: dict[str, Any]) -> set[tuple[str, str]]:
    """Verb and short kind of each row of status.plan."""
    return {(row["verb"], row["kind"].rpartition("/")[2]) for row in app["status"].get("plan", [])}


@pytest.mark.xdist_group("observe")
async def test_observe_says_what_manage_would_do_and_writes_nothing(world: World, local: LocalSite) -> None:
    """Before the first deploy and after a change by hand; an observed app leaves everything behind."""
    shop = Deployment(world, "shop")
    observed = await shop.apply(image=await shop.image("v1"), database=NO_DATABASE, management="Observe")
    app = await world.wait("shop", "Ready", "False", reason="Observed")
    assert {("create", "Service"), ("create", "Secret"), ("create", "Bucket")} <= planned(app)
    assert (writes(local, world), app["metadata"].get("finalizers", [])) == ([], [])
    assert observed["metadata"]["generation"] == app["status"]["observedGeneration"]
    assert not {"Reconciling", "Stalled"} & {item["type"] for item in app["status"]["conditions"]}
    app = await shop.release(management="Manage")
    assert planned(app) == set()

    app = await shop.release(management="Observe")
    assert planned(app) == set()
    before = writes(local, world)
    services = world.google(ServicesAsyncClient)
    service = await shop.service()
    service.template.containers[0].env.append(EnvVar(name="DRIFT", value="by hand"))
    service.template.revision = ""
    await (await services.update_service(service=service)).result()  # type: ignore[no-untyped-call]
    await world.annotate("shop", "nuages.dev/reconcile-at", "now")
    app = await world.wait("shop", "Ready", "False", reason="Observed")
    assert planned(app) == {("update", "Service")}
    assert writes(local, world) == before

    await world.delete("DjangoApp", "shop")
    assert writes(local, world) == before
    await world.told("shop", "Retained", "Kept, as spec.management says")
    assert (await shop.service()).name == shop.service_name


@pytest.mark.xdist_group("observe")
async def test_an_annotation_shows_a_release_before_it_is_made(world: World) -> None:
    """The spec is there already, and nothing of it is done until the annotation goes."""
    shop = Deployment(world, "shop")
    await shop.release(image=await shop.image("v1"), database=NO_DATABASE)
    revision = (await shop.status())["revision"]
    await world.annotate("shop", "nuages.dev/plan", "true")
    await shop.apply(env=[{"name": "GREETING", "value": "hello"}])
    app = await world.wait("shop", "Ready", "False", reason="Observed")
    assert (planned(app), app["status"]["revision"]) == ({("update", "Service")}, revision)
    await world.patch("DjangoApp", "shop", {"metadata": {"annotations": {"nuages.dev/plan": None}}})
    app = await world.until(lambda app: condition(app, "Ready").get("status") == "True", "shop")
    assert app["status"]["revision"] != revision


@pytest.mark.xdist_group("observe")
async def test_a_migration_is_shown_before_it_is_run(world: World) -> None:
    """Asked for by an annotation, of an image that has migrated and serves."""
    await shared_instance(world, f"{world.namespace}-pg")
    shop = Deployment(world, "shop")
    await shop.release(image=await shop.image("v1"))
    asked = {"nuages.dev/plan": "true", "nuages.dev/retry-migration": "1"}
    await world.patch("DjangoApp", "shop", {"metadata": {"annotations": asked}})
    app = await world.wait("shop", "Ready", "False", reason="Observed")
    shown = [(row["verb"], row["name"]) for row in app["status"]["plan"]]
    assert shown == [("run", shop.job_name("db-init")), ("run", shop.job_name("migrate"))]
    assert len(await shop.executions()) == 1
    await world.patch("DjangoApp", "shop", {"metadata": {"annotations": {"nuages.dev/plan": None}}})
    await world.until(lambda app: condition(app, "Ready").get("status") == "True", "shop")
    assert [item.succeeded_count for item in await shop.executions()] == [1, 1]
