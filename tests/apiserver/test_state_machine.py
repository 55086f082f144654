"""The operator under any order of specs, restarts and faults: it converges, and never says what is not so.

`--hypothesis-profile` chooses how long (tests/conftest.py): bounded in `make test`, long in `make soak`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from machine_claims import false_claims, refused_field
from machine_held import HURRIED_S
from machine_specs import Change, changes
from machine_world import APP, FIRST, PROJECT, REGISTRY, Life, Operator, Refused, Resting, Site, is_current, said

from localcloud.core.errors import ApiError, Code, plain
from localcloud.core.faults import Fault, Kind
from nuages.cloud.call import CALL_TIMEOUT
from nuages.reconcile import reasons

STEPS, EXAMPLES_A_LIFE = 10, 16  # a life takes seconds, not milliseconds as other examples do
FAULTS = {
    "429": (Kind.FAIL, ApiError(Code.RESOURCE_EXHAUSTED, "Quota exceeded for quota metric 'Write requests'.")),
    "500": (Kind.FAIL, plain(Code.INTERNAL)),
    "503": (Kind.FAIL, plain(Code.UNAVAILABLE)),
    "409": (Kind.FAIL, ApiError(Code.ABORTED, "There were concurrent changes.")),
    "403": (Kind.FAIL, ApiError(Code.PERMISSION_DENIED, "Permission denied on resource.")),
    "lost": (Kind.LOSE, ApiError(Code.UNAVAILABLE, "")),
    "stale": (Kind.STALE, ApiError(Code.UNAVAILABLE, "")),
    "late": (Kind.CALL, ApiError(Code.DEADLINE_EXCEEDED, "")),
}
EXPECTED = {  # what a spec that admission accepts may lead to in this world; all else would be the operator's fault
    reasons.NOT_ALLOWED,
    reasons.INSTANCE_NOT_FOUND,
    reasons.ACCOUNT_NOT_FOUND,
    reasons.SECRET_MISSING,
    reasons.SECRET_KEY_MISSING,
    reasons.CONFIG_MAP_MISSING,
    reasons.IMMUTABLE_FIELD,
    reasons.ACCESS_FAILED,
    reasons.REFUSED_BY_GOOGLE,
    "ConnectionBudgetExceeded",
    "MountHidesImage",
}


class OneApp(RuleBasedStateMachine):
    """The life of one app. `spec` is what the API server has; `good` was Ready once."""

    life: Life
    operator: Operator

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.run, self.world = site.run, site.world
        self.looked_at = ("", 0)

    @initialize(change=changes(REGISTRY, PROJECT))
    def create(self, change: Change) -> None:
        self.life, self.operator = self.run(self.world.begin()), self.world.operator()
        self.spec = self.good = FIRST
        self.retries, self.asked = 0, dict[str, str]()
        self.unheld = ""
        self.run(self.world.apply(self.life, FIRST))
        self.change(change)

    @rule(change=changes(REGISTRY, PROJECT))
    def change(self, change: Change) -> None:
        """Any field; what admission refuses changes nothing."""
        spec = change.applied_to(self.spec)
        try:
            self.run(self.world.apply(self.life, spec))
        except Refused as error:
            note(f"{change} is refused: {str(error)[:200]}")
        else:
            note(f"{change} is applied")
            self.spec = spec

    @rule(name=st.sampled_from(["reconcile-at", "retry-migration", "rotate", "adopt"]), value=st.sampled_from("abc"))
    def ask(self, name: str, value: str) -> None:
        """What people ask for by annotations."""
        self.retries += name == "retry-migration" and self.asked.get(name) != value
        self.asked[name] = value
        self.run(self.world.annotate(self.life, name, "true" if name == "adopt" else value))

    @rule(tag=st.sampled_from(["v1", "v2", "v3"]))
    def migrate(self, tag: str) -> None:
        """What spec.migrations.policy: Manual waits for."""
        self.run(self.world.annotate(self.life, "migrate", f"{REGISTRY}/shop:{tag}"))

    @rule(count=st.integers(1, 30))
    def wait(self, count: int) -> None:
        """So many passes, wherever they lead."""
        for _ in range(count):
            self.one_pass()

    @rule(call=st.integers(0, 40), after=st.booleans())
    def crash(self, call: int, after: bool) -> None:
        """The operator dies before or after one of its calls of Google, and another one comes up."""
        kill = self.world.cloud.faults.add(Fault("*", Kind.KILL, skip=call, after=after))
        for _ in range(10):
            if self.run(self.operator.one_pass(self.life.key, kill)) is None:
                break
        kill.times = 0
        self.restart()

    @rule()
    def restart(self) -> None:
        self.succeed(CALL_TIMEOUT)

    def succeed(self, call_timeout: float) -> None:
        """Another operator, which gives calls that time."""
        self.run(self.operator.close())
        self.operator = self.world.operator(call_timeout)

    def calm(self) -> None:
        """Google is itself again, and has done what it was asked; nobody is in a hurry, for the machine may be slow."""
        self.world.cloud.faults.clear()
        self.run(self.world.held.over())
        if self.operator.is_hurried:
            self.succeed(CALL_TIMEOUT)
        self.operator.supersede(False)

    @rule(kind=st.sampled_from(sorted(FAULTS)), skip=st.integers(0, 60), times=st.integers(1, 3))
    def disturb(self, kind: str, skip: int, times: int) -> None:
        """Calls fail, or their answers are lost, or they see the past, or last longer than the operator waits."""
        how, error = FAULTS[kind]
        hook = self.world.held if how is Kind.CALL else None
        if hook is not None:
            self.succeed(HURRIED_S)
        self.world.cloud.faults.add(Fault("*", how, error, skip=skip, times=times, hook=hook, after=True))

    @rule(superseded=st.booleans())
    def supersede(self, superseded: bool) -> None:
        """A pass is told of a newer spec, and stops at its next safe point."""
        self.operator.supersede(superseded)

    @rule()
    def forget(self) -> None:
        """The status is wiped, and with it what admission holds a new spec against."""
        known = (self.run(self.world.app(self.life)).get("status") or {}).get("database")
        if known:
            self.unheld = place(self.spec)
        self.run(self.world.wipe_status(self.life))

    @rule()
    def delete(self) -> None:
        """The app goes, with what deletionPolicy says; one of the same name comes, and takes the rest back."""
        self.calm()
        deletes = self.spec.get("deletionPolicy") == "Delete"
        self.run(self.world.delete(self.operator, self.life))
        left = self.run(self.world.left(self.life))
        assert left.keys() <= (set() if deletes else {"secrets", "instances"}), f"{left} of {self.spec}"
        self.spec, self.unheld = self.good, ""
        self.run(self.world.apply(self.life, self.spec))

    @rule()
    def settle(self) -> None:
        """Left alone, the app comes to rest: Ready, or Stalled for a documented reason until the spec is mended."""
        self.calm()
        app = self.rest()
        if said(app, "Stalled"):
            self.check_stall(app)
            self.mend()
            app = self.rest()
            self.check_mended(app)
        if said(app, "Ready").get("status") == "True":
            self.good = self.spec
            self.check_rest(app)

    def teardown(self) -> None:
        if not hasattr(self, "operator"):
            return
        try:
            self.settle()
        finally:
            self.world.cloud.faults.clear()
            self.run(self.operator.close())

    def one_pass(self) -> dict[str, Any]:
        """One pass, and what must hold after any."""
        app = self.run(self.world.one_pass(self.operator, self.life))
        self.check_conditions(app)
        self.check_runs()
        candidates = self.world.candidates(self.life)
        assert len(candidates) <= 1, f"two releases at once, {candidates}, of {self.spec}: {app.get('status')}"
        return app

    def rest(self) -> dict[str, Any]:
        """The app at rest, with what must hold after any pass looked at after each."""
        resting = Resting()
        while not resting.seen(app := self.one_pass()):
            pass
        return app

    def mend(self) -> None:
        """The spec that was Ready, but for what can never change once it is there."""
        self.run(self.world.apply(self.life, self.good))
        self.spec = self.good

    def check_conditions(self, app: Mapping[str, Any]) -> None:
        """Ready from the first write; Reconciling and Stalled never both."""
        if not app.get("status"):
            return
        assert said(app, "Ready"), app["status"]
        assert not (said(app, "Reconciling") and said(app, "Stalled")), app["status"]
        kept = self.world.cloud.faults.all()
        self.world.cloud.faults.clear()
        if said(app, "Ready")["status"] == "True" and is_current(app) and not self.spec.get("paused"):
            self.check_claims(app)
        self.check_status(app)
        for fault in kept:
            self.world.cloud.faults.add(fault)

    def check_status(self, app: Mapping[str, Any]) -> None:
        """All that it claims besides; looked at again where it or Google has changed."""
        now = (app["metadata"]["resourceVersion"], self.world.writes())
        if now == self.looked_at:
            return
        self.looked_at = now
        digest = self.world.digests[self.spec["image"].rpartition(":")[2]]
        found = self.run(false_claims(self.world.google, app, self.life.job("migrate"), digest))
        assert found == [], f"{found} of {self.spec}: {app['status']}"

    def check_claims(self, app: Mapping[str, Any]) -> None:
        """What a Ready status says of the service is what Google says."""
        service = self.run(self.world.service(self.life))
        status, revision = app["status"], app["status"]["revision"]
        shown = {target.revision: target.percent for target in service.traffic_statuses if target.percent}
        assert shown == {revision: 100}, (shown, status)
        assert service.latest_ready_revision.endswith(f"/{revision}")
        assert not service.reconciling
        container = service.template.containers[0]
        digest = self.world.digests[self.spec["image"].rpartition(":")[2]]
        assert container.image.endswith(f"@{digest}"), (container.image, self.spec)
        assert status["image"] == container.image
        assert service.invoker_iam_disabled == (self.spec["web"].get("access", "Public") == "Public")
        for variable in container.env:
            reference = variable.value_source.secret_key_ref
            if reference.secret:
                state = self.run(self.world.secret_version_state(reference.secret, reference.version))
                assert state == "ENABLED", f"{variable.name}: {reference} is {state}"

    def check_runs(self) -> None:
        """One job at a time, and one migration for each digest and database."""
        runs = self.world.executions(self.life)
        for earlier, later in itertools.pairwise(runs):
            assert earlier.HasField("completion_time"), f"{later.name} began while {earlier.name} ran"
            assert earlier.completion_time.ToNanoseconds() <= later.create_time.ToNanoseconds(), later.name
        migrations = Counter(
            (
                run.template.containers[0].image,
                tuple(run.template.volumes[0].cloud_sql_instance.instances),
                database(run),
            )
            for run in runs
            if "-migrate-" in run.name
        )
        assert all(count <= 1 + self.retries for count in migrations.values()), migrations

    def check_stall(self, app: Mapping[str, Any]) -> None:
        stalled = said(app, "Stalled")
        documented = {row.word for row in reasons.TABLE if row.kind is reasons.Kind.STALLED}
        expected = EXPECTED | ({reasons.DATABASE_MOVED} if self.unheld not in ("", place(self.spec)) else set())
        assert stalled["reason"] in documented & expected, f"{stalled} of {self.spec}"
        if stalled["reason"] == reasons.REFUSED_BY_GOOGLE:
            assert refused_field(stalled["message"], self.spec), f"{stalled} of {self.spec}"
        note(f"{stalled['reason']}: {stalled['message']}")

    def check_mended(self, app: Mapping[str, Any]) -> None:
        """A spec that was Ready is Ready again, whatever came in between."""
        ready = said(app, "Ready")
        pending = (
            ready["reason"] == reasons.MIGRATION_PENDING and self.spec.get("migrations", {}).get("policy") == "Manual"
        )
        assert ready["status"] == "True" or pending, f"{app['status']['conditions']} of {self.spec}"

    def check_rest(self, app: Mapping[str, Any]) -> None:
        """Nothing is left to do: not for the plan, nor for a new operator that knows nothing."""
        plan = self.run(self.world.plan(self.life))
        left = [(action.verb.value, action.resource.shown, action.paths) for action in (*plan.changes, *plan.refusals)]
        assert left == [], f"{left} of {self.spec}"
        self.restart()
        before = self.world.writes()
        again = self.one_pass()
        assert self.world.writes() == before
        assert again["metadata"]["resourceVersion"] == app["metadata"]["resourceVersion"]


def place(spec: Mapping[str, Any]) -> str:
    """Where a spec's data is: the instance, "" for the app's own, and the database."""
    chosen = spec.get("database", {})
    return f"{chosen.get('instance', {}).get('existing', '')}/{chosen.get('name', APP)}"


def database(run: Any) -> str:
    return next((item.value for item in run.template.containers[0].env if item.name == "DB_NAME"), "")


def test_one_app_in_any_order(site: Site) -> None:
    """Whatever is asked, in whatever order, and whatever dies or fails meanwhile."""
    bounded = settings(
        max_examples=max(1, settings().max_examples // EXAMPLES_A_LIFE),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking costs minutes; the steps tell as much
        stateful_step_count=STEPS,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: OneApp(site), settings=bounded)
