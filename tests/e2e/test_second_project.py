"""A Django project that knows nothing of Nuages, as its authors wrote it."""

from __future__ import annotations

import pytest
import yaml
from e2e_accounts import superuser_password
from e2e_world import World

MANIFEST = "samples/blog.yaml"


@pytest.mark.xdist_group("second_project")
async def test_unmodified_project_logs_in_and_publishes(world: World, pytestconfig: pytest.Config) -> None:
    """Its own Dockerfile, settings module and variable names: a writer logs in, publishes, and a reader sees it."""
    manifest = yaml.safe_load((pytestconfig.rootpath / MANIFEST).read_text())
    manifest["spec"]["image"] = await world.site.image("blog", "v1")
    await world.apply(manifest)
    app = await world.wait("blog")
    writer, reader = await world.browser(app), await world.browser(app)
    page = await writer.log_in("/accounts/login/", "editor", await superuser_password(world, "blog"))
    assert page.status == 200
    page = await writer.submit("/write/", {"title": "Steam", "slug": "steam", "body": "Eighty degrees is enough."})
    assert page.status == 200
    assert "Steam" in (await reader.get("/")).text
