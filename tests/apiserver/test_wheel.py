"""The wheel alone, in a clean environment: it holds the operator, and starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes import client
from uv import find_uv_bin

if TYPE_CHECKING:
    from conftest import Cluster

pytestmark = pytest.mark.xdist_group("wheel")

REPOSITORY = Path(__file__).parents[2]
START_S = 120.0
# In a pod the operator's uid has no name: neither the image's /etc/passwd nor the environment knows one.
NAMELESS = """
import os, pwd
def getpwuid(uid): raise KeyError(uid)
pwd.getpwuid = getpwuid
for name in ("LOGNAME", "USER", "LNAME", "USERNAME"): os.environ.pop(name, None)
from nuages.cli.main import main
main()
"""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def _run(*command: str | Path, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=_environment(), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by hatchling as it is installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    built = _run(Path(sys.executable).parent / "hatchling", "build", "-t", "wheel", "-d", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and what its own metadata asks for, and nothing else."""
    environment = tmp_path_factory.mktemp("clean") / "venv"
    uv = find_uv_bin()
    made = _run(uv, "venv", "-q", "--python", sys.executable, environment)
    assert made.returncode == 0, made.stderr
    pins: list[str | Path] = ["-c", REPOSITORY / "requirements.txt"]
    done = _run(uv, "pip", "install", "-q", "--python", environment / "bin" / "python", *pins, wheel)
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


def test_what_the_wheel_asks_for_is_what_the_image_has(installed: Path) -> None:
    """Its own metadata leads to no package that requirements.txt, which the Dockerfile installs, has not pinned."""
    frozen = _run(find_uv_bin(), "pip", "freeze", "--python", installed / "python").stdout.splitlines()
    pinned = [line.split()[0] for line in (REPOSITORY / "requirements.txt").read_text().splitlines() if "==" in line]
    assert [line.split()[0] for line in frozen if line not in pinned] == ["nuages"]


def test_wheel_alone_has_the_commands(installed: Path, tmp_path: Path) -> None:
    """Without localcloud: the CRDs as committed, what db-init and `nuages plan` need, a start that says its lack."""
    assert _run(installed / "nuages", "crds", "--output", tmp_path, cwd=tmp_path).returncode == 0
    assert (tmp_path / "djangoapps.yaml").read_text() == (REPOSITORY / "crds/djangoapps.yaml").read_text()
    loaded = _run(installed / "python", "-c", "import nuages.dbinit.main, nuages.cli.plan, localcloud", cwd=tmp_path)
    assert loaded.stderr.endswith("No module named 'localcloud'\n"), loaded.stderr
    started = _run(installed / "nuages", "run", cwd=tmp_path)
    assert started.returncode == 2
    assert "--operator-image" in started.stderr


def test_wheel_alone_runs_the_operator(installed: Path, cluster: Cluster, tmp_path: Path) -> None:
    """Ready, with the Lease, at work on an app that needs no Google yet; SIGTERM ends it with 0."""
    log = tmp_path / "operator.log"
    with _operator(installed, cluster, log) as operator:
        (port,) = _wait(lambda: [line["port"] for line in _lines(log) if line["message"] == "probes and metrics"], log)
        _wait(lambda: _status(f"http://127.0.0.1:{port}/readyz") == 200, log)
        cluster.create(yaml.safe_load((Path(__file__).parent / "data" / "minimal_app.yaml").read_text()))
        _wait(lambda: _stalled(cluster) == "TenantMissing", log)
        operator.send_signal(signal.SIGTERM)
        assert operator.wait(START_S) == 0, log.read_text()


@contextmanager
def _operator(programs: Path, cluster: Cluster, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """As the Deployment runs it, but with the administrator's kubeconfig."""
    options = ["--operator-image", "example/nuages:1", "--probe-host", "127.0.0.1", "--probe-port", "0"]
    options += ["--namespace", cluster.namespace, "--lease-namespace", cluster.namespace]
    environment = {**_environment(), "KUBECONFIG": str(cluster.kubeconfig)}
    with log.open("wb") as output:
        command = [programs / "python", "-c", NAMELESS, "run", *options]
        started = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def _wait(holds: Callable[[], Any], log: Path) -> Any:
    deadline = time.monotonic() + START_S
    while not (found := holds()):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return found


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def _status(url: str) -> int:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        return int(answer.status)


def _stalled(cluster: Cluster) -> str:
    custom = client.CustomObjectsApi(cluster.api)
    app = custom.get_namespaced_custom_object("nuages.dev", "v1alpha1", cluster.namespace, "djangoapps", "shop")
    conditions = {item["type"]: item["reason"] for item in app["status"].get("conditions", ())}
    return conditions.get("Stalled", "")
