"""The CustomResourceDefinitions, generated from the models: structural schemas without defaults in `spec`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from nuages.api.app import DjangoApp
from nuages.api.group import GROUP, VERSION
from nuages.api.rules import VALIDATIONS, with_validations
from nuages.api.status import DjangoAppStatus, DjangoTenantStatus
from nuages.api.tenant import DjangoTenant

Schema = dict[str, Any]

KEPT = (
    "type",
    "description",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    VALIDATIONS,
)


def write(folder: Path) -> list[Path]:
    """Writes djangoapps.yaml and djangotenants.yaml into `folder` and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for definition in definitions():
        path = folder / f"{definition['spec']['names']['plural']}.yaml"
        path.write_text(render(definition), encoding="utf-8")
        written.append(path)
    return written


def render(definition: Schema) -> str:
    """A definition as YAML, the same on every machine."""
    return "# Generated from nuages.api by `nuages crds`.\n" + yaml.safe_dump(
        definition, sort_keys=False, width=120, default_flow_style=None
    )


def definitions() -> list[Schema]:
    """Both CustomResourceDefinitions."""
    return [_django_app(), _django_tenant()]


def _django_app() -> Schema:
    columns = [
        _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        _column("URL", ".status.url"),
        _column("Revision", ".status.revision"),
        _column("Age", ".metadata.creationTimestamp", kind="date"),
        _column("Image", ".spec.image", wide=True),
        _column("Traffic", ".status.trafficSplit", wide=True),
    ]
    return _definition("DjangoApp", "dja", columns, _object(DjangoApp, DjangoAppStatus))


def _django_tenant() -> Schema:
    columns = [
        _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        _column("Project", ".spec.project"),
        _column("Region", ".spec.region"),
        _column("Age", ".metadata.creationTimestamp", kind="date"),
        _column("Accounts", ".status.limits.serviceAccounts.used", kind="integer", wide=True),
        _column("Services", ".status.limits.services.used", kind="integer", wide=True),
    ]
    return _definition("DjangoTenant", "djt", columns, _object(DjangoTenant, DjangoTenantStatus))


def _definition(kind: str, short: str, columns: list[Schema], schema: Schema) -> Schema:
    plural = f"{kind.lower()}s"
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
        "categories": ["nuages"],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _column(name: str, path: str, *, kind: str = "string", wide: bool = False) -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": 1} if wide else column


def _object(model: type[DjangoApp] | type[DjangoTenant], status: type[BaseModel]) -> Schema:
    generated = model.model_json_schema(by_alias=True)
    schema: Schema = {
        "type": "object",
        "description": generated["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": structural(model.model_fields["spec"].annotation),
            # kstatus takes an object without status for current; this makes a new one InProgress (Flux does the same).
            "status": {**structural(status), "default": {"observedGeneration": -1}},
        },
    }
    return with_validations(schema, model.rules)


def structural(model: Any) -> Schema:
    """A model's JSON schema as the API server wants it: no references, no defaults, no nulls."""
    generated = model.model_json_schema(by_alias=True)
    return _structural(generated, generated.get("$defs", {}))


def _structural(node: Schema, shared: Schema) -> Schema:
    node = _resolved(node, shared)
    schema = {key: node[key] for key in KEPT if key in node}
    if "properties" in node:
        schema["properties"] = {name: _structural(value, shared) for name, value in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = _structural(node["additionalProperties"], shared)
    if "items" in node:
        schema["items"] = _structural(node["items"], shared)
    return schema


def _resolved(node: Schema, shared: Schema) -> Schema:
    """The node with its reference, or the one branch of its union that is not null, put in its place."""
    branches = [branch for branch in node.get("anyOf", []) if branch.get("type") != "null"]
    inner = branches[0] if branches else {}
    if "$ref" in node:
        inner = shared[node["$ref"].rsplit("/", 1)[-1]]
    if not inner:
        return node
    own = {key: value for key, value in node.items() if key not in ("anyOf", "$ref")}
    return {**_resolved(inner, shared), **own}
