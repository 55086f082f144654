"""Changes of a spec: any field that the CRD has, with values that its own schema describes.

Whatever the schema cannot say (which secrets there are, which images) is in `NAMED`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from nuages.api.contract import CONTRACT

CRD = Path(__file__).parents[2] / "crds" / "djangoapps.yaml"
PATTERN = re.compile(r"^self\.matches\('(\^.*\$)'\)$")
LETTERS = st.characters(codec="ascii", exclude_characters="\0\n\r")
LONGEST = 12  # characters of text, entries of a list: more of the same finds nothing more

TAGS = ("v1", "v2", "v3")
KEPT = {("image",), ("web", "ingress")}  # never taken away


@dataclass(frozen=True)
class Change:
    """One field of the spec, by its path, and its new value; None takes it away."""

    path: tuple[str, ...]
    value: Any

    def __repr__(self) -> str:
        return f"{'.'.join(self.path)} = {self.value!r}"

    def applied_to(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Another spec with the field changed; parents that are left empty go."""
        changed: dict[str, Any] = copy.deepcopy(dict(spec))
        _change(changed, self.path, self.value)
        return changed


def _change(place: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    name, rest = path[0], path[1:]
    if rest:
        inner = place.setdefault(name, {})
        _change(inner, rest, value)
        if not inner:
            del place[name]
    elif value is None:
        place.pop(name, None)
    else:
        place[name] = copy.deepcopy(value)


def changes(registry: str, project: str) -> st.SearchStrategy[Change]:
    """Of any field; `registry` holds the images shop:v1, v2 and v3."""
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    named = _named(registry, project)
    fields = dict(_fields(schema["properties"]["spec"], (), named))
    assert named.keys() <= fields.keys(), named.keys() - fields.keys()
    return st.sampled_from(sorted(fields)).flatmap(
        lambda path: st.builds(Change, st.just(path), fields[path] if path in KEPT else fields[path] | st.none())
    )


def _fields(
    schema: Mapping[str, Any], path: tuple[str, ...], named: Mapping[tuple[str, ...], st.SearchStrategy[Any]]
) -> Iterator[tuple[tuple[str, ...], st.SearchStrategy[Any]]]:
    if path in named:
        yield path, named[path]
    elif "properties" in schema and not schema.get("required"):
        for name, inner in schema["properties"].items():
            yield from _fields(inner, (*path, name), named)
    elif "properties" in schema and not path:
        for name, inner in schema["properties"].items():
            yield from _fields(inner, (name,), named)
    else:
        yield path, _values(schema)


def _values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema describes; the API server judges the rest."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "string":
            return _text(schema)
        case "array":
            items, most = _values(schema["items"]), min(schema["maxItems"], 3)
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=most, unique_by=str)
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(st.text("abc", min_size=1), _values(schema["additionalProperties"]), max_size=2)
        case "object":
            required = schema.get("required", ())
            given = {name: _values(inner) for name, inner in schema["properties"].items()}
            always = {name: given.pop(name) for name in required}
            return st.fixed_dictionaries(always, optional=given)
        case other:
            raise ValueError(f"no values for {other}")


def _text(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    rules = (rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))
    pattern = next((found[1] for rule in rules if (found := PATTERN.match(rule))), None)
    least, most = schema.get("minLength", 0), schema["maxLength"]
    if pattern is None:
        return st.text(LETTERS, min_size=least, max_size=min(most, max(least, LONGEST)))
    form = re.compile(pattern.replace("\\\\", "\\"), re.ASCII)
    return st.from_regex(form, fullmatch=True, alphabet=LETTERS).filter(lambda text: least <= len(text) <= most)


def _named(registry: str, project: str) -> dict[tuple[str, ...], st.SearchStrategy[Any]]:
    """Fields whose values name something: what is there, what is not, what the tenant does not allow."""
    account = f"@{project}.iam.gserviceaccount.com"
    return {
        ("image",): st.sampled_from(TAGS).map(lambda tag: f"{registry}/shop:{tag}"),
        ("env",): _variables(),
        ("envFrom",): st.sampled_from([[], ["shop-env"], ["shop-env", "absent"]]).map(
            lambda names: [{"configMap": {"name": name}} for name in names]
        ),
        ("django", "envNames"): st.dictionaries(
            st.sampled_from(CONTRACT), st.sampled_from(["MINE", "OTHER", "SECRET_KEY"]), max_size=2
        ),
        # Nothing answers requests in a simulation, so that only the startup probe can verify a candidate.
        ("web", "ingress"): st.sampled_from(["Internal", "InternalAndLoadBalancer"]),
        ("web", "invokers"): st.sampled_from(
            [[], [f"serviceAccount:shared-runner{account}"], [f"serviceAccount:shared-absent{account}"]]
        ),
        ("serviceAccount", "existing"): st.sampled_from(["shared-runner", "shared-absent", "foreign-one"]).map(
            lambda name: name + account
        ),
        ("database", "instance"): _instances(),
        ("superuser",): st.fixed_dictionaries(
            {"username": st.sampled_from(["boss", "other"]), "email": st.just("boss@acme.example")},
            optional={"command": st.just(["createsuperuser", "--noinput"])},
        ),
    }


def _variables() -> st.SearchStrategy[list[dict[str, Any]]]:
    sources: list[dict[str, Any]] = [
        {"value": "hello"},
        {"value": ""},
        {"secret": {"name": "shared-token", "version": "1"}},
        {"secret": {"name": "shared-absent", "version": "1"}},
        {"secret": {"name": "foreign-token", "version": "1"}},
        {"kubernetesSecret": {"name": "stripe", "key": "key"}},
        {"kubernetesSecret": {"name": "stripe", "key": "absent"}},
        {"kubernetesSecret": {"name": "absent", "key": "key"}},
    ]
    variable = st.builds(
        lambda name, source: {"name": name, **source},
        st.sampled_from(["GREETING", "STRIPE_KEY", "TOKEN", "SECRET_KEY"]),
        st.sampled_from(sources),
    )
    return st.lists(variable, max_size=3, unique_by=lambda item: str(item["name"]))


def _instances() -> st.SearchStrategy[dict[str, Any]]:
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    created = schema["properties"]["spec"]["properties"]["database"]["properties"]["instance"]["properties"]["create"]
    existing = st.sampled_from(["shared-pg", "shared-absent", "foreign-pg"])
    flags = st.dictionaries(
        st.sampled_from(["max_connections", "log_min_duration_statement", "no_such_flag"]),
        st.sampled_from(["50", "100", "500"]),
    )
    plain = {name: _values(inner) for name, inner in created["properties"].items() if name != "flags"}
    return st.one_of(
        existing.map(lambda name: {"existing": name}),
        st.fixed_dictionaries({}, optional={**plain, "flags": flags}).map(lambda fields: {"create": fields}),
    )
