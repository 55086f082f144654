"""Cloud Run v2, jobs (gcp/behaviour.md, section 1; behaviour-runtime.md, section 3)."""

from __future__ import annotations

from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.longrunning import operations_pb2

from localcloud.api.messages import run as pb
from localcloud.api.run_defaults import fill_job
from localcloud.api.run_executor import Executor
from localcloud.api.run_names import already_exists, last, location_of, require_etag
from localcloud.api.run_overrides import overridden
from localcloud.api.run_state import RunState
from localcloud.api.run_validation import JOB_ID_LIMIT, check_id, check_job, violation
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code
from localcloud.core.service import Service, rpc
from localcloud.runtime.revisions import RevisionFailure, denied_secret, pinned

NAME = "/v2/{name=projects/*/locations/*/jobs/*}"
RESOURCE = "/v2/{resource=projects/*/locations/*/jobs/*}"
RESOURCE_V1 = "/v1/{resource=projects/*/locations/*/jobs/*}"  # gcloud reads and writes policies there
WRITABLE = ["labels", "annotations", "client", "client_version", "launch_stage", "binary_authorization", "template"]
TOKENS = ("start_execution_token", "run_execution_token")


class Jobs(Service):
    """`google.cloud.run.v2.Jobs`: what runs to an end."""

    host = "run.googleapis.com"
    grpc = "google.cloud.run.v2.Jobs"
    title = "Cloud Run Admin API"
    by_project_id = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._state = cloud.shared(RunState)
        self._executor = cloud.shared(Executor)
        for verb in ("run.jobs.create", "run.jobs.update"):
            cloud.operations.register(verb, self._settle, self._state.jobs.find)
        cloud.operations.register("run.jobs.delete", self._finish_deletion, self._state.deleted_jobs.find)

    @rpc("POST /v2/{parent=projects/*/locations/*}/jobs", body="job", permission="run.jobs.create")
    async def create_job(self, request: pb.CreateJobRequest) -> operations_pb2.Operation:
        check_id("CreateJobRequest.job_id", request.job_id, JOB_ID_LIMIT)
        name = f"{request.parent}/jobs/{request.job_id}"
        if request.job.name not in ("", name):
            raise violation("CreateJobRequest.job.name", "must be empty, or that of the parent and job_id.")
        if name in self._state.jobs:
            raise already_exists(request.job_id)
        return await self._create(name, request.job, request.validate_only)

    @rpc(f"GET {NAME}", permission="run.jobs.get")
    async def get_job(self, request: pb.GetJobRequest) -> pb.Job:
        return self._state.jobs.get(request.name)

    @rpc("GET /v2/{parent=projects/*/locations/*}/jobs", permission="run.jobs.list")
    async def list_jobs(self, request: pb.ListJobsRequest) -> pb.ListJobsResponse:
        found = self._state.jobs.under(request.parent)
        if request.show_deleted:
            found += self._state.deleted_jobs.under(request.parent)
        items, token = self._state.page(found, request)
        return pb.ListJobsResponse(jobs=items, next_page_token=token)

    @rpc("PATCH /v2/{job.name=projects/*/locations/*/jobs/*}", body="job", permission="run.jobs.update")
    async def update_job(self, request: pb.UpdateJobRequest) -> operations_pb2.Operation:
        name = request.job.name
        if name not in self._state.jobs and request.allow_missing:
            self._state.require("run.jobs.create", location_of(name))
            check_id("UpdateJobRequest.job.name", last(name), JOB_ID_LIMIT)
            return await self._create(name, request.job, request.validate_only)
        before = self._state.jobs.get(name)
        require_etag(request.job.etag, before.etag, name)
        if before.HasField("delete_time"):
            raise ApiError(Code.FAILED_PRECONDITION, f"Job '{last(name)}' is being deleted.")
        after = pb.Job()
        after.CopyFrom(before)
        _write(request.job, after)
        self._check(before, after)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(name), after, after)
        after.generation += 1
        return await self._put("run.jobs.update", after)

    @rpc(f"DELETE {NAME}", permission="run.jobs.delete")
    async def delete_job(self, request: pb.DeleteJobRequest) -> operations_pb2.Operation:
        job = self._state.jobs.get(request.name)
        require_etag(request.etag, job.etag, request.name)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(request.name), job, job)
        if not job.HasField("delete_time"):
            self._state.deleting(job)
            self._state.jobs.put(job.name, job)
        return self.cloud.operations.start(location_of(job.name), "run.jobs.delete", job.name, job)

    @rpc(f"POST {NAME}:run", body="*", permission="run.jobs.run")
    async def run_job(self, request: pb.RunJobRequest) -> operations_pb2.Operation:
        job = self._state.jobs.get(request.name)
        require_etag(request.etag, job.etag, request.name)
        if job.HasField("delete_time"):
            raise ApiError(Code.FAILED_PRECONDITION, f"Job '{last(job.name)}' is being deleted.")
        if request.HasField("overrides"):
            self._state.require("run.jobs.runWithOverrides", job.name)
        wanted = overridden(job, request.overrides)
        check_job(wanted, last(job.name), self.cloud.simulate)
        if request.validate_only:
            return self.cloud.operations.finished(location_of(job.name), pb.Execution(job=last(job.name)))
        execution = self._executor.new(wanted)
        for token in TOKENS:  # an execution made in another way: the job forgets its token (behaviour-runtime.md)
            job.ClearField(token)
        self._executor.count(job, execution)
        self._state.jobs.put(job.name, job)
        return self._executor.operation(execution)

    @rpc(f"GET {RESOURCE}:getIamPolicy", f"GET {RESOURCE_V1}:getIamPolicy", permission="run.jobs.getIamPolicy")
    async def get_iam_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        return self.cloud.policies.shown(self._state.jobs.get(request.resource).name, request)

    @rpc(
        f"POST {RESOURCE}:setIamPolicy",
        f"POST {RESOURCE_V1}:setIamPolicy",
        body="*",
        permission="run.jobs.setIamPolicy",
    )
    async def set_iam_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        return self.cloud.policies.change(self._state.jobs.get(request.resource).name, request)

    @rpc(f"POST {RESOURCE}:testIamPermissions", f"POST {RESOURCE_V1}:testIamPermissions", body="*")
    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        return self.cloud.policies.tested(request.resource, request)

    async def _create(self, name: str, wanted: pb.Job, validate_only: bool) -> operations_pb2.Operation:
        job = pb.Job()
        _write(wanted, job)
        self._state.born(job, name)
        self._check(pb.Job(name=name), job)
        if validate_only:
            return self.cloud.operations.finished(location_of(name), job, job)
        self._state.deleted_jobs.remove(name)
        return await self._put("run.jobs.create", job)

    def _check(self, before: pb.Job, after: pb.Job) -> None:
        """Defaults, then everything that is refused at once."""
        fill_job(after, self._state.number(after.name))
        check_job(after, last(after.name), self.cloud.simulate)
        if after.template != before.template:
            self._state.require_act_as(after.name, after.template.template.service_account)
        token = after.start_execution_token or after.run_execution_token
        if token:
            self._state.require("run.jobs.run", after.name)
            execution = f"{last(after.name)}-{token}"
            if f"{after.name}/executions/{execution}" in self._state.executions:
                raise already_exists(execution)

    async def _put(self, verb: str, job: pb.Job) -> operations_pb2.Operation:
        self._state.pending(job)
        self._state.touched(job)
        operation = self.cloud.operations.start(location_of(job.name), verb, job.name, job)
        self._state.jobs.put(job.name, job)
        token = job.start_execution_token or job.run_execution_token
        if token and await self._problem(job) is None:
            self._spend(job.name, token)  # now, so that the same token sent again finds it spent
        return operation

    async def _settle(self, name: str) -> pb.Job:
        """The job is judged, and its token's execution made; then it is ready."""
        job = self._state.jobs.get(name)
        problem = await self._problem(job)
        token = job.start_execution_token or job.run_execution_token
        failure = ""
        if problem is None and token:
            execution = self._spend(name, token)
            if job.run_execution_token:
                failure = await self._executor.ended(execution)
            else:
                await self._executor.started(execution)
        job = self._state.jobs.get(name)  # an execution may have written to it meanwhile
        if job.HasField("delete_time"):
            raise ApiError(Code.ABORTED, f"Job '{last(name)}' is being deleted.")
        job.reconciling, job.observed_generation = False, job.generation
        ready, good, bad = job.terminal_condition, pb.State.CONDITION_SUCCEEDED, pb.State.CONDITION_FAILED
        if problem is not None:
            self._state.condition(ready, "Ready", bad, problem.message, **{problem.field: problem.reason})
        else:
            self._state.condition(ready, "Ready", bad if failure else good, failure)
        self._state.jobs.put(name, job)
        if problem is not None or failure:
            code = problem.code if problem is not None else Code.FAILED_PRECONDITION
            raise ApiError(code, problem.message if problem is not None else failure)
        return job

    def _spend(self, name: str, token: str) -> str:
        """Make the token's execution, unless it is there; its name."""
        execution_name = f"{name}/executions/{last(name)}-{token}"
        if execution_name not in self._state.executions:
            job = self._state.jobs.get(name)
            execution = self._executor.new(job, execution_id=last(execution_name))
            self._executor.count(job, execution)
            self._state.jobs.put(name, job)
        return execution_name

    async def _problem(self, job: pb.Job) -> RevisionFailure | None:
        """Why no execution of it could start: image, secrets. Images are pinned to their digests here."""
        if self.cloud.simulate:
            return None
        task = job.template.template
        try:
            images = [pinned(self.cloud, container.image) for container in task.containers]
        except RevisionFailure as failure:
            return failure
        self._state.internal.put(job.name, {"images": images})
        denied = await denied_secret(self.cloud, task, self._state.number(job.name))
        if denied:
            reason = int(pb.CommonReason.SECRETS_ACCESS_CHECK_FAILED)
            return RevisionFailure("reason", reason, f"spec.template.spec.template.{denied}")
        return None

    async def _finish_deletion(self, name: str) -> pb.Job:
        job = self._state.jobs.find(name)
        if job is None:
            return self._state.deleted_jobs.get(name)
        await self._executor.remove_all(name)
        self._state.deleted(job)
        self._state.deleted_jobs.put(name, job)
        self._state.jobs.remove(name)
        self._state.internal.remove(name)
        self.cloud.policies.remove(name)
        return job


def _write(wanted: pb.Job, job: pb.Job) -> None:
    """A PATCH replaces all that a client may write; jobs have no update mask."""
    for field in (*WRITABLE, *TOKENS):
        job.ClearField(field)
    chosen = pb.Job()
    chosen.CopyFrom(wanted)
    for field in pb.Job.DESCRIPTOR.fields_by_name:
        if field not in WRITABLE and field not in TOKENS:
            chosen.ClearField(field)
    job.MergeFrom(chosen)
