"""Our Cloud Run services and jobs and Google's messages, both ways. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Any

from google.cloud import run_v2 as run

from nuages.cloud import runtemplate
from nuages.cloud.driver import Observed, Readiness
from nuages.cloud.labels import merged
from nuages.desired.resource import Owner
from nuages.desired.run import RunJob, RunService, TrafficTarget

INGRESS = "INGRESS_TRAFFIC_"
DEFAULT_PORT = 8080
LATEST = run.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
BY_REVISION = run.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
FAILED = run.Condition.State.CONDITION_FAILED
SUCCEEDED = run.ExecutionReference.CompletionStatus.EXECUTION_SUCCEEDED
ENDED = (
    SUCCEEDED,
    run.ExecutionReference.CompletionStatus.EXECUTION_FAILED,
    run.ExecutionReference.CompletionStatus.EXECUTION_CANCELLED,
)

# The parts of the template that are ours: all of these, and nothing else of it, go with a new revision.
TEMPLATE = (*runtemplate.SHARED, "revision", "labels", "scaling", "max_instance_request_concurrency")
TASK = (*runtemplate.SHARED, "max_retries")


def revision_template(desired: RunService) -> run.RevisionTemplate:
    """With the revision's name: without it Google would take the old one, and refuse (lessons.md, rows 16 and 17)."""
    made = runtemplate.container(desired.template, desired.project)
    made.ports = [run.ContainerPort(container_port=desired.port)]
    made.resources.cpu_idle = desired.cpu_idle
    made.resources.startup_cpu_boost = desired.startup_cpu_boost
    made.startup_probe = runtemplate.probe(desired.startup_probe, desired.port)
    made.liveness_probe = runtemplate.probe(desired.liveness_probe, desired.port)
    return run.RevisionTemplate(
        revision=desired.revision,
        labels=dict(desired.template.labels),
        scaling=run.RevisionScaling(min_instance_count=desired.min_instances, max_instance_count=desired.max_instances),
        max_instance_request_concurrency=desired.concurrency,
        **runtemplate.shared(desired.template, made),
    )


def traffic(desired: RunService) -> list[run.TrafficTarget]:
    return [
        run.TrafficTarget(type_=BY_REVISION, revision=target.revision, percent=target.percent, tag=target.tag)
        for target in desired.traffic
    ]


def ingress(desired: RunService) -> run.IngressTraffic:
    return run.IngressTraffic(getattr(run.IngressTraffic, INGRESS + desired.ingress))


def service_labels(desired: RunService | RunJob, found: dict[str, str]) -> dict[str, str]:
    """Costs are told apart by the labels of the service or job: the tenant's are on it too."""
    tenants = [(key, value) for key, value in desired.template.labels if not key.startswith("nuages-")]
    return merged(found, desired.owner, tenants)


def observed_service(found: run.Service) -> Observed[RunService]:
    """A service that others made is shown as far as our type can say it."""
    template = found.template
    first = template.containers[0] if template.containers else run.Container()
    state = RunService(
        name=found.name,
        owner=Owner.of_labels(dict(found.labels)),
        template=runtemplate.from_pb(template, found.name.split("/")[1], dict(template.labels)),
        port=first.ports[0].container_port if first.ports else DEFAULT_PORT,
        concurrency=template.max_instance_request_concurrency,
        min_instances=template.scaling.min_instance_count,
        max_instances=template.scaling.max_instance_count,
        cpu_idle=first.resources.cpu_idle,
        startup_cpu_boost=first.resources.startup_cpu_boost,
        startup_probe=runtemplate.found_probe(first.startup_probe),
        liveness_probe=runtemplate.found_probe(first.liveness_probe),
        ingress=found.ingress.name.removeprefix(INGRESS),
        open_access=found.invoker_iam_disabled,
        service_scaling=_scaling(found.scaling),
        revision=template.revision,
        traffic=tuple(_target(target, found) for target in found.traffic),
    )
    readiness, message, reason = _readiness(found)
    outputs = {
        "uri": found.uri,
        "urls": "\n".join(found.urls),
        "latest_ready_revision": _last(found.latest_ready_revision),
        "latest_created_revision": _last(found.latest_created_revision),
        "failed_reason": reason if readiness is Readiness.FAILED else "",
    }
    return Observed(state, readiness, message, reason, outputs, found.etag)


def _scaling(found: run.ServiceScaling) -> str:
    """What a person set beside the revisions' bounds; a maximum only narrows, and Google fills it in."""
    if found.scaling_mode == run.ServiceScaling.ScalingMode.MANUAL:
        return f"MANUAL {found.manual_instance_count}"
    return f"min {found.min_instance_count}" if found.min_instance_count else ""


def task_template(desired: RunJob) -> run.TaskTemplate:
    """No retries: a failed migration is for people, and IAM that settles is the engine's to wait for."""
    made = runtemplate.container(desired.template, desired.project)
    return run.TaskTemplate(max_retries=0, **runtemplate.shared(desired.template, made))


def observed_job(found: run.Job) -> Observed[RunJob]:
    template = found.template
    project, labels = found.name.split("/")[1], dict(template.labels)
    state = RunJob(
        name=found.name,
        owner=Owner.of_labels(dict(found.labels)),
        template=runtemplate.from_pb(template.template, project, labels),
    )
    readiness, message, reason = _readiness(found)
    latest = found.latest_created_execution
    has_ended = latest.completion_status in ENDED
    outputs = {
        "latest_execution": _last(latest.name),
        "latest_has_ended": str(has_ended).lower(),
        "latest_ended": str(seconds(latest.completion_time) if has_ended else 0.0),
        "latest_succeeded": str(latest.completion_status == SUCCEEDED).lower(),
    }
    return Observed(state, readiness, message, reason, outputs, found.etag)


def reason_of(condition: run.Condition) -> str:
    """Google's word, whichever of the three lists it is from."""
    for field in ("revision_reason", "execution_reason", "reason"):
        if field in condition:
            return str(getattr(condition, field).name)
    return ""


def _target(target: run.TrafficTarget, found: run.Service) -> TrafficTarget:
    """ "Latest" is what is the latest ready one now: a release pins it."""
    revision = target.revision or _last(found.latest_ready_revision)
    return TrafficTarget(revision, target.percent, target.tag)


def _readiness(found: run.Service | run.Job) -> tuple[Readiness, str, str]:
    condition = found.terminal_condition
    if "delete_time" in found:
        return Readiness.BUSY, "It is being deleted.", "Deleting"
    if found.reconciling:
        return Readiness.BUSY, condition.message or "It is being changed.", reason_of(condition)
    if condition.state == FAILED:
        return Readiness.FAILED, condition.message, reason_of(condition)
    return Readiness.READY, "", ""


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def seconds(stamp: Any) -> float:
    """Of one of Google's times, since the epoch; 0.0 where it is not set. proto-plus gives a datetime."""
    return stamp.timestamp() if isinstance(stamp, dt.datetime) else 0.0
