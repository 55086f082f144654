"""What is sent to Cloud Run and what is read back are the same thing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.cloud import run_v2 as run

from nuages.cloud import runmapping, runtemplate
from nuages.cloud.driver import Readiness, differences
from nuages.cloud.executions import exit_code, overtime, timed_out
from nuages.cloud.labels import FoundLabels, besides_owner, merged
from nuages.cloud.run import RunServiceDriver
from nuages.desired.resource import Owner
from nuages.desired.run import BucketMount, NetworkAccess, Probe, RunJob, RunService, Template, TrafficTarget
from nuages.desired.secretmanager import SecretRef

OWNER = Owner("shop", "web", "uid-1")
FULL = Template(
    image="europe-west1-docker.pkg.dev/demo/apps/shop@sha256:" + "a" * 64,
    command=("gunicorn",),
    args=("shop.wsgi", "--bind=:8080"),
    environment=(
        ("DEBUG", "False"),
        ("EMPTY", ""),
        ("SECRET_KEY", SecretRef("projects/demo/secrets/shop-key", "3")),
        ("THEIRS", SecretRef("projects/123/secrets/other", "1")),
    ),
    cpu="1",
    memory="512Mi",
    service_account="web@demo.iam.gserviceaccount.com",
    timeout=300,
    cloud_sql=("demo:europe-west1:pg",),
    buckets=(BucketMount("demo-media", "/app/media", 1000, 1001),),
    network=NetworkAccess("PRIVATE_RANGES_ONLY", network="default", subnetwork="apps"),
    labels=(("cost", "shop"), ("managed-by", "nuages")),
)
BARE = Template(image="a/b@sha256:c", cpu="0.5", memory="1Gi", service_account="x@y", timeout=60)
PROBE = Probe(path="/health/", host="shop-1.europe-west1.run.app", initial_delay=5, timeout=2, failure_threshold=6)
SERVICE = RunService(
    name="projects/demo/locations/europe-west1/services/shop",
    owner=OWNER,
    template=FULL,
    port=8000,
    concurrency=40,
    min_instances=1,
    max_instances=5,
    cpu_idle=False,
    startup_cpu_boost=True,
    startup_probe=PROBE,
    liveness_probe=replace(PROBE, initial_delay=0),
    ingress="INTERNAL_LOAD_BALANCER",
    open_access=True,
    revision="shop-1234567890",
    traffic=(TrafficTarget("shop-0", 100), TrafficTarget("shop-1234567890", 0, "candidate")),
)
CONNECTOR = NetworkAccess("ALL_TRAFFIC", connector="projects/demo/locations/europe-west1/connectors/c")


def as_google(service: RunService) -> run.Service:
    return run.Service(
        name=service.name,
        labels=runmapping.service_labels(service, {}),
        template=runmapping.revision_template(service),
        traffic=runmapping.traffic(service),
        ingress=runmapping.ingress(service),
        invoker_iam_disabled=service.open_access,
        terminal_condition={"type_": "Ready", "state": "CONDITION_SUCCEEDED"},
    )


@pytest.mark.parametrize(
    "service",
    [
        SERVICE,
        replace(SERVICE, template=BARE),
        replace(SERVICE, template=replace(BARE, network=CONNECTOR), ingress="ALL", traffic=()),
        replace(SERVICE, cpu_idle=True, startup_cpu_boost=False, min_instances=0, open_access=False),
    ],
)
def test_a_service_comes_back_as_it_was_sent(service: RunService) -> None:
    """Every field, from the image to the Host header of a probe."""
    assert runmapping.observed_service(as_google(service)).state == service


@pytest.mark.parametrize("template", [FULL, BARE])
def test_a_job_comes_back_as_it_was_sent(template: Template) -> None:
    """One task without retries."""
    job = RunJob(name="projects/demo/locations/europe-west1/jobs/shop-migrate", owner=OWNER, template=template)
    task = runmapping.task_template(job)
    assert "max_retries" in run.TaskTemplate.pb(task) or run.TaskTemplate.pb(task).WhichOneof("retries")
    found = run.Job(
        name=job.name,
        labels=runmapping.service_labels(job, {}),
        template={"labels": dict(template.labels), "template": task},
    )
    assert runmapping.observed_job(found).state == job


def add_annotations(found: run.Service) -> None:
    found.client, found.client_version = "gcloud", "528"
    found.template.annotations = {"run.googleapis.com/client-name": "cloud-console"}
    found.annotations = {"client.knative.dev/user-image": "x"}


def add_label(found: run.Service) -> None:
    found.template.labels = {**found.template.labels, "commit-sha": "abc"}


def use_google_words(found: run.Service) -> None:
    container = found.template.containers[0]
    container.resources.limits = {"cpu": "1000m", "memory": "512Mi"}
    container.ports[0].name = "http1"
    found.template.execution_environment = runtemplate.GEN2


def set_session_affinity(found: run.Service) -> None:
    found.template.session_affinity = True


@pytest.mark.parametrize("change", [add_annotations, add_label, use_google_words, set_session_affinity])
def test_what_others_add_is_no_drift(change: Any) -> None:
    """Annotations of the console and gcloud, labels, Google's own spelling, fields that are not ours."""
    found = as_google(SERVICE)
    change(found)
    assert differences(SERVICE, runmapping.observed_service(found), RunServiceDriver.owned) == ()


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, ""),
        ({"scaling_mode": "AUTOMATIC", "max_instance_count": 100}, ""),
        ({"min_instance_count": 2}, "min 2"),
        ({"scaling_mode": "MANUAL"}, "MANUAL 0"),
        ({"scaling_mode": "MANUAL", "manual_instance_count": 3}, "MANUAL 3"),
    ],
)
def test_scaling_beside_the_revisions_is_drift(fields: dict[str, Any], shown: str) -> None:
    """Manual scaling to nothing stops a service: the console has a button for it."""
    found = as_google(SERVICE)
    found.scaling = run.ServiceScaling(**fields)
    observed = runmapping.observed_service(found)
    assert observed.state.service_scaling == shown
    assert differences(SERVICE, observed, RunServiceDriver.owned) == (("service_scaling",) if shown else ())


