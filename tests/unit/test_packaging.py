"""The wheel and the kustomize base: what people install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from uv import find_uv_bin

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


def _run(*command: str | Path, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by hatchling as it is installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    built = _run(PROGRAMS / "hatchling", "build", "-t", "wheel", "-d", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and its pinned requirements, and nothing else."""
    environment = tmp_path_factory.mktemp("clean") / "venv"
    uv = find_uv_bin()
    made = _run(uv, "venv", "-q", "--python", sys.executable, environment)
    assert made.returncode == 0, made.stderr
    python = environment / "bin" / "python"
    requirements: list[str | Path] = ["--require-hashes", "-r", REPOSITORY / "requirements.txt"]
    only_this: list[str | Path] = ["--no-deps", wheel]
    for arguments in (requirements, only_this):
        done = _run(uv, "pip", "install", "-q", "--python", python, *arguments)
        assert done.returncode == 0, done.stderr
    return environment / "bin"


def test_wheel_holds_the_operator_and_nothing_else(wheel: Path) -> None:
    """Code, the type marker and the scripts that ride in jobs; neither localcloud nor tests."""
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("nuages/py.typed", "nuages/cli/main.py", "nuages/dbinit/__main__.py"):
        assert needed in names
    scripts = {path.name for path in (REPOSITORY / "operator/nuages/blueprint/scripts").glob("*.py")}
    assert scripts <= {Path(name).name for name in names if "/blueprint/scripts/" in name}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"nuages"}


def test_wheel_alone_starts_the_operator(installed: Path, tmp_path: Path) -> None:
    """Without localcloud: help, CRDs, and a start that says what it lacks."""
    assert "Watch DjangoApps" in _run(installed / "nuages", "--help", cwd=tmp_path).stdout
    assert _run(installed / "nuages", "crds", "--output", tmp_path, cwd=tmp_path).returncode == 0
    assert (tmp_path / "djangoapps.yaml").read_text() == (REPOSITORY / "crds/djangoapps.yaml").read_text()
    absent = _run(installed / "python", "-c", "import localcloud", cwd=tmp_path)
    assert "No module named 'localcloud'" in absent.stderr
    loaded = _run(installed / "python", "-c", "import nuages.kube.operator, nuages.cli.plan", cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    started = _run(installed / "nuages", "run", cwd=tmp_path)
    assert started.returncode == 2
    assert "--operator-image" in started.stderr


@pytest.fixture(scope="module")
def base() -> list[dict[str, Any]]:
    """The objects that `kubectl apply -k deploy/kustomize/base` sends."""
    rendered = _run(PROGRAMS / "kubectl", "kustomize", REPOSITORY / "deploy/kustomize/base")
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


def test_every_role_is_one_that_localcloud_judges_by() -> None:
    """What the documentation asks people to grant is granted, and enough, in the end-to-end tests."""
    from localcloud.core.roles import ROLES
    from localcloud.operator import roles

    assert roles() == sorted(roles())
    assert set(roles()) <= set(ROLES)
