"""google.longrunning.Operations, which every API serves under its own host and version (AIP-151)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family, not_modelled, permission_denied, plain
from localcloud.core.identity import current_caller
from localcloud.core.service import Method, Rule, Service

NAMES = ("projects/*/locations/*/operations/*", "operations/*")
MAX_WAIT_S = 120.0
DEFAULT_PAGE = 100


class LongRunning(Service):
    """The operations of one API; over gRPC one instance answers for all, since their ids are unique."""

    grpc = "google.longrunning.Operations"

    def __init__(self, cloud: Cloud, host: str, title: str, errors: Family, versions: Sequence[str]) -> None:
        super().__init__(cloud)
        self.host, self.title, self.errors = host, title, errors  # type: ignore[misc]
        self.versions = versions

    def methods(self) -> list[Method]:
        pb = operations_pb2
        names = [f"/{version}/{{name={name}}}" for version in self.versions for name in NAMES]
        lists = [f"/{version}/{{name=projects/*/locations/*}}/operations" for version in self.versions]
        return [
            Method("GetOperation", _rules("GET", names), pb.GetOperationRequest, pb.Operation, "", self.get),
            Method(
                "ListOperations",
                _rules("GET", lists),
                pb.ListOperationsRequest,
                pb.ListOperationsResponse,
                "",
                self.list,
            ),
            Method(
                "WaitOperation",
                _rules("POST", names, ":wait", "*"),
                pb.WaitOperationRequest,
                pb.Operation,
                "",
                self.wait,
            ),
            Method("DeleteOperation", _rules("DELETE", names), pb.DeleteOperationRequest, Empty, "", self.delete),
            Method(
                "CancelOperation",
                _rules("POST", names, ":cancel", "*"),
                pb.CancelOperationRequest,
                Empty,
                "",
                self.cancel,
            ),
        ]

    async def get(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        self._may("get", request.name)
        return self.cloud.operations.get(request.name)

    async def list(self, request: operations_pb2.ListOperationsRequest) -> operations_pb2.ListOperationsResponse:
        """`filter` knows `done=true` and `done=false`."""
        self._may("list", request.name)
        found = self.cloud.operations.under(request.name)
        wanted = re.fullmatch(r"\s*done\s*[=:]\s*(true|false)\s*", request.filter)
        if wanted:
            found = [operation for operation in found if operation.done == (wanted.group(1) == "true")]
        elif request.filter.strip():
            raise not_modelled(f"the operations filter {request.filter!r}")
        start = int(request.page_token or 0) if (request.page_token or "0").isdigit() else 0
        end = start + (request.page_size or DEFAULT_PAGE)
        token = str(end) if end < len(found) else ""
        return operations_pb2.ListOperationsResponse(operations=found[start:end], next_page_token=token)

    async def wait(self, request: operations_pb2.WaitOperationRequest) -> operations_pb2.Operation:
        """Done, or as it is when the time is over; Google may return earlier too."""
        self._may("get", request.name)
        seconds = request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else MAX_WAIT_S
        return await self.cloud.operations.wait(request.name, min(seconds, MAX_WAIT_S))

    async def delete(self, request: operations_pb2.DeleteOperationRequest) -> Empty:
        """Forgets a finished operation."""
        self._may("delete", request.name)
        if not self.cloud.operations.get(request.name).done:
            raise ApiError(Code.FAILED_PRECONDITION, f"Operation '{request.name}' is still running.")
        self.cloud.operations.forget(request.name)
        return Empty()

    async def cancel(self, request: operations_pb2.CancelOperationRequest) -> Empty:
        self.cloud.operations.get(request.name)
        raise plain(Code.UNIMPLEMENTED)

    def _may(self, verb: str, name: str) -> None:
        """Operations below a project need a permission; `operations/X` is known to who started it only."""
        api = self.cloud.operations.api(name) or self.host.partition(".")[0]
        permission = f"{api}.operations.{verb}"
        if name.startswith("projects/") and not self.cloud.policies.allows(current_caller.get(), permission, name):
            raise permission_denied(permission, name)


def _rules(verb: str, paths: Sequence[str], suffix: str = "", body: str = "") -> tuple[Rule, ...]:
    return tuple(Rule(verb, path + suffix, body) for path in paths)


def for_services(cloud: Cloud, services: Sequence[Service]) -> list[LongRunning]:
    """One for each host, under the versions that its services are served under."""
    made = []
    for host in dict.fromkeys(service.host for service in services):
        of_host = [service for service in services if service.host == host]
        paths = [rule.path for service in of_host for method in service.methods() for rule in method.rules]
        found = [re.match(r"/(v\d\w*)/", path) for path in paths]
        versions = sorted({match.group(1) for match in found if match})
        made.append(LongRunning(cloud, host, of_host[0].title, of_host[0].errors, versions))
    return made