def test_a_service_of_others_is_shown_as_far_as_it_goes() -> None:
    """TCP probe, traffic to the latest, no owner, no container even: nothing breaks, and it differs."""
    found = run.Service(
        name=SERVICE.name,
        traffic=[{"type_": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
        latest_ready_revision=f"{SERVICE.name}/revisions/shop-00001-abc",
    )
    observed = runmapping.observed_service(found)
    assert observed.owner is None
    assert observed.state.traffic == (TrafficTarget("shop-00001-abc", 100),)
    found.template.containers = [run.Container(image="x", startup_probe=run.Probe(tcp_socket={"port": 8080}))]
    assert runmapping.observed_service(found).state.startup_probe.path == ""


@pytest.mark.parametrize(
    ("fields", "readiness", "reason"),
    [
        ({"reconciling": True}, Readiness.BUSY, ""),
        ({"delete_time": {"seconds": 1}}, Readiness.BUSY, "Deleting"),
        ({"terminal_condition": {"state": "CONDITION_SUCCEEDED"}}, Readiness.READY, ""),
        (
            {"terminal_condition": {"state": "CONDITION_FAILED", "revision_reason": "HEALTH_CHECK_CONTAINER_ERROR"}},
            Readiness.FAILED,
            "HEALTH_CHECK_CONTAINER_ERROR",
        ),
        (
            {"terminal_condition": {"state": "CONDITION_FAILED", "reason": "SECRETS_ACCESS_CHECK_FAILED"}},
            Readiness.FAILED,
            "SECRETS_ACCESS_CHECK_FAILED",
        ),
    ],
)
def test_readiness_is_google_s(fields: dict[str, Any], readiness: Readiness, reason: str) -> None:
    """Busy while it reconciles or goes, failed with Google's own reason."""
    observed = runmapping.observed_service(run.Service(name=SERVICE.name, **fields))
    assert (observed.readiness, observed.reason) == (readiness, reason)
    assert observed.outputs["failed_reason"] == (reason if readiness is Readiness.FAILED else "")


def test_labels_of_others_stay_and_the_old_marker_goes() -> None:
    """A merge over what is there; the owner's marker is written anew."""
    there = {"team": "blue", "cost": "old", **replace(OWNER, retained=True).labels()}
    written = merged(there, OWNER, (("cost", "new"),))
    assert written == {"team": "blue", "cost": "new", **OWNER.labels()}
    assert besides_owner(there) == FoundLabels((("cost", "old"), ("team", "blue")))
    assert besides_owner(there) == (("cost", "old"),)
    assert besides_owner(there) != (("cost", "new"),)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (None, None),
        ({"exit_code": 0}, 0),
        ({"exit_code": 11, "status": {"code": 13, "message": "The container exited with an error."}}, 11),
        ({"term_signal": 9, "status": {"code": 13, "message": "The container exited with an error."}}, 137),
        ({"status": {"code": 13, "message": "The configured timeout was reached."}}, 124),
        ({"status": {"code": 13, "message": "Something else."}}, None),
        ({"exit_code": 1, "status": {"code": 13, "message": "Instance startup will now abort: denied"}}, None),
    ],
)
def test_the_exit_code_of_a_task(result: dict[str, Any] | None, code: int | None) -> None:
    """None stands for a container that was never started: only then may it be tried again without asking."""
    task = run.Task() if result is None else run.Task(last_attempt_result=result)
    assert exit_code(task) == code


@pytest.mark.parametrize("given", [2, 1800, 86_400, 90_000, 604_800])
def test_a_task_had_the_seconds_that_it_was_given(given: int) -> None:
    """Up to a week of them; none is told where its program ended by itself."""
    execution = run.Execution(template={"timeout": {"seconds": given}})
    status = {"code": 13, "message": "The configured timeout was reached."}
    assert overtime(execution, run.Task(last_attempt_result={"status": status})) == given
    assert overtime(execution, run.Task(last_attempt_result={"exit_code": 124})) == 0


def test_only_google_ends_a_task_for_its_time() -> None:
    """A program that exits as timeout(1) does, or is killed, has done so by itself."""
    status = {"code": 13, "message": "The configured timeout was reached."}
    assert timed_out(run.Task(last_attempt_result={"status": status}))
    assert timed_out(run.Task(last_attempt_result={"status": status, "exit_code": 0}))
    exited = {**status, "message": "The container exited with an error."}
    assert not timed_out(run.Task(last_attempt_result={"status": exited, "exit_code": 124}))
    assert not timed_out(run.Task(last_attempt_result={"status": status, "term_signal": 15}))
    assert not timed_out(run.Task())
