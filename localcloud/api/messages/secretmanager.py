"""Secret Manager v1."""

from __future__ import annotations

from typing import Any

from google.cloud import secretmanager_v1

ENABLED, DISABLED, DESTROYED = 1, 2, 3  # SecretVersion.State


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(secretmanager_v1, name).pb()
