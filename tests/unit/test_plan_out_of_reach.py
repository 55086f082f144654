"""`nuages plan` without a cluster to plan against."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

NUAGES = Path(sys.executable).parent / "nuages"
NOBODY = "127.0.0.1:9"  # discard's port, on which nothing listens


def test_a_cluster_out_of_reach_is_told_in_one_line(tmp_path: Path) -> None:
    """The app and the cause; no traceback."""
    config, app = tmp_path / "kubeconfig", tmp_path / "app.yaml"
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://{NOBODY}"}}],
        "users": [{"name": "u", "user": {"token": "any"}}],
    }
    config.write_text(yaml.safe_dump(kubeconfig))
    spec = {"image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v4"}
    kind = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp"}
    app.write_text(yaml.safe_dump({**kind, "metadata": {"name": "shop", "namespace": "acme"}, "spec": spec}))
    environment = {**os.environ, "KUBECONFIG": str(config), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [NUAGES, "plan", "-f", app], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("shop: Cannot connect to host 127.0.0.1:9")
    assert len(done.stderr.splitlines()) == 1
