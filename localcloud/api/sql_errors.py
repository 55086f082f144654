"""SQL Admin's errors, in Google's words (gcp/behaviour.md, section 2)."""

from __future__ import annotations

from localcloud.core.errors import ApiError, Code


def invalid(message: str) -> ApiError:
    """400 `invalid`; the message is what stands after "Invalid request: "."""
    return ApiError(Code.INVALID_ARGUMENT, f"Invalid request: {message}", reason="invalid")


def refused(message: str) -> ApiError:
    """What the database itself refused; the message is whole."""
    return ApiError(Code.INVALID_ARGUMENT, message, reason="invalid")


def no_instance(_: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, "The Cloud SQL instance does not exist.", reason="instanceDoesNotExist")


def not_found(_: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, "Not Found", reason="notFound")


def no_operation(_: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, "The Cloud SQL instance operation does not exist.", reason="operationDoesNotExist")


def no_user(_: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, "The Cloud SQL user does not exist.", reason="userDoesNotExist")


def no_backup(_: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, "The Cloud SQL backup run does not exist.", reason="backupRunDoesNotExist")


def not_authorised() -> ApiError:
    return ApiError(
        Code.PERMISSION_DENIED, "The client is not authorized to make this request.", reason="notAuthorized"
    )


def in_progress() -> ApiError:
    return ApiError(
        Code.ABORTED,
        "Operation failed because another operation was already in progress. Try your request after the current "
        "operation is complete.",
        reason="operationInProgress",
    )


def already_exists() -> ApiError:
    return ApiError(
        Code.ALREADY_EXISTS,
        "The Cloud SQL instance already exists. When you delete an instance, you can't reuse the name of the deleted "
        "instance until one week from the deletion date.",
        reason="instanceAlreadyExists",
    )


def stale() -> ApiError:
    return ApiError(Code.CONDITION_NOT_MET, "Condition does not match.", reason="staleData")


def protected() -> ApiError:
    return ApiError(
        Code.INVALID_ARGUMENT,
        "The instance is protected. Please disable the deletion protection and try again. To disable deletion "
        "protection, update the instance settings with deletionProtectionEnabled set to false.",
        reason="invalid",
    )


def not_running() -> ApiError:
    return invalid("Invalid request since instance is not running.")


def wrong_tier(tier: str, edition: str) -> ApiError:
    use = "db-perf-optimized-N-*" if edition == "ENTERPRISE_PLUS" else "db-custom-4-26624"
    return invalid(
        f"Invalid Tier ({tier}) for ({edition}) Edition. Use a predefined Tier like {use} instead. "
        "See more at https://cloud.google.com/sql/docs/postgres/create-instance#machine-types."
    )
