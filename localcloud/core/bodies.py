"""The JSON body of the REST call under way: what protobuf cannot tell from absent (null, an emptied list, false)."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

# Set by the REST gateway for each call of a method whose rule says `merges`; None over gRPC, and without a body.
current_body: ContextVar[Any] = ContextVar("current_body", default=None)


def without_nulls(value: Any) -> Any:
    """A merge patch without its deletions (RFC 7396): what can be read as a message."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value
