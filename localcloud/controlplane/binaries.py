"""The programs of a control plane, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Binaries:
    """Either our one program, which has the collectors too, or etcd and kube-apiserver side by side."""

    NO_COLLECTORS: ClassVar[str] = (
        "this control plane has no collectors: deleted namespaces stay, and so do the dependents of deleted owners. "
        "With Go 1.21 or later installed (https://go.dev/dl) one that has them is built."
    )

    origin: str
    version: str
    controlplane: Path | None = None
    etcd: Path | None = None
    kube_apiserver: Path | None = None

    @property
    def has_collectors(self) -> bool:
        """Whether namespace deletion and garbage collection work."""
        return self.controlplane is not None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The programs there are."""
        return tuple(path for path in (self.controlplane, self.etcd, self.kube_apiserver) if path is not None)

    @classmethod
    def beside_each_other(cls, folder: Path, origin: str, version: str) -> Binaries | None:
        """The two in the folder, as KUBEBUILDER_ASSETS and the envtest archive have them, or None."""
        etcd, kube_apiserver = folder.absolute() / "etcd", folder.absolute() / "kube-apiserver"
        if not (etcd.is_file() and kube_apiserver.is_file()):
            return None
        return cls(origin=origin, version=version, etcd=etcd, kube_apiserver=kube_apiserver)
