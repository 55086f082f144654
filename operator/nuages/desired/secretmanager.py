"""Secrets in Secret Manager: how their payload comes to be, never the payload itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from nuages.desired.resource import Resource


@dataclass(frozen=True, slots=True)
class Random:
    """Made once, of `length` characters from an alphabet that needs no quoting in a URL."""

    length: int = 50


@dataclass(frozen=True, slots=True)
class Copied:
    """One key of a Kubernetes Secret in the app's namespace."""

    secret: str
    key: str


@dataclass(frozen=True, slots=True)
class Composed:
    """Text with other secrets' payloads in it: `{password}` stands for the payload of `parts["password"]`."""

    template: str
    parts: tuple[tuple[str, str], ...]  # placeholder -> full name of a secret


Payload = Random | Copied | Composed


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(Resource):
    """`projects/P/secrets/S`; a change of `source`, the fingerprint of what it is made of, adds a version.

    The fingerprint never depends on a payload: "random", a Kubernetes Secret's uid and resourceVersion, or the versions
    of a composed secret's parts ("" until `bind` knows them). Beside it stands the version made from it.
    """

    kind: ClassVar[str] = "secretmanager.googleapis.com/Secret"
    payload: Payload
    source: str = "random"
    labels: tuple[tuple[str, str], ...] = ()  # besides the owner's

    @property
    def keeps_data(self) -> bool:
        return True

    def bind(self, versions: Mapping[str, str]) -> Secret | None:
        """With the fingerprint of a composed secret filled in; None while a part has no version yet."""
        if not isinstance(self.payload, Composed):
            return self
        found = [(name, versions.get(name)) for _, name in self.payload.parts]
        if not all(version for _, version in found):
            return None
        text = self.payload.template + "".join(f"|{name}@{version}" for name, version in found)
        return replace(self, source=hashlib.sha256(text.encode()).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret's value in an environment: `version` None stands for the version that is current at the release."""

    secret: str  # full name
    version: str | None = None
