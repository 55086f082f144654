"""What the state machine once found, each life as it was found, by itself; and a life with each call's hiccup."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from machine_claims import false_claims
from machine_moves import delete_old, move
from machine_world import BETWEEN_S, FIRST, PATIENCE, PROJECT, Life, MachineWorld, Site, said

from localcloud.core.errors import Code, plain
from localcloud.core.faults import Fault, Kind
from nuages.desired.iam import ProjectService
from nuages.reconcile import reasons

HICCUPS = (Code.UNAVAILABLE, Code.INTERNAL, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED)
RUNNER = {"existing": f"shared-runner@{PROJECT}.iam.gserviceaccount.com"}


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
    assert site.run(wrong(world, new)) == {}
    assert site.run(world.plan(life)).changes == ()


@pytest.mark.parametrize("accounts", [({}, {}), ({}, RUNNER), (RUNNER, {})], ids=["own", "second-named", "first-named"])
def test_of_two_apps_with_the_same_names_at_google_one_is_made(
    site: Site, accounts: tuple[dict[str, str], dict[str, str]]
) -> None:
    """Applied at once, neither sees the other begin; one has made nothing, and nothing goes when it is deleted."""
    world, first = site.world, site.run(site.world.begin(name="b-shop"))
    second = site.run(world.begin(f"{first.namespace}-b", "shop"))
    for life, account in zip((first, second), accounts, strict=True):
        spec = {**FIRST, "deletionPolicy": "Delete", "serviceAccount": account}
        site.run(world.apply(life, spec))
    winner, loser = site.run(until_one_is_ready(world, first, second))
    rows = site.run(world.app(loser))["status"].get("resources") or []
    assert [row for row in rows if row["kind"] != ProjectService.kind and row["state"] == "Ready"] == []
    there = site.run(world.left(winner))
    assert len(there["instances"]) == 1
    operator = world.operator()
    site.run(world.delete(operator, loser))
    assert site.run(world.left(winner)) == there
    app = site.run(world.rest(operator, winner))
    assert site.run(wrong(world, app)) == {}
    assert site.run(world.plan(winner)).changes == ()
    site.run(operator.close())


def test_a_first_pass_takes_one_name_before_all_else(site: Site) -> None:
    """Whoever dies there has made nothing more, and the next one goes on from it."""
    world, life = site.world, site.run(site.world.begin())
    site.run(world.apply(life, FIRST))
    operator = world.operator()
    kill = world.cloud.faults.add(Fault("*.CreateSecret", Kind.KILL, after=True))
    assert site.run(operator.one_pass(life.key, kill)) is None
    there = site.run(world.left(life))
    assert {kind: {name.rpartition("/")[2] for name in names} for kind, names in there.items()} == {
        "secrets": {f"{life.namespace}-shop-secret-key"}
    }
    site.run(operator.close())
    ready(site, life)


async def until_one_is_ready(world: MachineWorld, *lives: Life) -> tuple[Life, Life]:
    """With a pass over each at a time; the one that is Ready first, while the other says that its name is taken."""
    operator = world.operator()
    for _ in range(PATIENCE):
        await asyncio.gather(*(operator.one_pass(life.key) for life in lives))
        await asyncio.sleep(BETWEEN_S)
        told = {said(await world.app(life), "Ready")["reason"]: life for life in lives}
        if told.keys() == {reasons.AVAILABLE, reasons.NAME_CONFLICT}:
            await operator.close()
            return told[reasons.AVAILABLE], told[reasons.NAME_CONFLICT]
    raise AssertionError(f"after {PATIENCE} passes: {[(await world.app(life))['status'] for life in lives]}")


async def wrong(world: MachineWorld, app: Mapping[str, Any]) -> dict[str, str]:
    """What is not at Google as the app's status has it."""
    rows = app["status"]["resources"]
    return {row["name"]: found for row in rows if (found := await world.google.wrong(row["kind"], row["name"]))}


@pytest.mark.parametrize(
    "database", [{"name": "fee"}, {"instance": {"existing": "shared-pg"}}], ids=["name", "instance"]
)
def test_another_database_that_admission_could_not_refuse_is_not_followed(site: Site, database: dict[str, Any]) -> None:
    """While the status is wiped nothing holds the spec against it; the data stays, and so does the way back."""
    world, life = site.world, begun(site)
    site.run(world.wipe_status(life))
    site.run(world.apply(life, {**FIRST, "database": database}))
    operator = world.operator()
    stalled = said(site.run(world.rest(operator, life)), "Stalled")
    assert stalled.get("reason") == reasons.DATABASE_MOVED, stalled
    assert f"spec.database.{next(iter(database))}: the data is " in stalled["message"]
    site.run(world.apply(life, FIRST))
    assert said(site.run(world.rest(operator, life)), "Ready")["status"] == "True"
    site.run(operator.close())


def test_a_hiccup_of_googles_leaves_an_app_at_rest_ready(site: Site) -> None:
    """Whichever of a pass's calls fails, in the process that left it at rest or, each second time, in a new one: Ready
    does not move, Reconciling says what is tried again, until it is."""
    life = begun(site)
    site.run(_hiccups(site, life))


async def _hiccups(site: Site, life: Life) -> None:
    world = site.world
    operator = world.operator()
    before = await world.rest(operator, life)
    digest, struck = world.digests["v1"], 0
    for call in range(PATIENCE):
        if call % 2:
            await operator.close()
            operator = world.operator()
        await world.annotate(life, "reconcile-at", str(call))  # looks at all there is
        fault = world.cloud.faults.add(Fault("*", Kind.FAIL, plain(HICCUPS[call % len(HICCUPS)]), skip=call))
        app = await world.one_pass(operator, life)
        if fault.times:
            break
        struck += 1
        assert said(app, "Ready") == said(before, "Ready")
        assert said(app, "Reconciling")["reason"] in ("GoogleUnavailable", "ImageUnreachable")
        assert await false_claims(world.google, app, life.job("migrate"), digest) == []
        app = await world.one_pass(operator, life)
        assert said(app, "Reconciling") == {}
        assert "waiting" not in app["status"]
    world.cloud.faults.clear()
    assert struck > 3
    await operator.close()


def test_a_new_process_does_not_believe_what_a_change_has_overtaken(site: Site) -> None:
    """Where the one before it died in the middle, nobody knows what is Ready: a hiccup is told as on any way there."""
    world, life = site.world, begun(site)
    site.run(world.annotate(life, "rotate", "1"))
    operator = world.operator()
    kill = world.cloud.faults.add(Fault("*.CreateSecret", Kind.KILL, after=True))
    assert site.run(operator.one_pass(life.key, kill)) is None
    site.run(operator.close())
    app = site.run(world.app(life))
    assert (said(app, "Ready")["status"], said(app, "Reconciling")["reason"]) == ("True", "Provisioning")
    assert site.run(_after_a_hiccup(world, life)) == "False"
    ready(site, life)


def test_a_new_process_takes_no_wiped_status_for_an_app_at_rest(site: Site) -> None:
    """What serves is found again, and until then nothing is said of it."""
    world, life = site.world, begun(site)
    site.run(world.wipe_status(life))
    assert site.run(_after_a_hiccup(world, life)) == "False"
    ready(site, life)


async def _after_a_hiccup(world: MachineWorld, life: Life) -> str:
    """Whether a new process says Ready."""
    operator = world.operator()
    fault = world.cloud.faults.add(Fault("*", Kind.FAIL, plain(Code.UNAVAILABLE)))
    app = await world.one_pass(operator, life)
    assert fault.times == 0
    await operator.close()
    return said(app, "Ready")["status"]
