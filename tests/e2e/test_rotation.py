"""nuages.dev/rotate: SECRET_KEY and the database's password become others, and nobody notices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e_release import Deployment, condition, polling, served, shared_instance
from e2e_world import World
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, SecretVersion


async def rotated(shop: Deployment, request: str, key: str) -> dict[str, Any]:
    """The app, Ready, once the key of that name signs."""
    await shop.world.annotate(shop.name, "nuages.dev/rotate", request)
    name = shop.world.google_id(shop.name, key)

    def is_through(app: dict[str, Any]) -> bool:
        return bool(condition(app, "Ready")["status"] == "True" and app["status"]["release"]["id"] != before)

    before = (await shop.status())["release"]["id"]
    app = await shop.world.until(is_through, shop.name)
    assert (await variables(shop))["SECRET_KEY"][0] == name
    return app


async def variables(shop: Deployment) -> dict[str, tuple[str, str]]:
    """The secret and version that each variable refers to."""
    found = {name: item.value_source.secret_key_ref for name, item in (await shop.environment()).items()}
    return {name: (ref.secret.rpartition("/")[2], ref.version) for name, ref in found.items() if ref.secret}


async def states(shop: Deployment, part: str) -> dict[int, str]:
    """The state of each version of a secret."""
    secrets = shop.world.google(SecretManagerServiceAsyncClient)
    parent = f"projects/{shop.world.site.project}/secrets/{shop.world.google_id(shop.name, part)}"
    found = [item async for item in await secrets.list_secret_versions(parent=parent)]
    return {int(item.name.rpartition("/")[2]): SecretVersion.State(item.state).name for item in found}


@pytest.mark.xdist_group("rotation")
async def test_rotations_under_load(world: World) -> None:
    """A session survives, no request fails, and the next rotation ends the first versions."""
    await shared_instance(world, f"{world.namespace}-pg")
    await first_rotation(world)
    await second_rotation(world)


async def first_rotation(place: World) -> None:
    """Two releases, no migration: first every instance accepts the new key, then it signs; B is the login role."""
    shop = Deployment(place, "shop")
    await shop.release(image=await shop.image("v1"), release={"keepRevisions": 1})
    before, runs = await variables(shop), len(await shop.executions())
    browser = await shop.browser()
    assert json.loads((await browser.get("/session/")).text)["visits"] == 1
    async with polling(shop) as answers:
        app = await rotated(shop, "2026-11", "secret-key-b")
    assert answers.bad == []
    assert json.loads((await browser.get("/session/")).text)["visits"] == 2
    after = await variables(shop)
    assert after["SECRET_KEY_FALLBACKS"] == before["SECRET_KEY"]
    assert after["DB_PASSWORD"] != before["DB_PASSWORD"]
    assert (await shop.environment())["DB_USER"].value.endswith("-b")
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert len(app["status"]["release"]["history"]) == 2  # the rotation is one, though it took two revisions
    assert len(await shop.executions()) == runs
    # The same request once more is no rotation.
    await place.annotate("shop", "nuages.dev/reconcile-at", "now")
    await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "now", "shop")
    assert await variables(shop) == after


async def second_rotation(place: World) -> None:
    """Back to A, whose secrets have a second version; what nothing needs any more is disabled."""
    shop = Deployment(place, "shop")
    browser = await shop.browser()
    await browser.get("/session/")
    async with polling(shop) as answers:
        await rotated(shop, "2026-12", "secret-key")
    assert answers.bad == []
    assert json.loads((await browser.get("/session/")).text)["visits"] == 2
    found = await variables(shop)
    assert found["SECRET_KEY"] == (place.google_id("shop", "secret-key"), "2")
    for part in ("secret-key", "db-password-a"):
        assert await states(shop, part) == {1: "DISABLED", 2: "ENABLED"}, part
    assert (await states(shop, "database-url"))[1] == "DISABLED"
    assert (await shop.environment())["DB_USER"].value.endswith("-a")
