"""JSON into protobuf messages, as strict as Google's own front end, with its words for what does not fit.

protobuf's json_format stops at the first fault and words it otherwise; Google lists all of them (AIP-193: BadRequest).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from functools import cache
from typing import Any

from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from localcloud.core.errors import ApiError, Code

Field = Any  # upb's descriptors and protobuf's own are different types to a type checker
Descriptor = Any

INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}
FLOATS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}
SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
TYPE_NAMES = {
    value: name for name, value in vars(FieldDescriptor).items() if name.startswith("TYPE_") and isinstance(value, int)
}
WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
BY_JSON_FORMAT = frozenset(
    f"google.protobuf.{kind}" for kind in ("Timestamp", "Duration", "Struct", "Value", "ListValue")
)
INTEGER = re.compile(r"-?\d+")


class Problems:
    """What is wrong with a request, all of it."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, field: str, description: str) -> None:
        self._found.append((field, description))

    def invalid(self, path: str, kind: str, value: Any) -> None:
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float | bool) else "Object"
        self.add(path, f"Invalid value at '{path}' ({kind}), {shown}")

    def raise_any(self) -> None:
        """Raises INVALID_ARGUMENT with all of them, if there are any."""
        if not self._found:
            return
        details = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
                for field, description in self._found
            ]
        )
        raise ApiError(
            Code.INVALID_ARGUMENT, "\n".join(text for _, text in self._found), reason="badRequest", details=(details,)
        )


def load(body: bytes) -> Any:
    """The body as JSON, None where it is empty. Raises INVALID_ARGUMENT."""
    if not body.strip():
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        problems = Problems()
        problems.add("", f"Invalid JSON payload received. {_syntax(error)}")
        problems.raise_any()
        raise


def fill(message: Message, value: Any, path: str, problems: Problems) -> None:
    """Set the message's fields from a JSON object; `path` is where the message stands in the request."""
    name = message.DESCRIPTOR.full_name
    if name == "google.protobuf.Any":
        _fill_any(message, value, path, problems)
    elif name == "google.protobuf.FieldMask" and isinstance(value, str):
        message.paths.extend(mask_paths(value))  # type: ignore[attr-defined]
    elif name in WRAPPERS:
        set_field(message, message.DESCRIPTOR.fields_by_name["value"], value, path, problems)
        message.SetInParent()
    elif name in BY_JSON_FORMAT:
        _fill_known(message, value, path, problems)
    elif isinstance(value, dict):
        _fill_object(message, value, path, problems)
    else:
        problems.invalid(path, f"type.googleapis.com/{name}", value)


def set_field(message: Message, field: Field, value: Any, path: str, problems: Problems) -> None:
    """Set one field from its JSON value; null leaves it alone."""
    if value is None:
        return
    if is_map(field):
        _fill_map(message, field, value, path, problems)
    elif field.is_repeated:
        items = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            _append(getattr(message, field.name), field, item, f"{path}[{index}]", problems)
    elif isinstance(value, list) and _full_name(field) not in ("google.protobuf.Value", "google.protobuf.ListValue"):
        where = f" at '{path.rpartition('.')[0]}'" if "." in path else ""
        problems.add(
            path,
            f'Invalid JSON payload received. Unknown name "{field.json_name}"{where}: Proto field is not repeating, '
            "cannot start list.",
        )
    elif field.message_type is not None:
        part = getattr(message, field.name)
        part.SetInParent()
        fill(part, value, path, problems)
    else:
        _set_scalar(message, field, value, path, problems)


def field_named(descriptor: Descriptor, name: str) -> Field | None:
    """By JSON name or by the name in the proto file, also where the wheel renamed a reserved word."""
    return _names(descriptor).get(name)


def is_map(field: Field) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def mask_paths(text: str) -> list[str]:
    """`displayName,template.maxRetries`, in either spelling, as the proto's own names."""
    return [
        re.sub(r"[A-Z]", lambda found: "_" + found.group().lower(), part.strip()) for part in text.split(",") if part
    ]


@cache
def _names(descriptor: Descriptor) -> dict[str, Field]:
    names = {field.name: field for field in descriptor.fields}
    return {
        **{name.rstrip("_"): field for name, field in names.items()},
        **names,
        **{f.json_name: f for f in descriptor.fields},
    }


