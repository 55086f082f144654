"""Service Usage v1."""

from __future__ import annotations

from typing import Any

from google.cloud import service_usage_v1

DISABLED, ENABLED = 1, 2  # State


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(service_usage_v1, name).pb()
