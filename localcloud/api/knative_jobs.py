"""Cloud Run v1, jobs: `run.googleapis.com/v1` over the state of v2, as gcloud speaks it (shared with api/run_*.py)."""

from __future__ import annotations

from typing import Any

from localcloud.api.knative_bodies import job_message, name_in, run_message
from localcloud.api.knative_runs import execution_object, job_object, task_object
from localcloud.api.knative_scope import RUN, V1, Object, Scope, is_dry_run, listed, require_version
from localcloud.api.messages import run as pb
from localcloud.api.run_executions import Executions
from localcloud.api.run_jobs import Jobs
from localcloud.api.run_names import last
from localcloud.core.cloud import Cloud
from localcloud.core.rest import RestRequest, RestResponse, route
from localcloud.core.state import parent_of

NAMESPACE = "/apis/run.googleapis.com/v1/namespaces/{project}"
OWNER = "projects/{project}"
GONE = {"status": "Success"}


class KnativeJobs(V1):
    """Jobs, their executions and tasks; executions and tasks are named without their parents."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._jobs, self._executions = cloud.shared(Jobs), cloud.shared(Executions)

    @route(f"GET {NAMESPACE}/jobs", resource=OWNER)
    async def list_jobs(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.jobs.list")
        found = [job_object(job, scope) for job in self.state.jobs.under(scope.parent)]
        return listed(found, request, RUN, "Job")

    @route(f"POST {NAMESPACE}/jobs", resource=OWNER)
    async def create_job(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.jobs.create")
        scope.require_region()
        body = request.json()
        job_id = name_in(body, RUN, "Job", scope)
        job = job_message(body, f"{scope.parent}/jobs/{job_id}")
        create = pb.CreateJobRequest(parent=scope.parent, job=job, job_id=job_id, validate_only=is_dry_run(request))
        return self._answered(await self._jobs.create_job(create), request, scope)

    @route(f"GET {NAMESPACE}/jobs/{{name}}", resource=OWNER)
    async def get_job(self, request: RestRequest) -> RestResponse:
        name, scope = self.named(request, "jobs", "run.jobs.get")
        return RestResponse.of(job_object(self.state.jobs.get(name), scope))

    @route(f"PUT {NAMESPACE}/jobs/{{name}}", resource=OWNER)
    async def replace_job(self, request: RestRequest) -> RestResponse:
        name, scope = self.named(request, "jobs", "run.jobs.update")
        before, body = self.state.jobs.get(name), request.json()
        name_in(body, RUN, "Job", scope, expected=last(name))
        require_version(body, before.etag, name)
        update = pb.UpdateJobRequest(job=job_message(body, name), validate_only=is_dry_run(request))
        return self._answered(await self._jobs.update_job(update), request, scope)

    @route(f"DELETE {NAMESPACE}/jobs/{{name}}", resource=OWNER)
    async def delete_job(self, request: RestRequest) -> RestResponse:
        name, _ = self.named(request, "jobs", "run.jobs.delete")
        await self._jobs.delete_job(pb.DeleteJobRequest(name=name, validate_only=is_dry_run(request)))
        return RestResponse.of(GONE)

    @route(f"POST {NAMESPACE}/jobs/{{name}}:run", resource=OWNER)
    async def run_job(self, request: RestRequest) -> RestResponse:
        name, scope = self.named(request, "jobs", "run.jobs.run")
        operation = await self._jobs.run_job(run_message(request.json(), name))
        execution = pb.Execution()
        operation.metadata.Unpack(execution)
        return RestResponse.of(self._shown(execution, scope))

    @route(f"GET {NAMESPACE}/executions", resource=OWNER)
    async def list_executions(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.executions.list")
        newest_first = self.state.executions.under(f"{scope.parent}/jobs/-")[::-1]
        return listed([self._shown(execution, scope) for execution in newest_first], request, RUN, "Execution")

    @route(f"GET {NAMESPACE}/executions/{{name}}", resource=OWNER)
    async def get_execution(self, request: RestRequest) -> RestResponse:
        execution, scope = self._execution(request, "run.executions.get")
        return RestResponse.of(self._shown(execution, scope))

    @route(f"DELETE {NAMESPACE}/executions/{{name}}", resource=OWNER)
    async def delete_execution(self, request: RestRequest) -> RestResponse:
        execution, _ = self._execution(request, "run.executions.delete")
        await self._executions.delete_execution(pb.DeleteExecutionRequest(name=execution.name))
        return RestResponse.of(GONE)

    @route(f"POST {NAMESPACE}/executions/{{name}}:cancel", resource=OWNER)
    async def cancel_execution(self, request: RestRequest) -> RestResponse:
        execution, scope = self._execution(request, "run.executions.cancel")
        await self._executions.cancel_execution(pb.CancelExecutionRequest(name=execution.name))
        return RestResponse.of(self._shown(self.state.executions.get(execution.name), scope))

    @route(f"GET {NAMESPACE}/tasks", resource=OWNER)
    async def list_tasks(self, request: RestRequest) -> RestResponse:
        scope = self.scope(request, "run.tasks.list")
        found = self.state.tasks.under(f"{scope.parent}/jobs/-/executions/-")
        return listed([task_object(task, scope) for task in found], request, RUN, "Task")

    @route(f"GET {NAMESPACE}/tasks/{{name}}", resource=OWNER)
    async def get_task(self, request: RestRequest) -> RestResponse:
        name, scope = self.named(request, "jobs/-/executions/-/tasks", "run.tasks.get")
        found = next((task for task in self.state.tasks.under(parent_of(name)) if last(task.name) == last(name)), None)
        return RestResponse.of(task_object(found or self.state.tasks.get(name), scope))

    def _execution(self, request: RestRequest, permission: str) -> tuple[pb.Execution, Scope]:
        name, scope = self.named(request, "jobs/-/executions", permission)
        found = next((e for e in self.state.executions.under(parent_of(name)) if last(e.name) == last(name)), None)
        return (found or self.state.executions.get(name)), scope

    def _shown(self, execution: pb.Execution, scope: Scope) -> Object:
        return execution_object(execution, self.state.jobs.find(parent_of(execution.name)), scope)

    def _answered(self, operation: Any, request: RestRequest, scope: Scope) -> RestResponse:
        """v1 answers with the object; what v2 calls an operation goes on behind it."""
        job = pb.Job()
        operation.metadata.Unpack(job)
        stored = None if is_dry_run(request) else self.state.jobs.find(job.name)
        return RestResponse.of(job_object(stored or job, scope))
