"""Partial responses: `fields=items(name,labels/a),nextPageToken` keeps only these of an answer."""

from __future__ import annotations

import re
from typing import Any

from google.rpc import error_details_pb2

from localcloud.core.errors import ApiError, Code, plain
from localcloud.gateway.json_parse import Descriptor, field_named, is_map

Selection = dict[str, "Selection"]  # empty: everything below
TOKENS = re.compile(r"[^,./()]+|[,./()]")  # `a/b` and `a.b` are one path
FREE_FORM = frozenset(f"google.protobuf.{kind}" for kind in ("Any", "Struct", "Value", "ListValue"))


def parse(text: str) -> Selection:
    """The tree of a selector; what is malformed selects as far as it can be read."""
    return _level(TOKENS.findall(text.replace(" ", "")))[0]


def fitted(selection: Selection, descriptor: Descriptor, path: str = "") -> Selection:
    """The same with the names that JSON has. Raises INVALID_ARGUMENT for what the answer cannot have."""
    if descriptor.full_name in FREE_FORM:
        return selection
    made: Selection = {}
    for name, below in selection.items():
        where = f"{path}.{name}" if path else name
        field = None if name == "*" else field_named(descriptor, name)
        if field is None and (name != "*" or below):
            raise _unknown(where)
        if field is None:
            made["*"] = {}
        elif is_map(field):
            made[field.json_name] = below  # its keys are the client's
        elif field.message_type is None:
            made[field.json_name] = _leaf(below, where)
        else:
            made[field.json_name] = fitted(below, field.message_type, where)
    return made


def select(value: Any, selection: Selection) -> Any:
    """The value without what was not selected."""
    if not selection or ("*" in selection and not selection["*"]):
        return value
    if isinstance(value, list):
        return [select(item, selection) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: select(item, selection.get(key, selection.get("*", {})))
        for key, item in value.items()
        if key in selection or "*" in selection
    }


def _level(tokens: list[str]) -> tuple[Selection, list[str]]:
    made: Selection = {}
    while tokens and tokens[0] != ")":
        if tokens[0] == ",":
            tokens = tokens[1:]
            continue
        at, tokens = made, tokens
        while tokens and tokens[0] not in ",()":
            if tokens[0] not in "./":
                at = at.setdefault(tokens[0], {})
            tokens = tokens[1:]
        if tokens and tokens[0] == "(":
            inner, tokens = _level(tokens[1:])
            at.update(inner)
            tokens = tokens[1:]
    return made, tokens


def _leaf(below: Selection, path: str) -> Selection:
    """Nothing, or `*`, is below a plain value."""
    for name in below:
        if name != "*":
            raise _unknown(f"{path}.{name}")
    return {}


def _unknown(path: str) -> ApiError:
    """Google's words, as clients quote them."""
    description = f"Error expanding 'fields' parameter. Cannot find matching fields for path '{path}'."
    violation = error_details_pb2.BadRequest.FieldViolation(field=path, description=description)
    return plain(Code.INVALID_ARGUMENT, error_details_pb2.BadRequest(field_violations=[violation]))
