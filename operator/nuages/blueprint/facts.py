"""What only Google or the cluster knows, and the blueprint needs; gathered by reconcile, so that compose stays pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nuages.blueprint.rotation import Pair


@dataclass(frozen=True)
class ImageFacts:
    """An image pinned to its digest, and what its configuration says."""

    reference: str  # host/project/repository/name@sha256:…
    digest: str
    working_dir: str = ""
    user: str = ""


@dataclass(frozen=True)
class ExistingInstance:
    """What the blueprint must know of an instance that somebody else made."""

    region: str
    database_version: str
    max_connections: int = 0  # from its flags; 0: by its tier
    tier: str = ""


@dataclass(frozen=True)
class Facts:
    """`image` is None until the tag was resolved; then a blueprint has no service and no jobs."""

    project_number: str
    operator_image: str  # what db-init runs
    image: ImageFacts | None = None
    existing_instance: ExistingInstance | None = None
    own_instance: str = (
        ""  # full name of the instance that bears the app's marker, its name being made from an older uid
    )
    hash_url: str = ""  # the service's run.app URL of the hash form, once there is one
    kubernetes_secrets: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (name, key) -> fingerprint
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    logins: Pair = field(default_factory=Pair)  # the login roles' passwords; the app uses the newest
    keys: Pair = field(default_factory=Pair)  # SECRET_KEY
    signing: str = "a"  # the letter of the key that signs; another one is accepted only
    rotates: bool = False  # a rotation is under way, or waits for its turn
