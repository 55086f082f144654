"""Every constraint on the real API server, and the same in the models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nuages.api import InvalidSpec, parse_app, parse_tenant
from nuages.api.contract import CONTRACT

if TYPE_CHECKING:
    from conftest import Cluster

Case = dict[str, Any]


def _read(name: str) -> Any:
    return yaml.safe_load((Path(__file__).parent / "data" / f"{name}.yaml").read_text())


APP_CASES, TENANT_CASES = _read("app_cases"), _read("tenant_cases")


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


def _agree(case: Case, accepted: bool, message: str, error: InvalidSpec) -> None:
    assert not accepted
    assert case["field"] in message
    assert error.field.startswith(case["field"])
    cause = case.get("cause", "")
    assert cause in message
    assert error.message.endswith(cause)


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_contract_names_are_reserved(cluster: Cluster, name: str) -> None:
    """No variable of the environment contract can be set by `env`."""
    answer = cluster.create(app({"env": [{"name": name, "value": "x"}]}), dry_run=True)
    assert f"Nuages sets one of these ({', '.join(CONTRACT)}) itself." in answer.message
    with pytest.raises(
        InvalidSpec, match=rf"^spec\.env: Nuages sets {name} itself\. Use the fields of spec\.django, or"
    ):
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
