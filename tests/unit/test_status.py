"""The status: what people and kstatus read, stable where nothing changed."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reports import LATER, NOW, a_release, reports, serving, with_result

from nuages.api.crd import definitions
from nuages.api.validate import parse_status
from nuages.cloud import errors
from nuages.cloud.driver import Observed, Operation
from nuages.desired.storage import Bucket
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import Action, Verb
from nuages.reconcile.release.outcome import Failed, Waiting
from nuages.reconcile.report import Report
from nuages.reconcile.status import status
from nuages.reconcile.trouble import Trouble

Status = dict[str, Any]
AS_BEFORE = Observed(
    Bucket(name="projects/acme-prod/buckets/acme-prod-acme-shop-media", location="EU", versioning=True)
)


def kstatus(made: Status, generation: int) -> str:
    """What cli-utils computes of an object (lessons of its source: in this order)."""
    if made.get("observedGeneration", generation) != generation:
        return "InProgress"
    for item in made["conditions"]:
        if item["type"] == "Reconciling" and item["status"] == "True":
            return "InProgress"
        if item["type"] == "Stalled" and item["status"] == "True":
            return "Failed"
    ready = [item for item in made["conditions"] if item["type"] == "Ready"]
    if ready:
        return "Current" if ready[0]["status"] == "True" else "InProgress"
    return "Current"


@functools.cache
def schema() -> Any:
    app = next(item for item in definitions() if item["spec"]["names"]["kind"] == "DjangoApp")
    return app["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


def refused(node: Any, value: Any, path: str = "status") -> list[str]:
    """What the API server would prune or refuse of a value under a structural schema."""
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if not isinstance(value, kinds[node["type"]]):
        return [f"{path}: no {node['type']}"]
    if "enum" in node and value not in node["enum"]:
        return [f"{path}: {value}"]
    if node["type"] == "array":
        return [bad for index, item in enumerate(value) for bad in refused(node["items"], item, f"{path}[{index}]")]
    if node["type"] != "object":
        return []
    found = [f"{path}.{name}: missing" for name in node.get("required", []) if name not in value]
    found += [f"{path}.{name}: unknown" for name in value if name not in node["properties"]]
    known = [(name, item) for name, item in value.items() if name in node["properties"]]
    return found + [bad for name, item in known for bad in refused(node["properties"][name], item, f"{path}.{name}")]


def condition(made: Status, kind: str) -> Status:
    return next(item for item in made["conditions"] if item["type"] == kind)


def row(made: Status, part: str) -> Status:
    return next(item for item in made["resources"] if item["name"].endswith(part))


# kstatus


@given(reports())
def test_kstatus_reads_what_is_meant(report: Report) -> None:
    """Current exactly when ready, Failed exactly when somebody has to act, else in progress."""
    made = status(report, {}, NOW)
    stalled = any(item["type"] == "Stalled" for item in made["conditions"])
    expected = "Current" if report.is_ready else "Failed" if stalled else "InProgress"
    assert kstatus(made, report.generation) == expected
    assert kstatus(made, report.generation + 1) == "InProgress"


@given(reports())
def test_each_condition_speaks_of_the_generation_that_was_processed(report: Report) -> None:
    """At the top and in each one that this pass spoke of."""
    made = status(report, {}, NOW)
    assert made["observedGeneration"] == report.generation
    assert {item["observedGeneration"] for item in made["conditions"]} == {report.generation}


# stability


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(reports(), reports())
def test_the_same_finding_gives_the_same_status(earlier: Report, report: Report) -> None:
    """Whatever was there before: a second pass with the same finding writes nothing, however late."""
    made = status(report, status(earlier, {}, NOW), NOW)
    assert status(report, made, LATER) == made


@given(reports(), reports())
def test_a_transition_is_when_the_status_changed(earlier: Report, report: Report) -> None:
    """Another reason or sentence is none."""
    before = status(earlier, {}, NOW)
    known = {item["type"]: item for item in before["conditions"]}
    for item in status(report, before, LATER)["conditions"]:
        same = item["type"] in known and known[item["type"]]["status"] == item["status"]
        assert item["lastTransitionTime"] == (NOW if same else LATER)


@given(reports(), reports())
def test_what_is_written_is_what_the_crd_takes(earlier: Report, report: Report) -> None:
    """No unknown field, which would be pruned and cause a write in each pass; nothing refused."""
    assert refused(schema(), status(report, status(earlier, {}, NOW), LATER)) == []


@given(reports())
def test_what_is_stored_is_read_back_as_it_was(report: Report) -> None:
    """Through JSON, as the API server keeps it."""
    made = status(report, {}, NOW)
    stored = json.loads(json.dumps(made))
    assert stored == made
    assert parse_status({"status": stored}).dump() == made


@given(reports(), st.sampled_from(["operations", "release", "resources", "conditions"]))
def test_a_status_that_was_damaged_is_made_anew(report: Report, broken: str) -> None:
    """It is a cache: what cannot be read counts as nothing."""
    before = {**status(report, {}, NOW), broken: "?"}
    assert status(report, before, NOW)["conditions"]


def test_a_steps_clock_goes_on_until_the_step_sets_it_anew() -> None:
    """By the time of the pass that came to the step, or of the one that began what is waited for."""
    waiting = Waiting("Waiting", "A grant is not known everywhere yet.")
    made = status(serving(stage="Access", outcome=waiting), {}, NOW)
    went_on = status(serving(stage="Access", outcome=waiting), made, LATER)
    assert went_on["release"]["stageStartedAt"] == NOW
    anew = status(serving(stage="Access", outcome=replace(waiting, anew=True)), made, LATER)
    assert anew["release"]["stageStartedAt"] == LATER


def test_an_operation_that_was_not_looked_at_stays_recorded() -> None:
    """A pass that trouble ended cannot tell how it went; one that asked knows which are over."""
    media = next(item for item in serving().results if item.endswith("-media"))
    begun = Result(serving().results[media].resource, State.WAITING, operation=Operation("sql", "op-1", media))
    made = status(replace(serving(), results={media: begun}, release=None, outcome=None), {}, NOW)
    assert [item["name"] for item in made["operations"]] == ["op-1"]
    trouble = Report(4, trouble=Trouble("GoogleUnavailable", "x", stalled=False))
    assert status(trouble, made, LATER)["operations"] == made["operations"]
    known = {"op-1": made["operations"], "op-2": []}
    for name, expected in known.items():
        assert status(replace(trouble, unsettled=frozenset({name})), made, LATER)["operations"] == expected
    assert status(serving(), made, LATER)["operations"] == []


def test_another_operators_phase_loses_nothing() -> None:
    """A newer one may know more phases; where the data is must not be forgotten."""
    before = {**status(serving(), {}, NOW), "phase": "Observing"}
    after = status(Report(3, paused=True), before, LATER)
    assert after["database"] == {"instance": "acme-shop-a24a7f", "name": "shop", "own": True}
    assert after["phase"] == "Paused"


def test_a_bug_leaves_the_status_that_is_there() -> None:
    """What the CRD would not take is an error, not an empty status."""
    trouble = Trouble("InvalidSpec", "x")
    with pytest.raises(ValidationError):
        status(Report("three", trouble=trouble), {}, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({}, "Ready"),
        ({"paused": True}, "Paused"),
        ({"deleting": True}, "Deleting"),
        ({"paused": True, "deleting": True}, "Paused"),
        ({"stage": "DbInit", "outcome": Waiting("x", "y")}, "Migrating"),
        ({"stage": "Migrate", "outcome": Waiting("x", "y")}, "Migrating"),
        ({"stage": "Migrate", "outcome": Waiting("MigrationPending", "y")}, "Releasing"),
        ({"stage": "Candidate", "outcome": Waiting("x", "y")}, "Releasing"),
        ({"stage": "Migrate", "outcome": Failed("x", "y")}, "Degraded"),
        ({"stage": "Migrate", "outcome": Failed("x", "y"), "live": None}, "Pending"),
    ],
)
def test_the_phase_is_one_word(change: dict[str, Any], phase: str) -> None:
    """Degraded: something serves, and somebody has to act; Pending: nothing serves yet."""
    assert status(serving(**change), {}, NOW)["phase"] == phase


def test_an_app_that_served_is_degraded_by_a_wrong_spec() -> None:
    """Though this pass did not look at its service."""
    trouble = Report(4, trouble=Trouble("InvalidSpec", "spec.image: Is missing. Add it."))
    assert status(trouble, status(serving(), {}, NOW), LATER)["phase"] == "Degraded"
    assert status(trouble, {}, NOW)["phase"] == "Pending"


def test_a_refused_resource_is_no_provisioning() -> None:
    """It goes on only when somebody acts."""
    refused_action = Action(Verb.FAILED, a_release().blueprint.resources[-1], message="It is broken.")
    report = with_result(serving(), "secrets/acme-shop-secret-key", state=State.FAILED, refused=refused_action)
    assert status(report, {}, NOW)["phase"] == "Degraded"


def test_what_was_not_looked_at_stays() -> None:
    """A pass that was stopped early says why, and takes back nothing of the rest."""
    before = status(serving(), {}, NOW)
    trouble = Trouble("GoogleUnavailable", "Google Cloud: tried again soon.", stalled=False)
    after = status(Report(3, trouble=trouble), before, LATER)
    for name in ("url", "urls", "image", "revision", "traffic", "database", "resources", "release"):
        assert after[name] == before[name]
    assert condition(after, "WebReady") == condition(before, "WebReady")
    assert condition(after, "DatabaseReady") == condition(before, "DatabaseReady")


def test_a_hiccup_of_an_app_at_rest_is_no_news() -> None:
    """But for Reconciling, and the clock that ends it."""
    before = status(serving(), {}, NOW)
    trouble = Trouble("GoogleUnavailable", "Google Cloud: tried again soon.", stalled=False)
    hiccup = Report(3, trouble=trouble, untouched=True)
    after = status(hiccup, before, LATER)
    assert condition(after, "Reconciling")["message"] == trouble.message
    assert after["waiting"] == {"reason": "GoogleUnavailable", "since": LATER}
    news = ("conditions", "waiting")
    assert {k: v for k, v in after.items() if k not in news} == {k: v for k, v in before.items() if k not in news}
    assert [item for item in after["conditions"] if item["type"] != "Reconciling"] == before["conditions"]
    assert status(hiccup, after, "2026-11-21T11:05:00Z") == after
    assert status(serving(), after, LATER) == before


def test_a_hiccup_that_lasts_is_told() -> None:
    """As one that struck while something was under way, or while the app was not Ready for this spec."""
    before = status(serving(), {}, NOW)
    trouble = Trouble("GoogleUnavailable", "Google Cloud: tried again soon.", stalled=False)
    hiccup = Report(3, trouble=trouble, untouched=True)
    for told in (
        status(replace(hiccup, is_waited_for=True), status(hiccup, before, NOW), LATER),
        status(replace(hiccup, untouched=False), before, LATER),
        status(replace(hiccup, generation=4), before, LATER),
        status(hiccup, {}, LATER),
    ):
        assert condition(told, "Ready")["status"] == "False"
        assert condition(told, "Ready")["lastTransitionTime"] == LATER
        assert condition(told, "Reconciling")["reason"] == "GoogleUnavailable"


def test_a_resource_that_is_busy_takes_back_no_release() -> None:
    """The release is not looked at while something is provisioned."""
    before = status(serving(), {}, NOW)
    report = with_result(serving(), "instances/acme-shop-a24a7f", state=State.WAITING)
    after = status(report, before, LATER)
    assert condition(after, "WebReady") == condition(before, "WebReady")
    assert after["release"] == before["release"]
    assert after["database"] == before["database"]


# resources and operations


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"state": State.WAITING, "did": Verb.CREATE}, "Creating"),
        ({"state": State.WAITING, "observed": AS_BEFORE, "did": Verb.UPDATE}, "Updating"),
        ({"state": State.WAITING, "blocked_by": "x"}, "Blocked"),
        ({"state": State.FAILED, "error": errors.Transient("busy")}, "Failed"),
        ({"state": State.READY, "did": Verb.CREATE}, "Ready"),
    ],
)
def test_each_resource_has_its_state(fields: dict[str, Any], state: str) -> None:
    """And a page in the console, where it has one."""
    made = status(with_result(serving(), "buckets/acme-prod-acme-shop-media", **fields), {}, NOW)
    assert row(made, "acme-shop-media") == {
        "kind": "storage.googleapis.com/Bucket",
        "name": "projects/acme-prod/buckets/acme-prod-acme-shop-media",
        "state": state,
        "link": "https://console.cloud.google.com/storage/browser/acme-prod-acme-shop-media?project=acme-prod",
    }


def test_grants_have_no_page_of_their_own() -> None:
    """Nor the page of what they are on."""
    rows = status(serving(), {}, NOW)["resources"]
    assert not any("link" in item for item in rows if "#" in item["name"])
    assert all("link" in item for item in rows if "/secrets/" in item["name"] and "#" not in item["name"])


def test_what_the_steps_made_is_listed_until_it_is_looked_at_again() -> None:
    """A pass that has not come to the release says nothing new of it."""
    release = a_release()
    job = release.migrate
    with_job = status(serving(made=(Observed(job),)), {}, NOW)
    assert row(with_job, job.id)["state"] == "Ready"
    assert row(status(serving(), with_job, LATER), job.id)["state"] == "Ready"
    assert job.name not in {item["name"] for item in status(serving(made=()), with_job, LATER)["resources"]}


def test_an_operation_keeps_its_start() -> None:
    """By its name, until it is done."""
    operation = Operation("sql", "op-1", "projects/acme-prod/instances/acme-shop-a24a7f")
    report = with_result(serving(), "instances/acme-shop-a24a7f", state=State.WAITING, operation=operation)
    first = status(report, {}, NOW)
    again = status(report, first, LATER)
    expected = {"name": "op-1", "service": "sql", "resource": operation.resource, "startedAt": NOW}
    assert first["operations"] == again["operations"] == [expected]
    assert status(serving(), again, LATER)["operations"] == []


def test_a_deletion_counts_down() -> None:
    """What is gone leaves the list, what is kept says so, what is not reached yet stays."""
    before = status(serving(), {}, NOW)
    release = a_release()
    by_part = {item.name.rsplit("/", 1)[-1]: item for item in release.blueprint.resources}
    media, key = by_part["acme-prod-acme-shop-media"], by_part["acme-shop-secret-key"]
    instance, account = by_part["acme-shop-a24a7f"], by_part["acme-shop@acme-prod.iam.gserviceaccount.com"]
    results = {
        release.service.name: Result(release.service, State.READY, did=Verb.DELETE),
        media.name: Result(media, State.READY, did=Verb.KEEP),
        instance.name: Result(instance, State.WAITING, did=Verb.DELETE),
        account.name: Result(account, State.FAILED, error=errors.Transient("busy")),
    }
    report = Report(4, blueprint=release.blueprint, results=results, deleting=True)
    after = status(report, before, LATER)
    assert release.service.name not in {item["name"] for item in after["resources"]}
    assert row(after, media.id)["state"] == "Retained"
    assert row(after, instance.id)["state"] == "Deleting"
    assert row(after, f"serviceAccounts/{account.id}")["state"] == "Failed"
    assert row(after, f"secrets/{key.id}")["state"] == "Ready"
    assert after["release"] == before["release"]


def test_a_database_that_was_left_is_forgotten() -> None:
    """Or a pass after the job of db-init has gone would make it again; until then it is remembered."""
    before = {"database": {"instance": "acme-pg", "name": "shop"}}
    report = Report(4, blueprint=a_release().blueprint, deleting=True)
    assert status(report, before, NOW)["database"] == before["database"]
    assert "database" not in status(replace(report, database_left=True), before, NOW)


def test_what_heals_keeps_its_clock_until_it_is_gone() -> None:
    """By the reason, over every pass and restart; another trouble begins anew, and what does not heal has none."""
    denied = Report(3, trouble=Trouble("PermissionDenied", "no", heals=True))
    first = status(denied, {}, NOW)
    assert first["waiting"] == {"reason": "PermissionDenied", "since": NOW}
    assert status(denied, first, LATER)["waiting"] == first["waiting"]
    other = status(Report(3, trouble=Trouble("Waiting", "soon", heals=True)), first, LATER)
    assert other["waiting"] == {"reason": "Waiting", "since": LATER}
    assert "waiting" not in status(Report(3, trouble=Trouble("InvalidSpec", "no")), other, LATER)
    assert "waiting" not in status(serving(), other, LATER)
    tried = Report(3, outcome=Waiting("Migrating", "begun", Operation("run", "op-1", "x")))
    assert status(tried, first, LATER)["waiting"] == first["waiting"]
