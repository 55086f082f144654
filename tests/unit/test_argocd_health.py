"""Argo CD's health check and actions of a DjangoApp, by Argo CD's own test files, in Lua as Argo CD runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lupa import lua51

from tests.argocd_lua import CUSTOMIZATION, act, discover, health, run

ACTIONS = CUSTOMIZATION / "actions"
SETTINGS = Path(__file__).parents[2] / "deploy/argocd/argocd-cm.yaml"
HEALTH = (CUSTOMIZATION / "health.lua").read_text()
ANNOTATIONS = {f"nuages.dev/{name}" for name in ("reconcile-at", "retry-migration", "rotate")}
ANY_TIME = "0001-01-01T00:00:00Z"  # what Argo CD's tests put for the time of an action


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _live(name: str, **spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = _yaml(CUSTOMIZATION / "testdata" / f"{name}.yaml")
    return {**obj, "spec": {**obj["spec"], **spec}}


def _params(file: Path, section: str) -> list[Any]:
    return [pytest.param(case, id=f"{index}-{case['inputPath']}") for index, case in enumerate(_yaml(file)[section])]


@pytest.mark.parametrize("case", _params(CUSTOMIZATION / "health_test.yaml", "tests"))
def test_health_of_live_objects(case: dict[str, Any]) -> None:
    """Each object of health_test.yaml has the status and the message that it says."""
    assert health(HEALTH, _yaml(CUSTOMIZATION / case["inputPath"])) == case["healthStatus"]


def test_every_live_object_has_a_case() -> None:
    """No test data goes untested, and every status that a script may return for an app is among them."""
    cases = _yaml(CUSTOMIZATION / "health_test.yaml")["tests"]
    files = {f"testdata/{path.name}" for path in (CUSTOMIZATION / "testdata").iterdir()}
    assert {case["inputPath"] for case in cases} == files
    codes = {case["healthStatus"]["status"] for case in cases}
    assert codes == {"Healthy", "Progressing", "Degraded", "Suspended"}


@pytest.mark.parametrize("status", [None, {}, {"conditions": []}])
def test_without_a_status_it_progresses(status: dict[str, Any] | None) -> None:
    """An object that nobody has looked at yet is not healthy, also where a cluster's CRD has no default status."""
    obj = {name: value for name, value in _live("created").items() if name != "status"}
    obj |= {} if status is None else {"status": status}
    assert health(HEALTH, obj) == {"status": "Progressing", "message": "Generation 1 waits for the operator"}


def test_a_paused_app_whose_pause_was_not_processed_progresses() -> None:
    """Suspended is said only once the operator has really stopped."""
    obj = _live("healthy", paused=True)
    obj["metadata"]["generation"] = 2
    assert health(HEALTH, obj)["status"] == "Progressing"


_CONDITION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Ready", "Reconciling", "Stalled", "DatabaseReady"]),
        "status": st.sampled_from(["True", "False", "Unknown"]),
        "reason": st.sampled_from(["Available", "Paused", "MigrationFailed"]),
    },
    optional={"message": st.text(max_size=20), "observedGeneration": st.integers(-1, 4)},
)
_STATUS = st.fixed_dictionaries(
    {},
    optional={
        "observedGeneration": st.integers(-1, 4),
        "conditions": st.lists(_CONDITION, max_size=4, unique_by=lambda item: item["type"]),
        "phase": st.sampled_from(["Ready", "Degraded"]),
    },
)
_OBJECT = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"generation": st.integers(1, 3)}, optional={"deletionTimestamp": st.just("2026-10-01T10:00:00Z")}
        ),
        "spec": st.fixed_dictionaries({}, optional={"paused": st.booleans()}),
    },
    optional={"status": _STATUS},
)


@given(_OBJECT)
def test_never_healthy_for_a_generation_not_processed(obj: dict[str, Any]) -> None:
    """Whatever the conditions say, Healthy means Ready of this very generation, and nothing in its way."""
    found = health(HEALTH, obj)
    assert found["message"]
    status = obj.get("status", {})
    processed = status.get("observedGeneration") == obj["metadata"]["generation"]
    if not processed or "deletionTimestamp" in obj["metadata"]:
        assert found["status"] == "Progressing"
        return
    holds = {item["type"] for item in status.get("conditions", []) if item["status"] == "True"}
    healthy = "Ready" in holds and not holds & {"Reconciling", "Stalled"} and not obj["spec"].get("paused")
    assert (found["status"] == "Healthy") == healthy


