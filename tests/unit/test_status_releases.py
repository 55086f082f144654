"""What the status says of a release and its migration, and what it knows of them afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from reports import LATER, NOW, a_release, a_service, serving
from unit_support import DIGEST

from nuages.cloud.executions import execution_name
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import Verb
from nuages.reconcile.release import migrate, superuser
from nuages.reconcile.release.outcome import DONE, Done, Failed, Waiting
from nuages.reconcile.release.release import RETRY_MIGRATION, Release, fingerprint
from nuages.reconcile.status import HISTORY, status

Status = dict[str, Any]


def _through(number: int, before: Status, now: str) -> Status:
    release = replace(a_release(), id=f"{number:010x}")
    return status(serving(release=release, live=a_service(release, release.revision, release.revision)), before, now)


def test_a_release_keeps_its_start_and_each_step_its_own() -> None:
    """The clock of a step begins with the step."""
    first = status(serving(stage="Migrate", outcome=Waiting("x", "y", execution="e-1")), {}, NOW)
    second = status(serving(stage="Migrate", outcome=Waiting("x", "z", execution="e-1")), first, LATER)
    third = status(serving(stage="Candidate", outcome=Waiting("x", "y")), second, LATER)
    assert [item["release"]["startedAt"] for item in (first, second, third)] == [NOW] * 3
    assert [item["release"]["stageStartedAt"] for item in (first, second, third)] == [NOW, NOW, LATER]


def test_releases_that_served_are_remembered() -> None:
    """The newest first, ten of them; a pass at rest adds none."""
    made: Status = {}
    for number in range(HISTORY + 2):
        made = _through(number, made, f"2026-11-21T10:{number:02}:00Z")
    again = _through(HISTORY + 1, made, LATER)
    assert again["release"]["history"] == made["release"]["history"]
    numbers = [int(item["id"], 16) for item in made["release"]["history"]]
    assert numbers == list(range(HISTORY + 1, 1, -1))


MADE = Done(execution="e-1")
FOUND = Done(execution="e-1", exit_code=superuser.FOUND)
PASSWORD = a_release().blueprint.superuser_password
assert PASSWORD is not None


@pytest.mark.parametrize("done", [MADE, FOUND], ids=["made", "found"])
def test_a_superuser_that_is_there_is_not_made_again(done: Done) -> None:
    """Its step has nothing to run from then on, whatever else is released; another one is another run."""
    made = status(serving(done={"Superuser": done}), {}, NOW)
    rested = status(serving(done={"Superuser": DONE}), made, LATER)
    known = replace(a_release(), known_superuser=rested["release"]["superuser"])
    assert superuser.wanted_run(known) is None
    assert superuser.wanted_run(replace(known, digest="sha256:other")) is None
    other = a_release({"superuser": {"username": "root", "email": "root@acme.example"}})
    assert superuser.wanted_run(replace(other, known_superuser=known.known_superuser)) is not None


def test_a_superuser_whose_job_has_not_ended_is_not_known() -> None:
    """A failure may be mended, and then the job runs."""
    failed = serving(stage="Superuser", outcome=Failed("SuperuserFailed", "y", execution="e-1"))
    known = replace(a_release(), known_superuser=status(failed, {}, NOW)["release"]["superuser"])
    assert known.known_superuser["state"] == "Failed"
    assert superuser.wanted_run(known) is not None


def test_the_status_says_where_the_superusers_password_is() -> None:
    """While its job runs, only what was made for it; where the user was there before, nowhere."""
    told = {"id": superuser.token_of(a_release()), "username": "admin"}
    begun = Waiting("x", "y", execution="e-1", made=Result(PASSWORD, State.READY, did=Verb.CREATE))
    runs = Waiting("x", "y", execution="e-1")

    def said(before: Status, **fields: Any) -> dict[str, Any]:
        known = (before.get("release") or {}).get("superuser") or {}
        release = replace(a_release(), known_superuser=known)
        return status(serving(release=release, **fields), before, NOW)

    begins = said({}, stage="Superuser", outcome=begun)
    assert begins["release"]["superuser"] == {**told, "state": "Creating", "secret": PASSWORD.name}
    assert said(begins, stage="Superuser", outcome=runs)["release"]["superuser"] == begins["release"]["superuser"]
    assert said({}, stage="Superuser", outcome=runs)["release"]["superuser"] == {**told, "state": "Creating"}
    made = said({}, done={"Superuser": MADE})
    assert made["release"]["superuser"] == {**told, "state": "Created", "secret": PASSWORD.name}
    assert said(begins, done={"Superuser": FOUND})["release"]["superuser"] == {**told, "state": "Found"}


def test_a_failed_release_is_no_history() -> None:
    """It never served."""
    failed = serving(stage="Migrate", outcome=Failed("x", "y", "https://log", "e-1"))
    made = status(failed, {}, NOW)
    assert made["release"]["history"] == []
    assert made["release"]["migration"] == {
        "execution": "e-1",
        "state": "Failed",
        "imageDigest": DIGEST,
        "database": a_release().database,
        "logUri": "https://log",
    }


def test_a_migration_that_ran_is_told_with_its_execution() -> None:
    """Also after later steps."""
    told = {"execution": "e-1", "imageDigest": DIGEST, "database": a_release().database}
    running = status(serving(stage="Migrate", outcome=Waiting("x", "y", execution="e-1")), {}, NOW)
    assert running["release"]["migration"] == {**told, "state": "Running"}
    after = status(serving(stage="Candidate", outcome=Waiting("x", "y")), running, LATER)
    assert after["release"]["migration"] == {**told, "state": "Succeeded"}


def test_a_migration_that_had_ended_is_told_with_its_log() -> None:
    """Its end is all that was seen of it, by a pass that may have gone on or not; nothing of another run is left."""
    told = {"execution": "e-2", "logUri": "https://log", "imageDigest": DIGEST, "database": a_release().database}
    ended = {"Migrate": Done(execution="e-2", log_link="https://log")}
    for stage in ("Migrate", "Candidate"):
        report = serving(stage=stage, outcome=Waiting("Superseded", "A newer spec."), done=ended)
        before = status(serving(stage="Migrate", outcome=Failed("x", "y", "https://other", "e-1")), {}, NOW)
        now = status(report, {}, NOW)
        assert now["release"]["migration"] == {**told, "state": "Succeeded"}
        assert now["phase"] == "Releasing"
        assert [item["status"] for item in now["conditions"] if item["type"] == "MigrationsApplied"] == ["True"]
        assert status(report, before, LATER)["release"]["migration"] == {**told, "state": "Succeeded"}


def test_what_runs_not_is_not_told_to_run() -> None:
    """While it waits for people or for another execution; what is known of an ended one of the same image stays."""
    running = status(serving(stage="Migrate", outcome=Waiting("x", "y", execution="e-1")), {}, NOW)
    failed = status(serving(stage="Migrate", outcome=Failed("x", "y", "https://log", "e-1")), {}, NOW)
    for outcome in (Waiting("MigrationPending", "y"), Waiting("Migrating", "y", behind="e-0")):
        waits = serving(stage="Migrate", outcome=outcome)
        assert "migration" not in status(waits, {}, NOW)["release"]
        assert "migration" not in status(waits, running, LATER)["release"]
        assert status(waits, failed, LATER)["release"]["migration"] == failed["release"]["migration"]
        other = replace(waits, release=replace(a_release(), digest="sha256:another"))
        assert "migration" not in status(other, failed, LATER)["release"]


@pytest.mark.parametrize(
    ("told", "knows"),
    [
        ({}, True),
        ({"database": None}, True),  # by an operator that did not tell
        ({"database": "another"}, False),
        ({"imageDigest": "sha256:another"}, False),
        ({"state": "Running"}, False),
    ],
    ids=["same", "older", "database", "image", "running"],
)
def test_the_status_knows_a_migration_that_ran(told: dict[str, Any], knows: bool) -> None:
    """Of this image, on this database, to its end."""
    release = a_release()
    migration = {"imageDigest": DIGEST, "database": release.database, "state": "Succeeded", **told}
    assert replace(release, migration=migration).is_migrated is knows


@pytest.mark.parametrize(
    ("execution", "is_wanted"),
    [
        ("{wish}", False),
        ("{wish}-2", False),
        ("{older}", False),  # by an operator that had the wish in the hash
        ("{another}", True),
        ("{none}", True),
        ("", True),
    ],
)
def test_a_wish_that_the_status_has_answered_begins_nothing(execution: str, is_wanted: bool) -> None:
    """The annotation stays where it is, and the operator is upgraded: no image migrates again for that."""
    wishes = {name: _asked(value) for name, value in (("wish", "now"), ("another", "before"), ("none", ""))}
    tokens = {name: _token(release) for name, release in wishes.items()}
    tokens["older"] = fingerprint([DIGEST, a_release().database, "now"])[:8]
    name = execution_name(a_release().migrate, execution.format(**tokens)) if execution else ""
    told = {"imageDigest": DIGEST, "database": a_release().database, "state": "Succeeded", "execution": name}
    assert (migrate.wanted_run(replace(wishes["wish"], migration=told)) is not None) is is_wanted
    assert migrate.wanted_run(replace(wishes["none"], migration=told)) is None
    failed = replace(wishes["wish"], migration={**told, "state": "Failed"})
    assert _token(failed) == tokens["older" if execution == "{older}" else "wish"]


def _asked(value: str) -> Release:
    """With that for nuages.dev/retry-migration."""
    release = a_release()
    metadata = release.app.metadata.model_copy(update={"annotations": {RETRY_MIGRATION: value}})
    return replace(release, app=release.app.model_copy(update={"metadata": metadata}))


def _token(release: Release) -> str:
    run = migrate.wanted_run(release)
    assert run is not None
    return run.token


def test_an_instance_that_was_made_again_is_another_database() -> None:
    """Under the same name: nothing that was done to the old one counts, and the app is not at rest."""
    before = a_release()
    again = replace(before, instance_created="2026-11-21T10:00:00+00:00")
    assert again.database != before.database
    assert again.inputs != before.inputs
    assert (again.id, again.revision) == (before.id, before.revision)
    made = {"id": superuser.token_of(before), "username": "admin", "state": "Created"}
    assert superuser.wanted_run(replace(before, known_superuser=made)) is None
    assert superuser.wanted_run(replace(again, known_superuser=made)) is not None
    migration = {"imageDigest": DIGEST, "database": before.database, "state": "Succeeded"}
    assert not replace(again, migration=migration).is_migrated


def test_who_may_migrate_now_is_not_at_rest() -> None:
    """The steps are gone through again, though the same service is wanted."""
    assert a_release({"migrations": {"policy": "Never"}}).inputs != a_release({}).inputs


@pytest.mark.parametrize("spec", [{"migrations": {"policy": "Never"}}, {"database": {"engine": "None"}}])
def test_what_does_not_migrate_tells_of_no_migration(spec: dict[str, Any]) -> None:
    """Neither by policy nor without a database."""
    assert "migration" not in status(serving(spec), {}, NOW)["release"]
