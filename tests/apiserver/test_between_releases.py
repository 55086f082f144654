"""What holds while one release follows another: a spec that comes in between, and secrets that are in use still."""

from __future__ import annotations

from typing import Any

from machine_world import FIRST, PATIENCE, Life, MachineWorld, Operator, Site, said

from localcloud.api.run_state import RunState
from nuages.reconcile import reasons
from nuages.reconcile.release.steps import STEPS

VERIFY = [stage.name for stage in STEPS].index("Verify") + 1


def greeting(text: str) -> dict[str, Any]:
    return {**FIRST, "env": [{"name": "GREETING", "value": text}]}


async def serving(world: MachineWorld, life: Life) -> dict[str, int]:
    """Percents of the traffic by revision."""
    service = await world.service(life)
    return {target.revision: target.percent for target in service.traffic_statuses if target.percent}


async def superseded_at_verify(world: MachineWorld, operator: Operator, life: Life) -> None:
    """Passes until the one that was told of a newer spec during Verify; fails where the traffic moves before."""
    before = await serving(world, life)
    operator.supersede(True, at=VERIFY)
    for _ in range(PATIENCE):
        app = await world.one_pass(operator, life)
        assert await serving(world, life) == before, app["status"]
        if app["status"]["release"]["stage"] == "Verify":
            assert said(app, "Reconciling")["reason"] == reasons.SUPERSEDED
            return
    raise AssertionError(f"not verified after {PATIENCE} passes: {app['status']}")


def test_a_spec_that_comes_during_a_release_is_taken_up_before_the_traffic_moves(site: Site) -> None:
    """The pass would go on from Verify to Traffic; what serves goes from the first revision to the third."""
    world, life = site.world, site.run(site.world.begin())
    operator = world.operator()
    site.run(world.apply(life, greeting("first")))
    assert said(site.run(world.rest(operator, life)), "Ready")["status"] == "True"
    site.run(world.apply(life, greeting("second")))
    site.run(superseded_at_verify(world, operator, life))
    site.run(world.apply(life, greeting("third")))
    operator.supersede(False)
    assert said(site.run(world.rest(operator, life)), "Ready")["status"] == "True"
    container = site.run(world.service(life)).template.containers[0]
    assert {item.name: item.value for item in container.env}["GREETING"] == "third"
    site.run(operator.close())


def test_a_version_that_a_kept_revision_refers_to_stays_enabled(site: Site) -> None:
    """It must start again when traffic is sent back to it; what no revision refers to any more is disabled."""
    world, life = site.world, site.run(site.world.begin())
    operator = world.operator()
    site.run(world.apply(life, {**FIRST, "release": {"keepRevisions": 2}}))
    for turn in range(3):
        if turn:
            site.run(world.annotate(life, "rotate", str(turn)))
        app = site.run(world.rest(operator, life))
        assert said(app, "Ready")["status"] == "True", app["status"]
    url = f"{life.namespace}-{life.name}-database-url"
    numbers = {name: dict(found)[url] for name, found in references(world, life).items()}
    assert (numbers.pop(app["status"]["revision"]), set(numbers.values())) == ("3", {"2", "3"})
    states = [site.run(world.secret_version_state(url, number)) for number in ("1", "2", "3")]
    assert states == ["DISABLED", "ENABLED", "ENABLED"]
    in_use = {reference for found in references(world, life).values() for reference in found}
    assert {site.run(world.secret_version_state(*reference)) for reference in in_use} == {"ENABLED"}
    site.run(operator.close())


def references(world: MachineWorld, life: Life) -> dict[str, set[tuple[str, str]]]:
    """The secret versions that each revision needs to start."""
    state = world.cloud.core.shared(RunState)
    return {
        name.rpartition("/")[2]: {
            (reference.secret.rpartition("/")[2], reference.version)
            for item in state.revisions.get(name).containers[0].env
            if (reference := item.value_source.secret_key_ref).secret
        }
        for name in state.revisions
        if name.startswith(f"{life.service}/revisions/")
    }
