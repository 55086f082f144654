"""Wagtail as it comes from PyPI: its long history of migrations, its own admin, and its next version."""

from __future__ import annotations

import json
import re
import struct
import uuid
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from e2e_accounts import superuser_password
from e2e_browser import Browser, Page
from e2e_release import Deployment, eventually, polling, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("third_party")]

EDITOR = {"username": "editor", "email": "editor@example.com"}
NEW_IN_NEXT = {
    ("wagtailadmin", "0006_formstate"),
    ("wagtailsearch", "0010_add_text_fields"),
    ("wagtailsearchpromotions", "0008_query_verbose_name"),
}
# What uv says where no package index answers.
UNREACHABLE = re.compile(r"dns error|error sending request|client error \(Connect\)|tcp connect error", re.IGNORECASE)
NO_COMMENTS = {"comments-TOTAL_FORMS": "0", "comments-INITIAL_FORMS": "0"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"pypi-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wagtail(place: World) -> Deployment:
    """Wagtail 7.3, Ready."""
    app = Deployment(place, "wagtail")
    await app.release(image=await image(place, "v1"), superuser=EDITOR)
    return app


async def image(world: World, version: str) -> str:
    """The sample, built; skips where its packages cannot be had."""
    try:
        return await world.site.image("wagtail", version)
    except RuntimeError as error:
        if UNREACHABLE.search(str(error)):
            pytest.skip(f"Wagtail {version}: no package index answers: {error}")
        raise


async def test_its_whole_history_runs_on_postgresql(wagtail: Deployment, local: Any) -> None:
    """Every migration of Wagtail's many apps, from their first one on, by one execution."""
    applied = await migrations(wagtail, local)
    assert len(applied) > 150
    assert len(set(applied)) == len(applied)
    assert NEW_IN_NEXT.isdisjoint(applied)
    assert [run.succeeded_count for run in await wagtail.executions()] == [1]


async def test_an_editor_publishes_a_page_with_a_picture(wagtail: Deployment) -> None:
    """The superuser logs in to Wagtail's admin; the picture goes to the bucket, and its rendition from there to all."""
    editor = await logged_in(wagtail)
    await publish(editor, "Steam", picture="kettle")
    reader = await wagtail.browser()
    assert "Steam" in (await reader.get("/")).text
    page = await reader.get("/steam/")
    assert "Eighty degrees is enough." in page.text
    await has_picture(reader, page, "kettle")
    bucket = f"{wagtail.world.site.project}-{wagtail.world.google_id('wagtail', 'media')}"
    assert "original_images/kettle.png" in await wagtail.world.objects(bucket)


async def test_the_next_version_comes_without_a_failed_request(wagtail: Deployment, local: Any) -> None:
    """7.4 under 50 requests a second: its migrations run once, and page, picture and session are still there."""
    editor = await logged_in(wagtail)
    await publish(editor, "Before", picture="teapot")
    before, applied = await wagtail.status(), await migrations(wagtail, local)
    following = await image(wagtail.world, "next")
    async with polling(wagtail, "/before/") as answers:
        await eventually(lambda: answers.count > 50, "a first second of requests")
        app = await wagtail.release(image=following)
        asked = answers.count
        await eventually(lambda: answers.count > asked + 50, "a last second of requests")
    assert answers.bad == []
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert app["status"]["revision"] != before["revision"]
    now = await migrations(wagtail, local)
    assert sorted(now) == sorted([*applied, *NEW_IN_NEXT])
    assert [run.succeeded_count for run in await wagtail.executions()] == [1, 1]
    page = await editor.get("/before/")
    await has_picture(editor, page, "teapot")
    await publish(editor, "After", picture="cup")
    assert "After" in (await editor.get("/")).text


async def logged_in(app: Deployment) -> Browser:
    """The superuser, in Wagtail's own admin."""
    browser = await app.browser()
    page = await browser.log_in("/admin/login/?next=/admin/", "editor", await superuser_password(app.world, app.name))
    assert page.status == 200
    assert page.url.endswith("/admin/"), page.url
    return browser


async def publish(editor: Browser, title: str, picture: str) -> None:
    """By the forms of Wagtail's admin: a picture, then an article that shows it."""
    files = {"file": (f"{picture}.png", png(80, 60))}
    listed = await editor.submit("/admin/images/add/", {"title": picture, "tags": ""}, files)
    assert listed.status == 200
    pictures = re.findall(r"/admin/images/(\d+)/", listed.text)
    assert pictures, listed.text[:2000]
    home = re.search(r"/admin/pages/(\d+)/edit/", (await editor.get("/admin/pages/1/")).text)
    assert home is not None
    block = {"key": "a1b2c", "text": "Eighty degrees is enough.", "type": "unstyled", "depth": 0}
    body = json.dumps({"blocks": [{**block, "inlineStyleRanges": [], "entityRanges": []}], "entityMap": {}})
    fields = {"title": title, "slug": title.lower(), "body": body, "photo": max(pictures, key=int)}
    extra = {**NO_COMMENTS, "action-publish": "action-publish"}
    page = await editor.submit(f"/admin/pages/add/home/articlepage/{home[1]}/", {**fields, **extra})
    assert page.status == 200
    assert "published" in page.text, page.text[:2000]


async def has_picture(browser: Browser, page: Page, name: str) -> None:
    """The page shows a rendition of it, which is a PNG of its own size."""
    source = re.search(rf'src="(/media/images/{name}[^"]*\.png)"', page.text)
    assert source is not None, page.text
    content = (await browser.get(source[1])).content
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (40, 30)


async def migrations(app: Deployment, local: Any) -> list[tuple[str, str]]:
    """What Django's table says, with every repetition."""
    async with app.database(local) as database:
        rows = await (await database.execute("SELECT app, name FROM django_migrations")).fetchall()
    return [(row[0], row[1]) for row in rows]


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
