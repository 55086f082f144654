# ruff: noqa: E501 - one case a line
"""How failures of Google's libraries are classified: one table for the whole operator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import requests
from google.api_core import exceptions as google
from google.auth import exceptions as auth
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details

from nuages.cloud import errors
from nuages.cloud.errors import CloudError, classify

DENIED = details.ErrorInfo(reason="IAM_PERMISSION_DENIED", metadata={"permission": "run.services.create"})
DISABLED = details.ErrorInfo(reason="SERVICE_DISABLED", metadata={"service": "run.googleapis.com"})
NOT_USED = (
    "Cloud Run Admin API has not been used in project 1 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/run.googleapis.com/overview?project=1 then retry."
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (google.ServiceUnavailable("x"), errors.Transient),
        (google.InternalServerError("x"), errors.Transient),
        (google.BadGateway("x"), errors.Transient),
        (google.GatewayTimeout("x"), errors.Transient),
        (google.DeadlineExceeded("x"), errors.Transient),
        (google.Unknown("x"), errors.Transient),
        (google.Cancelled("x"), errors.Transient),
        (google.TooManyRequests("x"), errors.Transient),
        (google.ResourceExhausted("Quota exceeded for quota metric 'Write requests'"), errors.Transient),
        (google.ResourceExhausted("Maximum number of service accounts on project reached."), errors.QuotaExceeded),
        (google.RetryError("x", cause=None), errors.Transient),
        (TimeoutError(), errors.Transient),
        (ConnectionResetError("x"), errors.Transient),
        (requests.ConnectionError("x"), errors.Transient),
        (auth.TransportError("x"), errors.Transient),
        (ValueError("nobody thought of it"), errors.Transient),
        (google.Conflict("x"), errors.Conflict),
        (google.AlreadyExists("x"), errors.Conflict),
        (google.Aborted("There were concurrent policy changes."), errors.Conflict),
        (google.PreconditionFailed("x"), errors.Conflict),
        (google.FailedPrecondition("The etag does not match."), errors.Conflict),
        (google.NotFound("x"), errors.NotFound),
        (google.NotFound("Unknown service account"), errors.Propagating),
        (google.BadRequest("Service account a@p.iam.gserviceaccount.com does not exist."), errors.Propagating),
        (google.InvalidArgument("x"), errors.Invalid),
        (google.BadRequest("x"), errors.Invalid),
        (google.OutOfRange("x"), errors.Invalid),
        (google.FailedPrecondition("x"), errors.Invalid),
        (google.MethodNotImplemented("x"), errors.Invalid),
        (google.Forbidden("x"), errors.PermissionDenied),
        (google.PermissionDenied("x", errors=(), details=[DENIED]), errors.PermissionDenied),
        (google.PermissionDenied("x", errors=(), details=[DISABLED]), errors.ApiDisabled),
        (google.Forbidden(NOT_USED), errors.ApiDisabled),
        (auth.RefreshError("impersonation is refused"), errors.PermissionDenied),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_has_its_class(error: Exception, kind: type[CloudError]) -> None:
    """And keeps Google's words."""
    found = classify(error)
    assert type(found) is kind
    assert str(error.args[0] if error.args else "") in f"{found.cause}{found}"


def _subclasses(kind: type[Any]) -> set[type[Any]]:
    return {kind} | {deeper for one in kind.__subclasses__() for deeper in _subclasses(one)}


@pytest.mark.parametrize("kind", sorted(_subclasses(google.GoogleAPICallError), key=str))
def test_every_exception_of_googles_library_is_classified(kind: type[google.GoogleAPICallError]) -> None:
    """A client error that only a changed request mends is never tried for ever; a new class shows here."""
    found = classify(kind("x"))
    code = getattr(kind, "code", None)
    healing = {401, 408, 409, 412, 429, 499}  # 401: the next token is fresh
    if code is not None and 400 <= int(code) < 500 and int(code) not in healing and kind not in UNKNOWN_CLIENT_ERRORS:
        assert not isinstance(found, errors.Transient), kind


