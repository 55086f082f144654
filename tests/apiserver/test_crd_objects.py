"""Stored objects: columns, defaults, transitions, server-side apply, size."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nuages.api import crd, parse_app
from nuages.api.status import DjangoAppStatus

if TYPE_CHECKING:
    from conftest import Cluster

CRDS = Path(__file__).parents[2] / "crds"

KUBECTL = Path(sys.executable).parent / "kubectl"


def _read(name: str, **spec: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data" / f"{name}.yaml").read_text())
    return {**manifest, "spec": {**manifest["spec"], **spec}}


def app(**spec: Any) -> dict[str, Any]:
    """A DjangoApp with an image and these fields."""
    return _read("minimal_app", **spec)


def tenant(**spec: Any) -> dict[str, Any]:
    """A DjangoTenant with project and region and these fields."""
    return _read("minimal_tenant", **spec)


def _kubectl(cluster: Cluster, *words: str, given: str = "") -> str:
    command = [str(KUBECTL), "--kubeconfig", str(cluster.kubeconfig), "--namespace", cluster.namespace, *words]
    return subprocess.run(command, input=given, text=True, capture_output=True, check=True).stdout


def _stored(cluster: Cluster, obj: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    stored = dict(cluster.create(obj).stored)
    return dict(cluster.replace_status({**stored, "status": status}).stored) if status else stored


STATUS = {
    "observedGeneration": 1,
    "url": "https://acme-shop-1.europe-west1.run.app",
    "revision": "acme-shop-00002",
    "traffic": [{"revision": "acme-shop-00001", "percent": 90}, {"revision": "acme-shop-00002", "percent": 10}],
    "database": {"instance": "acme-pg", "name": "shop"},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Available",
            "message": "",
            "lastTransitionTime": "2026-10-01T10:00:00Z",
        }
    ],
}


def test_kubectl_get_shows_the_state(cluster: Cluster) -> None:
    """READY REASON URL REVISION AGE, and in the wide form IMAGE and TRAFFIC too."""
    _stored(cluster, app(), DjangoAppStatus.model_validate_json(json.dumps(STATUS)).dump())
    header, row = (line.split() for line in _kubectl(cluster, "get", "djangoapps").splitlines())
    assert header == ["NAME", "READY", "REASON", "URL", "REVISION", "AGE"]
    assert row[:5] == ["shop", "True", "Available", STATUS["url"], "acme-shop-00002"]
    header, row = (line.split(maxsplit=7) for line in _kubectl(cluster, "get", "dja", "-o", "wide").splitlines())
    assert header[6:] == ["IMAGE", "TRAFFIC"]
    assert row[6:] == [app()["spec"]["image"], "acme-shop-00001=90%,acme-shop-00002=10%"]


def test_kubectl_get_tenants(cluster: Cluster) -> None:
    """READY REASON PROJECT REGION AGE, and in the wide form ACCOUNTS and SERVICES; both kinds are in `nuages`."""
    _stored(cluster, tenant(), TENANT_STATUS)
    header, row = (line.split() for line in _kubectl(cluster, "get", "djt").splitlines())
    assert header == ["NAME", "READY", "REASON", "PROJECT", "REGION", "AGE"]
    assert row[:5] == ["default", "True", "Available", "acme-prod", "europe-west1"]
    header, row = (line.split() for line in _kubectl(cluster, "get", "djt", "-o", "wide").splitlines())
    assert (header[6:], row[6:]) == (["ACCOUNTS", "SERVICES"], ["37", "12"])
    assert "djangotenant.nuages.dev/default" in _kubectl(cluster, "get", "nuages", "-o", "name")


def test_new_app_is_not_current(cluster: Cluster) -> None:
    """kstatus reads a new app as in progress, and the spec has no field that was not written."""
    stored = _stored(cluster, app())
    assert stored["status"] == {"observedGeneration": -1}
    assert stored["spec"] == app()["spec"]


@pytest.mark.parametrize("name", ["full_app", "minimal_app", "full_tenant"])
def test_applied_twice_leaves_no_difference(cluster: Cluster, name: str) -> None:
    """Applied again, under the status that the operator wrote, nothing is written; another manager changes no spec."""
    manifest = _read(name)
    text, plural = yaml.safe_dump(manifest), f"{manifest['kind'].lower()}s"

    def apply(manager: str) -> dict[str, Any]:
        _kubectl(cluster, "apply", "--server-side", f"--field-manager={manager}", "-f", "-", given=text)
        obj: dict[str, Any] = yaml.safe_load(
            _kubectl(cluster, "get", plural, manifest["metadata"]["name"], "-o", "yaml")
        )
        return obj

    created = apply("argocd")
    first = cluster.replace_status({**created, "status": {"observedGeneration": 1}}).stored
    second, other = apply("argocd"), apply("person")
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert created["metadata"]["generation"] == other["metadata"]["generation"] == 1
    assert other["spec"] == manifest["spec"]


def _changed(obj: dict[str, Any], database: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(obj)
    changed["spec"]["database"] = database
    return changed


def test_data_in_use_is_not_left_behind(cluster: Cluster) -> None:
    """Once the app's data is somewhere, database and existing instance cannot be named otherwise."""
    stored = _stored(cluster, app(database={"instance": {"existing": "acme-pg"}}), STATUS)
    renamed = cluster.replace(_changed(stored, {"name": "other", "instance": {"existing": "acme-pg"}}))
    assert "spec.database.name" in renamed.message
    assert "The data is in the old database and is not moved." in renamed.message
    moved = cluster.replace(_changed(stored, {"instance": {"existing": "other-pg"}}))
    assert "spec.database.instance.existing" in moved.message
    assert "The data is on the old instance and is not moved." in moved.message
    spelt_out = cluster.replace(_changed(stored, {"name": "shop", "instance": {"existing": "acme-pg"}}))
    assert spelt_out.accepted, spelt_out.message


