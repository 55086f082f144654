"""Reports of passes over one app: single ones for exact claims, any of them for properties."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from unit_support import IMAGE, REGISTRY, a_tenant, an_app, some_facts

from nuages.blueprint.blueprint import Blueprint
from nuages.blueprint.compose import compose
from nuages.cloud import errors
from nuages.cloud.driver import Observed, Operation, Readiness
from nuages.desired.resource import Resource
from nuages.desired.run import RunService, TrafficTarget
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import Action, Verb
from nuages.reconcile.release.outcome import DONE, Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import Release, bind, identity
from nuages.reconcile.release.steps import STEPS
from nuages.reconcile.report import Report
from nuages.reconcile.trouble import Trouble

NOW, LATER = "2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"
SUPERUSER = {"superuser": {"username": "admin", "email": "admin@acme.example"}}
URL = "https://acme-shop-187635794409.europe-west1.run.app"
STAGES = tuple(stage.name for stage in STEPS)


def a_release(spec: Mapping[str, Any] | None = None) -> Release:
    return _release(json.dumps(SUPERUSER if spec is None else spec))


@functools.cache
def _release(spec: str) -> Release:
    app = an_app(json.loads(spec))
    blueprint = compose(app, a_tenant(), some_facts())
    parts = bind(blueprint, {item.name: "1" for item in blueprint.resources})
    assert parts is not None
    return Release(
        app=app,
        blueprint=blueprint,
        id=identity(parts.service, ""),
        digest=IMAGE.digest,
        service=parts.service,
        db_init=parts.db_init,
        migrate=parts.migrate,
        superuser=parts.superuser,
        live=None,
        began=0.0,
        now=0.0,
    )


def a_service(release: Release, revision: str, serving: str, **outputs: str) -> Observed[RunService]:
    """`revision` is the newest, which has no traffic where another one is `serving`."""
    traffic: tuple[TrafficTarget, ...] = (TrafficTarget(serving, 100, "" if serving != revision else "candidate"),)
    if serving != revision:
        traffic = (*traffic, TrafficTarget(revision, 0, "candidate"))
    state = replace(release.service, revision=revision, traffic=traffic)
    return Observed(state, outputs={"uri": URL, "urls": URL, "latest_ready_revision": serving, **outputs})


def all_ready(blueprint: Blueprint) -> dict[str, Result]:
    return {item.name: Result(item, State.READY, Observed(item)) for item in blueprint.resources}


def serving(spec: Mapping[str, Any] | None = None, **fields: Any) -> Report:
    """The release is through; `fields` are what this pass found otherwise."""
    release = a_release(spec)
    live = a_service(release, release.revision, release.revision)
    found: dict[str, Any] = {
        "blueprint": release.blueprint,
        "results": all_ready(release.blueprint),
        "release": release,
        "stage": "CleanUp",
        "outcome": DONE,
        "live": live,
        "image": f"{REGISTRY}/shop:v4",
    }
    return Report(3, **{**found, **fields})


def with_result(report: Report, part: str, **fields: Any) -> Report:
    """The resource whose name ends in `part` stands otherwise."""
    name = next(name for name in report.results if name.endswith(part))
    changed = replace(report.results[name], **{"observed": None, **fields})
    return replace(report, results={**report.results, name: changed}, release=None, stage="", outcome=None)


WORDS = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=40)
CODES = st.sampled_from(["Migrating", "Verifying", "RevisionFailed", "MigrationFailed"])
TROUBLES = st.builds(Trouble, CODES, WORDS, st.booleans(), st.just(0.0))
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Done, WORDS),
    st.builds(
        Waiting,
        CODES,
        WORDS,
        st.one_of(st.none(), st.builds(Operation, st.just("run"), st.sampled_from(["op-1", "op-2"]), st.just("x"))),
        st.sampled_from(["", "e-1"]),
    ),
    st.builds(Failed, CODES, WORDS, st.sampled_from(["", "https://log"]), st.sampled_from(["", "e-1"])),
)
FAILURES = (errors.Transient("busy"), errors.PermissionDenied("no"), errors.Propagating("soon"), errors.Invalid("bad"))


@st.composite
def _results(draw: st.DrawFn, blueprint: Blueprint) -> dict[str, Result]:
    made: dict[str, Result] = {}
    for item in blueprint.resources:
        made[item.name] = draw(_result(item)) if draw(st.integers(0, 5)) == 0 else Result(item, State.READY)
    return made


def _result(item: Resource) -> st.SearchStrategy[Result]:
    operation = Operation("sql", f"operations/{item.id}", item.name)
    return st.sampled_from(
        [
            Result(item, State.READY, Observed(item), Verb.CREATE),
            Result(item, State.READY, Observed(item), Verb.UPDATE, taken_back=True),
            Result(item, State.WAITING, did=Verb.CREATE, operation=operation),
            Result(item, State.WAITING, Observed(item, Readiness.BUSY)),
            Result(item, State.WAITING, blocked_by="projects/p/other"),
            Result(item, State.FAILED, refused=Action(Verb.CONFLICT, item, message="it bears no marker of ours")),
            *(Result(item, State.FAILED, error=error) for error in FAILURES),
        ]
    )


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Of every kind of pass that there is: stopped early, provisioning, releasing, through, paused, deleting."""
    spec = draw(st.sampled_from([SUPERUSER, {"database": {"engine": "None"}}, {"migrations": {"policy": "Never"}}]))
    generation = draw(st.integers(1, 3))
    shape = draw(st.sampled_from(["trouble", "paused", "provisioning", "releasing", "deleting"]))
    common: dict[str, Any] = {"reconcile_at": draw(st.sampled_from(["", "now"])), "image": f"{REGISTRY}/shop:v4"}
    if shape == "trouble":
        return Report(generation, trouble=draw(TROUBLES), deleting=draw(st.booleans()), **common)
    if shape == "paused":
        return Report(generation, paused=True, **common)
    release = a_release(spec)
    results = draw(_results(release.blueprint))
    older = f"{release.service.id}-older"
    live = draw(
        st.sampled_from(
            [
                None,
                a_service(release, release.revision, release.revision),
                a_service(release, release.revision, older),
                a_service(release, release.revision, release.revision, latest_ready_revision="", uri="", urls=""),
                replace(a_service(release, release.revision, older), readiness=Readiness.FAILED, message="crashed"),
            ]
        )
    )
    report = Report(generation, blueprint=release.blueprint, results=results, live=live, **common)
    if shape == "deleting":
        kept = {name: replace(result, did=Verb.KEEP) for name, result in list(results.items())[:3]}
        return replace(report, deleting=True, results={**results, **kept})
    if shape == "provisioning" or not report.is_provisioned:
        return report
    outcome = draw(OUTCOMES)
    stage = "" if isinstance(outcome, Done) and draw(st.booleans()) else draw(st.sampled_from(STAGES))
    return replace(report, release=replace(release, live=live), stage=stage, outcome=outcome)
