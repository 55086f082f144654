"""The superuser's password is for the job that makes the superuser; afterwards its secret is people's."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from e2e_accounts import superuser_password
from e2e_release import Deployment, condition
from e2e_site import Site
from e2e_world import open_world
from google.api_core.exceptions import NotFound
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("superuser_password")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(site: Site, google_environment: None) -> AsyncIterator[Deployment]:
    """An app whose superuser was made, and whose first login is over."""
    async with open_world(site, f"root-{uuid.uuid4().hex[:4]}") as world:
        app = Deployment(world, "shop")
        await app.release(image=await app.image("v1"), superuser=named("admin"))
        yield app


def named(username: str) -> dict[str, str]:
    return {"username": username, "email": f"{username}@acme.example"}


def secret_of(app: Deployment) -> str:
    return f"projects/{app.world.site.project}/secrets/{app.world.google_id(app.name, 'superuser-password')}"


async def looked_at(app: Deployment, when: str) -> dict[str, Any]:
    """The app after a pass that looked at everything; Ready with nothing to tell of."""
    await app.world.annotate(app.name, "nuages.dev/reconcile-at", when)
    return await app.world.until(lambda found: found["status"]["release"].get("reconcileAt") == when, app.name)


async def is_there(app: Deployment) -> bool:
    try:
        await app.world.google(SecretManagerServiceAsyncClient).get_secret(name=secret_of(app))
    except NotFound:
        return False
    return True


async def logs_in(app: Deployment, username: str, password: str) -> bool:
    page = await (await app.browser()).log_in("/admin/login/?next=/admin/", username, password)
    return "Site administration" in page.text


async def test_the_app_says_where_the_password_is(shop: Deployment) -> None:
    """In its status, and in events."""
    known = (await shop.status())["release"]["superuser"]
    assert (known["username"], known["state"], known["secret"]) == ("admin", "Created", secret_of(shop))
    short = f"Secret {secret_of(shop).rpartition('/')[2]}"
    assert await shop.world.told(shop.name, "Created", "superuser-password") == short
    assert (
        await shop.world.told(shop.name, "Superuser")
        == f"The superuser is in the database, with the password in {short}."
    )
    assert await logs_in(shop, "admin", await superuser_password(shop.world, shop.name))


async def test_a_disabled_password_is_no_trouble(shop: Deployment) -> None:
    """Nothing reads it any more; who disables it after the first login does well."""
    secrets = shop.world.google(SecretManagerServiceAsyncClient)
    password = await superuser_password(shop.world, shop.name)
    await secrets.disable_secret_version(name=f"{secret_of(shop)}/versions/1")
    assert condition(await looked_at(shop, "disabled"), "Ready")["status"] == "True"
    await shop.release(env=[{"name": "COLOUR", "value": "red"}])
    await secrets.destroy_secret_version(name=f"{secret_of(shop)}/versions/1")
    assert condition(await looked_at(shop, "destroyed"), "Ready")["status"] == "True"
    versions = [item async for item in await secrets.list_secret_versions(parent=secret_of(shop))]
    assert len(versions) == 1
    assert await logs_in(shop, "admin", password)


async def test_a_deleted_password_is_not_made_anew(shop: Deployment) -> None:
    """It would be another one than Django's: neither at rest, nor by a release, nor once the status was lost."""
    await shop.world.google(SecretManagerServiceAsyncClient).delete_secret(name=secret_of(shop))
    app = await looked_at(shop, "deleted")
    assert condition(app, "Ready")["status"] == "True"
    assert not [item for item in app["status"].get("drift", {}).get("fields", ()) if "superuser" in item]
    await shop.release(image=await shop.image("v2"))
    assert not await is_there(shop)
    shop.world.kubectl("patch", "djangoapp", "shop", "--subresource=status", "--type=merge", "-p", '{"status": null}')
    await shop.release(env=[{"name": "COLOUR", "value": "blue"}])
    assert not await is_there(shop)
    assert len(await shop.executions("superuser")) == 1


async def test_another_superuser_gets_a_password_that_works(shop: Deployment) -> None:
    """Where the secret has gone, it is made for the job that needs it."""
    await shop.release(superuser=named("second"))
    assert await logs_in(shop, "second", await superuser_password(shop.world, shop.name))


async def test_a_password_that_is_still_to_be_read_must_be_enabled(shop: Deployment) -> None:
    """The app says who needs it, and both ways out; the second one is taken."""
    secrets = shop.world.google(SecretManagerServiceAsyncClient)
    await secrets.disable_secret_version(name=f"{secret_of(shop)}/versions/1")
    found = await shop.stalled("SecretVersionDisabled", superuser=named("third"))
    id_ = secret_of(shop).rpartition("/")[2]
    assert found["message"] == (
        f"spec.superuser: Secret {id_}: version 1 is disabled. superuser third has still to read it. "
        "Enable that version again, or delete the secret: another one is made."
    )
    await secrets.delete_secret(name=secret_of(shop))
    await looked_at(shop, "mended")
    await shop.world.wait(shop.name)
    assert await logs_in(shop, "third", await superuser_password(shop.world, shop.name))


async def test_a_user_of_an_earlier_life_keeps_its_password(shop: Deployment) -> None:
    """The app comes back to its database, its secret does not: one made anew would show what opens nothing."""
    password = await superuser_password(shop.world, shop.name)
    await shop.world.delete("DjangoApp", shop.name)
    await shop.world.google(SecretManagerServiceAsyncClient).delete_secret(name=secret_of(shop))
    app = await shop.release()
    known = app["status"]["release"]["superuser"]
    assert {**known, "id": ""} == {"id": "", "username": "third", "state": "Found"}
    assert "its password was not changed" in await shop.world.told(shop.name, "SuperuserExists")
    assert not await is_there(shop)
    assert await logs_in(shop, "third", password)
    await shop.release(image=await shop.image("v1"))
    assert len(await shop.executions("superuser")) == 1
