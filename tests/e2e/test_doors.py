"""Who may come in changes: ingress and access, on an app that serves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from e2e_accounts import id_token, make_account
from e2e_release import Deployment, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("doors")]

BROKEN = """from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("broken/", lambda request: HttpResponse(status=500)),
    path("", include("catalogue.urls")),
]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"door-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


def answered(local: Any, revision: str, path: str) -> list[int]:
    """How a revision answered who asked for its own URL from outside."""
    entries = [
        entry["httpRequest"]
        for entry in local.cloud.runtime.logs.entries()
        if entry["resource"]["labels"].get("revision_name") == revision and "httpRequest" in entry
    ]
    return [int(item["status"]) for item in entries if _without_host(item["requestUrl"]) == f"candidate---{path}"]


def _without_host(url: str) -> str:
    """The tag and the path of an address."""
    host, _, path = url.removeprefix("https://").partition("/")
    tag, there, _ = host.partition("---")
    return f"{tag}{there}/{path}"


@pytest.mark.parametrize("access", ["Public", "Authenticated"])
async def test_widened_ingress_is_verified_once_it_is_open(place: World, local: Any, access: str) -> None:
    """What nobody outside could ask serves first, then the door is opened, then the health path answers through it."""
    shop = Deployment(place, f"wide-{access.lower()}")
    first = await shop.release(image=await shop.image("v1"), web={"ingress": "Internal", "access": access})
    before = first["status"]["revision"]
    assert await place.fetch_status(first["status"]["url"]) == 404
    assert answered(local, before, "/health/") == []
    app = await shop.release(image=await shop.image("v2"), web={"access": access})
    after = app["status"]["revision"]
    assert served(app["status"]) == {after: 100} != {before: 100}
    assert await place.fetch_status(app["status"]["url"]) == (200 if access == "Public" else 403)
    assert 200 in answered(local, after, "/health/")


async def test_ingress_widened_by_itself_makes_no_revision(place: World, local: Any) -> None:
    """The same release is asked through the open door, and stays."""
    shop = Deployment(place, "same")
    before = (await shop.release(image=await shop.image("v1"), web={"ingress": "Internal"}))["status"]["revision"]
    app = await shop.release(web={"ingress": "All"})
    assert app["status"]["revision"] == before
    assert 200 in answered(local, before, "/health/")


async def test_narrowed_ingress_is_verified_while_it_is_open(place: World, local: Any) -> None:
    """The door that is there counts, not the one that comes."""
    shop = Deployment(place, "narrow")
    await shop.release(image=await shop.image("v1"))
    app = await shop.release(image=await shop.image("v2"), web={"ingress": "Internal"})
    assert 200 in answered(local, app["status"]["revision"], "/health/")
    assert await place.fetch_status(app["status"]["url"]) == 404


async def test_what_fails_through_the_open_door_is_told(place: World, local: Any) -> None:
    """It has the traffic, for nobody could ask it before; a fixed path is a remedy."""
    shop = Deployment(place, "broken")
    image = await local.shop("broken", {"config/urls.py": BROKEN})
    await shop.release(image=image, web={"ingress": "Internal"})
    revision = (await shop.status())["revision"]
    found = await shop.stalled("VerifyFailed", web={"ingress": "All"}, release={"verify": {"path": "/broken/"}})
    assert found["message"].startswith(
        f"spec.release.verify: /broken/ of {revision} answered 500 Internal Server Error; it has all traffic already. "
    )
    await shop.release(release=None)


async def test_callers_that_stay_wanted_are_never_refused(place: World, local: LocalSite) -> None:
    """From Public to Authenticated, and back, however long a grant takes: whom the spec names is let in meanwhile."""
    shop, caller = Deployment(place, "shut"), await make_account(place, f"{place.namespace}-c")
    url = (await shop.release(image=await shop.image("v1")))["status"]["url"]
    token = await id_token(place, caller, url)
    closed = {"access": "Authenticated", "invokers": [f"serviceAccount:{caller}"]}
    with local.grants_take(240):  # two seconds here, of the three and a half that the operator waits
        assert await answers_during(shop.release(web=closed), place, url, token) == {200}
        await place.told("shut", "Access")
        assert await place.fetch_status(url) == 403
        assert await answers_during(shop.release(web={"access": "Public"}), place, url, token) == {200}
    assert await place.fetch_status(url) == 200


async def answers_during(release: Coroutine[Any, Any, Any], world: World, url: str, token: str) -> set[int]:
    """How the address has answered who bears the token, from the apply to Ready and once more."""
    work, answers = asyncio.create_task(release), set()
    while not work.done():
        answers.add(await world.fetch_status(url, token))
    await work
    return {*answers, await world.fetch_status(url, token)}
