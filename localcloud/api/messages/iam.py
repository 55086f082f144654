"""Messages of google.iam.admin.v1."""

from __future__ import annotations

from typing import Any

from google.cloud import iam_admin_v1


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(iam_admin_v1, name).pb()
