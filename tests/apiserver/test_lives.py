"""What the state machine once found: each life as it was found, by itself."""

from __future__ import annotations

from typing import Any

import pytest
from machine_moves import delete_old, move
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


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
@pytest.mark.parametrize("instance", [{"create": {}}, {"existing": "shared-pg"}], ids=["own", "shared"])
def test_what_another_cluster_took_over_stays_when_the_old_object_goes(
    site: Site, policy: str, instance: dict[str, Any]
) -> None:
    """Grants bear no marker: they are whose secret, bucket, account or instance they are of."""
    world, life = site.world, site.run(site.world.begin())
    site.run(world.apply(life, {**FIRST, "deletionPolicy": policy, "database": {"instance": instance}}))
    old, new = site.run(move(world, life))
    assert said(new, "Ready")["status"] == "True", new["status"]
    site.run(delete_old(world, life, old))
    assert life.job("db-init") in site.run(world.left(life))["jobs"]
    there = [(row["kind"], row["name"]) for row in new["status"]["resources"]]
    wrong = {name: found for kind, name in there if (found := site.run(world.google.wrong(kind, name)))}
    assert wrong == {}
    assert site.run(world.plan(life)).changes == ()
