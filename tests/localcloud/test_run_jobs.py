"""Cloud Run jobs that really run, through Google's own client."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import run_v2
from google.iam.v1 import policy_pb2
from run_support import PARENT, build_app, env, eventually, finished, log_texts, until

from localcloud.api.run_executor import INTERRUPTED
from localcloud.localcloud import LocalCloud, Options

JOB = f"{PARENT}/jobs/work"


class Jobs:
    """Makes and runs jobs of the test image."""

    def __init__(self, clients: Any, image: str) -> None:
        self.client = clients(run_v2.JobsAsyncClient)
        self.executions = clients(run_v2.ExecutionsAsyncClient)
        self.tasks = clients(run_v2.TasksAsyncClient)
        self.image = image

    def job(self, *, retries: int = 0, tasks: int = 1, seconds: int = 60, name: str = "", **values: str) -> run_v2.Job:
        token = values.pop("start_execution_token", "")
        task = run_v2.TaskTemplate(
            containers=[run_v2.Container(image=self.image, env=env(**values))],
            max_retries=retries,
            timeout={"seconds": seconds},
        )
        template = run_v2.ExecutionTemplate(template=task, task_count=tasks, labels={"release": "r1"})
        return run_v2.Job(name=name, template=template, start_execution_token=token)

    async def create(self, **values: Any) -> run_v2.Job:
        return await finished(await self.client.create_job(parent=PARENT, job=self.job(**values), job_id="work"))

    async def run(self, **overrides: Any) -> run_v2.Execution:
        """The execution in the end, failed or not."""
        request = run_v2.RunJobRequest(name=JOB, **({"overrides": overrides} if overrides else {}))
        try:
            return await finished(await self.client.run_job(request))
        except exceptions.GoogleAPICallError as error:
            self.error = str(error)
            return (await self.client.get_job(name=JOB)) and await self.latest()

    async def latest(self) -> run_v2.Execution:
        return await anext(aiter(await self.executions.list_executions(parent=JOB)))

    async def task(self, execution: run_v2.Execution, index: int = 0) -> run_v2.Task:
        return await self.tasks.get_task(name=f"{execution.name}/tasks/{execution.name.rsplit('/', 1)[-1]}-task{index}")


@pytest.fixture
async def jobs(cloud: LocalCloud, clients: Any, tmp_path: Path) -> Jobs:
    return Jobs(clients, await build_app(cloud, tmp_path))


def completed(execution: run_v2.Execution) -> run_v2.Condition:
    return next(c for c in execution.conditions if c.type_ == "Completed")


async def test_an_execution_succeeds_and_is_counted(cloud: LocalCloud, jobs: Jobs) -> None:
    """Each task runs with its index; labels are the template's; the job shows the run."""
    made = await jobs.create(tasks=3)
    assert made.terminal_condition.state.name == "CONDITION_SUCCEEDED"
    execution = await jobs.run()
    assert (execution.succeeded_count, execution.failed_count, execution.running_count) == (3, 0, 0)
    assert dict(execution.labels) == {"release": "r1"}
    assert completed(execution).state.name == "CONDITION_SUCCEEDED"
    job = await jobs.client.get_job(name=JOB)
    assert job.execution_count == 1
    assert job.latest_created_execution.completion_status.name == "EXECUTION_SUCCEEDED"
    lines = [e for e in cloud.runtime.logs.entries() if e.get("jsonPayload", {}).get("k") == 1]
    assert {e["jsonPayload"]["message"] for e in lines} == {"task 0", "task 1", "task 2"}
    assert {e["severity"] for e in lines} == {"NOTICE"}
    assert {e["labels"]["run.googleapis.com/task_index"] for e in lines} == {"0", "1", "2"}
    assert "Container called exit(0)." in log_texts(cloud)


