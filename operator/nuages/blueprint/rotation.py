"""Rotation on request: there are two of each secret, "a" and "b", and the app moves from one to the other. Pure.

Which one is newer stands in the secrets' own fingerprints, "random" at first and "random-<count>-<request>" later: so
Google Cloud is the memory, and a crash between any two calls neither skips a rotation nor repeats one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST = "random"
ROTATED = re.compile(r"random-(\d+)-(\w*)")


@dataclass(frozen=True)
class Pair:
    """`sources`: the fingerprints of those that are there, or to be made, by letter. `newest` was made last."""

    sources: Mapping[str, str] = field(default_factory=lambda: {"a": FIRST})
    newest: str = "a"

    @property
    def letters(self) -> tuple[str, ...]:
        return tuple(sorted(self.sources))

    @property
    def older(self) -> str:
        """The other letter, "" where there is but one."""
        return next((letter for letter in self.letters if letter != self.newest), "")

    def answers(self, request: str) -> bool:
        """Whether the newest was made for this request already; nothing asked is answered."""
        return not request or _parse(self.sources[self.newest])[1] == request

    def rotated(self, request: str) -> Pair:
        """With the other one made anew."""
        other, count = "b" if self.newest == "a" else "a", _parse(self.sources[self.newest])[0] + 1
        return Pair({**self.sources, other: f"{FIRST}-{count}-{request}"}, other)


def pair(observed: Mapping[str, str | None], request: str) -> Pair:
    """What is there, by the fingerprints that were observed. An app that is new has been rotated by being made."""
    first, second = observed.get("a"), observed.get("b")
    if first is None and second is None:
        return Pair({"a": f"{FIRST}-0-{request}" if request else FIRST})
    sources = {"a": first or FIRST}
    if second is not None:
        sources["b"] = second or f"{FIRST}-0-"
    return Pair(sources, max(sources, key=lambda letter: _parse(sources[letter])[0]))


def request_of(annotation: str) -> str:
    """A word for the annotation's value, which may hold anything."""
    return hashlib.sha256(annotation.encode()).hexdigest()[:8] if annotation else ""


def _parse(source: str) -> tuple[int, str]:
    found = ROTATED.fullmatch(source)
    return (int(found[1]), found[2]) if found else (0, "")
