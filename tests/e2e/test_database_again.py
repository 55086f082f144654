"""Another database under the name of the old one: its instance was made again, or an older backup restored into it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from e2e_accounts import superuser_password
from e2e_backups import back_up, restore
from e2e_leftovers import ADMIN
from e2e_plan import plan
from e2e_release import SQL_READY_S, Deployment, condition, eventually, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world
from google.api_core.exceptions import NotFound
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient

PARTS = ("db-init", "migrate", "superuser")


@pytest.mark.xdist_group("database_again")
async def test_an_instance_that_was_made_again_is_initialised_and_migrated(
    site: Site, google_environment: None, local: Any
) -> None:
    """Once, without a new revision; the page that it serves is in the new database, and the superuser logs in to it."""
    async with open_world(site, f"again-{uuid.uuid4().hex[:4]}") as world:
        name = f"{world.namespace}-pg"
        await shared_instance(world, name)
        shop = Deployment(world, "shop")
        before = await shop.release(image=await shop.image("v1"), superuser=ADMIN)
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
        shown = [f"> run Job {world.google_id('shop', part)}" for part in PARTS]
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
        assert [[run.succeeded_count for run in await shop.executions(part)] for part in PARTS] == [[1, 1]] * len(PARTS)
        assert served(app["status"]) == served(before["status"])
        browser = await shop.browser()

        async def answers() -> bool:
            return (await browser.get("/")).status == 200

        await eventually(answers, "a page from the new database")
        password = await superuser_password(world, "shop")
        page = await browser.log_in("/admin/login/?next=/admin/", ADMIN["username"], password)
        assert "Site administration" in page.text


@pytest.mark.xdist_group("database_again")
async def test_an_older_backup_is_prepared_and_migrated_when_asked(world: World) -> None:
    """It knows neither the image's columns nor the app's login; one annotation has both made, without a revision."""
    instance = f"{world.namespace}-pg"
    await shared_instance(world, instance)
    shop = Deployment(world, "shop")
    await shop.release(image=await shop.image("v1"))
    backup = await back_up(world, instance)
    await shop.release(image=await shop.image("v2"))
    await world.annotate("shop", "nuages.dev/rotate", "1")

    async def has_another_login() -> bool:
        return (await shop.environment())["DB_USER"].value.endswith("-b")

    await eventually(has_another_login, "another login role")
    before = (await world.until(_rests, "shop"))["status"]
    runs = [len(await shop.executions(part)) for part in ("db-init", "migrate")]
    await restore(world, instance, {"restore_backup_context": {"backup_run_id": backup, "instance_id": instance}})
    browser = await shop.browser()
    assert (await browser.get("/")).status >= 500
    await world.annotate("shop", "nuages.dev/retry-migration", "restored")

    async def answers() -> bool:
        return (await browser.get("/")).status == 200

    await eventually(answers, "a page from the restored database")
    after = (await world.until(_rests, "shop"))["status"]
    assert served(after) == served(before)
    assert [len(await shop.executions(part)) for part in ("db-init", "migrate")] == [count + 1 for count in runs]


def _rests(app: dict[str, Any]) -> bool:
    return bool(condition(app, "Ready")["status"] == "True" and app["status"]["release"]["stage"] == "Done")
