"""What things were before their last change, for stale reads (core/faults.py)."""

from __future__ import annotations

import collections
import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")

KEPT = 2048  # changes of one kind of thing; older ones are forgotten, and then read as they are now

_in_the_past: contextvars.ContextVar[bool] = contextvars.ContextVar("in_the_past", default=False)


@contextlib.contextmanager
def reading_the_past() -> Iterator[None]:
    """Reads inside see each thing as it was before its last change; writes are not affected."""
    token = _in_the_past.set(True)
    try:
        yield
    finally:
        _in_the_past.reset(token)


@contextlib.contextmanager
def reading_the_present() -> Iterator[None]:
    """Undoes `reading_the_past` inside: for projects and rights, which a call stands on and does not ask for."""
    token = _in_the_past.set(False)
    try:
        yield
    finally:
        _in_the_past.reset(token)


class Past(Generic[V]):
    """The value before the last change of each name, None where there was none; the newest change last."""

    def __init__(self) -> None:
        self._before: collections.OrderedDict[str, V | None] = collections.OrderedDict()

    def changed(self, name: str, before: V | None) -> None:
        """`name` is about to become something else."""
        self._before[name] = before
        self._before.move_to_end(name)
        if len(self._before) > KEPT:
            self._before.popitem(last=False)

    def of(self, name: str, now: V | None) -> V | None:
        """What a read of `name` sees, `now` being what is there."""
        return self._before.get(name, now) if _in_the_past.get() else now

    def last_of(self, is_among: Callable[[str], bool]) -> tuple[str, V | None] | None:
        """For a list read in the past: the member that changed last, and what it was; None where nothing differs."""
        if not _in_the_past.get():
            return None
        return next(((name, self._before[name]) for name in reversed(self._before) if is_among(name)), None)
