"""A tag is resolved once per release: where the digest that it stood for is written down. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from nuages.api.app import DjangoApp
from nuages.blueprint.facts import ImageFacts
from nuages.cloud.driver import Observed
from nuages.desired.run import RunService

IMAGE_LABEL = "nuages-image"


def pinned(app: DjangoApp, before: Mapping[str, Any], live: Observed[RunService] | None) -> ImageFacts | None:
    """The digest of an earlier pass for the same spec.image: from the status, else from the service's label.

    A new value of nuages.dev/reconcile-at looks at the tag again.
    """
    image, release = app.spec.image, before.get("release") or {}
    if app.reconcile_at != release.get("reconcileAt", ""):
        return None
    if release.get("image") == image and release.get("imageDigest"):
        return _facts(image, str(release["imageDigest"]))
    if live is not None and dict(live.state.template.labels).get(IMAGE_LABEL) == label_of(image):
        return _facts(image, live.state.template.image.rsplit("@", 1)[-1])
    return None


def label_of(image: str) -> str:
    """A label's value for an image reference, which itself has characters that labels refuse."""
    return hashlib.sha256(image.encode()).hexdigest()[:16]


def _facts(image: str, digest: str) -> ImageFacts:
    name = image.split("@", 1)[0]
    head, _, tail = name.rpartition("/")
    return ImageFacts(f"{head}/{tail.split(':', 1)[0]}@{digest}", digest)