# Raised for codes that these APIs do not answer with; what is unknown is tried again, and counted.
UNKNOWN_CLIENT_ERRORS = {
    google.ClientError,
    google.LengthRequired,
    google.MethodNotAllowed,
    google.RequestRangeNotSatisfiable,
}


@pytest.mark.parametrize(
    ("error", "permission"),
    [
        (google.PermissionDenied("x", errors=(), details=[DENIED]), "run.services.create"),
        (google.Forbidden("Permission 'iam.serviceAccounts.actAs' denied on service account x"), "iam.serviceAccounts.actAs"),
        (google.Forbidden('Permission "secretmanager.versions.access" denied'), "secretmanager.versions.access"),
    ],
)  # fmt: skip
def test_a_denial_names_the_permission(error: Exception, permission: str) -> None:
    """Where Google does."""
    found = classify(error)
    assert isinstance(found, errors.PermissionDenied)
    assert found.permission == permission


@pytest.mark.parametrize(
    ("error", "constraint"),
    [
        (google.BadRequest("Invalid request: Organization Policy check failure: the external IP of this instance violates the constraints/sql.restrictPublicIp enforced at the 1234 project."), "sql.restrictPublicIp"),
        (google.PreconditionFailed("Request violates constraint 'constraints/storage.uniformBucketLevelAccess'"), "storage.uniformBucketLevelAccess"),
        (google.FailedPrecondition('Constraint constraints/run.allowedIngress violated for attempting CreateService with annotation "run.googleapis.com/ingress" set to the default value all.'), "run.allowedIngress"),
        (google.FailedPrecondition('Operation denied by custom org policies: ["customConstraints/custom.noPublicSql": "No."]'), "custom.noPublicSql"),
        (google.PermissionDenied('Operation denied by org policy: ["constraints/iam.managed.disableServiceAccountCreation"]'), "iam.managed.disableServiceAccountCreation"),
    ],
    ids=["sql", "storage", "run", "custom", "managed"],
)  # fmt: skip
def test_what_the_organisation_forbids_is_named(error: Exception, constraint: str) -> None:
    """Whatever code Google gives it: it is neither a conflict nor a permission that anybody could grant."""
    found = classify(error)
    assert type(found) is errors.PolicyViolated
    assert found.constraint == constraint


@pytest.mark.parametrize("error", [google.Forbidden(NOT_USED), google.Forbidden("x", details=[DISABLED])])
def test_a_disabled_api_is_named(error: Exception) -> None:
    """By its host, from the details or from the sentence."""
    found = classify(error)
    assert isinstance(found, errors.ApiDisabled)
    assert found.service == "run.googleapis.com"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (google.TooManyRequests("x", response=SimpleNamespace(headers={"Retry-After": "7"})), 7.0),
        (google.TooManyRequests("x", response=SimpleNamespace(headers={"Retry-After": "Fri, 31 Dec"})), None),
        (google.TooManyRequests("x"), None),
        (google.ResourceExhausted("x", details=[details.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))]), 2.5),
    ],
)  # fmt: skip
def test_retry_after_is_read(error: Exception, seconds: float | None) -> None:
    """From the header of REST, or the details of gRPC."""
    assert classify(error).retry_after == seconds


def test_what_is_classified_stays_as_it_is() -> None:
    """A driver may have said more than a second look would."""
    error = errors.Conflict("x")
    assert classify(error) is error


def test_a_secret_refused_to_the_app_s_identity_heals() -> None:
    """A job or revision is judged by its own grants, which may be fresh."""
    words = "Permission denied on secret: projects/1/secrets/key/versions/1 for Revision service account web@x."
    assert type(errors.of_operation(9, words)) is errors.Propagating


@pytest.mark.parametrize(
    ("code", "kind"),
    [(0, type(None)), (3, errors.Invalid), (7, errors.PermissionDenied), (10, errors.Conflict), (13, errors.Transient)],
)
def test_an_operation_s_error_is_classified_as_a_call_s_is(code: int, kind: type) -> None:
    """Google's words stay; code 0 is no error."""
    found = errors.of_operation(code, "words")
    assert type(found) is kind
    assert found is None or found.cause == "words"