def test_tenants_instance_can_be_spelt_out(cluster: Cluster) -> None:
    """Naming the instance that the app uses anyway is no move."""
    stored = _stored(cluster, app(), STATUS)
    assert cluster.replace(_changed(stored, {"instance": {"existing": "acme-pg"}})).accepted


def test_an_own_instance_is_none_that_is_shared(cluster: Cluster) -> None:
    """Not even the app itself may name it as an existing one: its administrator's secret is the app's."""
    status = {**STATUS, "database": {"instance": "acme-shop-a24a7f", "name": "shop", "own": True}}
    stored = _stored(cluster, app(), status)
    refused = cluster.replace(_changed(stored, {"instance": {"existing": "acme-shop-a24a7f"}}))
    assert "spec.database.instance.existing" in refused.message
    assert "The data is on the old instance and is not moved." in refused.message
    spelt_out = cluster.replace(_changed(stored, {"instance": {"create": {"storageGiB": 30}}}))
    assert spelt_out.accepted, spelt_out.message


def test_a_shared_instance_is_none_to_create(cluster: Cluster) -> None:
    """An app on one that others use may not have one of its own made."""
    shared = {**STATUS, "database": {"instance": "acme-pg", "name": "shop", "own": False}}
    stored = _stored(cluster, app(), shared)
    refused = cluster.replace(_changed(stored, {"instance": {"create": {}}}))
    assert "spec.database.instance.create" in refused.message
    assert "The data is on an instance that is not the app's own, and is not moved." in refused.message
    spelt_out = cluster.replace(_changed(stored, {"instance": {"existing": "acme-pg"}}))
    assert spelt_out.accepted, spelt_out.message


