"""Resource Manager v3."""

from __future__ import annotations

from typing import Any

from google.cloud import resourcemanager_v3

ACTIVE = 1  # Project.State


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(resourcemanager_v3, name).pb()
