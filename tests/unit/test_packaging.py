"""The kustomize base and the image: what people install."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner

from nuages.cli import main
from nuages.kube.operator import Options
from nuages.kube.probes import Probes

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base() -> list[dict[str, Any]]:
    """The objects that `kubectl apply -k deploy/kustomize/base` sends."""
    command = [Path(sys.executable).parent / "kubectl", "kustomize", REPOSITORY / "deploy/kustomize/base"]
    rendered = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def _only(base: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (item for item in base if item["kind"] == kind)
    return found


def test_base_is_complete_and_namespaced(base: list[dict[str, Any]]) -> None:
    """CRDs, namespace, identity, permissions, Deployment; what has a namespace is in nuages-system."""
    kinds = sorted(item["kind"] for item in base)
    expected = ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "CustomResourceDefinition"]
    assert kinds == [*expected, "Deployment", "Namespace", "Role", "RoleBinding", "ServiceAccount"]
    namespaced = [i for i in base if i["kind"] in ("Deployment", "Role", "RoleBinding", "ServiceAccount")]
    assert {item["metadata"]["namespace"] for item in namespaced} == {"nuages-system"}


def test_pod_meets_the_restricted_standard(base: list[dict[str, Any]]) -> None:
    """The namespace enforces it, and the pod needs no exception; its file system is read-only besides."""
    assert _only(base, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = _only(base, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


async def test_the_kubelet_asks_where_the_operator_answers(base: list[dict[str, Any]]) -> None:
    """Each probe's port is the one that `nuages run` listens on by itself, and its path one that answers there."""
    (container,) = _only(base, "Deployment")["spec"]["template"]["spec"]["containers"]
    set_besides = {item["name"] for item in container["env"]} | set(container["args"])
    assert set_besides == {"run", "POD_NAME", "NUAGES_LEASE_NAMESPACE", "NUAGES_IMAGE"}
    ports = {item["name"]: item["containerPort"] for item in container["ports"]}
    asked = {kind: container[kind]["httpGet"] for kind in ("readinessProbe", "livenessProbe")}
    defaults = inspect.signature(main.run).parameters
    assert {ports[probe["port"]] for probe in asked.values()} == {defaults["probe_port"].default}
    assert defaults["probe_host"].default == "0.0.0.0"  # noqa: S104 - what is asserted
    answers = {
        (ready, kind): await _answer(ready, probe["path"]) for ready in (True, False) for kind, probe in asked.items()
    }
    assert answers == {
        (True, "readinessProbe"): 200,
        (True, "livenessProbe"): 200,
        (False, "readinessProbe"): 503,
        (False, "livenessProbe"): 200,
    }


def test_two_operators_of_a_cluster_ask_for_one_lease(
    base: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs `nuages run` beside the Deployment waits for it, and two of them on one machine are not one holder."""
    made: list[Options] = []

    async def begin(options: Options) -> int:
        made.append(options)
        return 0

    monkeypatch.setattr("nuages.kube.operator.run", begin)
    monkeypatch.setattr(main, "configure_logs", lambda form: None)  # it is the whole process's
    outside = {"POD_NAME": None, "NUAGES_LEASE_NAMESPACE": None}
    for flags in ([], [], ["--lease-namespace", ""]):
        ended = CliRunner().invoke(main.app, ["run", "--operator-image", "example/nuages:1", *flags], env=outside)
        assert ended.exit_code == 0, ended.output
    installed = _only(base, "Deployment")["metadata"]["namespace"]
    assert [options.lease_namespace for options in made] == [installed, installed, ""]
    assert len({options.identity for options in made}) == len(made)


async def _answer(ready: bool, path: str) -> int:
    probes = Probes()
    probes.ready = ready
    port = await probes.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status
    finally:
        await probes.stop()


def test_operator_knows_its_own_image(base: list[dict[str, Any]]) -> None:
    """db-init runs the image that the Deployment runs."""
    (container,) = _only(base, "Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert environment["NUAGES_IMAGE"] == container["image"]


def test_user_of_the_image_is_the_pods(base: list[dict[str, Any]]) -> None:
    """One numeric UID in the Dockerfile and in the Deployment."""
    pod = _only(base, "Deployment")["spec"]["template"]["spec"]
    (user,) = re.findall(r"^USER (\d+):\d+$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert int(user) == pod["securityContext"]["runAsUser"]


def test_the_image_installs_what_was_pinned_and_nothing_besides() -> None:
    """What requirements.txt names, by hash; then our own package, for which nothing else is fetched."""
    installs = re.findall(r"pip install (.+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert installs == ["--require-hashes -r requirements.txt", "--no-deps ."]


def test_every_role_is_one_that_localcloud_judges_by() -> None:
    """What the documentation asks people to grant is granted, and enough, in the end-to-end tests."""
    from localcloud.core.roles import ROLES
    from localcloud.operator import roles

    assert roles() == sorted(roles())
    assert set(roles()) <= set(ROLES)