def test_wrong_instance_can_be_corrected(cluster: Cluster) -> None:
    """Before there is data, another instance and database may be named."""
    stored = _stored(cluster, app(database={"instance": {"existing": "acme-gp"}}))
    answer = cluster.replace(_changed(stored, {"name": "other", "instance": {"existing": "acme-pg"}}))
    assert answer.accepted, answer.message


@pytest.mark.parametrize(
    ("field", "value"), [("project", "acme-test"), ("region", "us-east1"), ("deploymentId", "other")]
)
def test_tenant_does_not_move(cluster: Cluster, field: str, value: str) -> None:
    """Project, region and prefix stay: what exists would be left behind."""
    stored = _stored(cluster, tenant(deploymentId="acme"))
    answer = cluster.replace({**stored, "spec": {**stored["spec"], field: value}})
    assert f"spec.{field}" in answer.message
    assert "What exists would stay behind under the old value." in answer.message


def test_status_of_the_models_is_accepted(cluster: Cluster) -> None:
    """Every field of the status passes the API server unpruned."""
    stored = _stored(cluster, app(), FULL_STATUS)
    assert stored["status"] == FULL_STATUS


def test_status_of_a_tenant_is_accepted(cluster: Cluster) -> None:
    """Unpruned; before the first one, kstatus reads a tenant as in progress."""
    stored = _stored(cluster, tenant())
    assert stored["status"] == {"observedGeneration": -1}
    assert cluster.replace_status({**stored, "status": TENANT_STATUS}).stored["status"] == TENANT_STATUS


TENANT_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": STATUS["conditions"],
    "limits": {"serviceAccounts": {"used": 37, "limit": 100}, "services": {"used": 12, "limit": 1000}},
}
FULL_STATUS: dict[str, Any] = {
    **STATUS,
    "phase": "Ready",
    "trafficSplit": "acme-shop-00001=90%,acme-shop-00002=10%",
    "urls": [STATUS["url"]],
    "image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop@sha256:0",
    "release": {
        "stage": "Done",
        "id": "r1",
        "revision": "acme-shop-00002",
        "imageDigest": "sha256:0",
        "migration": {"execution": "e", "state": "Succeeded", "imageDigest": "sha256:0", "logUri": "https://console"},
        "startedAt": "2026-10-01T10:00:00Z",
        "history": [
            {"id": "r0", "revision": "acme-shop-00001", "imageDigest": "", "finishedAt": "2026-10-01T10:00:00Z"}
        ],
    },
    "resources": [{"kind": "SqlInstance", "name": "acme-pg", "state": "Ready", "link": "https://console"}],
    "operations": [{"name": "op", "service": "sql", "resource": "acme-pg", "startedAt": "2026-10-01T10:00:00Z"}],
    "database": {"instance": "acme-pg", "name": "shop", "own": False},
}


def test_crds_are_small() -> None:
    """Both together fit under 100 KB, far from the limit of client-side apply."""
    assert sum(path.stat().st_size for path in CRDS.glob("*.yaml")) < 100_000


def test_committed_crds_are_current(tmp_path: Path) -> None:
    """`make crds` would change nothing."""
    for path in crd.write(tmp_path):
        assert path.read_text() == (CRDS / path.name).read_text(), "run make crds"


def test_spec_has_no_defaults_in_the_crd() -> None:
    """Defaults live in code, so that Argo CD sees no difference."""
    for definition in crd.definitions():
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert "default" not in yaml.safe_dump(schema["properties"]["spec"]).split()
        assert not any(
            line.strip().startswith("default:") for line in yaml.safe_dump(schema["properties"]["spec"]).splitlines()
        )


def test_an_object_of_the_cluster_is_parsed_with_its_metadata(cluster: Cluster) -> None:
    """What Kubernetes adds to metadata does not disturb; what Nuages needs of it is there."""
    parsed = parse_app(_stored(cluster, app()))
    assert parsed.key == f"{cluster.namespace}/shop"
    assert parsed.metadata.uid
    assert parsed.metadata.generation == 1
