"""Whatever a spec may say has an effect: no field is there for later."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit_support import a_tenant, an_app, some_facts

from nuages.api import InvalidSpec, crd
from nuages.api.permission import check_allowed
from nuages.blueprint.compose import compose
from nuages.blueprint.facts import ExistingInstance
from nuages.desired.sql import SqlInstance
from nuages.reconcile.intervals import intervals

TESTS = Path(__file__).parents[1]
HERE = Path(__file__).relative_to(TESTS)
DATA = TESTS / "apiserver" / "data"
Spec = dict[str, Any]
World = tuple[Spec, Spec]
FACTS = some_facts(
    kubernetes_secrets={("openai", "token"): "fingerprint"},
    config_maps={"shop-env": {"THEME": "dark"}},
    existing_instance=ExistingInstance("europe-west1", "POSTGRES_15", tier="db-custom-1-3840"),
)

# What changes neither a resource nor what is allowed nor an interval, but a pass or a step, or is right with another
# tier only: the test that shows what it does.
SHOWN_BY = {
    "DjangoApp": {
        "paused": "e2e/test_releases.py::test_paused_nothing_is_written",
        "management=Observe": "e2e/test_observe.py::test_observe_says_what_manage_would_do_and_writes_nothing",
        "database.instance.create.edition=EnterprisePlus": f"{HERE}::test_the_edition_is_the_instances",
        "migrations.policy=Manual": "e2e/test_releases.py::test_manual_migrations_wait_for_their_word",
        "migrations.policy=Never": "e2e/test_releases.py::test_policy_never_releases_without_migrating",
        "release.verify.path": "unit/test_verify.py::test_a_candidate_answers_at_the_path_asked_for",
        "release.verify.successes": "unit/test_verify.py::test_a_candidate_answers_as_often_as_asked",
        "release.keepRevisions": "e2e/test_releases.py::test_old_revisions_are_kept_as_many_as_asked",
    },
    "DjangoTenant": {
        "impersonateServiceAccount": (
            "e2e/test_patience.py::test_a_deletion_that_is_held_up_says_so_until_it_is_abandoned"
        ),
        "database.create.edition=EnterprisePlus": f"{HERE}::test_the_edition_is_the_instances",
    },
}
STRINGS = ("{}2", "2", "2Gi", "04:00", "other@acme-prod.iam.gserviceaccount.com")


def _read(name: str) -> Spec:
    spec: Spec = yaml.safe_load((DATA / f"{name}.yaml").read_text())["spec"]
    return spec


def _with(spec: Spec, place: str, value: Any) -> Spec:
    """A copy with another value there; None removes."""
    made = copy.deepcopy(spec)
    *above, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    holder: Any = made
    for step in above:
        holder = holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return made


def _worlds() -> Iterator[World]:
    """Apps and tenants in which every field can say something: no one pair of them has all."""
    app = _with(_read("full_app"), "database.instance.create.ip", "Public")
    tenant = _read("full_tenant")
    create = app["database"]["instance"]["create"]
    creating = _with(_with(tenant, "database", {"create": create}), "network.connector", None)
    crowded = _with(_with(app, "database.instance", None), "web.maxInstances", 100)
    named = _with(app, "database.instance", {"existing": "acme-pg"})
    yield app, tenant
    yield _with(crowded, "network", None), tenant
    yield _with(_with(named, "superuser", None), "web.invokers", None), creating
    for ip in ("Public", "Auto"):
        yield _with(crowded, "network", None), _with(creating, "database.create.ip", ip)


def _leaves(schema: Spec, place: str = "") -> Iterator[tuple[str, Spec]]:
    """The fields that hold a value; of lists and maps the whole, and each field of a list's objects."""
    for name, node in schema.get("properties", {}).items():
        yield from _leaves(node, f"{place}.{name}".strip("."))
    items = schema.get("items", {})
    if "properties" in items:
        for index in range(3):  # an environment variable has three kinds of source
            yield from _leaves(items, f"{place}.{index}")
    if "properties" not in schema:
        yield place, schema


def _others(node: Spec, value: Any) -> Iterator[Any]:
    match node["type"]:
        case "boolean":
            yield not value
        case "integer":
            yield from (value + 1, value - 1)
        case "array":
            yield from ([], value[:-1])
        case "object":
            yield from ({}, {key: f"{text}2" for key, text in value.items()})
        case "string":
            yield from (other for other in node.get("enum", ()) if other != value)
            yield from (other.format(value) for other in STRINGS if "enum" not in node)


