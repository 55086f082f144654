"""Runs of jobs: started once per token, found again by it, read to the exit code (behaviour-runtime.md, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from google.cloud import run_v2 as run

from nuages.cloud.call import Call
from nuages.cloud.driver import Operation
from nuages.cloud.errors import Conflict, Invalid, NotFound
from nuages.cloud.paging import as_needed
from nuages.cloud.run import RunJobDriver
from nuages.cloud.runmapping import reason_of, seconds
from nuages.cloud.runtemplate import duration, from_pb
from nuages.desired.resource import Owner
from nuages.desired.run import RunJob, Template

PAGE = 100
State = Literal["Running", "Succeeded", "Failed"]
GOOD, BAD = run.Condition.State.CONDITION_SUCCEEDED, run.Condition.State.CONDITION_FAILED
SIGNALLED, TIMED_OUT = 128, 124  # as shells and timeout(1) have it
# What a task says whose container was never started.
NOT_STARTED = re.compile(r"startup will now abort|mounting volume|Permission denied on secret|failed to start")
# The same where it is for want of what it reads before it starts: a grant, mostly, that is not known everywhere yet.
REFUSED = re.compile(r"startup will now abort|mounting volume|[Pp]ermission .*denied|does not have \S+ access")


@dataclass(frozen=True)
class Execution:
    """One run of a job. `exit_code` is that of the last attempt, None where the container was never started.

    `refused`: for want of a secret or a mount, or of a grant on it. `overtime`: the seconds that it was given, where
    Google ended it for having run longer; else 0. `began`: Google's time, in seconds. `template`: what a
    failed one was made from, without labels.
    """

    name: str  # full
    state: State
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    log_uri: str = ""
    refused: bool = False
    overtime: int = 0
    began: float = 0.0
    template: Template | None = None


class JobRuns:
    """Runs of one-task jobs without retries."""

    def __init__(
        self, jobs: RunJobDriver, executions: run.ExecutionsAsyncClient, tasks: run.TasksAsyncClient, call: Call
    ) -> None:
        self._jobs, self._executions, self._tasks, self._call = jobs, executions, tasks, call

    async def find(self, job: RunJob, token: str) -> Execution | None:
        """The execution that the token started, or None."""
        found = await self._call.or_none(self._executions.get_execution, {"name": execution_name(job, token)})
        return None if found is None else await self._seen(found)

    async def succeeded(self, job: RunJob, token: str, since: float) -> Execution | None:
        """The newest that ended well and began after `since`, by the token or one that begins with it.

        Google lists the newest first (API reference, executions.list) and has no filter. Raises CloudError.
        """
        request, name = {"parent": job.name, "page_size": PAGE}, execution_name(job, token)
        try:
            async for item in as_needed(self._call, self._executions.list_executions, request, "executions"):
                if seconds(item.create_time) <= since:
                    return None
                if item.name.startswith(name) and _completed(item).state == GOOD:
                    return await self._seen(item)
        except NotFound:  # no job yet
            return None
        return None

    async def running(self, job: RunJob) -> Execution | None:
        """The job's newest execution, by whatever token, where it is under way."""
        there = await self._jobs.observe(job.name)
        if there is None or not there.outputs["latest_execution"] or there.outputs["latest_has_ended"] == "true":
            return None
        name = f"{job.name}/executions/{there.outputs['latest_execution']}"
        found = await self._call.or_none(self._executions.get_execution, {"name": name})
        seen = None if found is None else await self._seen(found)
        return seen if seen is not None and seen.state == "Running" else None

    async def is_running(self, name: str) -> bool:
        """Whether the execution (full name) has not ended yet. Raises CloudError."""
        found = await self._call(self._executions.get_execution, {"name": name})
        return "completion_time" not in found

    async def start(self, job: RunJob, token: str) -> Operation | None:
        """Create or change the job, with the token; None where the token was used already. Raises Conflict."""
        there = await self._jobs.observe(job.name)
        try:
            if there is None:
                return await self._jobs.create(job, token)
            _require_ours(job, there.owner)
            paths = ("template",) if there.owner == job.owner else ("template", "owner")
            return await self._jobs.update(job, there, paths, token)
        except Conflict:
            if await self.find(job, token) is not None:
                return None
            raise

    async def cancel(self, execution: str) -> None:
        """By full name; one that has ended or gone is left alone."""
        try:
            await self._call.or_none(self._executions.cancel_execution, {"name": execution})
        except (Conflict, Invalid):
            return

    async def _seen(self, found: run.Execution) -> Execution:
        completed = _completed(found)
        if completed.state == GOOD:
            return Execution(found.name, "Succeeded", exit_code=0, log_uri=found.log_uri)
        if completed.state != BAD:
            return Execution(found.name, "Running", reason_of(completed), completed.message, log_uri=found.log_uri)
        page = await self._call(self._tasks.list_tasks, {"parent": found.name, "page_size": 1})
        task = page.tasks[0] if page.tasks else run.Task()
        code = exit_code(task)
        said = f"{completed.message} {task.last_attempt_result.status.message}"
        return Execution(
            found.name,
            "Failed",
            reason_of(completed),
            completed.message,
            code,
            found.log_uri,
            refused=code is None and REFUSED.search(said) is not None,
            overtime=overtime(found, task),
            began=seconds(found.create_time),
            template=from_pb(found.template, found.name.split("/")[1], {}),
        )


def execution_name(job: RunJob, token: str) -> str:
    """The full name of the execution that the token starts."""
    return f"{job.name}/executions/{job.id}-{token}"


def _completed(execution: run.Execution) -> run.Condition:
    return next((c for c in execution.conditions if c.type_ == "Completed"), run.Condition())


def exit_code(task: run.Task) -> int | None:
    """A signal counts as shells count it, the task's timeout as timeout(1) does. None: never started."""
    if "last_attempt_result" not in task:
        return None
    result = task.last_attempt_result
    if NOT_STARTED.search(result.status.message):
        return None
    if result.term_signal:
        return SIGNALLED + result.term_signal
    if result.status.code and not result.exit_code:
        return TIMED_OUT if timed_out(task) else None
    return result.exit_code


def overtime(execution: run.Execution, task: run.Task) -> int:
    """The seconds that it was given, days of them too, where Google ended it for having run longer; else 0."""
    return duration(execution.template.timeout) if timed_out(task) else 0


def timed_out(task: run.Task) -> bool:
    """Whether Google ended it for its time ("The configured timeout was reached."), not its program by itself."""
    result = task.last_attempt_result
    ended_itself = result.exit_code or result.term_signal
    return bool(result.status.code and not ended_itself and "timeout" in result.status.message.lower())


def _require_ours(job: RunJob, owner: Owner | None) -> None:
    """The same app in another life of it counts: its other resources were asked before."""
    if job.owner is None or owner is None or (owner.namespace, owner.app) != (job.owner.namespace, job.owner.app):
        raise Invalid(f"The job {job.id} is there and is not ours: delete it, or rename the app.")
