"""`nuages plan` on a machine that Google knows nothing of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from conftest import Cluster

NUAGES = Path(sys.executable).parent / "nuages"
THEIRS = ("GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")


def test_no_credentials_are_told_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    """The field and the remedy; no traceback."""
    app = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp", "metadata": {"name": "shop"}}
    spec = {"image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v4"}
    environment = {name: value for name, value in os.environ.items() if name not in THEIRS}
    environment |= {"KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)}
    done = subprocess.run(
        [NUAGES, "plan", "-f", "-", "--namespace", cluster.namespace, "--project", "acme-prod"],
        input=yaml.safe_dump(app | {"spec": spec}),
        env=environment | {"NO_GCE_CHECK": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "shop: DjangoTenant spec.impersonateServiceAccount: the operator's own credentials: The operator has no Google "
        "credentials. Set up workload identity, or run: gcloud auth application-default login.\n"
    )
