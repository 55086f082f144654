"""The command lines of etcd, kube-apiserver and the collectors."""

from __future__ import annotations

from pathlib import Path

from localcloud.controlplane.binaries import Binaries
from localcloud.controlplane.credentials import Credentials

ISSUER = "https://kubernetes.default.svc"
SOCKET, PEER_SOCKET = (
    "unix://etcd.sock:0",
    "unix://peer.sock:0",
)  # relative to etcd's folder: paths of sockets are short

# Every request for a resource, once, when it ends (a watch: also when it begins). The API server's own are left out.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver"]
- level: None
  nonResourceURLs: ["*"]
- level: Metadata
"""


def etcd(binaries: Binaries) -> list[str]:
    """etcd beside kube-apiserver, to be run in its own folder."""
    return [
        str(binaries.etcd),
        "--data-dir=data",
        f"--listen-client-urls={SOCKET}",
        f"--advertise-client-urls={SOCKET}",
        f"--listen-peer-urls={PEER_SOCKET}",
        f"--initial-advertise-peer-urls={PEER_SOCKET}",
        f"--initial-cluster=default={PEER_SOCKET}",
        "--unsafe-no-fsync",
        "--heartbeat-interval=10",
        "--election-timeout=100",
        "--log-level=error",
    ]


def kube_apiserver(binaries: Binaries, etcd_folder: Path, flags: list[str]) -> list[str]:
    """kube-apiserver, with etcd inside where the program is ours."""
    if binaries.controlplane is not None:
        return [str(binaries.controlplane), "apiserver", "--etcd-dir", str(etcd_folder), *flags]
    return [str(binaries.kube_apiserver), f"--etcd-servers={SOCKET}", *flags]


def kube_apiserver_flags(port: int, credentials: Credentials, policy: Path, audit_log: Path) -> list[str]:
    """What both have in common."""
    return [
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--external-hostname=localhost",
        f"--cert-dir={credentials.folder}",
        f"--tls-cert-file={credentials.server_certificate}",
        f"--tls-private-key-file={credentials.server_key}",
        f"--service-account-key-file={credentials.service_account_key}",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        f"--service-account-issuer={ISSUER}",
        f"--token-auth-file={credentials.token_file}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",  # there are no nodes that would reach it
        "--disable-admission-plugins=ServiceAccount",  # it waits for accounts that no controller makes here
        f"--audit-policy-file={policy}",
        f"--audit-log-path={audit_log}",
        "--audit-log-maxsize=100",
        "--audit-log-maxbackup=1",
        "--profiling=false",
    ]


def controllers(binaries: Binaries, kubeconfig: Path) -> list[str]:
    """The two collectors of kube-controller-manager."""
    return [
        str(binaries.controlplane),
        "controllers",
        "--controllers=namespace-controller,garbage-collector-controller",
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]
