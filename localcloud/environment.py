"""The variables that lead a process to this cloud by Google's own names (behaviour-runtime.md, section 1)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from localcloud.folder import Address

NO_PROXY = "127.0.0.1,localhost,::1"
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CURL_CA_BUNDLE",
)


def client_environment(proxy: str, bundle: Path) -> dict[str, str]:
    """For any process that talks to Google's names: the proxy, and whom to trust."""
    made = {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": NO_PROXY, "no_proxy": NO_PROXY}
    return made | dict.fromkeys(CA_VARIABLES, str(bundle))


def metadata_environment(address: str) -> dict[str, str]:
    """No single variable serves every client: Python pings the IP, gcloud reads only ROOT, Go and Java HOST."""
    return dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"), address)


def developer_environment(address: Address, bundle: Path, folder: Path) -> dict[str, str]:
    """For a shell: the above, the project, kubectl first on PATH."""
    programs = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    made = {"PATH": path if path.split(os.pathsep)[0] == programs else programs + os.pathsep + path}
    if address.kubeconfig:
        made["KUBECONFIG"] = address.kubeconfig
    return {
        **made,
        **client_environment(address.proxy, bundle),
        **metadata_environment(address.metadata),
        "CLOUDSDK_CORE_PROJECT": address.project,
        "GOOGLE_CLOUD_PROJECT": address.project,
        "LOCALCLOUD_DIR": str(folder),
        "LOCALCLOUD_REST": address.rest,
        "NUAGES_PROJECT": address.project,
        "NUAGES_REGION": address.region,
    }
