"""Every constraint on the real API server, and the same in the models."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import test_crd_objects
import yaml
from crd_bounds import BESIDE, VALUES
from crd_constraints import Constraint, at, changed, constraints, dotted, places, rules, twins
from pydantic import BaseModel

from nuages.api import InvalidSpec, crd, parse_app, parse_tenant
from nuages.api.app import DjangoAppSpec
from nuages.api.contract import CONTRACT
from nuages.api.tenant import DjangoTenantSpec

if TYPE_CHECKING:
    from conftest import Cluster

Case = dict[str, Any]


def _read(name: str) -> Any:
    return yaml.safe_load((Path(__file__).parent / "data" / f"{name}.yaml").read_text())


LONG_VALUE: Case = {
    "name": "env-value-bytes",
    "accepted": {"env": [{"name": "A", "value": "é" * 16_384}]},
    "refused": {"env": [{"name": "A", "value": "é" * 16_385}]},
    "field": "spec.env[0].value",
    "cause": "Has more than the 32768 bytes that Cloud Run takes. Shorten it.",
}
APP_CASES, TENANT_CASES = [*_read("app_cases"), LONG_VALUE], _read("tenant_cases")


def app(spec: dict[str, Any], name: str = "shop") -> dict[str, Any]:
    """A DjangoApp with an image and the fragment."""
    return _with(_read("minimal_app"), spec, name)


def tenant(spec: dict[str, Any], name: str = "default") -> dict[str, Any]:
    """A DjangoTenant with project and region and the fragment."""
    return _with(_read("minimal_tenant"), spec, name)


def _with(minimal: dict[str, Any], spec: dict[str, Any], name: str) -> dict[str, Any]:
    return {**minimal, "metadata": {"name": name}, "spec": {**minimal["spec"], **copy.deepcopy(spec)}}


@pytest.mark.parametrize("case", APP_CASES, ids=lambda case: case["name"])
def test_app_constraint_accepts_and_refuses(cluster: Cluster, case: Case) -> None:
    """The accepted twin is stored; the refused one is named by field, with one cause, by API server and models."""
    accepted = cluster.create(app(case["accepted"]), dry_run=True)
    assert accepted.accepted, accepted.message
    parse_app(app(case["accepted"]))
    refused = cluster.create(app(case["refused"]), dry_run=True)
    with pytest.raises(InvalidSpec) as error:
        parse_app(app(case["refused"]))
    _agree(case, refused.accepted, refused.message, error.value)


@pytest.mark.parametrize("case", TENANT_CASES, ids=lambda case: case["name"])
def test_tenant_constraint_accepts_and_refuses(cluster: Cluster, case: Case) -> None:
    """The accepted twin is stored; the refused one is named by field, with one cause, by API server and models."""
    accepted = cluster.create(tenant(case["accepted"]), dry_run=True)
    assert accepted.accepted, accepted.message
    parse_tenant(tenant(case["accepted"]))
    refused = cluster.create(tenant(case["refused"]), dry_run=True)
    with pytest.raises(InvalidSpec) as error:
        parse_tenant(tenant(case["refused"]))
    _agree(case, refused.accepted, refused.message, error.value)


@pytest.mark.parametrize("sizes", [{"cpu": "3"}, {"cpu": "4000m"}, {"cpu": "16", "memory": "32Gi"}, {"memory": "512"}])
@pytest.mark.parametrize("part", ["web", "jobs"])
def test_a_size_that_is_none_draws_one_sentence(cluster: Cluster, part: str, sizes: dict[str, str]) -> None:
    """Nothing is said of how it fits the other size, which may be right."""
    answer = cluster.create(app({part: sizes}), dry_run=True)
    assert re.findall(r"spec\.\S+(?=: Invalid value)", answer.message) == [f"spec.{part}.{next(iter(sizes))}"]


def _agree(case: Case, accepted: bool, message: str, error: InvalidSpec) -> None:
    assert not accepted
    assert case["field"] in message
    assert error.field.startswith(case["field"])
    cause = case.get("cause", "")
    assert cause in message
    assert error.message.endswith((cause, f'" {cause[:1].lower()}{cause[1:]}'))  # after the value that it is said of


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_contract_names_are_reserved(cluster: Cluster, name: str) -> None:
    """No variable of the environment contract can be set by `env`."""
    answer = cluster.create(app({"env": [{"name": name, "value": "x"}]}), dry_run=True)
    assert f"Nuages sets one of these ({', '.join(CONTRACT)}) itself." in answer.message
    with pytest.raises(InvalidSpec, match=rf"^spec\.env: Nuages sets {name} itself\. Remove it, and use spec\.django"):
        parse_app(app({"env": [{"name": name, "value": "x"}]}))


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("a" * 41, "Is too long for Google's names. Use at most 40 characters."),
        ("shop.eu", "Is no DNS label. Begin with a small letter, then small letters, digits and - between them."),
        ("1shop", "Is no DNS label. Begin with a small letter, then small letters, digits and - between them."),
        ("postgres", "The instance itself uses a database of this name. Set spec.database.name."),
    ],
)
def test_app_names_fit_google(cluster: Cluster, name: str, cause: str) -> None:
    """A name that Google could not bear is refused when the app is made."""
    answer = cluster.create(app({}, name), dry_run=True)
    assert "metadata.name" in answer.message
    assert cause in answer.message
    with pytest.raises(InvalidSpec) as error:
        parse_app(app({}, name))
    assert str(error.value) == f"metadata.name: {cause}"


def test_longest_name_is_accepted(cluster: Cluster) -> None:
    """40 characters fit; a database of another name makes room for a reserved one."""
    assert cluster.create(app({}, "a" * 40), dry_run=True).accepted
    assert cluster.create(app({"database": {"name": "shop"}}, "postgres"), dry_run=True).accepted
    parse_app(app({"database": {"name": "shop"}}, "postgres"))


def test_tenant_is_named_default(cluster: Cluster) -> None:
    """A namespace cannot have a second tenant."""
    answer = cluster.create(tenant({}, "second"), dry_run=True)
    assert "metadata.name" in answer.message
    assert "A namespace has one DjangoTenant. Name it default." in answer.message
    with pytest.raises(InvalidSpec, match=r"^metadata\.name: A namespace has one DjangoTenant\. Name it default\.$"):
        parse_tenant(tenant({}, "second"))


def test_full_and_minimal_are_accepted(cluster: Cluster) -> None:
    """Every field together, and none but the image, are stored as written."""
    for name in ("full_app", "minimal_app"):
        answer = cluster.create(_read(name), dry_run=True)
        assert answer.accepted, answer.message
        assert answer.stored["spec"] == _read(name)["spec"]
        parse_app(answer.stored)
    stored = cluster.create(_read("full_tenant"), dry_run=True).stored
    assert stored["spec"] == _read("full_tenant")["spec"]
    assert parse_tenant(stored).deployment_id == "acme"


def test_image_is_required(cluster: Cluster) -> None:
    """An app without an image is refused by name."""
    obj = app({})
    del obj["spec"]["image"]
    assert "spec.image: Required value" in cluster.create(obj, dry_run=True).message
    with pytest.raises(InvalidSpec, match=r"^spec\.image: Is missing\. Add it\.$"):
        parse_app(obj)


SCHEMAS = {
    definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for definition in crd.definitions()
}
PARSE = {"DjangoApp": parse_app, "DjangoTenant": parse_tenant}
CONSTRAINTS = [(kind, found) for kind, schema in SCHEMAS.items() for found in constraints(schema["properties"]["spec"])]

# How the API server and the models say that it is this constraint which is broken.
BROKEN = {
    "type": ("must be of type", r"Is no |Is neither|Is none"),
    "enum": ("Unsupported value", "Is none of the values that there are"),
    "minimum": ("should be greater than or equal to", "Is too small"),
    "maximum": ("should be less than or equal to", "Is too large"),
    "minLength": ("should be at least", "Is too short"),
    "maxLength": ("may not be more than", "Is too long"),
    "minItems": ("should have at least", "Has too few entries"),
    "maxItems": ("Too many", "Has too many entries"),
    "maxProperties": ("Too many", "Has too many entries"),
    "required": ("Required value", "Is missing"),
    "x-kubernetes-list-type": ("Duplicate value", "Appears twice"),
}


def _full(kind: str) -> list[dict[str, Any]]:
    """Objects that have every field between them."""
    create = {"existing": "acme-pg"}, _read("full_app")["spec"]["database"]["instance"]
    if kind == "DjangoApp":
        obj, place, others = _read("full_app"), ("spec", "database", "instance"), create
    else:
        obj, place, others = _read("full_tenant"), ("spec", "database"), create
    return [changed(obj, {place: other}) for other in others]


def _objects(kind: str, constraint: Constraint) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """For each value: its field, an object with it, and whether it is a right one."""
    obj, place = next((obj, found) for obj in _full(kind) for found in places(obj, constraint.path))
    values = VALUES[kind].get(str(constraint)) or twins(constraint, at(obj, place))
    for value in (*values.accepted, *values.refused):
        beside = BESIDE[kind].get(str(constraint)) or BESIDE[kind].get(f"{constraint} {value}", {})
        changes = {tuple(path.split(".")): other for path, other in beside.items()} | {place: value}
        yield dotted(place), changed(obj, changes), value in values.accepted


def _faults(cluster: Cluster, kind: str, constraint: Constraint) -> Iterator[str]:
    """What API server and models say otherwise than the constraint."""
    by_server, by_models = BROKEN[constraint.keyword]
    for field, obj, right in _objects(kind, constraint):
        answer = cluster.create(obj, dry_run=True)
        try:
            PARSE[kind](obj)
            said = ""
        except InvalidSpec as error:
            said = str(error)
        if right and (answer.message or said):
            yield f"{constraint}: the value at the bound is refused: {answer.message or said}"
        if not right and not (field in answer.message and by_server in answer.message):
            yield f"{constraint}: the API server says {answer.message!r} of a value beyond the bound"
        if not right and not re.match(rf"{re.escape(field)}\S*: (\"[^ ]*\"\.? )?(?i:{by_models})", said):
            yield f"{constraint}: the models say {said!r} of a value beyond the bound"


@pytest.mark.parametrize(
    ("kind", "keyword"), sorted({(kind, constraint.keyword) for kind, constraint in CONSTRAINTS}), ids=str
)
def test_every_bound_holds_on_both_sides(cluster: Cluster, kind: str, keyword: str) -> None:
    """A value at the bound is stored; one beyond it is refused for that, by field, by API server and models."""
    found = [constraint for of, constraint in CONSTRAINTS if (of, constraint.keyword) == (kind, keyword)]
    assert [fault for constraint in found for fault in _faults(cluster, kind, constraint)] == []


# Of JSON Schema in the models: what says the same otherwise in a CRD, or is for people.
TRANSLATED = {"$defs", "$ref", "anyOf", "default", "title", "additionalProperties", "items", "properties"}


@pytest.mark.parametrize("model", [DjangoAppSpec, DjangoTenantSpec])
def test_no_constraint_of_the_models_is_lost(model: type[BaseModel]) -> None:
    """Whatever the models check by a bound, the CRD has it too."""
    assert set(_keywords(model.model_json_schema(by_alias=True))) - set(crd.KEPT) <= TRANSLATED


def _keywords(node: dict[str, Any]) -> Iterator[str]:
    """Of the schema itself and all below it; names of fields and values are none."""
    named = [below for group in ("$defs", "properties") for below in node.get(group, {}).values()]
    nested = [node[key] for key in ("items", "additionalProperties") if isinstance(node.get(key), dict)]
    yield from node
    for below in (*named, *nested, *node.get("anyOf", ())):
        yield from _keywords(below)


# The tests of those rules that need another name, an object stored before, or the name of each variable.
ELSEWHERE = {
    ("spec.env", "Nuages sets one of these"): test_contract_names_are_reserved,
    ("metadata.name", "Is too long"): test_app_names_fit_google,
    ("metadata.name", "Is no DNS label"): test_app_names_fit_google,
    ("metadata.name", "The instance itself uses"): test_app_names_fit_google,
    ("metadata.name", "A namespace has one"): test_tenant_is_named_default,
    ("spec.database.name", "The data is in"): test_crd_objects.test_data_in_use_is_not_left_behind,
    ("spec.database.instance.existing", "The data is on"): test_crd_objects.test_data_in_use_is_not_left_behind,
    ("spec.database.instance.create", "The data is on"): test_crd_objects.test_a_shared_instance_is_none_to_create,
    ("spec.project", "What exists"): test_crd_objects.test_tenant_does_not_move,
    ("spec.region", "What exists"): test_crd_objects.test_tenant_does_not_move,
    ("spec.deploymentId", "What exists"): test_crd_objects.test_tenant_does_not_move,
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_rule_has_a_case(kind: str) -> None:
    """Each message, at each field that it is said of, has its accepted and its refused twin."""
    cases = APP_CASES if kind == "DjangoApp" else TENANT_CASES
    shown = {(re.sub(r"\[\d+\]", "[]", case["field"]), case.get("cause")) for case in cases}
    lack = [
        (field, message)
        for field, message in rules(SCHEMAS[kind])
        if (field.removesuffix("{}"), message) not in shown
        and not any(field == of and message.startswith(begin) for of, begin in ELSEWHERE)
    ]
    assert lack == []
