"""An app whose manifest comes to a new cluster: it waits to be adopted, and then has all that it had."""

from __future__ import annotations

import json
from typing import Any

import pytest
from machine_world import APP, FIRST, REGISTRY, Life, Operator, Site, said

from localcloud.api.run_state import RunState
from localcloud.core.faults import Fault, Kind
from localcloud.runtime.tasks import EXITED_WITH_ERROR, Attempt
from localcloud.runtime.workload import Workload
from nuages.reconcile.plan import Verb

ALL = {
    **FIRST,
    "env": [{"name": "STRIPE_KEY", "kubernetesSecret": {"name": "stripe", "key": "key"}}],
    "superuser": {"username": "boss", "email": "boss@acme.example"},
}
NO_DATABASE = {**FIRST, "database": {"engine": "None"}}
EXISTING = {**FIRST, "database": {"instance": {"existing": "shared-pg"}}}
SPECS = pytest.mark.parametrize(
    "spec", [ALL, NO_DATABASE, EXISTING], ids=["own-instance", "no-database", "existing-instance"]
)


class Move:
    """A life that was Ready in one cluster, and whose manifest was applied to the next one."""

    def __init__(self, site: Site, spec: dict[str, Any], then: dict[str, Any] | None = None) -> None:
        self.world, self.run = site.world, site.run
        self.life: Life = self.run(self.world.begin())
        self.run(self.world.apply(self.life, spec))
        operator = self.world.operator()
        self.old = self.run(self.world.rest(operator, self.life))
        assert said(self.old, "Ready")["status"] == "True", self.old["status"]
        self.before, self.old_markers = self.run(self.contents()), self.markers()
        self.run(self.world.leave_cluster(operator, self.life))
        self.run(operator.close())
        self.operator: Operator = self.world.operator()
        self.run(self.world.apply(self.life, then or spec))

    def rest(self) -> dict[str, Any]:
        return self.run(self.world.rest(self.operator, self.life))

    def adopt(self) -> dict[str, Any]:
        """The app at rest, and Ready."""
        self.run(self.world.annotate(self.life, "adopt", "true"))
        app = self.rest()
        assert said(app, "Ready")["status"] == "True", app["status"]
        return app

    def changes(self) -> list[tuple[str, str, tuple[str, ...]]]:
        plan = self.run(self.world.plan(self.life))
        return [(item.verb.value, item.resource.shown, item.paths) for item in (*plan.changes, *plan.refusals)]

    async def contents(self) -> dict[str, Any]:
        """What must not be made twice: what there is, payloads, the revision that serves, what has migrated."""
        there = await self.world.left(self.life)
        return {
            "there": there,
            "payloads": {name: await self.world.google.payloads(name) for name in there["secrets"]},
            "revisions": self.revisions(),
            "migrations": [run.name for run in self.world.executions(self.life) if "-migrate-" in run.name],
        }

    def revisions(self) -> list[str]:
        state = self.world.cloud.core.shared(RunState)
        return [name for name in state.revisions if name.startswith(f"{self.life.service}/revisions/")]

    def markers(self) -> dict[str, str]:
        """The uid that each resource of the app bears, by its full name."""
        location = self.life.service.partition("/services/")[0]
        return self.run(self.world.google.markers(location, f"{self.life.namespace}-{APP}"))


@SPECS
def test_an_app_in_a_new_cluster_waits_to_be_adopted(site: Site, spec: dict[str, Any]) -> None:
    """Nothing is made beside what it has, and the plan would make nothing: not even an instance of another name."""
    move = Move(site, spec)
    stalled = said(move.rest(), "Stalled")
    assert (stalled["reason"], "nuages.dev/adopt" in stalled["message"]) == ("NameConflict", True), stalled
    assert "create" not in {verb for verb, _, _ in move.changes()}, move.changes()
    assert move.run(move.contents()) == move.before


def test_a_database_is_not_begun_anew_where_the_service_is_gone(site: Site) -> None:
    """The instance alone is found by its marker: a conflict, until it is adopted."""
    move = Move(site, ALL)
    move.run(move.world.google.delete_service(move.life.service))
    stalled = said(move.rest(), "Stalled")
    assert stalled["reason"] == "NameConflict", stalled
    move.adopt()
    assert move.run(move.world.left(move.life))["instances"] == move.before["there"]["instances"]


@SPECS
def test_what_is_adopted_is_as_it_was(site: Site, spec: dict[str, Any]) -> None:
    """The same instance, the same payloads, the revision that served, and no second migration."""
    move = Move(site, spec)
    move.adopt()
    assert move.run(move.contents()) == move.before


