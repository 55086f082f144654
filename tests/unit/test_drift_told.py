"""Drift: what differs although nobody asked for another thing, and for how long it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from reports import LATER, NOW, a_release, a_service, serving, with_result
from unit_support import a_tenant, an_app, some_facts

from nuages.cloud.driver import Observed
from nuages.cloud.errors import VersionDisabled
from nuages.desired.iam import IamMember
from nuages.desired.run import TrafficTarget
from nuages.reconcile.drift import LEFT, MOST, Drift, is_judged, of_grants, of_results, of_service, wanted
from nuages.reconcile.execute import State
from nuages.reconcile.intervals import intervals
from nuages.reconcile.news import Event, news
from nuages.reconcile.plan import Action, Plan, Verb
from nuages.reconcile.report import Report
from nuages.reconcile.status import status
from nuages.reconcile.trouble import Trouble

TRAFFIC = Drift("Service acme-shop", "traffic")
MEDIA = "acme-prod-acme-shop-media"
WISHES = "0123456789"


def rested(**fields: Any) -> Report:
    return replace(serving(), wanted=WISHES, **fields)


BEFORE = status(rested(), {}, NOW)


def test_the_same_wishes_after_a_release_make_a_difference_drift() -> None:
    """Not before the release was through, nor for other wishes."""
    assert is_judged(BEFORE, WISHES)
    assert not is_judged(BEFORE, "another")
    assert not is_judged({**BEFORE, "release": {**BEFORE["release"], "stage": "Verify"}}, WISHES)
    assert not is_judged({}, WISHES)


@pytest.mark.parametrize(
    "other",
    [
        wanted(an_app({"env": [{"name": "A", "value": "b"}]}), a_tenant(), some_facts()),
        wanted(an_app(annotations={"nuages.dev/rotate": "now"}), a_tenant(), some_facts()),
        wanted(an_app(), a_tenant({"region": "europe-west4"}), some_facts()),
        wanted(an_app(), a_tenant(), some_facts(operator_image="example/nuages:2")),
        wanted(an_app(), a_tenant(), some_facts(config_maps={"env": {"A": "b"}})),
        wanted(an_app(), a_tenant(), some_facts(kubernetes_secrets={("openai", "token"): "uid/2/token"})),
    ],
    ids=["spec", "rotation", "tenant", "operator", "config-map", "secret"],
)
def test_whatever_an_app_is_made_from_is_a_wish(other: str) -> None:
    """A change of it is a release and no drift."""
    assert other != wanted(an_app(), a_tenant(), some_facts())


def test_pausing_and_looking_again_are_no_wishes() -> None:
    """What was changed by hand in the meantime is drift."""
    here = wanted(an_app(), a_tenant(), some_facts())
    assert wanted(an_app({"paused": True}), a_tenant(), some_facts()) == here
    assert wanted(an_app(annotations={"nuages.dev/reconcile-at": "now"}), a_tenant(), some_facts()) == here
    assert wanted(an_app(), a_tenant(), some_facts(hash_url="https://acme-shop-abc.run.app")) == here


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({}, ()),
        ({"max_instances": 1}, ("max_instances",)),
        ({"traffic": (TrafficTarget("older", 100),)}, ("traffic",)),
        ({"open_access": False, "ingress": "INTERNAL_ONLY"}, ("ingress", "open_access")),
        ({"revision": "acme-shop-00002-abc"}, ("revision",)),
        ({"owner": None}, ("owner",)),
    ],
    ids=lambda value: "-".join(value) or "nothing",
)
def test_each_field_of_the_service_is_named(change: dict[str, Any], paths: tuple[str, ...]) -> None:
    """As the plan would name it."""
    release = a_release()
    live = a_service(release, release.revision, release.revision)
    live = replace(live, state=replace(live.state, **change))
    assert tuple(item.path for item in of_service(release, live, release.revision)) == paths


def test_a_variable_is_named_and_its_value_is_not() -> None:
    """A value may be anything."""
    release = a_release()
    live = a_service(release, release.revision, release.revision)
    environment = tuple((name, value) for name, value in live.state.template.environment if name != "DEBUG")
    template = replace(live.state.template, environment=(*environment, ("EXTRA", "s3cr3t")))
    found = of_service(release, replace(live, state=replace(live.state, template=template)), release.revision)
    assert [str(item) for item in found] == [
        "Service acme-shop: template.environment.DEBUG",
        "Service acme-shop: template.environment.EXTRA",
    ]


def test_a_service_that_is_gone_is_drift() -> None:
    """All of it."""
    release = a_release()
    assert of_service(release, None, release.revision) == (Drift("Service acme-shop", "deleted"),)


def test_a_bucket_that_is_gone_has_lost_what_it_held() -> None:
    """It is made anew, empty: a warning says so."""
    report = with_result(rested(), MEDIA, state=State.READY, did=Verb.CREATE)
    result = next(item for name, item in report.results.items() if name.endswith(MEDIA))
    found = of_results(Plan((Action(Verb.CREATE, result.resource),)), report.results)
    assert found == (Drift(f"Bucket {MEDIA}", "deleted", is_corrected=True, is_lost=True),)
    report = rested(drift=found)
    told = f"Deleted by somebody else with all that it held, made anew: Bucket {MEDIA}: deleted"
    assert news(report, BEFORE, status(report, BEFORE, LATER))[0] == Event("Warning", "DriftDetected", told)


def test_a_version_that_is_disabled_is_told_and_not_corrected() -> None:
    """The field that people know is the version."""
    report = with_result(rested(), "secret-key", state=State.FAILED, error=VersionDisabled("version 1 is disabled."))
    result = next(item for name, item in report.results.items() if name.endswith("secret-key"))
    action = Action(Verb.UPDATE, result.resource, Observed(result.resource), ("source",))
    found = of_results(Plan((action,)), report.results)
    assert found == (Drift("Secret acme-shop-secret-key", "version", is_corrected=False),)


def test_what_an_old_snapshot_alone_had_shown_is_no_drift() -> None:
    """The fresh look before the write found it as it should be."""
    report = rested()
    result = next(item for name, item in report.results.items() if name.endswith(MEDIA))
    action = Action(Verb.UPDATE, result.resource, Observed(result.resource), ("versioning",))
    assert of_results(Plan((action,)), report.results) == ()


def test_a_caller_that_was_let_in_and_one_that_was_taken_out_are_drift() -> None:
    """Each says what was done by hand; the plan does the contrary."""
    an, eve = (
        IamMember.of("projects/p/locations/r/services/shop", "roles/run.invoker", f"user:{who}@acme.example")
        for who in ("an", "eve")
    )
    plan = Plan((Action(Verb.CREATE, an), Action(Verb.DELETE, eve, Observed(eve))))
    assert [str(item) for item in of_grants(plan)] == [
        "run.invoker on shop for user:an@acme.example: deleted",
        "run.invoker on shop for user:eve@acme.example: added",
    ]


def test_drift_is_told_once_and_stays_while_it_is_mended() -> None:
    """The same finding in the next pass is no news, and no write."""
    report = replace(rested(drift=(TRAFFIC,)), trouble=Trouble("GoogleUnavailable", "Busy.", stalled=False))
    first = status(report, BEFORE, LATER)
    assert first["drift"] == {"lastDetected": LATER, "fields": ["Service acme-shop: traffic"]}
    told = [event.reason for event in news(report, BEFORE, first)]
    assert told[0] == "DriftCorrected"
    later = "2026-11-21T12:00:00Z"
    assert status(report, first, later)["drift"] == first["drift"]
    assert "DriftCorrected" not in [event.reason for event in news(report, first, status(report, first, later))]


def test_drift_that_was_set_back_stays_told_until_other_wishes_are_carried_out() -> None:
    """Whoever comes later reads what happened."""
    found = status(rested(drift=(TRAFFIC,)), BEFORE, LATER)
    assert status(rested(), found, LATER)["drift"] == found["drift"]
    assert "drift" not in status(replace(rested(), wanted="another"), found, LATER)


def test_drift_that_comes_back_is_told_again() -> None:
    """Two that set the same field by turns show in the events."""
    again = "2026-11-21T12:00:00Z"
    found = status(rested(drift=(TRAFFIC,)), BEFORE, LATER)
    assert status(rested(drift=(TRAFFIC,)), found, again)["drift"]["lastDetected"] == again


@pytest.mark.parametrize(("reconcile", "deep"), [(600, 3600), (4, 6), (3600, 60), (60, 60)])
def test_a_late_pass_with_an_old_snapshot_stays_within_the_interval(reconcile: int, deep: int) -> None:
    """The queue spreads pauses by a tenth."""
    found = intervals(reconcile, deep)
    assert found.pause is not None
    latest = 1.1 * found.pause
    assert latest + found.list_age <= reconcile
    assert latest + found.deep_age <= deep


def test_an_interval_of_nought_is_none() -> None:
    """Of both: the app is looked at when something changes, no more."""
    assert intervals(0, 0).pause is None
    assert intervals(0, 3600).pause == pytest.approx(1620)
    assert intervals(600, 0).deep_age == intervals(0, 0).list_age == 86_400


EVE, EVES_GRANT = "secretAccessor on acme-shop-secret-key for user:eve@acme.example", "2026-11-21T12:00:00Z"
STRANGER = Drift(EVE, LEFT, is_corrected=False)


def told_of_strangers(report: Report, before: dict[str, Any]) -> list[str]:
    found = news(report, before, status(report, before, EVES_GRANT))
    return [event.message for event in found if event.reason == "DriftDetected"]


def test_who_is_left_is_told_once_while_the_app_is_ready() -> None:
    """A warning and a field; neither the next pass nor the next release says it again."""
    report = rested(strangers=(STRANGER,))
    assert told_of_strangers(report, BEFORE) == [
        "Granted by somebody else, who may have meant it, so not taken away; remove it where nobody does: "
        f"{EVE}: not the app's, left as it is"
    ]
    first = status(report, BEFORE, LATER)
    assert first["drift"] == {"lastDetected": LATER, "fields": [str(STRANGER)]}
    ready = next(item for item in first["conditions"] if item["type"] == "Ready")
    assert ready["status"] == "True"
    for again in (report, replace(report, wanted="another"), rested(), replace(rested(), wanted="another")):
        assert told_of_strangers(again, first) == []
        assert status(again, first, EVES_GRANT)["drift"] == first["drift"]


def test_who_has_gone_is_told_no_more_and_may_come_back() -> None:
    """A look that finds nobody takes the field away; what was set back stays told."""
    both = status(rested(strangers=(STRANGER,), drift=(TRAFFIC,)), BEFORE, LATER)
    assert both["drift"]["fields"] == [str(STRANGER), str(TRAFFIC)]
    gone = status(rested(strangers=()), both, EVES_GRANT)
    assert gone["drift"] == {"lastDetected": LATER, "fields": [str(TRAFFIC)]}
    assert "drift" not in status(rested(strangers=()), status(rested(strangers=(STRANGER,)), BEFORE, LATER), LATER)
    assert len(told_of_strangers(rested(strangers=(STRANGER,)), gone)) == 1


def test_more_strangers_than_the_status_has_room_for_are_told_once() -> None:
    """The same ones each time."""
    many = tuple(Drift(f"role on thing for user:{number:03}", LEFT, is_corrected=False) for number in range(MOST + 9))
    report = rested(strangers=many, drift=(TRAFFIC,))
    first = status(report, BEFORE, LATER)
    assert len(first["drift"]["fields"]) == MOST
    assert told_of_strangers(replace(report, drift=()), first) == []
