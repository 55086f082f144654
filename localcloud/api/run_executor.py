"""Runs executions: their tasks, attempts, retries, cancellation (gcp/behaviour-runtime.md, section 3, Jobs)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from google.longrunning import operations_pb2
from google.rpc import status_pb2

from localcloud.api.messages import run as pb
from localcloud.api.run_names import execution_log_uri, last, location_of, random_suffix
from localcloud.api.run_state import RunState, message_of, state_of
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, internal_error
from localcloud.core.state import parent_of
from localcloud.runtime.tasks import Attempt, task_workload
from localcloud.runtime.workload import Workload

logger = logging.getLogger(__name__)

GOOD, BAD = pb.State.CONDITION_SUCCEEDED, pb.State.CONDITION_FAILED
WAITING = pb.State.CONDITION_RECONCILING
# Google moves a running task with all its state (https://cloud.google.com/run/docs/configuring/task-timeout), which
# no process of this machine outlives; but a task without retries runs only once (.../configuring/max-retries). How its
# process ended is not the image's doing, so there is no exit code, as where Google ends a task for its time.
INTERRUPTED = Attempt(message="localcloud was stopped while it ran.")
INTERRUPTED_LOG = (
    "localcloud: stopped while this task was running, which ended it; at Google it would have gone on. It is started "
    "again only where its job's maxRetries says so. Otherwise run the job again."
)


@dataclass
class _Live:
    """An execution under way."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class Executor:
    """One for all jobs of the cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._state = cloud.shared(RunState)
        self._live: dict[str, _Live] = {}
        cloud.operations.register("run.executions.start", self._finished, self._state.executions.find)

    def new(self, job: pb.Job, *, execution_id: str = "") -> pb.Execution:
        """Make an execution with its tasks, and start it. `job` is valid, with what this run overrides."""
        execution_id = execution_id or f"{last(job.name)}-{random_suffix(5)}"
        name = f"{job.name}/executions/{execution_id}"
        template = job.template
        made = pb.Execution(
            labels=dict(template.labels),
            annotations=dict(template.annotations),
            launch_stage=job.launch_stage,
            job=last(job.name),
            parallelism=template.parallelism,
            task_count=template.task_count,
            template=template.template,
            reconciling=True,
            log_uri=execution_log_uri(*_where(job.name), last(job.name), execution_id),
        )
        self._state.born(made, name)
        for kind in ("Completed", "ResourcesAvailable", "Started", "ContainerReady"):
            self._state.named(made, kind, WAITING)
        images = (self._state.internal.find(job.name) or {}).get("images", [])
        self._state.internal.put(name, {"images": images})
        self._state.executions.put(name, made)
        for index in range(made.task_count):
            self._new_task(made, index)
        self._start(name)
        return made

    def count(self, job: pb.Job, execution: pb.Execution) -> None:
        """Write on the job that it was run once more; the caller saves it."""
        job.execution_count += 1
        reference = job.latest_created_execution
        reference.Clear()
        reference.name = last(execution.name)
        reference.create_time.CopyFrom(execution.create_time)
        reference.completion_status = pb.CompletionStatus.EXECUTION_PENDING

    def operation(self, execution: pb.Execution) -> operations_pb2.Operation:
        """Done when the execution is."""
        return self._cloud.operations.start(
            location_of(execution.name), "run.executions.start", execution.name, execution
        )

    async def started(self, name: str) -> None:
        """Return once its first task runs, or it has ended."""
        live = self._live.get(name)
        if live is not None:
            await live.started.wait()

    async def ended(self, name: str) -> str:
        """Why it failed, once it has ended; "" where it succeeded."""
        live = self._live.get(name)
        if live is not None:
            await live.ended.wait()
        execution = self._state.executions.find(name)
        if execution is None:
            return f"Execution '{last(name)}' was deleted."
        return "" if state_of(execution, "Completed") == GOOD else message_of(execution, "Completed")

    def cancel(self, name: str) -> None:
        """Running tasks get SIGTERM, then SIGKILL; what has ended stays as it is."""
        live = self._live.get(name)
        if live is not None and not live.cancelled.is_set():
            execution = self._state.executions.get(name)
            self._state.named(execution, "Completed", WAITING, "", execution_reason=int(pb.ExecutionReason.CANCELLING))
            self._save(execution)
            live.cancelled.set()

    async def remove(self, name: str) -> None:
        """Cancel it, and forget it with its tasks."""
        self.cancel(name)
        await self.ended(name)
        for task in self._state.tasks.under(name):
            self._state.tasks.remove(task.name)
            self._state.internal.remove(task.name)
        self._state.executions.remove(name)
        self._state.internal.remove(name)

    async def remove_all(self, job: str) -> None:
        await asyncio.gather(*(self.remove(e.name) for e in self._state.executions.under(job)))

    def resume(self) -> None:
        """Go on with what a stop interrupted: an attempt that was running has failed."""
        for name in self._state.executions:
            if not self._state.executions.get(name).HasField("completion_time"):
                self._start(name)

    def _start(self, name: str) -> None:
        if name not in self._live:
            live = self._live[name] = _Live()
            self._cloud.runtime.tasks.background.spawn(f"execution {last(name)}", self._run(name, live))

    async def _run(self, name: str, live: _Live) -> None:
        try:
            await self._run_tasks(name, live)
        except Exception:  # nobody would end the execution, and who waits for it would wait for ever
            logger.exception("the execution %s failed", name)
            self._break_off(name)
        live.started.set()
        live.ended.set()
        self._live.pop(name, None)

    async def _run_tasks(self, name: str, live: _Live) -> None:
        await self._unless_cancelled(live, self._cloud.clock.lasts("run.executions.start"))
        execution = self._state.executions.get(name)
        if not live.cancelled.is_set():
            if not execution.HasField("start_time"):
                execution.start_time.CopyFrom(self._cloud.clock.timestamp())
            for kind in ("ResourcesAvailable", "Started", "ContainerReady"):
                self._state.named(execution, kind, GOOD)
            self._save(execution, pb.CompletionStatus.EXECUTION_RUNNING)
        live.started.set()
        places = asyncio.Semaphore(execution.parallelism or execution.task_count)

        async def run(task: pb.Task) -> None:
            async with places:
                await self._run_task(task, execution.task_count, live)

        await asyncio.gather(*(run(task) for task in self._state.tasks.under(name)))
        self._finish(name, live.cancelled.is_set())

    async def _run_task(self, task: pb.Task, task_count: int, live: _Live) -> None:
        if task.HasField("completion_time"):
            return
        images = (self._state.internal.find(parent_of(task.name)) or {}).get("images", [])
        interrupted = self._state.internal.find(task.name) is not None
        while True:
            if live.cancelled.is_set():
                result = Attempt(term_signal=15, message="The execution was cancelled.")
            elif interrupted:
                result, interrupted = self._interrupted(task, task_count, images), False
            else:
                result = await self._attempt(task, task_count, images, live)
            self._record(task, result)
            if result.succeeded or live.cancelled.is_set() or task.retried >= task.max_retries:
                break
            task.retried += 1
            self._change(task, retried_count=1)
        self._end_task(task, result, live.cancelled.is_set())

    async def _attempt(self, task: pb.Task, task_count: int, images: list[str], live: _Live) -> Attempt:
        if not task.HasField("start_time"):
            task.start_time.CopyFrom(self._cloud.clock.timestamp())
        self._state.named(task, "Started", GOOD)
        self._state.tasks.put(task.name, task)
        self._state.internal.put(task.name, {"attempt": task.retried})
        self._change(task, running_count=1)
        workload = task_workload(self._cloud, task, task.retried, task_count, images)
        result: Attempt = await self._cloud.runtime.tasks.attempt(workload, float(task.timeout.seconds), live.cancelled)
        self._change(task, running_count=-1)
        self._log_end(task, workload, result)
        return result

    def _interrupted(self, task: pb.Task, task_count: int, images: list[str]) -> Attempt:
        """The attempt that was running when localcloud was stopped or killed."""
        self._change(task, running_count=-1)
        workload = task_workload(self._cloud, task, task.retried, task_count, images)
        self._log(workload, INTERRUPTED_LOG, "WARNING")
        self._log_end(task, workload, INTERRUPTED)
        return INTERRUPTED

    def _log_end(self, task: pb.Task, workload: Workload, result: Attempt) -> None:
        attempt = f"Task #{task.index}, Attempt #{task.retried}"
        if result.succeeded:
            self._log(workload, f"Completed {attempt}", "INFO")
        else:
            self._log(workload, f"{attempt} failed: {result.message}", "ERROR")

    def _log(self, workload: Workload, text: str, severity: str) -> None:
        kind, labels, own = workload.resource_type, workload.resource_labels, workload.entry_labels
        self._cloud.runtime.logs.write(kind, labels, "varlog/system", text, severity, own)

    def _record(self, task: pb.Task, result: Attempt) -> None:
        self._state.internal.remove(task.name)
        last_result = task.last_attempt_result
        last_result.Clear()
        last_result.SetInParent()
        if result.term_signal:
            last_result.term_signal = result.term_signal
        else:
            last_result.exit_code = result.exit_code
        if not result.succeeded:
            last_result.status.CopyFrom(status_pb2.Status(code=Code.INTERNAL.number, message=result.message))
        self._state.tasks.put(task.name, task)

    def _end_task(self, task: pb.Task, result: Attempt, cancelled: bool) -> None:
        task.completion_time.CopyFrom(self._cloud.clock.timestamp())
        task.reconciling, task.observed_generation = False, task.generation
        if result.succeeded:
            self._state.named(task, "Completed", GOOD)
            self._change(task, succeeded_count=1)
        else:
            reason = pb.ExecutionReason.CANCELLED if cancelled else pb.ExecutionReason.NON_ZERO_EXIT_CODE
            self._state.named(task, "Completed", BAD, result.message, execution_reason=int(reason))
            self._change(task, **{"cancelled_count" if cancelled else "failed_count": 1})
        self._state.touched(task)
        self._state.tasks.put(task.name, task)

    def _finish(self, name: str, cancelled: bool) -> None:
        execution = self._state.executions.get(name)
        execution.completion_time.CopyFrom(self._cloud.clock.timestamp())
        execution.running_count = 0
        execution.reconciling, execution.observed_generation = False, execution.generation
        failed = next((t for t in self._state.tasks.under(name) if state_of(t, "Completed") == BAD), None)
        if failed is None:
            self._state.named(execution, "Completed", GOOD, "Execution completed successfully.")
            status = pb.CompletionStatus.EXECUTION_SUCCEEDED
        elif cancelled:
            reason = int(pb.ExecutionReason.CANCELLED)
            self._state.named(execution, "Completed", BAD, "Execution cancelled.", execution_reason=reason)
            status = pb.CompletionStatus.EXECUTION_CANCELLED
        else:
            text = f"Task {last(failed.name)} failed with message: {message_of(failed, 'Completed')}"
            reason = int(pb.ExecutionReason.NON_ZERO_EXIT_CODE)
            self._state.named(execution, "Completed", BAD, text, execution_reason=reason)
            status = pb.CompletionStatus.EXECUTION_FAILED
        self._save(execution, status)

    def _break_off(self, name: str) -> None:
        """The end of an execution that localcloud itself could not go on with."""
        execution = self._state.executions.find(name)
        if execution is None:
            return
        execution.completion_time.CopyFrom(self._cloud.clock.timestamp())
        execution.reconciling, execution.observed_generation = False, execution.generation
        reason = int(pb.CommonReason.INTERNAL)
        self._state.named(execution, "Completed", BAD, internal_error().message, reason=reason)
        self._save(execution, pb.CompletionStatus.EXECUTION_FAILED)

    def _save(self, execution: pb.Execution, status: int | None = None) -> None:
        """Write it, and what the job shows of its latest one."""
        self._state.touched(execution)
        self._state.executions.put(execution.name, execution)
        job = self._state.jobs.find(parent_of(execution.name))
        if job is None or job.latest_created_execution.name != last(execution.name) or status is None:
            return
        job.latest_created_execution.completion_status = status
        if execution.HasField("completion_time"):
            job.latest_created_execution.completion_time.CopyFrom(execution.completion_time)
        self._state.jobs.put(job.name, job)

    def _change(self, task: pb.Task, **counts: int) -> None:
        """Add to the execution's counters."""
        execution = self._state.executions.get(parent_of(task.name))
        for counter, by in counts.items():
            setattr(execution, counter, max(0, getattr(execution, counter) + by))
        self._state.executions.put(execution.name, execution)

    async def _finished(self, name: str) -> pb.Execution:
        """The end of the operation of `jobs.run`."""
        failure = await self.ended(name)
        if failure:
            cancelled = "cancelled" in failure
            raise ApiError(Code.CANCELLED if cancelled else Code.FAILED_PRECONDITION, failure)
        return self._state.executions.get(name)

    async def _unless_cancelled(self, live: _Live, work: Any) -> None:
        waiting = asyncio.ensure_future(work)
        cancelling = asyncio.ensure_future(live.cancelled.wait())
        try:
            await asyncio.wait({waiting, cancelling}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            cancelling.cancel()

    def _new_task(self, execution: pb.Execution, index: int) -> None:
        template = execution.template
        made = pb.Task(
            labels=dict(execution.labels),
            annotations=dict(execution.annotations),
            job=execution.job,
            execution=last(execution.name),
            index=index,
            containers=template.containers,
            volumes=template.volumes,
            max_retries=template.max_retries,
            timeout=template.timeout,
            service_account=template.service_account,
            execution_environment=template.execution_environment,
            encryption_key=template.encryption_key,
            reconciling=True,
            log_uri=execution.log_uri,
            scheduled_time=self._cloud.clock.timestamp(),
        )
        if template.HasField("vpc_access"):
            made.vpc_access.CopyFrom(template.vpc_access)
        self._state.born(made, f"{execution.name}/tasks/{last(execution.name)}-task{index}")
        self._state.named(made, "Completed", WAITING)
        self._state.tasks.put(made.name, made)


def _where(name: str) -> tuple[str, str]:
    parts = name.split("/")
    return parts[1], parts[3]
