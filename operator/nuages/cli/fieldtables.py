"""The models' fields as Markdown: one section an object, each with a table and what is refused there. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import BaseModel

from nuages.api.rules import VALIDATIONS

Schema = dict[str, Any]

DEFAULT = re.compile(r"\s*Default: (.+)\.$")  # how descriptions tell it; the models' own value goes before it
ABOUT = "x-about"  # a model's own description, beside that of the field that holds it
TRANSITION = "oldSelf"  # only rules on a change mention it


@dataclass(frozen=True)
class Field:
    """A row: what the field takes, what it is without being written, what it means."""

    name: str
    values: str
    default: str
    means: str


@dataclass
class Section:
    """An object: its fields, and the sentences that a wrong one is refused with."""

    title: str
    text: str
    fields: list[Field] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def lines(self, *, with_defaults: bool = True) -> Iterator[str]:
        """As Markdown. Without defaults for a status, which nobody writes."""
        yield from (f"### {self.title}", "", self.text, "")
        if with_defaults:
            yield from table(("Field", "Takes", "Default", "Means"), [_cells(row) for row in self.fields])
        else:
            yield from table(("Field", "Is", "Means"), [(f"`{r.name}`", r.values, r.means) for r in self.fields])
        yield ""
        if self.refusals:
            yield from ("Refused:", "", *(f"- {refusal}" for refusal in self.refusals), "")


def _cells(row: Field) -> tuple[str, str, str, str]:
    return f"`{row.name}`", row.values, row.default, row.means


class Fields:
    """Walks models; an object that two places share gets one section, and links to it."""

    def __init__(self) -> None:
        self._titles: dict[str, str] = {}  # a shared model's schema -> the title of its section

    def sections(self, model: type[BaseModel], kind: str, path: str) -> list[Section]:
        """The sections of `kind`'s part at `path` ("spec"), the outermost first."""
        generated = model.model_json_schema(by_alias=True)
        return list(self._walk(generated, generated.get("$defs", {}), f"{kind}: {path}"))

    def _walk(self, node: Schema, shared: Schema, title: str) -> Iterator[Section]:
        section = Section(title, escaped(_about(node)))
        section.refusals += _object_refusals(node)
        inner: list[tuple[Schema, str]] = []
        for name, raw in node["properties"].items():
            value = resolved(raw, shared)
            target = self._object_in(value, shared, f"{title}.{name}", inner)
            default = "required" if name in node.get("required", ()) else shown_default(value)
            section.fields.append(Field(name, takes(value, target), default, meaning(value)))
            section.refusals += _value_refusals(name, value, shared)
        yield section
        for part, below in inner:
            yield from self._walk(part, shared, below)

    def _object_in(self, value: Schema, shared: Schema, title: str, inner: list[tuple[Schema, str]]) -> str:
        """The title of the section of the object in a field or of a list's entries; "" where there is none."""
        entries = resolved(value["items"], shared) if "items" in value else value
        if "properties" not in entries:
            return ""
        title += "[]" if "items" in value else ""
        known = json.dumps([entries["properties"], entries.get(VALIDATIONS)], sort_keys=True)
        if known not in self._titles:
            self._titles[known] = title
            inner.append((entries, title))
        return self._titles[known]


def resolved(node: Schema, shared: Schema) -> Schema:
    """The node with its reference, or the branch of its union that is not null, put in its place."""
    branches = [branch for branch in node.get("anyOf", []) if branch.get("type") != "null"]
    inner = shared[node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else next(iter(branches), None)
    if inner is None:
        return node
    own = {key: value for key, value in node.items() if key not in ("anyOf", "$ref")}
    found = resolved(inner, shared)
    return {**found, **own, ABOUT: _about(found)}


def _about(node: Schema) -> str:
    """What the model says of itself, not what a field says of it."""
    return str(node.get(ABOUT) or node.get("description", ""))


def takes(value: Schema, target: str = "") -> str:
    """The values of a field, in words; `target` is the title of the section that describes its object."""
    if "enum" in value or "const" in value:
        *some, last = [_code(item) for item in value.get("enum", [value.get("const")])]
        return f"{', '.join(some)} or {last}" if some else last
    match value.get("type"):
        case "boolean":
            return "`true` or `false`"
        case "integer":
            return f"number{_range(value, 'minimum', 'maximum')}"
        case "string":
            return f"string{_range(value, 'minLength', 'maxLength', 'character')}"
        case "array":
            entries = f"[objects](#{anchor(target)})" if target else "strings"
            return f"list of {entries}{_range(value, 'minItems', 'maxItems', 'entry')}"
        case _ if target:
            return f"[object](#{anchor(target)})"
        case _:
            return f"map of strings{_range(value, 'minProperties', 'maxProperties', 'entry')}"


PLURALS = {"character": "characters", "entry": "entries"}


def _range(value: Schema, least: str, most: str, unit: str = "") -> str:
    """A number's bounds, or how many of a unit there may be: that there is at least one goes without saying."""
    low, high = value.get(least), value.get(most)
    if high is None:
        return "" if low is None else f", at least {low}"
    shown = f" {unit if high == 1 else PLURALS[unit]}" if unit else ""
    counts_from_one = bool(unit) and (low or 0) <= 1
    return f", at most {high}{shown}" if low is None or counts_from_one else f", {low} to {high}{shown}"


def shown_default(value: Schema) -> str:
    """The model's own default; where it has none, what its description says of it."""
    default = value.get("default")
    if "properties" in value and default is not None:
        return ""  # its own section has the defaults of its fields
    if default is None:
        told = DEFAULT.search(value.get("description", ""))
        return escaped(told.group(1)) if told else "none"
    if default in ([], {}):
        return "empty"
    return _code(default)


def _code(value: Any) -> str:
    """A value as one writes it in YAML: with quotes where it would be a number, or a time, without."""
    plain = isinstance(value, str) and yaml.safe_load(value) == value
    shown = str(value) if plain else json.dumps(value)
    return f"`{shown}`".replace("|", "\\|")


def meaning(value: Schema) -> str:
    """The description without its default, which has a column."""
    return escaped(DEFAULT.sub("", value.get("description", "")) or value.get(ABOUT, ""))


def _object_refusals(node: Schema) -> Iterator[str]:
    for rule in node.get(VALIDATIONS, []):
        yield _refusal(rule.get("fieldPath", "").removeprefix("."), rule)


def _value_refusals(name: str, value: Schema, shared: Schema) -> Iterator[str]:
    """Of strings; an object's own are told in its section."""
    if "properties" in value:
        return
    for rule in value.get(VALIDATIONS, []):
        yield _refusal(name, rule)
    for shape, suffix in (("items", "[]"), ("additionalProperties", "")):
        inner = value.get(shape)
        if isinstance(inner, dict):
            yield from _value_refusals(f"{name}{suffix}", resolved(inner, shared), shared)


def _refusal(path: str, rule: Schema) -> str:
    where = f"`{path}`" if path else "The object"
    return f"{where}{', changed' if TRANSITION in rule['rule'] else ''}: {escaped(rule['message'])}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table, its columns as wide as they need to be: it is read in editors too."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for index, row in enumerate((head, *rows)):
        yield f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        if index == 0:
            yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in tables too."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def anchor(title: str) -> str:
    """The fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
