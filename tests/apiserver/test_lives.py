"""What the state machine once found: each life as it was found, by itself."""

from __future__ import annotations

from machine_world import FIRST, Life, Site, said


def ready(site: Site, life: Life) -> None:
    """Passes until the app is Ready."""
    operator = site.world.operator()
    app = site.run(site.world.rest(operator, life))
    assert said(app, "Ready")["status"] == "True", app["status"]
    site.run(operator.close())


def begun(site: Site) -> Life:
    """An app that is Ready."""
    life = site.run(site.world.begin())
    site.run(site.world.apply(life, FIRST))
    ready(site, life)
    return life


def test_plan_after_a_rotation_is_empty(site: Site) -> None:
    """The plan knows which of a pair of secrets is in use: it would not turn the first one back."""
    life = begun(site)
    site.run(site.world.annotate(life, "rotate", "1"))
    ready(site, life)
    assert site.run(site.world.plan(life)).changes == ()


def test_plan_after_a_second_release_is_empty(site: Site) -> None:
    """Google's other host joins the template with it, and is nothing that a plan would take out again."""
    life = begun(site)
    site.run(site.world.apply(life, {**FIRST, "env": [{"name": "GREETING", "value": "hello"}]}))
    ready(site, life)
    assert site.run(site.world.plan(life)).changes == ()
