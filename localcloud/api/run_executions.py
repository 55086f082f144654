"""Cloud Run v2, executions and their tasks (gcp/behaviour.md, section 1; behaviour-runtime.md, section 3)."""

from __future__ import annotations

from google.longrunning import operations_pb2

from localcloud.api.messages import run as pb
from localcloud.api.run_executor import Executor
from localcloud.api.run_names import last, location_of, require_etag
from localcloud.api.run_state import RunState
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code
from localcloud.core.service import Service, rpc

PARENT = "projects/*/locations/*/jobs/*"
NAME = f"/v2/{{name={PARENT}/executions/*}}"


class Executions(Service):
    """`google.cloud.run.v2.Executions`: runs of jobs."""

    host = "run.googleapis.com"
    grpc = "google.cloud.run.v2.Executions"
    title = "Cloud Run Admin API"
    by_project_id = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._state, self._executor = cloud.shared(RunState), cloud.shared(Executor)
        self._gone: dict[str, pb.Execution] = {}
        cloud.operations.register("run.executions.delete", self._finish_deletion, self._left)
        cloud.operations.register("run.executions.cancel", self._finish_cancelling, self._state.executions.find)

    @rpc(f"GET {NAME}", permission="run.executions.get")
    async def get_execution(self, request: pb.GetExecutionRequest) -> pb.Execution:
        return self._state.executions.get(request.name)

    @rpc(f"GET /v2/{{parent={PARENT}}}/executions", permission="run.executions.list")
    async def list_executions(self, request: pb.ListExecutionsRequest) -> pb.ListExecutionsResponse:
        newest_first = self._state.executions.under(request.parent)[::-1]
        items, token = self._state.page(newest_first, request)
        return pb.ListExecutionsResponse(executions=items, next_page_token=token)

    @rpc(f"DELETE {NAME}", permission="run.executions.delete")
    async def delete_execution(self, request: pb.DeleteExecutionRequest) -> operations_pb2.Operation:
        execution = self._state.executions.get(request.name)
        require_etag(request.etag, execution.etag, request.name)
        parent = location_of(request.name)
        if request.validate_only:
            return self.cloud.operations.finished(parent, execution, execution)
        now = self.cloud.clock.timestamp()
        execution.generation += 1
        execution.delete_time.CopyFrom(now)
        execution.expire_time.CopyFrom(now)
        execution.reconciling = True
        self._state.touched(execution)
        self._state.executions.put(execution.name, execution)
        return self.cloud.operations.start(parent, "run.executions.delete", execution.name, execution)

    @rpc(f"POST {NAME}:cancel", body="*", permission="run.executions.cancel")
    async def cancel_execution(self, request: pb.CancelExecutionRequest) -> operations_pb2.Operation:
        execution = self._state.executions.get(request.name)
        require_etag(request.etag, execution.etag, request.name)
        parent = location_of(request.name)
        if request.validate_only:
            return self.cloud.operations.finished(parent, execution, execution)
        if execution.HasField("completion_time"):
            raise ApiError(
                Code.FAILED_PRECONDITION, f"Execution '{last(request.name)}' has completed and cannot be cancelled."
            )
        self._executor.cancel(request.name)
        execution = self._state.executions.get(request.name)
        return self.cloud.operations.start(parent, "run.executions.cancel", execution.name, execution)

    async def resume(self) -> None:
        self._executor.resume()

    async def _finish_cancelling(self, name: str) -> pb.Execution:
        await self._executor.ended(name)
        return self._state.executions.get(name)

    async def _finish_deletion(self, name: str) -> pb.Execution:
        self._executor.cancel(name)
        await self._executor.ended(name)
        execution = self._state.executions.get(name)
        execution.reconciling, execution.observed_generation = False, execution.generation
        await self._executor.remove(name)
        self._gone[name] = execution
        return execution

    def _left(self, name: str) -> pb.Execution | None:
        return self._gone.pop(name, None)


class Tasks(Service):
    """`google.cloud.run.v2.Tasks`: the parts of an execution, read only."""

    host = "run.googleapis.com"
    grpc = "google.cloud.run.v2.Tasks"
    title = "Cloud Run Admin API"
    by_project_id = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._state = cloud.shared(RunState)

    @rpc(f"GET /v2/{{name={PARENT}/executions/*/tasks/*}}", permission="run.tasks.get")
    async def get_task(self, request: pb.GetTaskRequest) -> pb.Task:
        return self._state.tasks.get(request.name)

    @rpc(f"GET /v2/{{parent={PARENT}/executions/*}}/tasks", permission="run.tasks.list")
    async def list_tasks(self, request: pb.ListTasksRequest) -> pb.ListTasksResponse:
        items, token = self._state.page(self._state.tasks.under(request.parent), request)
        return pb.ListTasksResponse(tasks=items, next_page_token=token)
