"""`nuages plan` without a cluster to plan against."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

NUAGES = Path(sys.executable).parent / "nuages"
NOBODY = "127.0.0.1:9"  # discard's port, on which nothing listens


KUBECONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": f"http://{NOBODY}"}}],
    "users": [{"name": "u", "user": {"token": "any"}}],
}
CONFIG = yaml.safe_dump(KUBECONFIG)
KIND = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp"}
SPEC = {"image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v4"}
SHOP = {"metadata": {"name": "shop", "namespace": "acme"}, "spec": SPEC}


def test_a_cluster_out_of_reach_is_told_in_one_line(tmp_path: Path) -> None:
    """The app and the cause; no traceback. On the way what looks like a date was a string, as for kubectl."""
    dated = SHOP | {"metadata": {"name": "shop", "annotations": {"nuages.dev/reconcile-at": "DATE"}}}
    (line,) = refused(tmp_path, yaml.safe_dump(KIND | dated).replace("DATE", "2026-11-21"), CONFIG)
    assert line.startswith("shop: Cannot connect to host 127.0.0.1:9")


@pytest.mark.parametrize("config", [None, "{"])
def test_a_kubeconfig_that_leads_nowhere_is_told_in_one_line(tmp_path: Path, config: str | None) -> None:
    """One that is not there, and one that is no YAML."""
    (line,) = refused(tmp_path, yaml.safe_dump(KIND | SHOP), config)
    assert line.startswith("No cluster to plan against: ")
    assert line.endswith(" Set KUBECONFIG.")


def refused(tmp_path: Path, manifest: str, config: str | None) -> list[str]:
    """The lines that `nuages plan` says of this manifest, which it must not take."""
    kubeconfig, app = tmp_path / "kubeconfig", tmp_path / "app.yaml"
    if config is not None:
        kubeconfig.write_text(config)
    app.write_text(manifest)
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [NUAGES, "plan", "-f", app], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()
