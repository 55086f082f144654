"""Labels of Google resources: the owner's, the tenant's, and those that others add, which stay."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from nuages.desired.resource import Owner

OWNER_KEYS = frozenset(
    {"managed-by", "nuages-namespace", "nuages-app", "nuages-uid", "nuages-retained", "nuages-instance"}
)
Labels = tuple[tuple[str, str], ...]


class FoundLabels(Labels):
    """Labels as found, sorted: equal to any desired ones that are all among them, for a label of others is no drift."""

    def __new__(cls, found: Iterable[tuple[str, str]]) -> FoundLabels:
        """Sorted here; the texts, which thousands of resources repeat, are shared."""
        return super().__new__(cls, sorted((sys.intern(key), sys.intern(value)) for key, value in found))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and set(other) <= set(self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return super().__hash__()


def besides_owner(found: Mapping[str, str]) -> FoundLabels:
    """What stands beside the owner's marker."""
    return FoundLabels((key, value) for key, value in found.items() if key not in OWNER_KEYS)


def merged(found: Mapping[str, str], owner: Owner | None, besides: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What to write: the owner's marker anew, ours over what is there."""
    others = {key: value for key, value in found.items() if key not in OWNER_KEYS}
    return others | dict(besides) | (owner.labels() if owner is not None else {})
