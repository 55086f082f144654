"""Jobs, executions and tasks of v2 as the objects of `run.googleapis.com/v1` (v1 API reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.api import knative_annotations as known
from localcloud.api.knative_objects import as_json, conditions, dense, head, seconds
from localcloud.api.knative_scope import RUN, Object, Scope
from localcloud.api.knative_template import shown_containers, shown_marks, shown_volumes
from localcloud.api.messages import run as pb
from localcloud.api.run_names import last
from localcloud.core.state import parent_of

COUNTS = ("runningCount", "succeededCount", "failedCount", "cancelledCount", "retriedCount")


def job_object(job: pb.Job, scope: Scope) -> Object:
    """What `gcloud run jobs describe` reads."""
    fields = as_json(job)
    execution = fields.get("template", {})
    task = execution.get("template", {})
    metadata = {"labels": execution.get("labels", {}), "annotations": _task_marks(task, execution)}
    template = {"metadata": dense(metadata), "spec": _execution_spec(execution)}
    spec = {
        "template": template,
        "startExecutionToken": fields.get("startExecutionToken", ""),
        "runExecutionToken": fields.get("runExecutionToken", ""),
    }
    status = {
        "observedGeneration": int(fields.get("observedGeneration", 0)),
        "conditions": conditions([{**fields.get("terminalCondition", {}), "type": "Ready"}]),
        "executionCount": fields.get("executionCount", 0),
        "latestCreatedExecution": _reference(fields.get("latestCreatedExecution", {})),
    }
    labels = {f"{RUN}/lastUpdatedTime": fields.get("updateTime", "")}
    made = head(RUN, "Job", fields, scope, labels, _marks(fields, known.JOB))
    return {**made, "spec": dense(spec), "status": dense(status)}


def execution_object(execution: pb.Execution, job: pb.Job | None, scope: Scope) -> Object:
    """`job` is the one that it is a run of, as it is now."""
    fields = as_json(execution)
    labels = {f"{RUN}/job": last(parent_of(execution.name))}
    if job is not None:
        labels |= {f"{RUN}/jobUid": job.uid, f"{RUN}/jobGeneration": str(job.generation)}
    marks = _marks(fields, ()) | _task_marks(fields.get("template", {}), {})
    status = {
        "observedGeneration": int(fields.get("observedGeneration", 0)),
        "conditions": conditions(fields.get("conditions", [])),
        "startTime": fields.get("startTime", ""),
        "completionTime": fields.get("completionTime", ""),
        "logUri": fields.get("logUri", ""),
        **{count: fields.get(count, 0) for count in COUNTS},
    }
    made = head(RUN, "Execution", fields, scope, labels, marks)
    if job is not None:
        made["metadata"]["ownerReferences"] = [_owner("Job", last(job.name), job.uid)]
    return {**made, "spec": _execution_spec(fields), "status": dense(status)}


def task_object(task: pb.Task, scope: Scope) -> Object:
    """`run.googleapis.com/runningState` is the label that gcloud selects tasks by."""
    fields = as_json(task)
    execution = parent_of(task.name)
    labels = {
        f"{RUN}/execution": last(execution),
        f"{RUN}/job": last(parent_of(execution)),
        f"{RUN}/taskIndex": str(task.index),
        f"{RUN}/runningState": _running_state(task),
    }
    status = {
        "observedGeneration": int(fields.get("observedGeneration", 0)),
        "conditions": conditions(fields.get("conditions", [])),
        "retried": fields.get("retried", 0),
        "startTime": fields.get("startTime", ""),
        "completionTime": fields.get("completionTime", ""),
        "logUri": fields.get("logUri", ""),
        "lastAttemptResult": fields.get("lastAttemptResult", {}),
    }
    made = head(RUN, "Task", fields, scope, labels, _marks(fields, ()) | _task_marks(fields, {}))
    return {**made, "spec": _task_spec(fields), "status": {"index": task.index, **dense(status)}}


def _execution_spec(execution: Mapping[str, Any]) -> Object:
    spec = {"parallelism": execution.get("parallelism", 0), "taskCount": execution.get("taskCount", 0)}
    return {**dense(spec), "template": {"spec": _task_spec(execution.get("template", {}))}}


def _task_spec(task: Mapping[str, Any]) -> Object:
    """`timeoutSeconds` is text here, and `maxRetries` is there even when 0: it is optional, not defaulted to 0."""
    spec = {
        "containers": shown_containers(task),
        "volumes": shown_volumes(task),
        "serviceAccountName": task.get("serviceAccount", ""),
        "timeoutSeconds": str(seconds(task.get("timeout", ""))),
    }
    return {**dense(spec), "maxRetries": task.get("maxRetries", 0)}


def _reference(latest: Mapping[str, Any]) -> Object:
    """The job's last execution; v2 names the same fields otherwise."""
    reference = {
        "name": latest.get("name", ""),
        "creationTimestamp": latest.get("createTime", ""),
        "completionTimestamp": latest.get("completionTime", ""),
        "deletionTimestamp": latest.get("deleteTime", ""),
        "completionStatus": latest.get("completionStatus", ""),
    }
    return dense(reference)


def _task_marks(task: Mapping[str, Any], execution: Mapping[str, Any]) -> dict[str, str]:
    own = {**task, "annotations": execution.get("annotations", {})}
    return known.shown(own, known.TASK) | shown_marks(task, of_service=False)


def _marks(fields: Mapping[str, Any], table: tuple[known.Annotation, ...]) -> dict[str, str]:
    """Jobs have their authors in the run group, services in Knative's."""
    authors = {f"{RUN}/creator": fields.get("creator"), f"{RUN}/lastModifier": fields.get("lastModifier")}
    return known.shown(fields, table) | {key: value for key, value in authors.items() if value}


def _running_state(task: pb.Task) -> str:
    completed = next((c for c in task.conditions if c.type_ == "Completed"), None)
    if completed is not None and completed.state == pb.State.CONDITION_SUCCEEDED:
        return "Succeeded"
    if completed is not None and completed.state == pb.State.CONDITION_FAILED:
        cancelled = completed.execution_reason == pb.ExecutionReason.CANCELLED
        return "Cancelled" if cancelled else "Failed"
    return "Running" if task.HasField("start_time") else "Waiting"


def _owner(kind: str, name: str, uid: str) -> Object:
    made: Object = {"apiVersion": f"{RUN}/v1", "kind": kind, "name": name, "uid": uid}
    return {**made, "controller": True, "blockOwnerDeletion": True}