async def test_each_instance_says_that_it_runs_on_another_python(cloud: LocalCloud, jobs: Jobs, tmp_path: Path) -> None:
    """Once, at its start, where the image's own was not to be had; else nothing."""
    for number, (python, count) in enumerate((("3", 0), ("3.12.99", 2))):
        jobs.image = await build_app(cloud, tmp_path, f"python-{number}", python=python)
        await finished(await jobs.client.create_job(parent=PARENT, job=jobs.job(tasks=2), job_id=f"work-{number}"))
        await finished(await jobs.client.run_job(name=f"{JOB}-{number}"))
        said = [e for e in cloud.runtime.logs.entries() if "asks for 3.12.99" in e.get("textPayload", "")]
        assert len({e["labels"]["instanceId"] for e in said}) == len(said) == count
    assert {e["severity"] for e in said} == {"NOTICE"}
    assert said[0]["textPayload"].startswith(f"localcloud: this instance runs on Python {platform.python_version()}, ")


async def test_a_failing_task_shows_its_exit_code(jobs: Jobs) -> None:
    """Exit code 3 without retries: the execution fails with Google's sentence, the task holds the code."""
    await jobs.create(EXIT="3")
    execution = await jobs.run()
    name = execution.name.rsplit("/", 1)[-1]
    assert f"Task {name}-task0 failed with message: The container exited with an error." in jobs.error
    assert completed(execution).execution_reason.name == "NON_ZERO_EXIT_CODE"
    task = await jobs.task(execution)
    assert task.last_attempt_result.exit_code == 3
    assert execution.failed_count == 1


async def test_a_task_is_retried(jobs: Jobs) -> None:
    """The second attempt knows that it is one."""
    await jobs.create(retries=2, MODE="flaky")
    execution = await jobs.run()
    assert (execution.succeeded_count, execution.retried_count) == (1, 1)
    assert (await jobs.task(execution)).retried == 1


async def test_a_command_that_is_not_there_is_no_task_that_exits(cloud: LocalCloud, jobs: Jobs) -> None:
    """Google looks for the program before it starts anything, and says so in a line of its own."""
    job = jobs.job()
    job.template.template.containers[0].command = ["pyhton"]
    await finished(await jobs.client.create_job(parent=PARENT, job=job, job_id="work"))
    execution = await jobs.run()
    assert (execution.failed_count, "Application failed to start: " in jobs.error) == (1, True)
    said = log_texts(cloud)
    assert [text for text in said if "Application failed to start: " in text and "pyhton" in text]
    assert not [text for text in said if text.startswith("Container called exit")]


async def test_a_task_over_its_timeout_fails(jobs: Jobs) -> None:
    """After the timeout the attempt ends, without an exit code."""
    await jobs.create(seconds=1, MODE="sleep")
    execution = await jobs.run()
    assert "The configured timeout was reached." in jobs.error
    assert (await jobs.task(execution)).last_attempt_result.exit_code == 0


async def test_an_execution_is_cancelled(jobs: Jobs) -> None:
    """Cancelling ends the running task; it counts as cancelled, not as failed."""
    await jobs.create(MODE="sleep")
    operation = await jobs.client.run_job(name=JOB)
    execution = operation.metadata
    await until_running(jobs, execution.name)
    await finished(await jobs.executions.cancel_execution(name=execution.name))
    after = await jobs.executions.get_execution(name=execution.name)
    assert (after.cancelled_count, after.failed_count) == (1, 0)
    assert completed(after).execution_reason.name == "CANCELLED"


async def until_running(jobs: Jobs, name: str) -> None:
    async def runs() -> bool:
        return (await jobs.executions.get_execution(name=name)).running_count > 0

    await eventually(runs)


async def test_overrides_need_their_permission(cloud: LocalCloud, clients: Any, jobs: Jobs) -> None:
    """run.invoker may run a job as it is, not with other variables."""
    await jobs.create()
    policy = policy_pb2.Policy()
    policy.bindings.add(role="roles/run.invoker", members=["user:ann@example.com"])
    cloud.core.policies.set(JOB, policy)
    ann = clients(run_v2.JobsAsyncClient, cloud.core.tokens.issue("ann@example.com"))
    override = {"container_overrides": [{"env": env(EXIT="4")}]}
    with pytest.raises(exceptions.PermissionDenied, match=r"run\.jobs\.runWithOverrides"):
        await ann.run_job(run_v2.RunJobRequest(name=JOB, overrides=override))
    await ann.run_job(run_v2.RunJobRequest(name=JOB))
    execution = await jobs.run(**override)
    assert (await jobs.task(execution)).last_attempt_result.exit_code == 4


