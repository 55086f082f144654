"""How far an operation is that an earlier pass started, whichever API it belongs to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from google.longrunning import operations_pb2

from nuages.cloud.call import Call
from nuages.cloud.clients import Clients
from nuages.cloud.driver import Operation
from nuages.cloud.errors import Invalid, of_operation
from nuages.cloud.sql import as_operation


class Operations:
    def __init__(self, clients: Clients, call: Call) -> None:
        self._clients, self._call = clients, call

    async def poll(self, operation: Operation) -> Operation:
        """The same operation as it is now. Raises NotFound once Google has forgotten it, and CloudError."""
        match operation.service:
            case "run":
                method: Callable[..., Awaitable[Any]] = self._clients.services.get_operation
            case "serviceusage":
                method = self._clients.service_usage.get_operation
            case "sql":
                return await self._poll_sql(operation)
            case _:
                raise Invalid(f"{operation.service} has no operations that are known here")
        request = operations_pb2.GetOperationRequest(name=operation.name)
        found = await self._call(method, request)
        return replace(operation, done=found.done, error=of_operation(found.error.code, found.error.message))

    async def _poll_sql(self, operation: Operation) -> Operation:
        parts = operation.name.split("/")
        found = await self._call(self._clients.sql_operations.get, {"project": parts[1], "operation": parts[3]})
        return as_operation(found, operation.resource)
