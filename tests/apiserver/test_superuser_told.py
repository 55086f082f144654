"""What people are told of the superuser: where its password is, and where Nuages has none that would work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from machine_world import FIRST, PATIENCE, PROJECT, Life, Operator, Site, said
from test_lives import RUNNER, begun, ready

from localcloud.runtime.tasks import EXITED_WITH_ERROR, Attempt
from localcloud.runtime.workload import Workload
from nuages.reconcile.cluster import Body
from nuages.reconcile.release.superuser import FOUND


def wanting(username: str) -> dict[str, Any]:
    return {**FIRST, "superuser": {"username": username, "email": f"{username}@acme.example"}}


def secret_of(life: Life) -> str:
    return f"projects/{PROJECT}/secrets/{life.namespace}-shop-superuser-password"


def is_there(site: Site, life: Life) -> bool:
    return site.run(site.world.google.wrong("secretmanager.googleapis.com/Secret", secret_of(life))) == ""


def told_of_superuser(site: Site, life: Life) -> list[tuple[str, str]]:
    return [(reason, text) for reason, text in site.run(site.world.told(life)) if "superuser-password" in text]


def until_its_job_runs(site: Site, life: Life, operator: Operator, spec: dict[str, Any]) -> str:
    """Passes until the superuser's job has begun; the grant that lets it read the password, by its full name."""
    site.run(site.world.apply(life, spec))
    for _ in range(PATIENCE):
        release = site.run(site.world.one_pass(operator, life))["status"]["release"]
        if release.get("superuser", {}).get("state") == "Creating":
            break
    member = f"{secret_of(life)}#roles/secretmanager.secretAccessor#serviceAccount:{RUNNER['existing']}"
    assert site.run(site.world.google.wrong("iam.googleapis.com/PolicyMember", member)) == ""
    return member


