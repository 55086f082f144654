"""Protobuf messages into JSON as Google's front end writes it: camelCase, int64 as strings, enums by name or number."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from localcloud.gateway.json_parse import WRAPPERS, Field, field_named, is_map

LONG = {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}
TEXT_FORMS = frozenset(f"google.protobuf.{kind}" for kind in ("Timestamp", "Duration", "FieldMask"))
FREE_FORMS = frozenset(f"google.protobuf.{kind}" for kind in ("Struct", "Value", "ListValue"))


@dataclass(frozen=True)
class Style:
    """How a caller wants its answer, and what the service sends even when zero (by message name, full or short)."""

    enums_as_numbers: bool = False
    always: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def render(message: Message, style: Style) -> Any:
    """The message as a JSON value: an object, or text for timestamps, durations and masks."""
    name = message.DESCRIPTOR.full_name
    if name in TEXT_FORMS:
        return message.ToJsonString()  # type: ignore[attr-defined]
    if name in WRAPPERS:
        return _scalar(message.DESCRIPTOR.fields_by_name["value"], message.value, style)  # type: ignore[attr-defined]
    if name in FREE_FORMS:
        return json_format.MessageToDict(message)
    if isinstance(message, any_pb2.Any):
        return _any(message, style)
    made = {part.json_name: _field(part, value, style) for part, value in message.ListFields()}
    wanted = style.always.get(name) or style.always.get(message.DESCRIPTOR.name, ())
    for wanted_name in wanted:
        part = field_named(message.DESCRIPTOR, wanted_name)
        if part is not None and part.json_name not in made:
            made[part.json_name] = _zero(part, style)
    return made


def _field(part: Field, value: Any, style: Style) -> Any:
    if is_map(part):
        item = part.message_type.fields_by_name["value"]
        return {_key(key): _single(item, each, style) for key, each in value.items()}
    if part.is_repeated:
        return [_single(part, each, style) for each in value]
    return _single(part, value, style)


def _single(part: Field, value: Any, style: Style) -> Any:
    return render(value, style) if part.message_type is not None else _scalar(part, value, style)


def _scalar(part: Field, value: Any, style: Style) -> Any:
    if part.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        known = part.enum_type.values_by_number.get(value)
        return value if style.enums_as_numbers or known is None else known.name
    if part.cpp_type in LONG:
        return str(value)
    if part.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if part.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return _number(value, part.cpp_type == FieldDescriptor.CPPTYPE_FLOAT)
    return value


def _number(value: float, short: bool) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value.is_integer():
        return int(value)
    return float(f"{value:.8g}") if short else value


def _zero(part: Field, style: Style) -> Any:
    if is_map(part):
        return {}
    if part.is_repeated:
        return []
    return {} if part.message_type is not None else _scalar(part, part.default_value, style)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _any(message: any_pb2.Any, style: Style) -> dict[str, Any]:
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(message.TypeName())
        inner = message_factory.GetMessageClass(descriptor).FromString(message.value)
    except (KeyError, DecodeError):
        return {"@type": message.type_url, "value": base64.b64encode(message.value).decode()}
    made = render(inner, style)
    if isinstance(made, dict) and descriptor.full_name not in FREE_FORMS:
        return {"@type": message.type_url, **made}
    return {"@type": message.type_url, "value": made}
