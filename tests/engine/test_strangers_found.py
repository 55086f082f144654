"""Strangers in policies: found in what is read for the app's own grants anyway, at no further call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from nuages.api import default_tenant, parse_app
from nuages.blueprint.blueprint import Blueprint
from nuages.blueprint.compose import compose
from nuages.blueprint.facts import Facts, ImageFacts
from nuages.cloud.inventory import Inventory
from nuages.desired.iam import IamMember, ProjectService
from nuages.reconcile.cluster import Cluster
from nuages.reconcile.execute import Executor, State
from nuages.reconcile.provision import make
from nuages.reconcile.reconciler import Pass
from nuages.reconcile.settings import Settings
from nuages.reconcile.strangers import find_strangers, own_grants
from nuages.reconcile.surplus import NO_SURPLUS, Surplus

APP = parse_app(
    {
        "apiVersion": "nuages.dev/v1alpha1",
        "kind": "DjangoApp",
        "metadata": {"name": "shop", "namespace": "acme", "uid": "u-1", "generation": 1},
        "spec": {"image": "europe-west1-docker.pkg.dev/demo/apps/shop:v1", "database": {"engine": "None"}},
    }
)
TENANT = default_tenant("acme", {"project": "demo", "region": "europe-west1"})
EVE = "user:eve@acme.example"


@pytest.fixture
async def place(scene) -> tuple[Pass, Blueprint]:
    """A pass over an app without a database, all of whose resources have been made."""
    digest = f"sha256:{'4' * 64}"
    facts = Facts(
        project_number="1", operator_image="nuages:1", image=ImageFacts(f"shop@{digest}", digest, "/app", "shop")
    )
    blueprint = compose(APP, TENANT, facts)
    resources = tuple(item for item in blueprint.resources if not isinstance(item, ProjectService))
    blueprint = replace(blueprint, resources=resources)
    nobody = cast(Cluster, None)  # nothing here asks Kubernetes
    work = Pass({"metadata": {}}, APP, TENANT, nobody, scene.access, Settings("nuages:1"), (), lambda: False)
    plan = await make(work, resources)
    results = await Executor(scene.access.drivers, scene.access.inventory).execute(plan)
    assert {result.state for result in results.values()} == {State.READY}
    return work, blueprint


def policies(scene) -> dict[str, int]:
    """Reads of policies, by method."""
    counts: dict[str, int] = scene.cloud.core.requests.counts
    return {name: count for name, count in counts.items() if name.lower().endswith(("getiampolicy", "iam"))}


async def test_looking_for_strangers_costs_no_call_of_its_own(scene, place) -> None:
    """An operator that has just started reads each policy for the app's own grants, and then knows all in it."""
    work, blueprint = place
    work.cloud = replace(scene.access, inventory=Inventory(scene.access.drivers))
    scene.cloud.core.requests.clear()
    await make(work, blueprint.resources)
    asked = policies(scene)
    assert sum(asked.values()) == len({item.target for item in own_grants(blueprint)})
    assert await find_strangers(work, blueprint, NO_SURPLUS) == ()
    assert policies(scene) == asked


async def test_after_a_write_of_ours_a_policy_is_read_once(scene, place) -> None:
    """What it held before may have changed with it; then rest asks nothing."""
    work, blueprint = place
    scene.cloud.core.requests.clear()
    assert await find_strangers(work, blueprint, NO_SURPLUS) == ()
    assert sum(policies(scene).values()) == len({item.target for item in own_grants(blueprint)})
    scene.cloud.core.requests.clear()
    assert await find_strangers(work, blueprint, NO_SURPLUS) == ()
    await make(work, blueprint.resources)
    assert policies(scene) == {}


async def test_a_stranger_is_found_on_each_resource_of_the_apps_own(scene, place) -> None:
    """Granted by others through their own credentials; a grant of ours that clean-up removes is none."""
    work, blueprint = place
    roles = sorted({(item.target, item.role) for item in own_grants(blueprint)})
    assert {target.split("/")[2] for target, _ in roles} == {"secrets", "buckets", "serviceAccounts"}
    others = (await scene.as_bearer("owner")).drivers.of(IamMember)
    grants = [IamMember.of(target, role, EVE) for target, role in roles]
    for grant in grants:
        await others.create(grant)
    found: Any = await find_strangers(work, blueprint, NO_SURPLUS)
    assert [item.resource for item in found] == sorted(grant.shown for grant in grants)
    seen = await work.cloud.inventory.list(IamMember, grants[0].target, 1000.0)
    leaving = Surplus(tuple(item for item in seen if item.state.member == EVE and item.state.role == grants[0].role))
    found = await find_strangers(work, blueprint, leaving)
    assert [item.resource for item in found] == sorted(grant.shown for grant in grants[1:])
