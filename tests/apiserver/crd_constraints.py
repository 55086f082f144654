"""The constraints of a schema that Kubernetes itself knows, each with values at its bound and beyond it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
Place = tuple[str | int, ...]

REQUIRED, DISTINCT = "required", "x-kubernetes-list-type"
KEYWORDS = ("type", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties")
ITEM, VALUE = "[]", "{}"
ABSENT = object()


@dataclass(frozen=True)
class Constraint:
    """`path` leads to the constrained field, ITEM and VALUE standing for any of a list or map."""

    path: tuple[str, ...]
    keyword: str
    node: Schema

    def __str__(self) -> str:
        return f"{dotted(self.path)} {self.keyword}"


@dataclass(frozen=True)
class Twins:
    """Values of one field: what the constraint lets through, and what only breaks it."""

    accepted: tuple[Any, ...]
    refused: tuple[Any, ...]


def dotted(place: Place | tuple[str, ...]) -> str:
    """A path as the API server and the models write it."""
    shown = (f"[{step}]" if isinstance(step, int) else step if step in (ITEM, VALUE) else f".{step}" for step in place)
    return "".join(shown).removeprefix(".")


def constraints(node: Schema, path: tuple[str, ...] = ("spec",)) -> Iterator[Constraint]:
    """All of the spec's schema, but its CEL rules."""
    yield from (Constraint(path, keyword, node) for keyword in (*KEYWORDS, DISTINCT) if keyword in node)
    yield from (Constraint((*path, name), REQUIRED, node) for name in node.get("required", ()))
    for step, below in _below(node):
        yield from constraints(below, (*path, step))


def rules(node: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The field and the message of each CEL rule."""
    for rule in node.get("x-kubernetes-validations", ()):
        yield (dotted(path) + rule.get("fieldPath", "")).removeprefix("."), rule["message"]
    for step, below in _below(node):
        yield from rules(below, (*path, step))


def _below(node: Schema) -> Iterator[tuple[str, Schema]]:
    yield from node.get("properties", {}).items()
    if "items" in node:
        yield ITEM, node["items"]
    if "additionalProperties" in node:
        yield VALUE, node["additionalProperties"]


def places(spec: Any, path: tuple[str, ...]) -> Iterator[Place]:
    """Where in a spec the path leads to."""
    if not path:
        yield ()
        return
    step, rest = path[0], path[1:]
    steps: Any = range(len(spec)) if step == ITEM else spec if step == VALUE else [step] if step in spec else ()
    for concrete in steps:
        yield from ((concrete, *further) for further in places(spec[concrete], rest))


def at(spec: Any, place: Place) -> Any:
    """The value there."""
    for step in place:
        spec = spec[step]
    return spec


def changed(spec: Mapping[str, Any], changes: Mapping[Place, Any]) -> dict[str, Any]:
    """A copy with other values at these places, objects made on the way; ABSENT removes."""
    made = copy.deepcopy(dict(spec))
    for place, value in changes.items():
        holder: Any = made
        for step in place[:-1]:
            holder = holder[step] if isinstance(holder, list) else holder.setdefault(step, {})
        if value is ABSENT:
            holder.pop(place[-1], None)
        else:
            holder[place[-1]] = value
    return made


def twins(constraint: Constraint, sample: Any) -> Twins:
    """At the bound and one beyond, made from a valid value of the field."""
    keyword, bound = constraint.keyword, constraint.node.get(constraint.keyword)
    match keyword:
        case "type":
            return Twins((), (_OTHER_TYPE[bound],))  # what is right is in every other object
        case "enum":
            return Twins(tuple(bound), ("Another", ""))
        case "minimum":
            return Twins((bound,), (bound - 1,))
        case "maximum":
            return Twins((bound,), (bound + 1,))
        case "minLength":
            return Twins((_string(sample, bound),), (_string(sample, bound - 1),))
        case "maxLength":
            return Twins((_string(sample, bound),), (_string(sample, bound + 1),))
        case "minItems":
            return Twins((sample[:bound],), (sample[: bound - 1],))
        case "maxItems":
            return Twins((_many(sample[0], bound),), (_many(sample[0], bound + 1),))
        case "maxProperties":
            return Twins((_entries(sample, bound),), (_entries(sample, bound + 1),))
        case "required":
            return Twins((), (ABSENT,))
        case "x-kubernetes-list-type":
            return Twins((_many(sample[0], 2),), ([sample[0], sample[0]],))
    raise NotImplementedError(f"no values are known for {keyword}")


_OTHER_TYPE: Mapping[str, Any] = {"string": 7, "integer": "7", "boolean": "true", "array": {}, "object": []}


def _string(sample: str, length: int) -> str:
    """A valid one of that length, where the form allows: the sample, its last letter or digit dropped or repeated."""
    if length <= len(sample):
        return sample[:length]
    middle = next(n for n in range(len(sample) - 1, -1, -1) if sample[n].isalnum())
    return sample[:middle] + sample[middle] * (length - len(sample)) + sample[middle:]


def _many(item: Any, count: int) -> list[Any]:
    if isinstance(item, str):
        return [f"{item}{number}" for number in range(count)]
    return [{**item, **({"name": f"{item['name']}_{number}"} if "name" in item else {})} for number in range(count)]


def _entries(sample: Mapping[str, str], count: int) -> dict[str, str]:
    key, value = next(iter(sample.items()))
    return {f"{key}_{number}": f"{value}_{number}" for number in range(count)}