async def test_a_start_token_starts_once(jobs: Jobs) -> None:
    """The execution is named by the token; the same token again answers "already exists"."""
    made = await jobs.create(start_execution_token="r1")
    assert made.terminal_condition.state.name == "CONDITION_SUCCEEDED"
    execution = await jobs.executions.get_execution(name=f"{JOB}/executions/work-r1")
    assert execution.job == "work"
    assert (await jobs.client.get_job(name=JOB)).start_execution_token == "r1"
    again = jobs.job(name=JOB, start_execution_token="r1")
    with pytest.raises(exceptions.AlreadyExists, match="Resource 'work-r1' already exists"):
        await jobs.client.update_job(job=again)
    await jobs.run()
    assert not (await jobs.client.get_job(name=JOB)).start_execution_token


async def test_a_deleted_job_takes_its_executions_along(jobs: Jobs) -> None:
    """Nothing of it is left."""
    await jobs.create(MODE="sleep")
    operation = await jobs.client.run_job(name=JOB)
    await until_running(jobs, operation.metadata.name)
    gone = await finished(await jobs.client.delete_job(name=JOB))
    assert gone.delete_time
    with pytest.raises(exceptions.NotFound, match="of kind 'JOB'"):
        await jobs.client.get_job(name=JOB)
    with pytest.raises(exceptions.NotFound):
        await jobs.executions.get_execution(name=operation.metadata.name)


async def test_an_unknown_image_fails_the_job(jobs: Jobs) -> None:
    """Known when the job is made, not first when it runs."""
    jobs.image = "europe-west1-docker.pkg.dev/demo/apps/none:v1"
    with pytest.raises(exceptions.GoogleAPICallError, match=r"Image '.*none:v1' not found"):
        await jobs.create()


@pytest.mark.parametrize("is_killed", [False, True])
async def test_an_interrupted_execution_fails_without_retries(tmp_path: Path, is_killed: bool) -> None:
    """When localcloud is stopped under a running task, the next start finds the attempt failed, and says why."""
    folder, name = tmp_path / "cloud", ""
    async with LocalCloud(Options(dir=folder, speed=1000)) as cloud:
        image = await build_app(cloud, tmp_path)
        service = {type(s).__name__: s for s in cloud.services}["Jobs"]
        made = Jobs(lambda *_: None, image).job(MODE="sleep")
        await service.create_job(
            run_v2.CreateJobRequest.pb(run_v2.CreateJobRequest(parent=PARENT, job=made, job_id="work"))
        )
        await until(lambda: not cloud.core.operations.pending(JOB))
        operation = await service.run_job(run_v2.RunJobRequest.pb()(name=JOB))
        execution = run_v2.Execution.pb()()
        operation.metadata.Unpack(execution)
        name = execution.name
        read = service._state.executions.get
        await until(lambda: read(name).running_count == 1)
        if is_killed:
            folder = _as_if_killed_now(folder, tmp_path / "killed")
    async with LocalCloud(Options(dir=folder, speed=1000)) as cloud:
        state = {type(s).__name__: s for s in cloud.services}["Executions"]._state
        read = state.executions.get
        await until(lambda: read(name).HasField("completion_time"))
        assert (read(name).failed_count, read(name).running_count) == (1, 0)
        (task,) = state.tasks.under(name)
        result = task.last_attempt_result
        assert (result.status.message, result.term_signal, result.exit_code) == (INTERRUPTED.message, 0, 0)
        said = [e for e in cloud.runtime.logs.entries() if e.get("textPayload", "").startswith("localcloud: stopped")]
        assert [e["labels"]["run.googleapis.com/execution_name"] for e in said] == [name.rsplit("/", 1)[-1]]
        assert "Task #0, Attempt #0 failed: localcloud was stopped while it ran." in log_texts(cloud)


def _as_if_killed_now(folder: Path, other: Path) -> Path:
    """A folder with the state that a localcloud that ends here without another word leaves behind."""
    other.mkdir()
    for file in folder.glob("state.db*"):
        shutil.copy(file, other)
    return other
