"""status.resources: every Google resource that the app owns, and nothing that is not there."""

from __future__ import annotations

from typing import Any

from machine_world import FIRST, PROJECT, REGION, Life, Site
from test_lives import begun, ready

WITH_SUPERUSER = {**FIRST, "superuser": {"username": "admin", "email": "admin@acme.example"}}


def rows(site: Site, life: Life) -> dict[str, str]:
    """The state of each, by the last part of its name."""
    found: dict[str, Any] = site.run(site.world.app(life))
    return {_last(row["name"]): row["state"] for row in found["status"]["resources"]}


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def test_all_that_bears_the_app_s_marker_is_listed(site: Site) -> None:
    """What the release's steps make too: the jobs, and the superuser's password; still so in a pass at rest."""
    life = begun(site)
    site.run(site.world.apply(life, WITH_SUPERUSER))
    ready(site, life)
    marked = site.run(site.world.google.markers(f"projects/{PROJECT}/locations/{REGION}", life.namespace))
    assert {name.rpartition("-")[2] for name in marked} >= {"init", "migrate", "superuser", "password"}
    told = rows(site, life)
    assert {_last(name): told.get(_last(name)) for name in marked} == {_last(name): "Ready" for name in marked}
    ready(site, life)
    assert rows(site, life) == told
