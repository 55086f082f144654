"""Manifests in Git against the API server: applied again, nothing differs, whatever the operator wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from gitops_support import (
    ARGO_CD,
    FINALIZER,
    REPOSITORY,
    Git,
    compared,
    kubectl,
    operator_of,
    reconciled,
)
from kubernetes import client

from localcloud.controlplane.plane import ControlPlane
from nuages.api.group import API_VERSION
from nuages.kube.objects import KubernetesCluster
from tests.argocd_lua import CUSTOMIZATION, act, health

if TYPE_CHECKING:
    from conftest import Cluster

WAVE = "argocd.argoproj.io/sync-wave"
EXAMPLE = REPOSITORY / "samples/gitops"
SERVER_SIDE = ("--server-side", "--field-manager=kubectl")


def _manifests() -> Iterator[Any]:
    """Every object of our kinds in samples/, and one of each kind with all its fields."""
    full = (REPOSITORY / "tests/apiserver/data").glob("full_*.yaml")
    for path in (*sorted((REPOSITORY / "samples").rglob("*.yaml")), *sorted(full)):
        for obj in yaml.safe_load_all(path.read_text()):
            if isinstance(obj, dict) and obj.get("apiVersion") == API_VERSION:
                yield pytest.param(obj, id=f"{path.relative_to(REPOSITORY)}:{obj['kind']}")


MANIFESTS = tuple(_manifests())
ACTIONS = sorted(path.parent.name for path in (CUSTOMIZATION / "actions").glob("*/action.lua"))
APPS = tuple(item for item in MANIFESTS if item.values[0]["kind"] == "DjangoApp")


@pytest.fixture
def git(cluster: Cluster) -> Git:
    """Argo CD's view of a namespace of its own."""
    return Git(cluster)


@pytest.fixture
async def operator(controlplane: ControlPlane, crds: None) -> AsyncIterator[KubernetesCluster]:
    """The operator's own writes."""
    async with operator_of(Path(controlplane.kubeconfig)) as operator:
        yield operator


def _status(generation: int) -> dict[str, Any]:
    """A healthy app's status, of the health check's test data, as processed in this generation."""
    status: dict[str, Any] = yaml.safe_load((CUSTOMIZATION / "testdata/healthy.yaml").read_text())["status"]
    conditions = [{**item, "observedGeneration": generation} for item in status["conditions"]]
    return {**status, "observedGeneration": generation, "conditions": conditions}


