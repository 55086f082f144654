"""A blueprint as canonical YAML: every field that is not its class's default, so that a diff shows what changed."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import yaml

from nuages.blueprint.blueprint import Blueprint
from nuages.blueprint.web import script
from nuages.desired.iam import ProjectService
from nuages.desired.resource import Owner, Resource
from nuages.desired.secretmanager import SecretRef

SCRIPTS = {script(name): f"<scripts/{name}.py>" for name in ("migrate", "superuser")}
PAIRS = ("environment", "flags", "labels")


def dump(blueprint: Blueprint) -> str:
    """The whole; scripts stand by their names, the project's APIs, which all else needs, by one word."""
    apis = frozenset(item.name for item in blueprint.resources if isinstance(item, ProjectService))
    plain = _plain(blueprint, apis)
    groups: dict[str, list[str]] = {}
    for name, condition in blueprint.conditions:
        groups.setdefault(condition, []).append(name)
    plain["conditions"] = groups
    return yaml.safe_dump(plain, sort_keys=False, width=120, allow_unicode=True, default_flow_style=None)


def _plain(value: Any, apis: frozenset[str]) -> Any:
    if isinstance(value, Owner):
        return value.text()
    if isinstance(value, SecretRef):
        return f"<{value.secret}@{value.version or 'current'}>"
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": value.kind} if isinstance(value, Resource) else {"is": type(value).__name__}
        return kind | {
            field.name: _field(field.name, getattr(value, field.name), apis)
            for field in fields(value)
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, tuple):
        return [_plain(item, apis) for item in value]
    return SCRIPTS.get(value, value) if isinstance(value, str) else value


def _field(name: str, value: Any, apis: frozenset[str]) -> Any:
    if name in PAIRS:
        return {key: _plain(item, apis) for key, item in value}
    if name == "needs":
        return (["<apis>"] if apis and value >= apis else sorted(value & apis)) + sorted(value - apis)
    return _plain(value, apis)


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
