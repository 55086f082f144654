"""Objects of the cluster into models: the first thing wrong, in one sentence for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nuages.api.app import DjangoApp
from nuages.api.group import API_VERSION, TENANT_NAME
from nuages.api.rules import RULE_BROKEN, Part
from nuages.api.status import DjangoAppStatus
from nuages.api.tenant import DjangoTenant
from nuages.api.values import DNS_LABEL_FORM
from nuages.api.web import Variable

Model = TypeVar("Model", bound=Part)
SLIP = 0.8  # of difflib's likeness: minInstance is a slip of minInstances (0.96), replicas none of release (0.67)
PREDICATES = frozenset({"Appears", "Are", "Does", "Has", "Holds", "Is", "Names", "Needs", "Renames"})


class InvalidSpec(ValueError):
    """A user's object breaks the API. `field` is its path, `message` the cause and the remedy."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


def parse_app(obj: Mapping[str, Any]) -> DjangoApp:
    """The DjangoApp in an object of the cluster. Raises InvalidSpec for the first thing wrong."""
    return _parse(DjangoApp, {key: value for key, value in obj.items() if key != "status"})


def parse_tenant(obj: Mapping[str, Any]) -> DjangoTenant:
    """The DjangoTenant in an object of the cluster. Raises InvalidSpec for the first thing wrong."""
    tenant = _parse(DjangoTenant, {key: value for key, value in obj.items() if key != "status"})
    if not DNS_LABEL_FORM.fullmatch(tenant.deployment_id):
        raise InvalidSpec(
            "spec.deploymentId",
            f"The namespace {tenant.deployment_id} begins with no letter, as Google's names must. Set a deploymentId.",
        )
    return tenant


def fault_of_variable(name: str, value: str) -> str:
    """What is wrong with a variable that no admission has seen, "" where nothing is. Tells no value.

    It goes on where a sentence ends in the variable's name, with cause and remedy. The same is asked of it as of an
    entry of `spec.env`.
    """
    try:
        Variable(name=name, value=value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        context = first.get("ctx", {})
        cause = str(context.get("cause") or _sentence(first["type"], context))
        is_of_value = "value" in (*first["loc"], context.get("field"))
        return said_of(". Its value" if is_of_value else ", which", cause) if is_predicate(cause) else f". {cause}"
    return ""


def is_predicate(cause: str) -> bool:
    """Whether a cause wants a subject: kubectl puts all of them after the field's path alone."""
    return cause.partition(" ")[0] in PREDICATES


def said_of(subject: str, cause: str) -> str:
    """One sentence where the cause is a predicate, else two."""
    return f"{subject} {cause[:1].lower()}{cause[1:]}" if is_predicate(cause) else f"{subject}. {cause}"


def default_tenant(namespace: str, spec: Mapping[str, Any]) -> DjangoTenant:
    """The tenant of a namespace without one, from the operator-wide default, in a DjangoTenant's own fields.

    Raises InvalidSpec where the default is not one.
    """
    metadata = {"name": TENANT_NAME, "namespace": namespace}
    return parse_tenant({"apiVersion": API_VERSION, "kind": "DjangoTenant", "metadata": metadata, "spec": dict(spec)})


def parse_status(obj: Mapping[str, Any]) -> DjangoAppStatus:
    """The status in an object of the cluster; an empty one where it is absent or not readable, for it is a cache."""
    try:
        return DjangoAppStatus.model_validate_json(_json(obj.get("status") or {}), by_alias=True, by_name=False)
    except ValidationError:
        return DjangoAppStatus()


def _json(obj: Any) -> str:
    return json.dumps(obj, default=dict)  # Kopf's views are mappings, not dicts


def _parse(model: type[Model], obj: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate_json(_json(obj), by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    raise _invalid(model, first)


def _invalid(model: type[BaseModel], error: ErrorDetails) -> InvalidSpec:
    path = _path(error["loc"])
    context = error.get("ctx", {})
    if error["type"] == RULE_BROKEN:
        below = context["field"]
        separator = "." if path and below and not below.startswith("[") else ""
        value, cause = context["value"], context["cause"]
        return InvalidSpec(f"{path}{separator}{below}", said_of(f'"{value}"', cause) if value else cause)
    if error["type"] == "extra_forbidden":
        return InvalidSpec(path, f"There is no such field. {_other_name(model, error['loc'])}")
    return InvalidSpec(path, _sentence(error["type"], context))


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _sentence(kind: str, context: Mapping[str, Any]) -> str:
    for fitting, sentence in _SENTENCES:
        if re.fullmatch(fitting, kind):
            return sentence.format(**context)
    return "Is not what the API describes. Read it with kubectl explain."


_SENTENCES = (
    ("missing", "Is missing. Add it."),
    ("string_type", "Is no string. Put quotes around the value."),
    ("bool_.*", "Is neither true nor false. Write one of them, without quotes."),
    ("int_.*", "Is no whole number. Write one, without quotes."),
    ("literal_error", "Is none of the values that there are. Use {expected}."),
    ("greater_than_equal", "Is too small. Use at least {ge}."),
    ("less_than_equal", "Is too large. Use at most {le}."),
    ("string_too_short", "Is too short. Give {min_length} or more characters."),
    ("string_too_long", "Is too long. Use at most {max_length} characters."),
    ("too_short", "Has too few entries. Give at least {min_length}."),
    ("too_long", "Has too many entries. Give at most {max_length}."),
    ("tuple_type", "Is no list. Write its entries below it, each after a dash."),
    ("model_.*|dict_type", "Is no object. Write its fields below it."),
)


def _other_name(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The remedy for an unknown field: the name that was meant, where one is near."""
    fields = _aliases_at(model, location[:-1])
    near = get_close_matches(str(location[-1]), fields, n=1, cutoff=SLIP)
    return f"Write {near[0]}, or remove it." if near else "Remove it."


def _aliases_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    node: Any = schema
    for step in location:
        node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
        options = [option for option in node.get("anyOf", [node]) if option.get("type") != "null"]
        node = options[0]
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return list(node.get("properties", {}))