@pytest.mark.parametrize("case", _params(ACTIONS / "action_test.yaml", "discoveryTests"))
def test_offered_actions(case: dict[str, Any]) -> None:
    """What is of no use just now is shown, but disabled."""
    assert discover((ACTIONS / "discovery.lua").read_text(), _yaml(ACTIONS / case["inputPath"])) == case["result"]


@pytest.mark.parametrize("case", _params(ACTIONS / "action_test.yaml", "actionTests"))
def test_actions(case: dict[str, Any]) -> None:
    """An action changes the pause or one annotation, and nothing else."""
    made = act((ACTIONS / case["action"] / "action.lua").read_text(), _yaml(ACTIONS / case["inputPath"]))
    for name in made["metadata"]["annotations"].keys() & ANNOTATIONS:
        made["metadata"]["annotations"][name] = ANY_TIME
    assert made == _yaml(ACTIONS / case["expectedOutputPath"])


def test_actions_are_tried_on_the_same_objects() -> None:
    """Those of the health check, from the operator's own words: what is offered depends on them."""
    taken = [
        name for name in ("healthy", "migration_failed") if _yaml(ACTIONS / f"testdata/{name}.yaml") == _live(name)
    ]
    assert taken == ["healthy", "migration_failed"]


def test_every_action_is_offered_and_tested() -> None:
    """Scripts, discovery and tests name the same actions."""
    scripts = {path.parent.name for path in ACTIONS.glob("*/action.lua")}
    offered = {item["name"] for item in discover((ACTIONS / "discovery.lua").read_text(), _live("healthy"))}
    assert scripts == offered == {case["action"] for case in _yaml(ACTIONS / "action_test.yaml")["actionTests"]}


def test_action_on_an_app_without_annotations() -> None:
    """The first annotation of an app may be an action's."""
    obj = _live("healthy")
    del obj["metadata"]["annotations"]
    made = act((ACTIONS / "reconcile/action.lua").read_text(), obj)
    assert list(made["metadata"]["annotations"]) == ["nuages.dev/reconcile-at"]


def test_settings_are_the_scripts() -> None:
    """argocd-cm.yaml holds health.lua for both kinds and every action, to the letter; links lead to the same script."""
    assert SETTINGS.with_name("health.lua").read_text() == HEALTH
    data = _yaml(SETTINGS)["data"]
    checked = ("DjangoApp", "DjangoTenant")
    health_of = {kind: f"resource.customizations.health.nuages.dev_{kind}" for kind in checked}
    assert data.keys() == {*health_of.values(), "resource.customizations.actions.nuages.dev_DjangoApp"}
    assert {kind: data[name] for kind, name in health_of.items()} == dict.fromkeys(checked, HEALTH)
    assert {kind: (CUSTOMIZATION.parent / kind / "health.lua").read_text() for kind in checked} == {
        kind: data[name] for kind, name in health_of.items()
    }
    actions = yaml.safe_load(data["resource.customizations.actions.nuages.dev_DjangoApp"])
    assert actions["discovery.lua"] == (ACTIONS / "discovery.lua").read_text()
    assert {item["name"]: item["action.lua"] for item in actions["definitions"]} == {
        path.parent.name: path.read_text() for path in ACTIONS.glob("*/action.lua")
    }


@pytest.mark.parametrize(
    "script",
    [
        "return {string.len('a')}",
        "return {('a'):len()}",
        "return {math.floor(1)}",
        "return {os.time()}",
        "return {io.write('a')}",
        "return {debug.traceback()}",
        "return {coroutine.create(print)}",
        "return {require('io')}",
        "return {require('os').getenv('HOME')}",
        "return {python.eval('1')}",
    ],
)
def test_lua_has_no_more_than_argo_cd_opens(script: str) -> None:
    """A script that needs another library fails here as it would in Argo CD."""
    with pytest.raises(lua51.LuaError):
        run(script, {})
