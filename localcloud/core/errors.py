"""Google's errors: one exception, rendered by the gateway as its family asks (gcp/behaviour.md, section 0)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2


class Family(enum.Enum):
    """How a service writes its errors over REST."""

    ONE_PLATFORM = "A"  # code, message, status, details
    LEGACY = "B"  # code, message, errors[]
    MIXED = "C"  # all of them


class Code(enum.Enum):
    """Canonical codes with their HTTP status."""

    INVALID_ARGUMENT = 400
    FAILED_PRECONDITION = 4001
    OUT_OF_RANGE = 4002
    UNAUTHENTICATED = 401
    PERMISSION_DENIED = 403
    NOT_FOUND = 404
    ALREADY_EXISTS = 409
    ABORTED = 4091
    CONDITION_NOT_MET = 412  # families B only; FAILED_PRECONDITION over gRPC
    RESOURCE_EXHAUSTED = 429
    CANCELLED = 499
    INTERNAL = 500
    UNIMPLEMENTED = 501
    UNAVAILABLE = 503
    DEADLINE_EXCEEDED = 504

    @property
    def http(self) -> int:
        return self.value if self.value < 1000 else self.value // 10

    @property
    def status(self) -> str:
        """The canonical name that REST bodies carry."""
        return "FAILED_PRECONDITION" if self is Code.CONDITION_NOT_MET else self.name

    @property
    def grpc(self) -> grpc.StatusCode:
        return grpc.StatusCode[self.status]

    @property
    def number(self) -> int:
        """The number in google.rpc.Status."""
        return int(self.grpc.value[0])


@dataclass
class ApiError(Exception):
    """An answer that is an error; `reason` is the legacy families' word for it."""

    code: Code
    message: str
    reason: str = ""
    details: tuple[Message, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)  # Retry-After, say

    def __str__(self) -> str:
        return self.message

    @property
    def legacy_reason(self) -> str:
        return self.reason or LEGACY_REASONS[self.code]


LEGACY_REASONS: dict[Code, str] = {
    Code.INVALID_ARGUMENT: "badRequest",
    Code.FAILED_PRECONDITION: "failedPrecondition",
    Code.OUT_OF_RANGE: "outOfRange",
    Code.UNAUTHENTICATED: "authError",
    Code.PERMISSION_DENIED: "forbidden",
    Code.NOT_FOUND: "notFound",
    Code.ALREADY_EXISTS: "alreadyExists",
    Code.ABORTED: "aborted",
    Code.CONDITION_NOT_MET: "conditionNotMet",
    Code.RESOURCE_EXHAUSTED: "rateLimitExceeded",
    Code.CANCELLED: "cancelled",
    Code.INTERNAL: "backendError",
    Code.UNIMPLEMENTED: "notImplemented",
    Code.UNAVAILABLE: "backendError",
    Code.DEADLINE_EXCEEDED: "deadlineExceeded",
}

# What Google's services say where they have nothing particular to say.
PLAIN_MESSAGES: dict[Code, str] = {
    Code.INVALID_ARGUMENT: "Request contains an invalid argument.",
    Code.FAILED_PRECONDITION: "Precondition check failed.",
    Code.OUT_OF_RANGE: "Out of range.",
    Code.UNAUTHENTICATED: "Request had invalid authentication credentials.",
    Code.PERMISSION_DENIED: "The caller does not have permission",
    Code.NOT_FOUND: "Requested entity was not found.",
    Code.ALREADY_EXISTS: "Requested entity already exists",
    Code.ABORTED: "The operation was aborted.",
    Code.CONDITION_NOT_MET: "Precondition Failed",
    Code.RESOURCE_EXHAUSTED: "Resource has been exhausted (e.g. check quota).",
    Code.CANCELLED: "The operation was cancelled.",
    Code.INTERNAL: "Internal error encountered.",
    Code.UNIMPLEMENTED: "Operation is not implemented, or supported, or enabled.",
    Code.UNAVAILABLE: "The service is currently unavailable.",
    Code.DEADLINE_EXCEEDED: "Deadline expired before operation could complete.",
}


def plain(code: Code, *details: Message) -> ApiError:
    """An error with the message that a code comes with."""
    return ApiError(code, PLAIN_MESSAGES[code], details=details)


def error_info(reason: str, domain: str, metadata: Mapping[str, str]) -> error_details_pb2.ErrorInfo:
    """The detail that newer clients branch on (AIP-193)."""
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=dict(metadata))


def permission_denied(permission: str, resource: str) -> ApiError:
    """The usual denial; it does not tell whether the resource exists (behaviour-runtime.md, section 2)."""
    info = error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", {"permission": permission, "resource": resource})
    return ApiError(
        Code.PERMISSION_DENIED,
        f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
        details=(info,),
    )


def internal_error() -> ApiError:
    """What a fault of localcloud's own looks like, which the log tells in full."""
    return plain(Code.INTERNAL)


def not_modelled(what: str) -> ApiError:
    """What localcloud does not do is refused by name, never swallowed."""
    return ApiError(Code.UNIMPLEMENTED, f"localcloud does not model {what}.")