async def _reconciled(operator: KubernetesCluster, git: Git, obj: Mapping[str, Any]) -> dict[str, Any]:
    live = git.live(obj)
    return await reconciled(operator, live, _status(live["metadata"]["generation"]))


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_applied_again_nothing_differs(git: Git, manifest: dict[str, Any]) -> None:
    """Nothing but the bookkeeping of the first write changes, and the spec is the manifest's."""
    desired = git.desired(manifest)
    first = git.apply(desired)
    assert git.differences(desired) == []
    # The API server drops a status at creation, the CRD's default with it, and stores the default at the next write:
    # one new resourceVersion, until the operator has written a status of its own.
    second = git.apply(desired)
    assert compared(second) == compared(first)
    assert git.apply(desired)["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert git.differences(desired) == []
    assert git.live(desired)["spec"] == manifest["spec"]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_two_managers_agree(git: Git, manifest: dict[str, Any]) -> None:
    """Argo CD and a person's kubectl own the same spec; neither sees a difference, and the generation stays."""
    desired = git.desired(manifest)
    git.apply(desired)
    git.kubectl(desired, *SERVER_SIDE)
    assert git.differences(desired) == []
    both = git.live(desired)
    git.kubectl(desired, *SERVER_SIDE)
    assert git.apply(desired)["metadata"]["resourceVersion"] == both["metadata"]["resourceVersion"]
    assert both["metadata"]["generation"] == 1
    assert both["spec"] == manifest["spec"]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_client_side_apply_does_not_disturb(git: Git, manifest: dict[str, Any]) -> None:
    """Somebody's plain `kubectl apply` of the same manifest leaves no difference for Argo CD either."""
    desired = git.desired(manifest)
    git.apply(desired)
    git.kubectl(desired)
    assert git.differences(desired) == []
    assert git.live(desired)["metadata"]["generation"] == 1


@pytest.mark.parametrize("manifest", APPS)
async def test_operators_writes_are_no_difference(git: Git, operator: KubernetesCluster, manifest: Any) -> None:
    """Finalizer and status leave spec and generation alone; both managers apply again and write nothing."""
    desired = git.desired(manifest)
    git.apply(desired)
    git.kubectl(desired, *SERVER_SIDE)
    before = await _reconciled(operator, git, desired)
    assert git.differences(desired) == []
    git.kubectl(desired, *SERVER_SIDE)
    after = git.apply(desired)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["metadata"]["generation"] == 1
    assert after["status"] == before["status"]
    assert after["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("manifest", APPS)
async def test_operator_owns_no_spec(git: Git, operator: KubernetesCluster, manifest: Any) -> None:
    """By the API server's own record, spec belongs to those who applied it, and status to the operator."""
    desired = git.desired(manifest)
    git.apply(desired)
    live = await _reconciled(operator, git, desired)
    owners: dict[str, set[str]] = {}
    for entry in live["metadata"]["managedFields"]:
        for part in entry["fieldsV1"]:
            owners.setdefault(part, set()).add(entry["manager"])
    assert owners["f:spec"] == {ARGO_CD}
    assert ARGO_CD not in owners["f:status"]


def test_a_commit_is_a_difference(git: Git) -> None:
    """The comparison is not blind: a changed, a new and a removed field are seen, each at its path."""
    manifest = yaml.safe_load((EXAMPLE / "shop/app.yaml").read_text())
    desired = git.desired(manifest)
    git.apply(desired)
    desired["spec"]["image"] += "2"
    desired["spec"]["paused"] = True
    del desired["spec"]["web"]["maxInstances"]
    assert git.differences(desired) == ["metadata.generation", "spec.image", "spec.paused", "spec.web.maxInstances"]


async def test_health_follows_the_generation(git: Git, operator: KubernetesCluster) -> None:
    """Healthy only once the operator has processed what Git says; a commit makes it Progressing at once."""
    script = (CUSTOMIZATION / "health.lua").read_text()
    desired = git.desired(yaml.safe_load((EXAMPLE / "shop/app.yaml").read_text()))
    assert health(script, git.apply(desired))["status"] == "Progressing"
    assert health(script, await _reconciled(operator, git, desired))["status"] == "Healthy"
    desired["spec"]["image"] += "2"
    committed = health(script, git.apply(desired))
    assert committed == {"status": "Progressing", "message": "Generation 2 waits for the operator"}
    assert health(script, await _reconciled(operator, git, desired))["status"] == "Healthy"


@pytest.mark.parametrize(
    "action", sorted(path.parent.name for path in (CUSTOMIZATION / "actions").glob("*/action.lua"))
)
async def test_actions_are_not_undone(git: Git, operator: KubernetesCluster, action: str) -> None:
    """What an action sets is accepted, and no difference to Git: self-healing does not take it back."""
    desired = git.desired(yaml.safe_load((EXAMPLE / "shop/app.yaml").read_text()))
    git.apply(desired)
    live = await _reconciled(operator, git, desired)
    if action == "resume":
        live = git.patch(desired, {"spec": {"paused": True}})
    wanted = act((CUSTOMIZATION / "actions" / action / "action.lua").read_text(), live)
    done = git.patch(desired, _merge_patch(live, wanted))
    assert compared(done) != compared(live)
    assert compared(git.apply(desired)) == compared(done)
    if action == "resume":
        assert done["spec"] == desired["spec"]


def _merge_patch(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386, as Argo CD makes one of the live object and the action's."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            inner = _merge_patch(old[name], value)
            patch |= {name: inner} if inner else {}
        elif value != old.get(name):
            patch[name] = value
    return patch


def test_settings_join_those_that_are_there(cluster: Cluster) -> None:
    """Applied as its head says, the snippet leaves every other setting of argocd-cm in place."""
    core = client.CoreV1Api(cluster.api)
    metadata = client.V1ObjectMeta(name="argocd-cm", labels={"app.kubernetes.io/part-of": "argocd"})
    core.create_namespaced_config_map(
        cluster.namespace, client.V1ConfigMap(metadata=metadata, data={"url": "https://x"})
    )
    snippet = str(REPOSITORY / "deploy/argocd/argocd-cm.yaml")
    words = ("apply", "--server-side", "--field-manager=nuages", "-f", snippet)
    kubectl(cluster, "--namespace", cluster.namespace, *words)
    data = core.read_namespaced_config_map("argocd-cm", cluster.namespace).data
    assert data == {"url": "https://x", **yaml.safe_load(Path(snippet).read_text())["data"]}


def test_waves_of_the_example(cluster: Cluster) -> None:
    """CRDs and operator come before the tenant, and the tenant before its apps."""
    rendered = yaml.safe_load_all(kubectl(cluster, "kustomize", str(EXAMPLE)))
    waves: dict[str, set[int]] = {}
    for obj in rendered:
        waves.setdefault(obj["kind"], set()).add(int(obj["metadata"].get("annotations", {}).get(WAVE, "0")))
    assert {"CustomResourceDefinition", "ClusterRole", "Deployment", "DjangoTenant", "DjangoApp"} <= waves.keys()
    own = {kind: found for kind, found in waves.items() if kind not in ("Namespace", "DjangoTenant", "DjangoApp")}
    assert max(max(found) for found in own.values()) < min(waves["DjangoTenant"])
    assert max(waves["DjangoTenant"]) < min(waves["DjangoApp"])
    assert max(waves["Namespace"]) <= min(waves["DjangoTenant"])
    application = yaml.safe_load((EXAMPLE / "application.yaml").read_text())["spec"]
    assert application["source"]["path"] == str(EXAMPLE.relative_to(REPOSITORY))
    assert "ServerSideApply=true" in application["syncPolicy"]["syncOptions"]
