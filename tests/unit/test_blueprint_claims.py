"""What each kind of app gets, whole: the folders of `blueprints/` hold an input and everything that follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from blueprint_yaml import dump
from unit_support import TENANT, a_tenant, an_app, some_facts

from nuages.blueprint.blueprint import Blueprint
from nuages.blueprint.compose import compose
from nuages.blueprint.facts import ExistingInstance, Facts
from nuages.blueprint.names import is_given

FOLDER = Path(__file__).parent / "blueprints"
CLAIMS = sorted(path.parent for path in FOLDER.glob("*/app.yaml"))


def _read(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _facts(document: dict[str, Any]) -> Facts:
    if "existing_instance" in document:
        document["existing_instance"] = ExistingInstance(**document["existing_instance"])
    if "kubernetes_secrets" in document:
        rows = document["kubernetes_secrets"]
        document["kubernetes_secrets"] = {(row["name"], row["key"]): row["fingerprint"] for row in rows}
    return some_facts(**document)


def _composed(claim: Path) -> Blueprint:
    app = _read(claim / "app.yaml")
    tenant = a_tenant(_read(claim / "tenant.yaml") or TENANT)
    return compose(an_app(app["spec"], **app["metadata"]), tenant, _facts(_read(claim / "facts.yaml")))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_blueprint_is_the_one_on_file(claim: Path, request: pytest.FixtureRequest) -> None:
    """Every resource, variable, edge and job; `--write-blueprints` writes the file anew, for the eye to judge."""
    made, expected = dump(_composed(claim)), claim / "blueprint.yaml"
    if request.config.getoption("--write-blueprints", default=False):
        expected.write_text(made)
    assert yaml.safe_load(made) == yaml.safe_load(expected.read_text())
    assert made == expected.read_text()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_whatever_is_made_is_known_by_its_name(claim: Path) -> None:
    """Or a deletion would take it for somebody's copy, and leave it."""
    made, app = _composed(claim), _read(claim / "app.yaml")
    where = an_app(app["spec"], **app["metadata"]), a_tenant(_read(claim / "tenant.yaml") or TENANT)
    marked = [item.resource.name for item in made.own]
    jobs = [item.name for item in (made.db_init, made.migrate, made.superuser) if item is not None]
    given = {name: is_given(*where, name) for name in (*marked, *jobs, *made.job_names, made.service_name)}
    assert [name for name, known in given.items() if not known] == []


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_same_input_gives_the_same_bytes(claim: Path) -> None:
    """Or every pass would plan anew."""
    assert dump(_composed(claim)) == dump(_composed(claim))