def _fill_object(message: Message, value: dict[str, Any], path: str, problems: Problems) -> None:
    for key, item in value.items():
        field = field_named(message.DESCRIPTOR, key)
        if field is None:
            where = f" at '{path}'" if path else ""
            problems.add(path, f'Invalid JSON payload received. Unknown name "{key}"{where}: Cannot find field.')
            continue
        inner = f"{path}.{field.name}" if path else field.name
        group = field.containing_oneof
        taken = None if group is None or item is None else message.WhichOneof(group.name)
        if taken is not None and taken != field.name:
            problems.add(
                path,
                f"Invalid value at '{path}' (oneof), oneof field '{group.name if group else ''}' is already set. "
                f"Cannot set '{field.json_name}'",
            )
            continue
        set_field(message, field, item, inner, problems)


def _fill_map(message: Message, field: Field, value: Any, path: str, problems: Problems) -> None:
    if not isinstance(value, dict):
        problems.invalid(path, f"map<{path}>", value)
        return
    entry = field.message_type
    key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
    target = getattr(message, field.name)
    for key, item in value.items():
        made = _scalar(key_field, key)
        inner = f"{path}[{json.dumps(key)}]"
        if made is None or item is None:
            problems.invalid(inner, TYPE_NAMES[key_field.type], key)
        elif value_field.message_type is not None:
            fill(target[made], item, inner, problems)
        else:
            scalar = _scalar(value_field, item)
            if scalar is None:
                problems.invalid(inner, _kind(value_field), item)
            else:
                target[made] = scalar


def _append(target: Any, field: Field, item: Any, path: str, problems: Problems) -> None:
    if field.message_type is not None:
        fill(target.add(), item, path, problems)
        return
    scalar = _scalar(field, item)
    try:
        if scalar is None:
            raise ValueError
        target.append(scalar)
    except (ValueError, TypeError):
        problems.invalid(path, _kind(field), item)


def _set_scalar(message: Message, field: Field, value: Any, path: str, problems: Problems) -> None:
    scalar = _scalar(field, value)
    try:
        if scalar is None:
            raise ValueError
        setattr(message, field.name, scalar)
    except (ValueError, TypeError):  # out of range
        problems.invalid(path, _kind(field), value)


def _scalar(field: Field, value: Any) -> Any:
    """The Python value for a scalar field, or None where the JSON value does not fit it."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value))
    if isinstance(value, bool):
        return None
    if kind in INTEGERS:
        return _integer(value)
    if kind in FLOATS:
        return _float(value)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return _enum(field, value)
    if not isinstance(value, str):
        return None
    return _bytes(value) if field.type == FieldDescriptor.TYPE_BYTES else value


def _integer(value: Any) -> int | None:
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        return int(value) if INTEGER.fullmatch(value) else None
    return value if isinstance(value, int) else None


def _float(value: Any) -> float | None:
    if isinstance(value, str):
        if value in SPECIAL_FLOATS:
            return SPECIAL_FLOATS[value]
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) else None


def _enum(field: Field, value: Any) -> int | None:
    if isinstance(value, str) and not INTEGER.fullmatch(value):
        found = field.enum_type.values_by_name.get(value)
        return None if found is None else found.number
    return _integer(value)


def _bytes(value: str) -> bytes | None:
    try:
        padded = value.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _fill_known(message: Message, value: Any, path: str, problems: Problems) -> None:
    try:
        json_format.ParseDict(value, message)
    except json_format.ParseError as error:
        name = message.DESCRIPTOR.full_name
        cause = str(error).rpartition(": ")[2].rstrip(".")
        problems.add(path, f"Invalid value at '{path}' (type.googleapis.com/{name}), {cause}")
    except (TypeError, AttributeError, ValueError):
        problems.invalid(path, f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value)


def _fill_any(message: Message, value: Any, path: str, problems: Problems) -> None:
    assert isinstance(message, any_pb2.Any)
    url = value.get("@type", "") if isinstance(value, dict) else ""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(url.rpartition("/")[2])
    except KeyError:
        problems.invalid(path, "type.googleapis.com/google.protobuf.Any", value)
        return
    inner = message_factory.GetMessageClass(descriptor)()
    fields = {key: item for key, item in value.items() if key != "@type"}
    fill(inner, fields.get("value") if descriptor.full_name in BY_JSON_FORMAT | WRAPPERS else fields, path, problems)
    message.Pack(inner)


def _full_name(field: Field) -> str:
    return "" if field.message_type is None else str(field.message_type.full_name)


def _kind(field: Field) -> str:
    if field.enum_type is not None:
        return f"type.googleapis.com/{field.enum_type.full_name}"
    return TYPE_NAMES[field.type]


def _syntax(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        rest = error.doc[error.pos : error.pos + 40].partition("\n")[0]
        return "Unexpected end of string.\n" if not rest else f"Unexpected token.\n{rest}\n^"
    return "Request is not valid UTF-8."
