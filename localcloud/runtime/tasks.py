"""Job tasks that really run: one attempt is one instance, run to its end (gcp/behaviour-runtime.md, section 3)."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.runtime.background import Background
from localcloud.runtime.instances import Instances
from localcloud.runtime.processes import STOP_GRACE_S
from localcloud.runtime.workload import StartAborted, Workload

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

EXITED_WITH_ERROR = "The container exited with an error."
TIMED_OUT = "The configured timeout was reached."


@dataclass(frozen=True)
class Attempt:
    """How one attempt ended; a signal and an exit code exclude each other."""

    exit_code: int = 0
    term_signal: int = 0
    message: str = ""  # "" where it succeeded

    @property
    def succeeded(self) -> bool:
        return not self.message


class Tasks:
    """Runs attempts of tasks."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._instances: Instances | None = None
        self.background = Background()

    @property
    def instances(self) -> Instances:
        """Made late, when the runtime that it uses is complete."""
        if self._instances is None:
            self._instances = Instances(self._cloud, "tasks")
        return self._instances

    async def attempt(self, workload: Workload, timeout_s: float, cancelled: asyncio.Event) -> Attempt:
        """Run to the end, the timeout (wall-clock: real work needs its real time) or the cancellation."""
        try:
            instance = await self.instances.start(workload)
        except StartAborted as error:
            return Attempt(exit_code=1, message=str(error))
        exiting = asyncio.create_task(instance.exited())
        cancelling = asyncio.create_task(cancelled.wait())
        try:
            await asyncio.wait({exiting, cancelling}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if exiting.done():
                return _of(exiting.result())
            timed_out = not cancelling.done()
            if timed_out:
                instance.log(
                    f"Terminating task because it has reached the maximum timeout of {timeout_s:g} seconds. To change "
                    "this limit, see https://cloud.google.com/run/docs/configuring/task-timeout",
                    "ERROR",
                )
            code = await instance.stop(STOP_GRACE_S)
            if timed_out:
                return Attempt(message=TIMED_OUT)  # the exit code is unset then (behaviour-runtime.md)
            return Attempt(max(code, 0), max(-code, 0) or signal.SIGTERM, "The execution was cancelled.")
        except StartAborted as error:
            return Attempt(exit_code=1, message=str(error))
        finally:
            for waiting in (exiting, cancelling):
                waiting.cancel()
            await asyncio.shield(instance.stop())

    async def close(self) -> None:
        """End what runs; it counts as interrupted, and is taken up again by the next start."""
        await self.background.close()


class SimulatedTasks:
    """Every attempt succeeds at once; the execution's own time is the operation's."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.background = Background()

    async def attempt(self, workload: Workload, timeout_s: float, cancelled: asyncio.Event) -> Attempt:
        return Attempt()

    async def close(self) -> None:
        await self.background.close()


def _of(code: int) -> Attempt:
    if code == 0:
        return Attempt()
    return Attempt(max(code, 0), max(-code, 0), EXITED_WITH_ERROR)


def task_workload(cloud: Cloud, task: Any, attempt: int, task_count: int, images: list[str]) -> Workload:
    """What an attempt of a task (pb Task) runs; `images`: the job's, pinned by digest when it was deployed."""
    parts = task.name.split("/")
    project, region, job, execution = cloud.projects.get(parts[1]), parts[3], parts[5], parts[7]
    container = task.containers[0]
    return Workload(
        project=project.id,
        number=project.number,
        region=region,
        account=task.service_account,
        image=images[0] if images else container.image,
        container=container,
        volumes=tuple(task.volumes),
        environment={
            "CLOUD_RUN_JOB": job,
            "CLOUD_RUN_EXECUTION": execution,
            "CLOUD_RUN_TASK_INDEX": str(task.index),
            "CLOUD_RUN_TASK_ATTEMPT": str(attempt),
            "CLOUD_RUN_TASK_COUNT": str(task_count),
        },
        name=f"{parts[9]} attempt {attempt}",
        resource_type="cloud_run_job",
        resource_labels={"project_id": project.id, "location": region, "job_name": job},
        entry_labels={
            "container_name": container.name or f"{job}-1",
            "run.googleapis.com/execution_name": execution,
            "run.googleapis.com/task_index": str(task.index),
            "run.googleapis.com/task_attempt": str(attempt),
        },
    )