def exits(site: Site, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Each job of a superuser, from now on."""
    simulated, logs = site.world.cloud.runtime.tasks.attempt, site.world.cloud.runtime.logs

    async def attempt(of: Workload, *rest: Any) -> Attempt:
        if of.environment["CLOUD_RUN_JOB"].endswith("-superuser"):
            logs.write(of.resource_type, of.resource_labels, "stdout", "said", entry_labels=of.entry_labels)
            return Attempt(code, message=EXITED_WITH_ERROR)
        return await simulated(of, *rest)

    monkeypatch.setattr(site.world.cloud.runtime.tasks, "attempt", attempt)


def failed(site: Site, life: Life, username: str) -> None:
    """Once the job of this superuser has, which the app says."""
    site.run(site.world.apply(life, wanting(username)))
    operator = site.world.operator()
    assert said(site.run(site.world.rest(operator, life)), "Stalled")["reason"] == "SuperuserFailed"
    site.run(operator.close())


@pytest.fixture
def found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job of a superuser finds that there is one of that name, with another password."""
    exits(site, monkeypatch, FOUND)


def test_where_the_password_is(site: Site) -> None:
    """In the status, and in an event once it is there; that it was made is told like any resource. And once: with the
    status lost nobody knows whether people have deleted it since."""
    world, life = site.world, begun(site)
    site.run(world.apply(life, wanting("admin")))
    ready(site, life)
    known = site.run(world.app(life))["status"]["release"]["superuser"]
    short = f"Secret {life.namespace}-shop-superuser-password"
    assert {**known, "id": ""} == {"id": "", "username": "admin", "state": "Created", "secret": secret_of(life)}
    told = [("Created", short), ("Superuser", f"The superuser is in the database, with the password in {short}.")]
    assert told_of_superuser(site, life) == told
    site.run(world.wipe_status(life))
    ready(site, life)
    assert site.run(world.app(life))["status"]["release"]["superuser"] == known
    assert told_of_superuser(site, life) == told


def test_no_identity_keeps_reading_the_password(site: Site) -> None:
    """Neither the one that the job ran as, where the spec names another one while it runs."""
    world, life = site.world, begun(site)
    operator = world.operator()
    member = until_its_job_runs(site, life, operator, {**wanting("admin"), "serviceAccount": RUNNER})
    site.run(operator.close())
    site.run(world.apply(life, wanting("admin")))
    ready(site, life)
    assert site.run(world.app(life))["status"]["release"]["superuser"]["state"] == "Created"
    assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", member)) != ""


def test_nor_does_one_that_outlives_the_app(site: Site) -> None:
    """The spec gave the superuser up while its job ran, and the app went before clean-up: the secret alone is kept."""
    world, life = site.world, begun(site)
    operator, given_up = world.operator(), {**FIRST, "serviceAccount": RUNNER}
    member = until_its_job_runs(site, life, operator, {**given_up, **wanting("admin")})
    site.run(world.apply(life, given_up))
    site.run(world.delete(operator, life))
    site.run(operator.close())
    assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", member)) == "is not given"
    assert is_there(site, life)


def test_nor_does_one_that_the_app_has_left(site: Site) -> None:
    """The spec gives the superuser up and names another identity at once: its job tells as whom it ran."""
    world, life = site.world, begun(site)
    operator = world.operator()
    member = until_its_job_runs(site, life, operator, {**wanting("admin"), "serviceAccount": RUNNER})
    site.run(world.apply(life, FIRST))
    ready(site, life)
    site.run(operator.close())
    assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", member)) == "is not given"
    assert is_there(site, life)


@pytest.mark.usefixtures("found")
def test_a_password_that_was_made_for_nothing_goes_again(site: Site) -> None:
    """The user keeps its own; a secret would show one that opens nothing. The app is Ready, and asks no more."""
    world, life = site.world, begun(site)
    site.run(world.apply(life, wanting("admin")))
    ready(site, life)
    known = site.run(world.app(life))["status"]["release"]["superuser"]
    short = f"Secret {life.namespace}-shop-superuser-password"
    assert {**known, "id": ""} == {"id": "", "username": "admin", "state": "Found"}
    assert told_of_superuser(site, life) == [
        ("Created", short),
        (
            "SuperuserExists",
            "The superuser was in the database already: its password was not changed, and is not the one in "
            f"{short}, which was made for it and is deleted again.",
        ),
    ]
    assert not is_there(site, life)
    assert site.run(world.plan(life)).changes == ()


@pytest.mark.usefixtures("found")
def test_an_edit_takes_nothing_from_what_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody edits the app while the pass that made the password writes its status: nobody else would tell of it."""
    world, life, edits = site.world, begun(site), []
    operator = world.operator()
    write = operator.cluster.write_status

    async def overtaken(body: Body, status: Mapping[str, Any]) -> Body:
        if status["release"].get("superuser", {}).get("state") == "Creating" and not edits:
            edits.append(await world.annotate(life, "edited", "meanwhile"))
        return await write(body, status)

    monkeypatch.setattr(operator.cluster, "write_status", overtaken)
    site.run(world.apply(life, wanting("admin")))
    assert said(site.run(world.rest(operator, life)), "Ready")["status"] == "True"
    site.run(operator.close())
    assert edits
    assert [reason for reason, _ in told_of_superuser(site, life)] == ["Created", "SuperuserExists"]
    assert not is_there(site, life)


def test_a_password_of_another_superuser_stays(site: Site, request: pytest.FixtureRequest) -> None:
    """It was made for the first one, and still is its password; the second one was there with its own."""
    world, life = site.world, begun(site)
    site.run(world.apply(life, wanting("admin")))
    ready(site, life)
    request.getfixturevalue("found")
    site.run(world.apply(life, wanting("second")))
    ready(site, life)
    assert site.run(world.app(life))["status"]["release"]["superuser"]["state"] == "Found"
    assert told_of_superuser(site, life)[2:] == [
        (
            "SuperuserExists",
            "The superuser was in the database already: its password was not changed, and is not the one in "
            f"Secret {life.namespace}-shop-superuser-password.",
        )
    ]
    assert is_there(site, life)


def test_the_password_of_one_whose_job_failed_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have failed after the user was made, and the password may be that one's; the second one has its own."""
    world, life = site.world, begun(site)
    exits(site, monkeypatch, 1)
    failed(site, life, "alice")
    exits(site, monkeypatch, FOUND)
    site.run(world.apply(life, wanting("bob")))
    ready(site, life)
    assert [reason for reason, _ in told_of_superuser(site, life)] == ["Created", "SuperuserExists"]
    assert "deleted" not in told_of_superuser(site, life)[-1][1]
    assert is_there(site, life)


def test_a_superuser_that_is_given_up_has_failed_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of an app that is Ready tells of none that nobody wants and that was never made."""
    world, life = site.world, begun(site)
    exits(site, monkeypatch, 1)
    failed(site, life, "alice")
    assert site.run(world.app(life))["status"]["release"]["superuser"]["state"] == "Failed"
    site.run(world.apply(life, FIRST))
    ready(site, life)
    assert "superuser" not in site.run(world.app(life))["status"]["release"]
