"""SQL Admin v1; its v1beta4 has the same fields."""

from __future__ import annotations

from typing import Any

from google.cloud import sqladmin_v1
from google.protobuf.message import Message


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(sqladmin_v1, name).pb()


def number(message: Message | type[Message], field: str, name: str) -> int:
    """The number of an enum's value, of the enum that the field has."""
    return int(_enum(message, field).values_by_name[name].number)


def name_of(message: Message, field: str) -> str:
    """The name of the value that an enum field has."""
    return str(_enum(message, field).values_by_number[getattr(message, field)].name)


def _enum(message: Message | type[Message], field: str) -> Any:
    """The enumeration that a field is of."""
    return message.DESCRIPTOR.fields_by_name[field].enum_type
