"""What people are told of the superuser: where its password is, and where Nuages has none that would work."""

from __future__ import annotations

from typing import Any

import pytest
from machine_world import FIRST, PROJECT, Life, Site
from test_lives import RUNNER, begun, ready

from localcloud.runtime.tasks import EXITED_WITH_ERROR, Attempt
from localcloud.runtime.workload import Workload
from nuages.reconcile.release.superuser import FOUND


def wanting(username: str) -> dict[str, Any]:
    return {**FIRST, "superuser": {"username": username, "email": f"{username}@acme.example"}}


def secret_of(life: Life) -> str:
    return f"projects/{PROJECT}/secrets/{life.namespace}-shop-superuser-password"


def is_there(site: Site, life: Life) -> bool:
    return site.run(site.world.google.wrong("secretmanager.googleapis.com/Secret", secret_of(life))) == ""


def told_of_superuser(site: Site, life: Life) -> list[tuple[str, str]]:
    return [(reason, text) for reason, text in site.run(site.world.told(life)) if "superuser-password" in text]


@pytest.fixture
def found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job of a superuser finds that there is one of that name, with another password."""
    simulated = site.world.cloud.runtime.tasks.attempt

    async def attempt(of: Workload, *rest: Any) -> Attempt:
        if of.environment["CLOUD_RUN_JOB"].endswith("-superuser"):
            return Attempt(FOUND, message=EXITED_WITH_ERROR)
        return await simulated(of, *rest)

    monkeypatch.setattr(site.world.cloud.runtime.tasks, "attempt", attempt)


def test_where_the_password_is(site: Site) -> None:
    """In the status, and in an event once it is there; that it was made is told like any resource. And once: with the
    status lost nobody knows whether people have deleted it since."""
    world, life = site.world, begun(site)
    site.run(world.apply(life, wanting("admin")))
    ready(site, life)
    known = site.run(world.app(life))["status"]["release"]["superuser"]
    short = f"Secret {life.namespace}-shop-superuser-password"
    assert {**known, "id": ""} == {"id": "", "username": "admin", "state": "Created", "secret": secret_of(life)}
    told = [("Created", short), ("Superuser", f"admin is in the database, with the password in {short}.")]
    assert told_of_superuser(site, life) == told
    site.run(world.wipe_status(life))
    ready(site, life)
    assert site.run(world.app(life))["status"]["release"]["superuser"] == known
    assert told_of_superuser(site, life) == told


def test_no_identity_keeps_reading_the_password(site: Site) -> None:
    """Neither the one that the job ran as, where the spec names another one while it runs."""
    world, life = site.world, begun(site)
    operator = world.operator()
    site.run(world.apply(life, {**wanting("admin"), "serviceAccount": RUNNER}))
    while site.run(world.one_pass(operator, life))["status"]["release"].get("superuser", {}).get("state") != "Creating":
        pass
    site.run(operator.close())
    member = f"{secret_of(life)}#roles/secretmanager.secretAccessor#serviceAccount:{RUNNER['existing']}"
    assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", member)) == ""
    site.run(world.apply(life, wanting("admin")))
    ready(site, life)
    assert site.run(world.app(life))["status"]["release"]["superuser"]["state"] == "Created"
    assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", member)) != ""


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
            "admin was in the database already: its password was not changed, and is not the one in "
            f"{short}, which was made for it and is deleted again.",
        ),
    ]
    assert not is_there(site, life)
    assert site.run(world.plan(life)).changes == ()


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
            "second was in the database already: its password was not changed, and is not the one in "
            f"Secret {life.namespace}-shop-superuser-password.",
        )
    ]
    assert is_there(site, life)
