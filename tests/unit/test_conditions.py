# ruff: noqa: E501 - sentences are tested whole, each on its line
"""Conditions: from what a pass found to exact types, reasons and sentences."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from reports import a_release, a_service, all_ready, reports, serving, with_result

from nuages.cloud import errors
from nuages.cloud.driver import Observed, Operation
from nuages.reconcile import reasons
from nuages.reconcile.conditions import Condition, conditions
from nuages.reconcile.execute import State
from nuages.reconcile.plan import Action, Verb
from nuages.reconcile.release.outcome import Failed, Waiting
from nuages.reconcile.report import Report
from nuages.reconcile.trouble import Trouble

PARTS = ("IdentityReady", "SecretsReady", "DatabaseReady", "StorageReady")
GRANTED = [Condition(name, "True", "Available", "") for name in PARTS]
SERVES = Condition("WebReady", "True", "Available", "")
APPLIED = Condition("MigrationsApplied", "True", "Applied", "")
DEPLOYED = Condition("Ready", "True", "Available", "The app is deployed and serves.")


def head(status: str, reason: str, message: str) -> list[Condition]:
    """Ready is False, and beside it why."""
    return [Condition("Ready", "False", reason, message), Condition(status, "True", reason, message)]


def test_an_app_that_serves_is_ready() -> None:
    """Ready, and one condition for each part; nothing abnormal is mentioned."""
    assert list(conditions(serving())) == [DEPLOYED, *GRANTED, APPLIED, SERVES]


def test_an_app_without_database_has_no_condition_of_one() -> None:
    """Nor one of migrations."""
    types = [item.type for item in conditions(serving({"database": {"engine": "None"}}))]
    assert types == ["Ready", "IdentityReady", "SecretsReady", "StorageReady", "WebReady"]


def test_who_never_migrates_is_not_told_that_migrations_applied() -> None:
    """Policy Never: Nuages does not know."""
    assert APPLIED not in conditions(serving({"migrations": {"policy": "Never"}}))


def test_trouble_before_anything_was_looked_at_stalls() -> None:
    """Only what is known is said."""
    report = Report(3, trouble=Trouble("InvalidSpec", "spec.image: Is missing. Add it."))
    assert list(conditions(report)) == head("Stalled", "InvalidSpec", "spec.image: Is missing. Add it.")


def test_trouble_that_heals_is_reconciling() -> None:
    """Nobody has to act."""
    report = Report(3, trouble=Trouble("GoogleUnavailable", "Google Cloud: tried again soon.", stalled=False))
    assert list(conditions(report)) == head("Reconciling", "GoogleUnavailable", "Google Cloud: tried again soon.")


def test_paused_is_neither_reconciling_nor_stalled() -> None:
    """Ready is False, and says why."""
    expected = [Condition("Ready", "False", "Paused", "spec.paused: nothing is changed until it is false.")]
    assert list(conditions(Report(3, paused=True))) == expected


def test_paused_holds_a_deletion_and_says_so() -> None:
    """What waits is the deletion: Ready says until when, and the phase is no other one."""
    expected = [Condition("Ready", "False", "Paused", "spec.paused: the deletion waits until it is false.")]
    assert list(conditions(Report(3, paused=True, deleting=True))) == expected


def test_an_instance_that_is_being_made_says_how_long_it_takes() -> None:
    """The sentence stays the same for all the minutes."""
    operation = Operation("sql", "op-1", "projects/acme-prod/instances/acme-shop-a24a7f")
    report = with_result(
        serving(), "instances/acme-shop-a24a7f", state=State.WAITING, did=Verb.CREATE, operation=operation
    )
    found = conditions(report)
    assert list(found[:2]) == head(
        "Reconciling", "InstanceCreating", "spec.database.instance.create: takes 4 to 10 minutes. Nothing to do."
    )
    assert Condition("DatabaseReady", "False", "Provisioning", "Waiting for acme-shop-a24a7f.") in found
    assert Condition("StorageReady", "True", "Available", "") in found


def test_an_instance_that_is_changed_is_not_being_made() -> None:
    """A serving app is not told to wait ten minutes for what it has."""
    report = serving()
    instance = next(item for item in report.blueprint.resources if item.id == "acme-shop-a24a7f")  # type: ignore[union-attr]
    operation = Operation("sql", "op-2", instance.name)
    changed = with_result(report, instance.name, state=State.WAITING, observed=Observed(instance), operation=operation)
    assert list(conditions(changed)[:2]) == head(
        "Reconciling", "Provisioning", "Being changed at Google: Instance acme-shop-a24a7f."
    )


def test_other_resources_are_being_made() -> None:
    """The part names them."""
    found = conditions(
        with_result(serving(), "buckets/acme-prod-acme-shop-media", state=State.WAITING, did=Verb.CREATE)
    )
    assert list(found[:2]) == head("Reconciling", "Provisioning", "Google resources are being made.")
    assert Condition("StorageReady", "False", "Provisioning", "Waiting for acme-prod-acme-shop-media.") in found


def test_a_refusal_stalls_the_app_and_its_part() -> None:
    """In the same words."""
    report = serving()
    bucket = next(item for item in report.blueprint.resources if "/buckets/" in item.name and "#" not in item.name)  # type: ignore[union-attr]
    unmarked = Observed(replace(bucket, owner=None))
    refused = Action(Verb.CONFLICT, bucket, unmarked, message="it bears no marker of ours")
    found = conditions(with_result(report, bucket.id, state=State.FAILED, refused=refused))
    message = 'metadata.name: Bucket acme-prod-acme-shop-media is not ours: it bears no marker of ours. Read "nuages plan", then annotate nuages.dev/adopt: "true", or rename.'
    assert list(found[:2]) == head("Stalled", "NameConflict", message)
    assert Condition("StorageReady", "False", "NameConflict", message) in found


def test_what_stalls_is_told_before_what_heals() -> None:
    """Whatever stands first in the blueprint."""
    heals = with_result(serving(), "secrets/acme-shop-secret-key", state=State.FAILED, error=errors.Transient("Busy."))
    both = with_result(
        heals, "buckets/acme-prod-acme-shop-media", state=State.FAILED, error=errors.QuotaExceeded("Full.")
    )
    assert conditions(heals)[0].reason == "GoogleUnavailable"
    assert conditions(both)[0].reason == "QuotaExceeded"
    assert conditions(both)[1].type == "Stalled"


@pytest.mark.parametrize("stage", ["DbInit", "Migrate"])
def test_a_first_release_on_its_way(stage: str) -> None:
    """Before any revision answers."""
    waiting = Waiting("Migrating", "migrate is running.")
    found = conditions(serving(stage=stage, outcome=waiting, live=None))
    assert list(found) == [
        *head("Reconciling", "Migrating", "migrate is running."),
        *GRANTED,
        Condition("MigrationsApplied", "False", "Migrating", "migrate is running."),
        Condition("WebReady", "False", "Migrating", "migrate is running."),
    ]


def test_a_later_release_leaves_the_old_revision_ready() -> None:
    """WebReady speaks of whether anything answers."""
    release = a_release()
    live = a_service(release, "acme-shop-old", "acme-shop-old")
    found = conditions(serving(stage="Migrate", outcome=Waiting("Migrating", "migrate is running."), live=live))
    assert found[0].status == "False"
    assert found[-1] == SERVES


def test_a_failed_release_stalls_with_the_log() -> None:
    """The old revision serves all the same."""
    release = a_release()
    live = a_service(release, "acme-shop-old", "acme-shop-old")
    failed = Failed(
        "MigrationFailed", "spec.image: migrate exited with 1. Release a fixed image.", "https://log", "e-1"
    )
    found = conditions(serving(stage="Migrate", outcome=failed, live=live))
    message = "spec.image: migrate exited with 1. Release a fixed image. Log: https://log"
    assert list(found[:2]) == head("Stalled", "MigrationFailed", message)
    assert Condition("MigrationsApplied", "False", "MigrationFailed", failed.message) in found
    assert found[-1] == SERVES


@pytest.mark.parametrize(
    "outcome", [Failed("VerifyFailed", "It answered 500."), Waiting("Verifying", "It does not answer yet.")]
)
def test_what_verify_is_not_content_with_does_not_serve(outcome: Failed | Waiting) -> None:
    """Though it is ready to Google, and has all traffic: a first release, behind closed doors."""
    release = a_release()
    first = serving(stage="Verify", outcome=outcome, live=a_service(release, release.revision, release.revision))
    assert conditions(first)[-1] == Condition("WebReady", "False", outcome.reason, outcome.message)
    later = serving(stage="Verify", outcome=outcome, live=a_service(release, release.revision, "acme-shop-old"))
    assert conditions(later)[-1] == SERVES


def test_a_deletion_speaks_of_nothing_else() -> None:
    """Parts that are going are neither ready nor being made."""
    release = a_release()
    report = Report(3, blueprint=release.blueprint, results=all_ready(release.blueprint), deleting=True)
    assert list(conditions(report)) == head("Reconciling", "Deleting", "Google resources are being deleted.")


def test_a_deletion_says_what_it_waits_for() -> None:
    """A backup, a job, a bucket with many objects."""
    waiting = Waiting("EmptyingBucket", "Bucket media: is being emptied. Nothing to do.")
    report = Report(3, blueprint=a_release().blueprint, outcome=waiting, deleting=True)
    assert list(conditions(report)) == head("Reconciling", waiting.reason, waiting.message)


def test_a_deletion_that_is_refused_stalls() -> None:
    """Somebody has to give the permission back."""
    trouble = Trouble("PermissionDenied", "DjangoTenant spec.project: no.")
    found = conditions(Report(3, deleting=True, trouble=trouble))
    way = 'Or annotate nuages.dev/abandon: "true" to leave at Google what is there.'
    assert list(found) == head("Stalled", "PermissionDenied", f"DjangoTenant spec.project: no. {way}")


@given(reports())
def test_ready_is_first_and_always_there(report: Report) -> None:
    """And says the same as Reconciling or Stalled."""
    found = conditions(report)
    assert found[0].type == "Ready"
    assert (found[0].status == "True") == report.is_ready
    assert {item.reason for item in found[1:2] if item.type in ("Reconciling", "Stalled")} <= {found[0].reason}
    assert found[0].reason != reasons.AVAILABLE or report.is_ready


@given(reports())
def test_reconciling_and_stalled_are_only_there_when_true_and_never_both(report: Report) -> None:
    """One of the two beside a Ready that is False, unless paused; each type once."""
    types = [item.type for item in conditions(report)]
    abnormal = [item for item in conditions(report) if item.type in ("Reconciling", "Stalled")]
    assert len(types) == len(set(types))
    assert len(abnormal) == (0 if report.is_ready or conditions(report)[0].reason == "Paused" else 1)
    assert all(item.status == "True" for item in abnormal)


@given(reports())
def test_conditions_follow_from_the_report_alone(report: Report) -> None:
    """No clock, no counter: the same finding gives the same sentence, so that nothing is written at rest."""
    assert conditions(report) == conditions(replace(report))
    assert not any(re.search(r"\d\d:\d\d|20\d\d-\d\d", item.message) for item in conditions(report)[:1])


def test_what_heals_stalls_only_after_it_was_waited_for() -> None:
    """Until then Ready says why it is False, and Reconciling that it goes on."""
    trouble = Trouble("PermissionDenied", "DjangoTenant spec.project: no.", heals=True)
    report = Report(3, trouble=trouble)
    assert list(conditions(report)) == head("Reconciling", "PermissionDenied", trouble.message)
    waited = replace(report, is_waited_for=True)
    assert list(conditions(waited)) == head("Stalled", "PermissionDenied", trouble.message)
