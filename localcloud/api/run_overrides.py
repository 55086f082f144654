"""What `jobs.run` may change for one execution (gcp/behaviour-runtime.md, section 3, Jobs)."""

from __future__ import annotations

from localcloud.api.messages import run as pb
from localcloud.core.errors import ApiError, Code


def overridden(job: pb.Job, overrides: pb.RunJobRequest.Overrides) -> pb.Job:
    """The job as this execution sees it. Raises INVALID_ARGUMENT for a container that is not there."""
    changed = pb.Job()
    changed.CopyFrom(job)
    if overrides.task_count:
        changed.template.task_count = overrides.task_count
    if overrides.HasField("timeout"):
        changed.template.template.timeout.CopyFrom(overrides.timeout)
    for change in overrides.container_overrides:
        _change(changed.template.template, change)
    return changed


def _change(task: pb.TaskTemplate, change: pb.RunJobRequest.Overrides.ContainerOverride) -> None:
    named = [container for container in task.containers if container.name == change.name]
    found = named or ([] if change.name else task.containers[:1])
    if not found:
        raise ApiError(Code.INVALID_ARGUMENT, f"Container '{change.name}' is not in the job's template.")
    container = found[0]
    if change.clear_args or change.args:
        del container.args[:]
        container.args.extend(change.args)
    for variable in change.env:
        kept = [env for env in container.env if env.name != variable.name]
        del container.env[:]
        container.env.extend([*kept, variable])
