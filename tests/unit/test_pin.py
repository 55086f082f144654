"""A tag is resolved once per release: where its digest is found again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit_support import DIGEST, IMAGE, REGISTRY, a_tenant, an_app, some_facts

from nuages.blueprint.compose import compose
from nuages.blueprint.facts import ImageFacts
from nuages.cloud.driver import Observed
from nuages.desired.run import RunService
from nuages.reconcile.pin import pinned

OTHER = f"sha256:{'5' * 64}"
RELEASE = {"image": f"{REGISTRY}/shop:v4", "imageDigest": OTHER}


def _live(**spec: Any) -> Observed[RunService]:
    service = compose(an_app(spec), a_tenant(), some_facts()).service
    assert service is not None
    return Observed(service)


def test_an_unknown_image_is_resolved() -> None:
    """Neither status nor service knows it."""
    assert pinned(an_app(), {}, None) is None


def test_the_status_keeps_the_digest() -> None:
    """A tag that moves releases nothing by itself."""
    assert pinned(an_app(), {"release": RELEASE}, None) == ImageFacts(f"{REGISTRY}/shop@{OTHER}", OTHER)


def test_with_the_status_wiped_the_service_knows() -> None:
    """By the label that its template bears."""
    assert pinned(an_app(), {}, _live()) == ImageFacts(IMAGE.reference, DIGEST)


def test_another_image_is_resolved_anew() -> None:
    """Whatever status and service say of the one before."""
    app = an_app({"image": f"{REGISTRY}/shop:v5"})
    assert pinned(app, {"release": RELEASE}, _live()) is None


def test_a_service_of_another_image_is_no_proof() -> None:
    """Its template bears another label."""
    live = _live()
    labels = tuple((key, "0" * 16 if key == "nuages-image" else value) for key, value in live.state.template.labels)
    other = replace(live.state, template=replace(live.state.template, labels=labels))
    assert pinned(an_app(), {}, Observed(other)) is None


def test_reconcile_at_looks_at_the_tag_once_more() -> None:
    """A new value does; the same value, once heeded, does not."""
    app = an_app(annotations={"nuages.dev/reconcile-at": "now"})
    assert pinned(app, {"release": RELEASE}, _live()) is None
    found = pinned(app, {"release": {**RELEASE, "reconcileAt": "now"}}, None)
    assert found is not None
    assert found.digest == OTHER


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        (f"{REGISTRY}/shop:v4", f"{REGISTRY}/shop@{OTHER}"),
        (f"{REGISTRY}/shop:v4@{DIGEST}", f"{REGISTRY}/shop@{OTHER}"),
        ("localhost:5000/shop:v4", f"localhost:5000/shop@{OTHER}"),
    ],
)
def test_a_pinned_reference_has_no_tag(image: str, reference: str) -> None:
    """A registry's port is none either."""
    found = pinned(an_app({"image": image}), {"release": {"image": image, "imageDigest": OTHER}}, None)
    assert found == ImageFacts(reference, OTHER)
