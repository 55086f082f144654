"""What all desired resources share: a name, an owner, and the resources that must be there first."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

MANAGED_BY = "nuages"


@dataclass(frozen=True, slots=True)
class Owner:
    """The Kubernetes object that a Google resource belongs to; written on it as labels or as one line of text.

    `app` and `uid` are empty for what the apps of a namespace share (the identity of db-init, say). `instance` stands
    alone: it marks what all apps on a Cloud SQL instance share, whatever their namespaces (its administrator's secret).
    `retained` marks what was kept when its app was deleted: an app of the same namespace and name takes it back.
    """

    namespace: str = ""
    app: str = ""
    uid: str = ""
    retained: bool = False
    instance: str = ""  # its id, as a label's value

    def labels(self) -> dict[str, str]:
        """Google label values allow what Kubernetes names do, except dots."""
        if self.instance:
            return {"managed-by": MANAGED_BY, "nuages-instance": self.instance}
        labels = {"managed-by": MANAGED_BY, "nuages-namespace": self.namespace}
        if self.app:
            labels |= {"nuages-app": self.app.replace(".", "_"), "nuages-uid": self.uid}
        return labels | ({"nuages-retained": "true"} if self.retained else {})

    def text(self) -> str:
        """The marker for what has no labels: a description, a comment."""
        if self.instance:
            return f"managed-by={MANAGED_BY} instance={self.instance}"
        app = f" app={self.app} uid={self.uid}" if self.app else ""
        return f"managed-by={MANAGED_BY} namespace={self.namespace}{app}" + (" retained" if self.retained else "")

    @classmethod
    def of_labels(cls, labels: Mapping[str, str]) -> Owner | None:
        """Whose labels these are; None where they are not ours."""
        if labels.get("managed-by") != MANAGED_BY:
            return None
        if "nuages-namespace" not in labels:
            return cls(instance=labels["nuages-instance"]) if labels.get("nuages-instance") else None
        return cls(
            sys.intern(labels["nuages-namespace"]),
            sys.intern(labels.get("nuages-app", "").replace("_", ".")),
            sys.intern(labels.get("nuages-uid", "")),
            labels.get("nuages-retained") == "true",
        )

    @classmethod
    def of_text(cls, text: str) -> Owner | None:
        """Whose marker this is; None where it is not ours."""
        if of_instance := re.fullmatch(r"managed-by=nuages instance=(\S+)", text):
            return cls(instance=of_instance[1])
        found = re.fullmatch(r"managed-by=nuages namespace=(\S+)(?: app=(\S+) uid=(\S+))?( retained)?", text)
        if found is None:
            return None
        namespace, app, uid = map(sys.intern, found.groups("")[:3])
        return cls(namespace, app, uid, bool(found[4]))

    def may_have(self, other: Owner | None) -> bool:
        """Whether what bears `other` is ours, or was left behind for us.

        What the apps of one namespace shared on an instance belongs to the instance since others may use it too.
        """
        if other is None or not (self._is_same_as(other) or (self.instance and other._is_of_namespace)):
            return False
        return self.uid == other.uid or other.retained

    def may_adopt(self, other: Owner | None) -> bool:
        """Whether a user may have it taken over: what bears no marker, or one of this app's in another cluster."""
        return other is None or self._is_same_as(other)

    def _is_same_as(self, other: Owner) -> bool:
        """In any life of it."""
        return (self.namespace, self.app, self.instance) == (other.namespace, other.app, other.instance)

    @property
    def _is_of_namespace(self) -> bool:
        return bool(self.namespace) and not self.app


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A Google resource that should be there. `name` is its full name, `owner` None where it is not ours to mark.

    `named_by` is the field of the spec that decides which one it is; "" where the app's own name does.
    """

    kind: ClassVar[str] = ""  # "run.googleapis.com/Service", as status.resources shows it
    name: str
    owner: Owner | None = None
    named_by: str = ""
    needs: frozenset[str] = field(default=frozenset(), metadata={"compare": False})

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def shown(self) -> str:
        """For people: "Secret acme-shop-secret-key"."""
        return f"{self.kind.rsplit('/', 1)[-1]} {self.id}"

    @property
    def project(self) -> str:
        """The id of the project that it lives in."""
        return self.name.split("/")[1]

    @property
    def keeps_data(self) -> bool:
        """Whether deleting it loses what nobody can make again: kept under deletionPolicy Retain."""
        return False

    def bind(self, versions: Mapping[str, str]) -> Resource | None:
        """The same with the current versions of secrets (by full name) filled in; None while one is missing."""
        return self
