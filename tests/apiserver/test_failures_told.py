"""What is said of failures: whole, once, and no more than is true."""

from __future__ import annotations

import json
from typing import Any

import pytest
from machine_world import FIRST, PATIENCE, PROJECT, REGISTRY, Life, Operator, Site, said
from test_lives import begun

from localcloud.api.messages import run as pb
from localcloud.runtime.revisions import RevisionFailure
from localcloud.runtime.tasks import EXITED_WITH_ERROR, Attempt
from localcloud.runtime.workload import Workload

SECOND = {**FIRST, "image": f"{REGISTRY}/shop:v2"}
FRAMES = tuple(f'  File "/app/catalogue/migrations/0002.py", line {line}, in forwards' for line in range(40))
UNHEALTHY = (
    "The user-provided container failed the configured startup probe checks. Logs for this revision might contain more "
    "information.\n\nLogs URL: https://console.cloud.google.com/logs/viewer\nFor more troubleshooting guidance, see …"
)
EXCEPTION = "django.db.utils.OperationalError: no such table: orders"


def until(site: Site, life: Life, operator: Operator, words: str) -> None:
    """Passes until the app says that of itself."""
    for _ in range(PATIENCE):
        app = site.run(site.world.one_pass(operator, life))
        if said(app, "Ready")["message"].endswith(words):
            return
    raise AssertionError(f"{words!r} is not said after {PATIENCE} passes: {app['status']}")


def test_a_traceback_in_one_entry_of_the_log_is_told_by_its_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migration's logger writes JSON, and Cloud Run says in a line of its own that the task failed."""
    world, life = site.world, begun(site)

    async def breaks(of: Workload, *_: object) -> Attempt:
        trace = "\n".join(("migrate failed", "Traceback (most recent call last):", *FRAMES, EXCEPTION))
        text = json.dumps({"severity": "ERROR", "message": trace})
        world.cloud.runtime.logs.write(of.resource_type, of.resource_labels, "stdout", text, "ERROR", of.entry_labels)
        return Attempt(1, message=EXITED_WITH_ERROR)

    monkeypatch.setattr(world.cloud.runtime.tasks, "attempt", breaks)
    site.run(world.apply(life, SECOND))
    operator = world.operator()
    app = site.run(world.rest(operator, life))
    site.run(operator.close())
    assert said(app, "Stalled")["reason"] == "MigrationFailed"
    [log] = [message for reason, message in site.run(world.told(life)) if reason == "MigrationFailedLog"]
    lines = log.splitlines()
    assert lines[:2] == ["Traceback (most recent call last):", "  …"]
    assert lines[-3:-1] == [FRAMES[-1], EXCEPTION]


def test_what_is_said_of_a_revision_that_failed_stays_while_its_log_comes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Logging has a line late, and more of them later: one failure is one Warning."""
    world, life = site.world, begun(site)

    async def fails(revision: Any) -> None:
        short = revision.name.rpartition("/")[2]
        said = f"Revision '{short}' is not ready and cannot serve traffic. {UNHEALTHY}"
        raise RevisionFailure("revision_reason", int(pb.RevisionReason.HEALTH_CHECK_CONTAINER_ERROR), said)

    monkeypatch.setattr(world.cloud.runtime.revisions, "bring_up", fails)
    site.run(world.apply(life, SECOND))
    operator = world.operator()
    until(site, life, operator, "did not start; its log is on its way.")
    revision = site.run(world.service(life)).template.revision
    labels = {"project_id": PROJECT, "service_name": life.service.rpartition("/")[2], "revision_name": revision}
    probed = "STARTUP HTTP probe failed: HTTP probe failed with status 503."
    world.cloud.runtime.logs.write("cloud_run_revision", labels, "stdout", "Booting worker")
    until(site, life, operator, "did not start; its log is on its way.")  # the app's own words are no verdict
    world.cloud.runtime.logs.write("cloud_run_revision", labels, "varlog/system", probed)
    first = said(site.run(world.rest(operator, life)), "Stalled")
    world.cloud.runtime.logs.write("cloud_run_revision", labels, "varlog/system", "Container called exit(1).")
    assert said(site.run(world.one_pass(operator, life)), "Stalled") == first
    site.run(operator.close())
    assert first["message"].startswith("spec.django.healthPath: ")
    assert "did not start: GET /health/ was answered with an error; " in first["message"]
    assert "the event RevisionFailedLog has its log's last lines. Google says: " in first["message"]
    assert "Logs URL" not in first["message"]
    told = site.run(world.told(life))
    assert [reason for reason, _ in told].count("RevisionFailed") == 1
    assert [message for reason, message in told if reason == "RevisionFailedLog"] == [f"Booting worker\n{probed}"]


def test_a_job_s_failure_is_told_once_its_verdict_has_come(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code promises one: nothing vaguer is told before, as a failure of its own."""
    world, life, begun_by = site.world, begun(site), []

    async def breaks(of: Workload, *_: object) -> Attempt:
        begun_by.append(of)
        return Attempt(17, message=EXITED_WITH_ERROR)

    monkeypatch.setattr(world.cloud.runtime.tasks, "attempt", breaks)
    site.run(world.apply(life, SECOND))
    operator = world.operator()
    until(site, life, operator, "migrate has ended; its log is on its way.")
    assert site.run(world.app(life))["status"]["release"]["migration"]["state"] == "Failed"
    waits = site.run(operator.one_pass(life.key))
    assert waits is not None
    assert (waits.after or 0.0) >= 2.0  # a log is not asked for each second
    verdict = {"nuages": "migrate", "reason": "DjangoMissing", "message": "spec.image: migrate found no Django."}
    [of] = begun_by
    world.cloud.runtime.logs.write(
        of.resource_type, of.resource_labels, "stdout", json.dumps(verdict), entry_labels=of.entry_labels
    )
    first = said(site.run(world.rest(operator, life)), "Stalled")
    assert first["message"].startswith("spec.image: migrate found no Django. Log: ")
    vaguer = {**verdict, "message": "Something failed."}
    world.cloud.runtime.logs.write(
        of.resource_type, of.resource_labels, "stdout", json.dumps(vaguer), entry_labels=of.entry_labels
    )
    assert said(site.run(world.one_pass(operator, life)), "Stalled") == first
    site.run(operator.close())
    assert [reason for reason, _ in site.run(world.told(life)) if "Failed" in reason or "Missing" in reason] == [
        "DjangoMissing",
        "DjangoMissingLog",
    ]


def test_a_superuser_given_up_while_its_job_runs_leaves_no_way_to_its_password(site: Site) -> None:
    """The grant was made for the job alone; the secret itself holds data, and stays."""
    world, life = site.world, begun(site)
    account = site.run(world.service(life)).template.service_account
    secret = f"projects/{PROJECT}/secrets/{life.namespace}-shop-superuser-password"
    grant = f"{secret}#roles/secretmanager.secretAccessor#serviceAccount:{account}"
    site.run(world.apply(life, {**FIRST, "superuser": {"username": "admin", "email": "admin@acme.example"}}))
    operator = world.operator()
    for _ in range(PATIENCE):
        if site.run(world.one_pass(operator, life))["status"]["release"]["stage"] == "Superuser":
            break
    assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", grant)) == ""
    site.run(world.apply(life, FIRST))
    assert said(site.run(world.rest(operator, life)), "Ready")["status"] == "True"
    site.run(operator.close())
    assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", grant)) == "is not given"
    assert site.run(world.google.wrong("secretmanager.googleapis.com/Secret", secret)) == ""
    assert site.run(world.plan(life)).changes == ()
