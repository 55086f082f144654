"""What the operator asked of the API server, as its audit log has it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

OPERATOR = "system:serviceaccount:nuages-system:nuages"

Use = tuple[str, str, str]  # API group, resource with its sub-resource, verb


class AuditLog:
    """Read on from where it was left."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0
        self.uses: set[Use] = set()  # that RBAC allowed

    def denied(self) -> list[Use]:
        """What RBAC has not allowed since the last time."""
        found = []
        for use, is_allowed in self._new():
            if is_allowed:
                self.uses.add(use)
            else:
                found.append(use)
        return found

    def _new(self) -> Iterator[tuple[Use, bool]]:
        """A 403 alone does not tell that RBAC refused: a namespace that is ending answers it too."""
        if self._path.stat().st_size < self._read:  # a new file: the old one was full
            self._read = 0
        with self._path.open("rb") as log:
            log.seek(self._read)
            whole, _, _ = log.read().rpartition(b"\n")
        self._read += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            entry = json.loads(line)
            place = entry.get("objectRef")
            if entry["user"]["username"] == OPERATOR and place and "resource" in place:
                decision = entry.get("annotations", {}).get("authorization.k8s.io/decision", "")
                resource = "/".join(part for part in (place["resource"], place.get("subresource")) if part)
                yield (place.get("apiGroup", ""), resource, entry["verb"]), decision == "allow"


def reads(path: Path, namespace: str, resource: str, name: str) -> int:
    """How often the operator read an object from the API server."""
    return len(read_at(path, namespace, resource, name))


def read_at(path: Path, namespace: str, resource: str, name: str) -> list[float]:
    """When it did, in seconds by the API server's clock, oldest first."""
    wanted, found = {"namespace": namespace, "name": name, "resource": resource}, []
    for line in path.read_text().splitlines():
        if namespace in line and '"get"' in line:
            entry = json.loads(line)
            target = entry.get("objectRef") or {}
            by_operator = entry["user"]["username"] == OPERATOR
            if by_operator and entry["verb"] == "get" and wanted.items() <= target.items():
                found.append(dt.datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp())
    return sorted(found)
