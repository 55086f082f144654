"""An instance that was deleted, and made again under its name, is another database."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from e2e_plan import plan
from e2e_release import SQL_READY_S, Deployment, condition, eventually, served, shared_instance
from e2e_site import Site
from e2e_world import open_world
from google.api_core.exceptions import NotFound
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient


@pytest.mark.xdist_group("database_again")
async def test_an_instance_that_was_made_again_is_initialised_and_migrated(
    site: Site, google_environment: None, local: Any
) -> None:
    """Once, without a new revision; the page that it serves is in the new database."""
    async with open_world(site, f"again-{uuid.uuid4().hex[:4]}") as world:
        name = f"{world.namespace}-pg"
        await shared_instance(world, name)
        shop = Deployment(world, "shop")
        before = await shop.release(image=await shop.image("v1"))
        asked = {"project": site.project, "instance": name}
        instances = world.google(SqlInstancesServiceAsyncClient)
        await instances.delete(request=asked)

        async def gone() -> bool:
            try:
                await instances.get(request=asked)
            except NotFound:
                return True
            return False

        await eventually(gone, f"instance {name} gone", SQL_READY_S)
        await local.free_instance_name(f"projects/{site.project}/instances/{name}")
        await shared_instance(world, name)
        shown = [f"> run Job {world.google_id('shop', part)}" for part in ("db-init", "migrate")]
        code, output = await plan(local, world, shop.manifest)
        assert (code, [line for line in output.splitlines() if "Job" in line]) == (2, shown), output
        await world.annotate("shop", "nuages.dev/reconcile-at", "now")
        app = await world.until(
            lambda app: (
                app["status"]["release"].get("reconcileAt") == "now"
                and condition(app, "Ready")["status"] == "True"
                and app["status"]["release"]["stage"] == "Done"
            ),
            "shop",
            180,
        )
        assert [run.succeeded_count for run in await shop.executions("db-init")] == [1, 1]
        assert [run.succeeded_count for run in await shop.executions()] == [1, 1]
        assert served(app["status"]) == served(before["status"])
        browser = await shop.browser()

        async def answers() -> bool:
            return (await browser.get("/")).status == 200

        await eventually(answers, "a page from the new database")
