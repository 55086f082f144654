"""What GitOps does to the API server: Argo CD's server-side apply and comparison, a person's kubectl, the operator."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubernetes import aio, client

from nuages.api.group import GROUP, VERSION
from nuages.kube.objects import KubernetesCluster

if TYPE_CHECKING:
    from conftest import Cluster

REPOSITORY = Path(__file__).parents[2]
KUBECTL = Path(sys.executable).parent / "kubectl"
ARGO_CD = "argocd-controller"
TRACKING = "argocd.argoproj.io/tracking-id"
FINALIZER = "nuages.dev/google-resources"


@dataclass(frozen=True)
class Git:
    """What Argo CD does with a manifest: applies it by server-side apply, and compares by a dry run of the same."""

    cluster: Cluster

    def desired(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """As Argo CD sends it: in its namespace, with the annotation that tracks it."""
        obj = copy.deepcopy(dict(manifest))
        obj["metadata"]["namespace"] = self.cluster.namespace
        name = f"{self.cluster.namespace}/{obj['metadata']['name']}"
        tracking = {TRACKING: f"nuages:{GROUP}/{obj['kind']}:{name}"}
        obj["metadata"]["annotations"] = obj["metadata"].get("annotations", {}) | tracking
        return obj

    def apply(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Argo CD takes over what others own (--force-conflicts)."""
        options = {"dry_run": "All"} if dry_run else {}
        return self._patch(
            obj, dict(obj), "apply-patch+yaml", field_manager=ARGO_CD, field_validation="Strict", force=True, **options
        )

    def patch(self, obj: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
        """A merge patch, as Argo CD's server makes for an action."""
        return self._patch(obj, dict(patch), "merge-patch+json", field_manager="argocd-server")

    def live(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """What the API server has."""
        found = client.CustomObjectsApi(self.cluster.api).get_namespaced_custom_object(*self._place(obj))
        assert isinstance(found, dict)
        return found

    def differences(self, obj: Mapping[str, Any]) -> list[str]:
        """The paths in which the dry run's answer is not what is live (serverSideDiff in gitops-engine/pkg/diff).

        Stricter than Argo CD: fields of other managers count too, and so does the status.
        """
        return sorted(_differences(compared(self.apply(obj, dry_run=True)), compared(self.live(obj)), ""))

    def _patch(self, obj: Mapping[str, Any], body: dict[str, Any], media_type: str, **options: Any) -> dict[str, Any]:
        # The client decodes the answer 200 only; an apply that creates is answered 201.
        response: Any = client.CustomObjectsApi(self.cluster.api).patch_namespaced_custom_object(
            *self._place(obj), body, _content_type=f"application/{media_type}", _preload_content=False, **options
        )
        assert response.status in (200, 201), response.data
        patched: dict[str, Any] = json.loads(response.data)
        return patched

    def _place(self, obj: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
        return GROUP, VERSION, self.cluster.namespace, f"{obj['kind'].lower()}s", obj["metadata"]["name"]

    def kubectl(self, obj: Mapping[str, Any], *words: str) -> None:
        """A person's kubectl, with the manifest as it is in Git, without Argo CD's annotation."""
        plain = copy.deepcopy(dict(obj))
        del plain["metadata"]["annotations"][TRACKING]
        kubectl(self.cluster, "apply", *words, "-f", "-", given=json.dumps(plain))


def kubectl(cluster: Cluster, *words: str, given: str = "") -> str:
    command = [str(KUBECTL), "--kubeconfig", str(cluster.kubeconfig), *words]
    return subprocess.run(command, input=given, text=True, capture_output=True, check=True).stdout


def compared(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": _without(obj["metadata"], "managedFields", "resourceVersion")}


def _without(obj: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name not in names}


def _differences(a: Any, b: Any, path: str) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in a.keys() | b.keys():
            yield from _differences(a.get(name), b.get(name), f"{path}.{name}".lstrip("."))
    elif a != b:
        yield path


@asynccontextmanager
async def operator_of(kubeconfig: Path) -> AsyncIterator[KubernetesCluster]:
    """The operator's own reads and writes, as the cluster's administrator."""
    configuration = aio.client.Configuration()
    await aio.config.load_kube_config(  # type: ignore[no-untyped-call]
        str(kubeconfig), client_configuration=configuration
    )
    async with aio.client.ApiClient(configuration) as api:
        yield KubernetesCluster(api, "nuages-0")


async def reconciled(operator: KubernetesCluster, live: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """The object once the operator took it up: its finalizer, then a status."""
    if FINALIZER not in live["metadata"].get("finalizers", []):
        live = await operator.write_finalizers(live, [FINALIZER])
    return dict(await operator.write_status(live, status))
