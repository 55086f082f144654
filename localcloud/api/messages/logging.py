"""Messages of google.logging.v2."""

from __future__ import annotations

from typing import Any

from google.cloud.logging_v2 import types


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(types, name).pb()
