"""REST into the request message of a method, by its HTTP rule (AIP-127): path variables, query, body. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from google.protobuf.message import Message

from localcloud.core.bodies import without_nulls
from localcloud.core.service import Method, Rule
from localcloud.gateway.json_parse import Problems, field_named, fill, is_map, load, set_field

# Understood or ignored by Google's front end before the method's own parameters.
SYSTEM = frozenset(["upload_protocol", "callback", "trace", "userProject", "bearer_token", "pp", "clientVersion"]) | {
    "alt",
    "prettyPrint",
    "fields",
    "key",
    "access_token",
    "oauth_token",
    "quotaUser",
    "userIp",
    "uploadType",
}


def is_system(name: str) -> bool:
    """Whether a query parameter is the front end's, not the method's: `alt`, `$alt`, `$.xgafv`, …"""
    return name.startswith("$") or name in SYSTEM


def build(method: Method, rule: Rule, values: Iterable[str], query: Iterable[tuple[str, str]], body: bytes) -> Message:
    """The request message. Raises INVALID_ARGUMENT, naming every field that does not fit."""
    request, problems = method.request(), Problems()
    if rule.body:
        value = load(body)
        _fill_body(request, rule.body, without_nulls(value) if rule.merges else value, problems)
    _fill_query(request, query, problems)
    for path, value in zip(rule.variables, values, strict=True):
        target, field = _descend(request, path)
        if field is not None:
            if not field.is_repeated:
                target.ClearField(field.name)  # the path wins over the body
            set_field(target, field, unquote(value), path, problems)
    problems.raise_any()
    return request


def _fill_body(request: Message, body_field: str, value: Any, problems: Problems) -> None:
    if value is None:
        return
    if body_field == "*":
        if isinstance(value, dict):
            fill(request, value, "", problems)
        else:
            problems.add("", 'Invalid JSON payload received. Unknown name "": Root element must be a message.')
        return
    target, field = _descend(request, body_field)
    if field is not None:
        set_field(target, field, value, body_field, problems)


def _fill_query(request: Message, query: Iterable[tuple[str, str]], problems: Problems) -> None:
    gathered: dict[str, list[str]] = {}
    for name, value in query:
        if not is_system(name):
            gathered.setdefault(name, []).append(value)
    for name, values in gathered.items():
        target, field = _descend(request, name)
        if field is None or is_map(field):
            problems.add(
                name,
                f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. Field '
                f"'{re.split(r'[.]', name)[0]}' could not be found in request message.",
            )
        elif field.is_repeated:
            set_field(target, field, values, name, problems)
        else:
            set_field(target, field, values[-1], name, problems)


def _descend(message: Message, path: str) -> tuple[Message, Any]:
    """The innermost message of a dotted path and its field there; None where there is no such field."""
    *outer, last = path.split(".")
    for part in outer:
        field = field_named(message.DESCRIPTOR, part)
        if field is None or field.message_type is None or field.is_repeated:
            return message, None
        message = getattr(message, field.name)
    return message, field_named(message.DESCRIPTOR, last)