@SPECS
def test_an_adoption_ends(site: Site, spec: dict[str, Any]) -> None:
    """Everything bears the new marker; the plan is empty; without the annotation the app goes on, and releases."""
    move = Move(site, spec)
    app = move.adopt()
    markers = move.markers()
    assert set(markers.values()) == {app["metadata"]["uid"]}, (app["metadata"]["uid"], markers)
    assert move.changes() == []
    runs = len(move.world.executions(move.life))
    move.run(move.world.annotate(move.life, "adopt", None))
    assert said(move.rest(), "Ready")["status"] == "True"
    assert (move.run(move.contents()), move.markers(), move.changes()) == (move.before, markers, [])
    assert len(move.world.executions(move.life)) == runs
    move.run(move.world.apply(move.life, {**spec, "env": [{"name": "GREETING", "value": "hello"}]}))
    assert said(move.rest(), "Ready")["status"] == "True"


def test_a_conflict_from_before_an_adoption_does_not_come_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an instance of others: what db-init took over stays so without the annotation, and asks for no other run."""
    world, life, attempt = site.world, site.run(site.world.begin()), site.world.cloud.runtime.tasks.attempt

    async def conflicts(of: Workload, *rest: Any) -> Attempt:
        """Until it is told to adopt."""
        asked = {item.name: item.value for item in of.container.env}
        if json.loads(asked.get("NUAGES_DBINIT", "{}")).get("adopt", True):
            return await attempt(of, *rest)
        verdict = {"nuages": "dbinit", "reason": "NameConflict", "message": "spec.database.name: it is another's."}
        labels = (of.resource_type, of.resource_labels)
        world.cloud.runtime.logs.write(*labels, "stdout", json.dumps(verdict), entry_labels=of.entry_labels)
        return Attempt(10, message=EXITED_WITH_ERROR)

    monkeypatch.setattr(world.cloud.runtime.tasks, "attempt", conflicts)
    site.run(world.apply(life, EXISTING))
    operator = world.operator()
    assert said(site.run(world.rest(operator, life)), "Stalled")["message"].startswith("spec.database.name: it is ")
    site.run(world.annotate(life, "adopt", "true"))
    assert said(site.run(world.rest(operator, life)), "Ready")["status"] == "True"
    runs = [run.name for run in world.executions(life)]
    site.run(world.annotate(life, "adopt", None))
    app = site.run(world.rest(operator, life))
    assert said(app, "Ready")["status"] == "True", app["status"]
    assert [run.name for run in world.executions(life)] == runs
    assert site.run(world.plan(life)).changes == ()
    site.run(operator.close())


def test_an_interrupted_adoption_goes_on(site: Site) -> None:
    """The operator dies before or after one of its calls, again and again: nothing is made twice."""
    move = Move(site, ALL)
    move.run(move.world.annotate(move.life, "adopt", "true"))
    died = 0
    for count in range(12):
        kill = move.world.cloud.faults.add(Fault("*", Kind.KILL, skip=20 + count, after=bool(count % 2)))
        died += move.run(move.operator.one_pass(move.life.key, kill)) is None
        kill.times = 0
        move.run(move.operator.close())
        move.operator = move.world.operator()
    assert died > 3
    app = move.adopt()
    markers = move.markers()
    assert set(markers.values()) == {app["metadata"]["uid"]}, markers
    assert (move.run(move.contents()), move.changes()) == (move.before, [])


def test_what_a_manifest_wants_no_more_is_adopted_with_the_rest(site: Site) -> None:
    """It is removed, or kept, as the old cluster would have it: a revision that is kept refers to the variable."""
    move = Move(site, ALL, then=FIRST)
    app = move.adopt()
    markers = move.markers()
    assert set(markers.values()) == {app["metadata"]["uid"]}, markers
    assert move.old_markers.keys() - markers.keys() == {move.life.job("superuser")}
    assert move.changes() == []


def test_a_job_of_nobodys_is_taken_over_before_it_is_run(site: Site) -> None:
    """As the plan says of it; what it ran before is not what it runs then."""
    world, life = site.world, site.run(site.world.begin())
    site.run(world.google.make_job(life.job("migrate"), f"{REGISTRY}/{APP}:v3"))
    site.run(world.apply(life, FIRST))
    operator = world.operator()
    assert "migrate is there and is not ours" in said(site.run(world.rest(operator, life)), "Stalled")["message"]
    site.run(world.annotate(life, "adopt", "true"))
    adopts = [item.resource.name for item in site.run(world.plan(life)).changes if item.verb is Verb.ADOPT]
    assert adopts == [life.job("migrate")]
    assert said(site.run(world.rest(operator, life)), "Ready")["status"] == "True"
    images = {run.template.containers[0].image for run in world.executions(life) if "-migrate-" in run.name}
    assert images == {f"{REGISTRY}/{APP}@{world.digests['v1']}"}
    site.run(operator.close())
