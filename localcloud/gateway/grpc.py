"""The gRPC side of every service: one server, generic handlers by method path."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, internal_error, plain
from localcloud.core.invoke import invoke
from localcloud.core.service import Method, Service

# Google's front end takes requests up to 10 MiB on most APIs; clients refuse answers above 4 MiB unless told otherwise.
MAX_REQUEST_BYTES = 10 * 2**20
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
DETAILS = "grpc-status-details-bin"

logger = logging.getLogger(__name__)
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class GrpcGateway(grpc.GenericRpcHandler):
    """Finds the method by its path; `start` and `stop` run the server on a loopback port behind the proxy."""

    def __init__(self, cloud: Cloud, services: Sequence[Service]) -> None:
        self._cloud = cloud
        self._server: grpc.aio.Server | None = None
        self._handlers: dict[str, Handler] = {}
        for service in services:
            for method in service.methods():
                self._handlers.setdefault(f"/{service.grpc}/{method.name}", self._handler(service, method))

    async def start(self) -> int:
        """Serve; returns the port."""
        self._server = grpc.aio.server(handlers=[self], options=OPTIONS)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return int(port)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=0.2)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a method path; what is not there is refused by name."""
        path = handler_call_details.method
        return self._handlers.get(path) or grpc.unary_unary_rpc_method_handler(_refuse(path))

    def _handler(self, service: Service, method: Method) -> Handler:
        async def serve(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
            try:
                request = _parsed(method.request, raw)
                authorization = metadata.get("authorization", "")
                reason = metadata.get("x-goog-request-reason", "")
                answer = await invoke(self._cloud, service, method, request, authorization, reason)
                return answer.SerializeToString()
            except ApiError as error:
                await _abort(context, error)
            except Exception:
                logger.exception("%s.%s failed inside localcloud", service.grpc, method.name)
                await _abort(context, internal_error())
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(serve)


def _parsed(kind: type[Message], raw: bytes) -> Message:
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise plain(Code.INVALID_ARGUMENT) from None


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: ApiError) -> None:
    status = status_pb2.Status(code=error.code.number, message=error.message)
    for detail in error.details:
        status.details.add().Pack(detail)
    context.set_trailing_metadata(((DETAILS, status.SerializeToString()),))
    await context.abort(error.code.grpc, error.message)


def _refuse(path: str) -> Callable[[bytes, grpc.aio.ServicerContext[Any, Any]], Awaitable[bytes]]:
    async def refuse(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        await _abort(context, ApiError(Code.UNIMPLEMENTED, f"localcloud does not model {path}."))
        raise AssertionError("abort raises")

    return refuse
