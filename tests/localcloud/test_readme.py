"""README.md's way to deploy a project of one's own, as it is printed there: a stranger pastes it and it works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import demo_processes
import pytest

from localcloud.demo import PRODUCTS
from localcloud.demo_check import check

ROOT = Path(__file__).parents[2]
DEADLINE_S = 420.0  # the deploy has five minutes of its own
STOP_S = 30.0
NOBODY = -1  # no process leads those that are looked for: they bear the folder's name
MARK = "@@ "  # before each command's output
# What the shell is asked besides, behind the README's command that begins so.
OWNER = "-H 'Authorization: Bearer any'"
BROWSERS = "$(.venv/bin/localcloud status | sed -n 's/^browsers *//p')"
PROBES = {
    'eval "': ("command -v kubectl", 'echo "$KUBECONFIG"', 'echo "$NO_PROXY $no_proxy"'),
    "kubectl wait": (
        "kubectl get djangoapps",
        "kubectl describe deployments -n nuages-system",
        f"curl -fs $LOCALCLOUD_REST/v1/projects/demo/secrets {OWNER}",
        f"curl -fsS https://run.googleapis.com/v2/projects/demo/locations/europe-west1/services {OWNER}",
        f"curl -sf {BROWSERS}",
    ),
}

pytestmark = pytest.mark.xdist_group("demo")


def console(heading: str, nth: int = 0) -> list[str]:
    """The commands of a section's console block: what follows `$ `, with the lines that belong to it."""
    section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [command.rstrip("\n") for command in re.split(r"^\$ ", blocks[nth], flags=re.MULTILINE)[1:]]


def script(commands: list[str]) -> str:
    """For one shell; it ends with the first command that fails."""
    lines = ["set -e"]
    for command in commands:
        lines += [f"printf '\\n{MARK}{' '.join(command.split()[:2])}\\n'", command]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Said:
    """What each command printed."""

    output: str

    def __getitem__(self, command: str) -> str:
        """By its first two words; of the last one where several have them."""
        parts = [part for part in f"\n{self.output}".split(f"\n{MARK}") if part.startswith(f"{command}\n")]
        assert parts, f"{command} was not reached:\n{self.output}"
        return parts[-1].partition("\n")[2].strip()


@pytest.fixture
async def clone(tmp_path: Path) -> AsyncIterator[Path]:
    """Where the README's paths lead to programs and a project; what was started there is ended."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / "samples" / "shop", tmp_path / "path" / "to" / "project")
    yield tmp_path
    for left in await asyncio.to_thread(demo_processes.of, NOBODY, str(tmp_path)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(left.pid, signal.SIGKILL)


async def pasted(text: str, folder: Path) -> Said:
    """What a shell prints that knows no other cluster or cloud; it ends with 0."""
    others = ("KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS")
    own = {"CLOUDSDK_CONFIG": str(folder / "gcloud"), "KUBECACHEDIR": str(folder / "kube")}
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", text),
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if name not in others}, **own},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, output.decode()
    return Said(output.decode())


async def test_a_project_is_deployed_as_the_readme_says(clone: Path) -> None:
    """Every line of the section, the samples' shop being the project: up with Kubernetes and operator, to down."""
    deploying, later = commands()
    said = await pasted(script(deploying), clone)
    assert "localcloud is ready after" in said[".venv/bin/localcloud up"]
    check_environment(said, clone)
    assert "apps/mine:v1@sha256:" in said[".venv/bin/localcloud build"]
    row = r"^mine +True +Available +https://default-mine-\d+\.\S+run\.app "
    assert re.search(row, said["kubectl get"], re.MULTILINE), said["kubectl get"]
    assert re.search(r"^Replicas: +0 desired", said["kubectl describe"], re.MULTILINE), said["kubectl describe"]
    log = str(clone / ".localcloud" / "operator.log")
    assert f"localcloud/operator-log: {log}" in said["kubectl describe"]
    assert "/secrets/default-mine-superuser-password" in said["curl -fs"]
    assert "/services/default-mine" in said["curl -fsS"]
    link = re.search(r'href="(http://default-mine-\d+\.localhost:\d+/)"', said["curl -sf"])
    assert link, said["curl -sf"]
    await check(link[1], PRODUCTS, "admin", said["curl -s"])
    said = await pasted(script(later), clone)
    assert "kubeconfig" in said[".venv/bin/localcloud status"]
    assert f"its log is {log}" in said[".venv/bin/localcloud status"]
    assert '"default/mine"' in said["tail .localcloud/operator.log"]
    assert "GREETING" in said["kubectl describe"]
    assert "default-mine-" in said[".venv/bin/localcloud logs"]
    assert "deleted" in said["kubectl delete"]
    assert said[".venv/bin/localcloud down"] == "Stopped."
    deadline = time.monotonic() + STOP_S
    while left := demo_processes.of(NOBODY, str(clone)):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.1)


def commands() -> tuple[list[str], list[str]]:
    """The README's, with what the shell is asked besides: until the app is looked at, and from then on."""
    section = console("Deploy your own project to localcloud")
    ready = next(number for number, command in enumerate(section, 1) if command.startswith("kubectl wait"))
    deploying = []
    for command in section[:ready]:
        asked = (more for begins, more in PROBES.items() if command.startswith(begins))
        deploying += [command, *next(asked, ())]
    passwords = [line for line in console("Deploy your own project to localcloud", 1) if shutil.which(line.split()[0])]
    enter = next(command for command in section if command.startswith("eval"))
    return deploying + passwords, [enter, *section[ready:]]


def check_environment(said: Said, clone: Path) -> None:
    """kubectl and Google's names lead to this local cloud, and nothing local goes through its proxy."""
    assert Path(said["command -v"]).samefile(Path(sys.prefix) / "bin" / "kubectl")
    assert Path(said['echo "$KUBECONFIG"']).is_relative_to(clone / ".localcloud")
    for name in ("127.0.0.1", "localhost", "::1"):
        assert said['echo "$NO_PROXY'].count(name) == 2
