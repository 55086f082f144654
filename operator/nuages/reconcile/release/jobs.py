"""How a release runs a job once per token, finds it again, and reads why it failed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from nuages.cloud.access import CloudAccess
from nuages.cloud.executions import Execution
from nuages.desired.run import RunJob
from nuages.reconcile.release.outcome import DONE, Done, Failed, Outcome, Waiting

LINES = 20  # of the log, in an event
ATTEMPTS = 5  # of executions that never reached the container, while IAM settles


@dataclass(frozen=True)
class Run:
    """A job to run: `reason_running` and `reason_failed` are condition reasons, `what` the words for people."""

    job: RunJob
    token: str
    what: str
    reason_running: str
    reason_failed: str
    remedy: str
    field: str = ""  # of the spec, where a failure is most likely mended
    retry_exit_codes: frozenset[int] = frozenset()
    again: str = ""  # after a final failure: any new value is another try


async def run_once(run: Run, cloud: CloudAccess) -> Outcome:
    """Found, or started; may be entered again after any line. A failure of the container is final for this token."""
    outcome = await _try(run, cloud)
    if isinstance(outcome, Failed) and run.again:
        return await _try(replace(run, token=f"{run.token}-{run.again}", again=""), cloud)
    return outcome


async def _try(run: Run, cloud: CloudAccess) -> Outcome:
    """All attempts under one token.

    Where the container never started (a fresh grant was not known yet), or it asked for another try by its exit code,
    the next attempt has a token of its own, so that each is started at most once.
    """
    for attempt in range(ATTEMPTS):
        token = run.token if attempt == 0 else f"{run.token}-{attempt + 1}"
        execution = await cloud.runs.find(run.job, token)
        if execution is None:
            other = await cloud.runs.running(run.job)
            if other is not None:  # of an earlier spec, or somebody's own: never two at once
                message = f"{run.what} waits for an earlier execution to end."
                return Waiting(run.reason_running, message, None, other.name, other.log_uri)
            operation = await cloud.runs.start(run.job, token)
            name = f"{run.job.id}-{token}"
            return Waiting(run.reason_running, f"{run.what} has begun.", operation, name)
        if execution.state == "Running":
            return Waiting(run.reason_running, f"{run.what} is running.", None, execution.name, execution.log_uri)
        if execution.state == "Succeeded":
            return DONE
        cancelled = execution.reason.upper() == "CANCELLED"  # by somebody's hand: not ours to begin again
        again = not cancelled and (execution.exit_code is None or execution.exit_code in run.retry_exit_codes)
        if not again or attempt == ATTEMPTS - 1:
            return await _failure(run, execution, cloud)
    return DONE


async def _failure(run: Run, execution: Execution, cloud: CloudAccess) -> Failed:
    lines = await cloud.logs.tail(run.job.project, execution_filter(run.job, execution), LINES)
    verdict = next((line.payload for line in reversed(lines) if line.payload and "nuages" in line.payload), None)
    exited = f"exited with {execution.exit_code}" if execution.exit_code is not None else execution.message
    if verdict and verdict.get("message"):
        reason, message = str(verdict.get("reason") or run.reason_failed), str(verdict["message"])
    else:
        blamed = f"{run.field}: {run.what}" if run.field else run.what
        reason, message = run.reason_failed, f"{blamed} {exited.rstrip('. ')}; {run.remedy}."
    texts = tuple(line.text or json.dumps(line.payload) for line in lines)
    return Failed(reason, message, execution.log_uri, execution.name, texts)


def execution_filter(job: RunJob, execution: Execution) -> str:
    """The log filter that Google's console uses for one execution (behaviour-runtime.md, section 4)."""
    name = execution.name.rsplit("/", 1)[-1]
    return (
        f'resource.type = "cloud_run_job" resource.labels.job_name = "{job.id}" '
        f'labels."run.googleapis.com/execution_name" = "{name}"'
    )


__all__ = ["Done", "Run", "execution_filter", "run_once"]