def _effects(world: World) -> tuple[Any, ...]:
    """All that follows from the specs before anything is asked of Google. Raises InvalidSpec."""
    app, tenant = an_app(world[0], annotations={"nuages.dev/adopt": "true"}), a_tenant(world[1])
    rest = intervals(app.spec.reconcile_interval_seconds, app.spec.deep_check_interval_seconds)
    return compose(app, tenant, FACTS), check_allowed(app, tenant), rest


def _value(spec: Any, place: str) -> Any:
    """None where the spec has no such field."""
    for step in place.split("."):
        try:
            spec = spec[int(step) if step.isdigit() else step]
        except (KeyError, IndexError):
            return None
    return spec


def _shown(place: str) -> str:
    return re.sub(r"\.\d+\.", "[].", place)


def _changes(world: World, side: int, place: str, node: Spec) -> Iterator[tuple[str, World]]:
    """The field, or for an enumeration the value, and the world with that other value."""
    value = _value(world[side], place)
    for other in () if value is None else _others(node, value):
        changed = _with(world[side], place, other)
        shown = _shown(place) + (f"={other}" if "enum" in node else "")
        yield shown, (changed, world[1]) if side == 0 else (world[0], changed)


def _idle(kind: str, side: int) -> set[str]:
    """The fields, and values of enumerations, that change nothing in any world."""
    (schema,) = (
        item["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for item in crd.definitions()
        if item["spec"]["names"]["kind"] == kind
    )
    leaves = list(_leaves(schema))
    seen = {_shown(place) for place, node in leaves if "enum" not in node}
    effective: set[str] = set()
    for world in _worlds():
        before = _effects(world)
        for shown, other in (change for place, node in leaves for change in _changes(world, side, place, node)):
            seen.add(shown)
            if shown not in effective:
                with suppress(InvalidSpec):
                    effective |= {shown} if _effects(other) != before else set()
    return seen - effective


@pytest.mark.parametrize(("kind", "side"), [("DjangoApp", 0), ("DjangoTenant", 1)])
def test_every_field_changes_something(kind: str, side: int) -> None:
    """Another value makes other resources, allows something else or comes at another time, but for those on file."""
    assert _idle(kind, side) == set(SHOWN_BY[kind])


@pytest.mark.parametrize("kind", SHOWN_BY)
def test_what_makes_no_resource_has_a_test_of_its_own(kind: str) -> None:
    """The one on file is there, and sets the field, or for an enumeration the value."""
    assert [field for field, test in SHOWN_BY[kind].items() if not _sets(test, field)] == []


def _sets(test: str, field: str) -> bool:
    path, _, name = test.partition("::")
    place, _, value = field.partition("=")
    found = [node for node in ast.parse((TESTS / path).read_text()).body if getattr(node, "name", "") == name]
    given = [item for node in found for item in _given(node)]
    return any(key == place.rpartition(".")[2] and value in ("", other) for key, other in given)


def _given(test: ast.AST) -> Iterator[tuple[str, str]]:
    """What its code gives by name, as an argument or in a dictionary; a value that is no constant is as written."""
    for node in ast.walk(test):
        if isinstance(node, ast.keyword):
            yield node.arg or "**", _written(node.value)
        if isinstance(node, ast.Dict):
            yield from ((_written(key), _written(value)) for key, value in zip(node.keys, node.values, strict=True))


def _written(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "**" if node is None else ast.unparse(node)


def test_words_alone_set_no_field(tmp_path: Path) -> None:
    """Neither a docstring nor a message nor another value of the field."""
    test = tmp_path / "test_x.py"
    test.write_text('def test_x():\n    """paused, policy Manual"""\n    say("paused", policy="Never")\n')
    assert not _sets(f"{test}::test_x", "paused")
    assert not _sets(f"{test}::test_x", "migrations.policy=Manual")
    assert _sets(f"{test}::test_x", "migrations.policy=Never")


@pytest.mark.parametrize("is_tenants", [False, True], ids=["app", "tenant"])
def test_the_edition_is_the_instances(is_tenants: bool) -> None:
    """EnterprisePlus, which has tiers of its own."""
    create = {"tier": "db-perf-optimized-N-2", "edition": "EnterprisePlus"}
    app = an_app({} if is_tenants else {"database": {"instance": {"create": create}}})
    tenant = a_tenant({"database": {"create": create}} if is_tenants else {})
    (instance,) = (item for item in compose(app, tenant, some_facts()).resources if isinstance(item, SqlInstance))
    assert (instance.tier, instance.edition) == (create["tier"], "ENTERPRISE_PLUS")
