"""The folder of one local cloud: what is kept there, who uses it now, and where that one listens."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from localcloud.front.private import write_private

LOOK_S = 0.2


class InUse(Exception):
    """Another local cloud runs in this folder."""


class NotRunning(Exception):
    """No local cloud runs in this folder."""


@dataclass(frozen=True)
class Address:
    """Where a running local cloud listens, and what its commands need."""

    pid: int
    rest: str
    proxy: str
    front_port: int
    metadata: str  # host:port of the developer's metadata server
    kubeconfig: str  # "" without a control plane
    project: str
    region: str
    speed: float
    simulated: bool
    token: str  # for the commands' own requests


class Folder:
    """Paths and lock; a killed localcloud's lock is free at once, whatever pid file it left."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.state = self.path / "state.db"
        self.tls = self.path / "tls"
        self.bundle = self.tls / "ca-bundle.pem"
        self.ports = self.path / "ports.json"
        self.log = self.path / "localcloud.log"
        self.operator_log = self.path / "operator.log"
        self._lock = self.path / "lock"
        self._address = self.path / "address.json"

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Hold the folder. Raises InUse."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock.open("a") as lock:
            if not _locked(lock):
                raise InUse(f"{self.path}: a localcloud runs here already. Use it, or run 'localcloud down'.")
            try:
                yield
            finally:
                self._address.unlink(missing_ok=True)

    def is_used(self) -> bool:
        """Whether a localcloud runs here."""
        if not self._lock.exists():
            return False
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def is_local_cloud(self) -> bool:
        """Whether the folder was made by localcloud: only such a one may be removed."""
        return self._lock.exists()

    def is_anothers(self) -> bool:
        """Whether it has files that are not a localcloud's, which `reset` would remove with the rest."""
        return not self.is_local_cloud() and self.path.is_dir() and any(self.path.iterdir())

    def command(self, name: str) -> str:
        """A line to paste into any shell, whatever its folder and PATH are."""
        return shlex.join([str(Path(sys.executable).parent / "localcloud"), name, "--dir", str(self.path)])

    def publish(self, address: Address) -> None:
        """Tell the commands where this localcloud listens; it is ready from now on."""
        write_private(self._address, json.dumps(asdict(address), indent=1).encode())

    def address(self) -> Address:
        """Where the running one listens. Raises NotRunning."""
        if self.is_used():
            with contextlib.suppress(FileNotFoundError):
                return Address(**json.loads(self._address.read_text()))
            raise NotRunning(f"{self.path}: localcloud is still starting, or stopping. Try again in a moment.")
        raise NotRunning(f"{self.path}: no localcloud runs here. Start one with 'localcloud up'.")

    def kept_ports(self) -> dict[str, int]:
        """The ports of the last run, so that URLs stay the same."""
        try:
            found = json.loads(self.ports.read_text())
            return {str(name): int(port) for name, port in found.items()}
        except (OSError, ValueError):
            return {}

    def keep_ports(self, ports: dict[str, int]) -> None:
        write_private(self.ports, json.dumps(ports).encode())


def _locked(lock: IO[str]) -> bool:
    """Take the lock; tried for a moment, since a command that only looks holds it for an instant."""
    deadline = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S / 20)
