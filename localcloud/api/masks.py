"""Update masks: which paths there are, and what they take from a request (https://google.aip.dev/161)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from google.protobuf.message import Message

from localcloud.core.errors import ApiError

Refusal = Callable[[str], ApiError]  # a path -> the service's words against it


def chosen(paths: Sequence[str], resource: Message, writable: Collection[str], refused: Refusal) -> list[str]:
    """What a PATCH changes: the named paths, or all that a client may write where it names none or `*`.

    `etag` is a condition, no change: it may be named. Raises what `refused` makes of a path that leads nowhere, or to
    what is Google's own (AIP-161: INVALID_ARGUMENT where an output-only field is named itself).
    """
    if not paths or list(paths) == ["*"]:
        return list(writable)
    for path in paths:
        if path != "etag" and (path.split(".")[0] not in writable or not exists(path, resource)):
            raise refused(path)
    return [path for path in paths if path != "etag"]


def exists(path: str, resource: Message) -> bool:
    """Whether a field is at the path. Nothing is below a list, a map or a plain value."""
    descriptor: Any = resource.DESCRIPTOR
    *outer, last = path.split(".")
    for part in outer:
        field = descriptor.fields_by_name.get(part)
        if field is None or field.message_type is None or field.is_repeated:
            return False
        descriptor = field.message_type
    return last in descriptor.fields_by_name


def take(path: str, source: Message, target: Message) -> None:
    """Make the field at `path`, which exists, what it is in the source, also unset; lists and maps whole."""
    head, _, rest = path.partition(".")
    if rest:
        take(rest, getattr(source, head), getattr(target, head))
        return
    target.ClearField(head)
    for field, value in source.ListFields():
        if field.name != head:
            continue
        if field.is_repeated:
            getattr(target, head).MergeFrom(value)
        elif field.message_type is not None:
            getattr(target, head).CopyFrom(value)
        else:
            setattr(target, head, value)
