"""Apps, tenants and facts for tests of what is pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nuages.api import DjangoApp, DjangoTenant, default_tenant, parse_app
from nuages.blueprint.facts import Facts, ImageFacts

API = "nuages.dev/v1alpha1"
REGISTRY = "europe-west1-docker.pkg.dev/acme-prod/apps"
DIGEST = f"sha256:{'4' * 64}"
IMAGE = ImageFacts(f"{REGISTRY}/shop@{DIGEST}", DIGEST, "/app", "shop")
TENANT = {"project": "acme-prod", "region": "europe-west1"}


def an_app(
    spec: Mapping[str, Any] | None = None, *, name: str = "shop", namespace: str = "acme", **metadata: Any
) -> DjangoApp:
    """The smallest app, with `spec` over it."""
    return parse_app(
        {
            "apiVersion": API,
            "kind": "DjangoApp",
            "metadata": {"name": name, "namespace": namespace, "uid": "u-1", "generation": 3, **metadata},
            "spec": {"image": f"{REGISTRY}/shop:v4", **(spec or {})},
        }
    )


def a_tenant(spec: Mapping[str, Any] | None = None, *, namespace: str = "acme") -> DjangoTenant:
    """The smallest tenant, with `spec` over it."""
    return default_tenant(namespace, {**TENANT, **(spec or {})})


def some_facts(**fields: Any) -> Facts:
    """What Google says of an app whose image is known."""
    return Facts(**{"project_number": "187635794409", "operator_image": "example/nuages:1", "image": IMAGE, **fields})
