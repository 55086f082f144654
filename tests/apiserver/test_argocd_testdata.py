"""The health check's test data is what the operator and the API server make of an app.

After a change of what the operator says, take the new files over, and correct health_test.yaml where health changed:

    pytest tests/apiserver/test_argocd_testdata.py --basetemp=NEW
    cp NEW/test_testdata_is*[0-9]/*.yaml deploy/argocd/resource_customizations/nuages.dev/DjangoApp/testdata/

actions/testdata has the same two objects, and each with what an action changes of it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from argocd_scenes import Scenes, written
from gitops_support import REPOSITORY, Git, kubectl, operator_of, reconciled

from localcloud.controlplane.plane import ControlPlane
from nuages.kube.objects import KubernetesCluster
from nuages.reconcile.report import Report
from tests.argocd_lua import CUSTOMIZATION

if TYPE_CHECKING:
    from conftest import Cluster

TESTDATA = CUSTOMIZATION / "testdata"
UID = "6b1f0c1e-5f0e-4f7e-9d55-0d0c5a8e2b11"  # names of Google resources are made from it
SAMPLE = REPOSITORY / "samples/gitops/shop"

# Each file: the passes that led there, a dictionary being a commit or "delete" what a person did in between.
Step = Callable[[Scenes], Report] | dict[str, Any] | str
V2 = {"image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v2"}
LIVES: dict[str, tuple[Step, ...]] = {
    "created": (),
    "provisioning": (Scenes.provisioning,),
    "migrating": (Scenes.provisioning, Scenes.migrating),
    "healthy": (Scenes.provisioning, Scenes.migrating, Scenes.healthy),
    "commit_not_processed": (Scenes.healthy, V2),
    "migration_failed": (Scenes.healthy, V2, Scenes.migration_failed),
    "permission_denied": (Scenes.permission_denied,),
    "google_unavailable": (Scenes.google_unavailable,),
    "tenant_missing": (Scenes.tenant_missing,),
    "paused": (Scenes.healthy, {"paused": True}, Scenes.paused),
    "observed": ({"management": "Observe"}, Scenes.observed),
    "deletion_not_processed": (Scenes.healthy, "delete"),
    "deleting": (Scenes.healthy, "delete", Scenes.deleting),
    "deletion_paused": (Scenes.healthy, {"paused": True}, "delete", Scenes.deletion_paused),
    "deletion_denied": (Scenes.healthy, "delete", Scenes.deletion_denied),
}


@dataclass(frozen=True)
class Life:
    """An app under Argo CD and the operator; times are an hour apart, so that each is told from the others."""

    git: Git
    operator: KubernetesCluster

    async def live(self, steps: tuple[Step, ...]) -> dict[str, Any]:
        """The object as the last step leaves it."""
        desired = self.git.desired(_sample("app"))
        obj = self.git.apply(desired)
        for hour, step in enumerate(steps, start=10):
            if step == "delete":
                self._delete(desired)
                obj = self.git.live(desired)
            elif isinstance(step, dict):
                desired["spec"] |= step
                obj = self.git.apply(desired)
            elif callable(step):
                status = written(step, _placed(obj), _sample("tenant"), f"2026-10-01T{hour}:00:00Z")
                obj = await reconciled(self.operator, obj, status)
                assert obj["status"] == status, "the API server pruned or added something"
        obj = self.git.live(desired)
        if "deletionTimestamp" in obj["metadata"]:
            await self.operator.write_finalizers(obj, [])
        return _masked(obj)

    def _delete(self, obj: dict[str, Any]) -> None:
        cluster = self.git.cluster
        words = ("delete", "djangoapp", obj["metadata"]["name"], "--wait=false")
        kubectl(cluster, "--namespace", cluster.namespace, *words)


def _sample(name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((SAMPLE / f"{name}.yaml").read_text())
    return manifest


def _placed(obj: dict[str, Any]) -> dict[str, Any]:
    """As it would be in the namespace and with the uid of the test data."""
    return {**obj, "metadata": {**obj["metadata"], "namespace": "acme", "uid": UID}}


def _masked(obj: dict[str, Any]) -> dict[str, Any]:
    """What differs from run to run, made the same: namespace, uid, resourceVersion and the API server's times."""
    made = _placed(json.loads(json.dumps(obj).replace(obj["metadata"]["namespace"], "acme")))
    metadata = copy.deepcopy(made["metadata"])
    metadata["resourceVersion"] = "4711"
    for name in ("creationTimestamp", "deletionTimestamp"):
        if name in metadata:
            metadata[name] = "2026-10-01T09:59:58Z" if name == "creationTimestamp" else "2026-10-01T20:00:00Z"
    for entry in metadata["managedFields"]:
        entry["time"] = "2026-10-01T10:00:00Z"
    metadata["managedFields"].sort(key=lambda entry: (entry["manager"], entry.get("subresource", "")))
    return {**made, "metadata": metadata}


@pytest.fixture
async def life(cluster: Cluster, controlplane: ControlPlane) -> AsyncIterator[Life]:
    """An app in a namespace of its own."""
    async with operator_of(Path(controlplane.kubeconfig)) as operator:
        yield Life(Git(cluster), operator)


def _read_by_the_check(obj: dict[str, Any]) -> dict[str, Any]:
    """The part that health and actions depend on; the rest of a file may be older than the operator."""
    status = obj.get("status", {})
    heads = {item["type"]: item for item in status.get("conditions", [])}
    return {
        "deleting": "deletionTimestamp" in obj["metadata"],
        "generations": (obj["metadata"]["generation"], status.get("observedGeneration")),
        "spec": obj["spec"],
        "migration": status.get("release", {}).get("migration", {}).get("state"),
        "conditions": {
            kind: (heads[kind]["status"], heads[kind]["reason"], heads[kind]["message"])
            for kind in ("Ready", "Reconciling", "Stalled")
            if kind in heads
        },
    }


@pytest.mark.parametrize("name", LIVES)
async def test_testdata_is_a_live_object(life: Life, name: str, tmp_path: Path) -> None:
    """What health depends on is in the file as the API server returns it after these passes."""
    now = await life.live(LIVES[name])
    kept = TESTDATA / f"{name}.yaml"
    made = tmp_path / kept.name
    made.write_text(yaml.safe_dump(now, sort_keys=True, width=1000, allow_unicode=True))
    assert kept.exists(), f"cp {made} {kept}"
    expected = _read_by_the_check(yaml.safe_load(kept.read_text()))
    assert _read_by_the_check(now) == expected, f"the operator says something else; if rightly so: cp {made} {kept}"


@pytest.mark.parametrize("name", LIVES)
async def test_testdata_passes_the_crd(life: Life, name: str) -> None:
    """The CRD of today takes the file's spec and the whole of its status, unpruned."""
    kept = yaml.safe_load((TESTDATA / f"{name}.yaml").read_text())
    obj = life.git.apply(life.git.desired({**_sample("app"), "spec": kept["spec"]}))
    assert (await life.operator.write_status(obj, kept["status"]))["status"] == kept["status"]


def test_every_file_is_from_a_life() -> None:
    """No test data is written by hand."""
    assert {path.stem for path in TESTDATA.glob("*.yaml")} == LIVES.keys()
