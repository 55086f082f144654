"""docs/troubleshooting.md on what kubectl refuses: the messages are its own, and the remedies work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Cluster

ROOT = Path(__file__).parents[2]
KUBECTL = Path(sys.executable).parent / "kubectl"

LARGE = f"env: [{', '.join(f'{{name: V{number}, value: {number:032000}x}}' for number in range(9))}]"
# What is written, and what the page says to write instead, or how to apply it.
WRITTEN = {
    "env: [{name: WORKERS, value: 4}]": 'env: [{name: WORKERS, value: "4"}]',
    'env: {WORKERS: "4"}': 'env: [{name: WORKERS, value: "4"}]',
    "web: {access: public}": "web: {access: Public}",
    LARGE: LARGE,
}
WORDS = {LARGE: ("--server-side",)}


def told() -> list[str]:
    """The messages of the page's section, in its order."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    section = page.partition("## Refused by kubectl apply\n")[2].partition("\n## ")[0]
    return re.findall(r"^```text\n(.*?)\n```$", section, re.MULTILINE | re.DOTALL)


def apply(cluster: Cluster, spec: str, *words: str) -> tuple[int, str]:
    """Exit status and what it says of an app with these fields."""
    manifest = yaml.safe_load((ROOT / "tests" / "apiserver" / "data" / "minimal_app.yaml").read_text())
    manifest["metadata"] = {"name": "shop"}
    manifest["spec"] |= yaml.safe_load(spec)
    place = ("--kubeconfig", str(cluster.kubeconfig), "-n", cluster.namespace)
    done = subprocess.run(
        [str(KUBECTL), *place, "apply", *words, "--dry-run=server", "-f", "-"],
        input=yaml.safe_dump(manifest),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("written", "message"), list(zip(WRITTEN, told(), strict=True)), ids=range(len(WRITTEN)))
def test_the_page_quotes_what_kubectl_says(cluster: Cluster, written: str, message: str) -> None:
    """Word for word, and what the page has in its place is accepted."""
    code, output = apply(cluster, written)
    assert (code, message in output) == (1, True), output
    code, output = apply(cluster, WRITTEN[written], *WORDS.get(written, ()))
    assert code == 0, output
