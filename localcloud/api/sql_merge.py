"""How `instances.patch` merges (gcp/behaviour.md, section 2): over REST as JSON, over gRPC as messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from localcloud.gateway.json_parse import field_named, is_map


def merge(source: Message, target: Message) -> None:
    """What is set replaces, messages and maps merge, lists are replaced whole; over gRPC nothing more is known."""
    for field, value in source.ListFields():
        kind = field.message_type
        if field.is_repeated:
            own = getattr(target, field.name)
            if not is_map(field):
                del own[:]
            own.MergeFrom(value)
        elif kind is None:
            setattr(target, field.name, value)
        elif kind.full_name.startswith("google.protobuf."):
            getattr(target, field.name).CopyFrom(value)
        else:
            merge(value, getattr(target, field.name))
            getattr(target, field.name).SetInParent()


def merge_json(sent: Mapping[str, Any], source: Message, target: Message) -> None:
    """The same for `source`, read from the JSON `sent`, whose keys all count: null deletes, [] and false stand."""
    for key, item in sent.items():
        field = field_named(target.DESCRIPTOR, key)
        if field is None:
            continue  # refused already where the JSON was read
        kind = field.message_type
        if item is None:
            target.ClearField(field.name)
        elif is_map(field):
            _merge_map(item, getattr(source, field.name), getattr(target, field.name))
        elif field.is_repeated:
            target.ClearField(field.name)
            getattr(target, field.name).MergeFrom(getattr(source, field.name))
        elif kind is None:
            setattr(target, field.name, getattr(source, field.name))
        elif kind.full_name.startswith("google.protobuf."):
            getattr(target, field.name).CopyFrom(getattr(source, field.name))
        else:
            getattr(target, field.name).SetInParent()
            merge_json(item, getattr(source, field.name), getattr(target, field.name))


def _merge_map(sent: Mapping[str, Any], source: Any, target: Any) -> None:
    """Entries by key; all of SQL Admin's patched maps hold plain text."""
    for key, item in sent.items():
        if item is None:
            target.pop(key, None)
        else:
            target[key] = source[key]
