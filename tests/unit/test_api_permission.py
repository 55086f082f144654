# ruff: noqa: E501 - sentences are tested whole, each on its line
"""What an app may name besides its own."""

from __future__ import annotations

from typing import Any

import pytest

from nuages.api import DjangoTenant, check_allowed, default_tenant, parse_app, parse_tenant
from nuages.api.permission import matches_any

IMAGE = "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v4"


PLACE = {"project": "acme-prod", "region": "europe-west1"}


def _violations(spec: dict[str, Any], tenant: dict[str, Any] | DjangoTenant) -> list[str]:
    app = {
        "apiVersion": "nuages.dev/v1alpha1",
        "kind": "DjangoApp",
        "metadata": {"name": "shop", "namespace": "acme"},
        "spec": {"image": IMAGE, **spec},
    }
    if isinstance(tenant, dict):
        metadata = {"name": "default", "namespace": "acme", "uid": "t-1"}
        body = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoTenant", "metadata": metadata}
        tenant = parse_tenant({**body, "spec": {**PLACE, **tenant}})
    return [str(violation) for violation in check_allowed(parse_app(app), tenant)]


SECRET = {"env": [{"name": "A", "value": "x"}, {"name": "B", "secret": {"name": "stripe-key", "version": "1"}}]}
EXISTING = {"database": {"instance": {"existing": "acme-pg"}}}
ACCOUNT = {"serviceAccount": {"existing": "shop@acme-prod.iam.gserviceaccount.com"}}
PRIVATE = {"database": {"instance": {"create": {"ip": "Private"}}}}
NETWORK = {"connector": {"name": "c1"}}


@pytest.mark.parametrize(
    ("spec", "allowing", "message"),
    [
        (SECRET, {"allow": {"secrets": ["stripe-*"]}}, "spec.env[1].secret.name: The tenant does not allow secret stripe-key. Name another, or add it to DjangoTenant spec.allow.secrets."),
        (EXISTING, {"allow": {"instances": ["acme-pg"]}}, "spec.database.instance.existing: The tenant does not allow instance acme-pg. Name another, or add it to DjangoTenant spec.allow.instances."),
        (EXISTING, {"database": {"existing": "acme-pg"}}, "spec.database.instance.existing: The tenant does not allow instance acme-pg. Name another, or add it to DjangoTenant spec.allow.instances."),
        (ACCOUNT, {"allow": {"serviceAccounts": ["*@acme-prod.iam.gserviceaccount.com"]}}, "spec.serviceAccount.existing: The tenant does not allow service account shop@acme-prod.iam.gserviceaccount.com. Name another, or add it to DjangoTenant spec.allow.serviceAccounts."),
        (PRIVATE, {"network": {"privateServicesAccess": "Existing"}}, "spec.database.instance.create.ip: The tenant has no private services access. Use Auto or Public, or set DjangoTenant spec.network.privateServicesAccess: Existing."),
        ({"network": {"egress": "AllTraffic"}}, {"network": {"egress": "AllTraffic", **NETWORK}}, "spec.network.egress: AllTraffic is wider than the tenant's PrivateRangesOnly. Remove it, or set DjangoTenant spec.network.egress: AllTraffic."),
    ],
)  # fmt: skip
def test_what_is_not_allowed_names_the_tenants_field(
    spec: dict[str, Any], allowing: dict[str, Any], message: str
) -> None:
    """Refused by a tenant that says nothing, with its field as the remedy; accepted once that field allows it."""
    assert _violations(spec, {}) == [message]
    assert _violations(spec, allowing) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SECRET, "spec.env[1].secret.name: The operator's default tenant does not allow secret stripe-key. Name another, or create a DjangoTenant in namespace acme with spec.allow.secrets: [stripe-key]."),
        (EXISTING, "spec.database.instance.existing: The operator's default tenant does not allow instance acme-pg. Name another, or create a DjangoTenant in namespace acme with spec.allow.instances: [acme-pg]."),
        (PRIVATE, "spec.database.instance.create.ip: The operator's default tenant has no private services access. Use Auto or Public, or create a DjangoTenant in namespace acme with spec.network.privateServicesAccess: Existing."),
        ({"network": {"egress": "AllTraffic"}}, "spec.network.egress: AllTraffic is wider than the operator's default tenant's PrivateRangesOnly. Remove it, or create a DjangoTenant in namespace acme with spec.network.egress: AllTraffic."),
    ],
)  # fmt: skip
def test_where_no_tenant_is_one_is_to_be_made(spec: dict[str, Any], message: str) -> None:
    """The operator's default grants nothing, and cannot be edited in the namespace."""
    assert _violations(spec, default_tenant("acme", PLACE)) == [message]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"env": [{"name": "A", "secret": {"name": "nuages-admin-acme-pg", "version": "1"}}]}, "spec.env[0].secret.name: Secret nuages-admin-acme-pg opens every database of an instance: for db-init only. Name another."),
        ({"serviceAccount": {"existing": "acme--dbinit@acme-prod.iam.gserviceaccount.com"}}, "spec.serviceAccount.existing: acme--dbinit@acme-prod.iam.gserviceaccount.com reads the password of an instance's administrator. Name another."),
    ],
)  # fmt: skip
def test_what_opens_every_database_no_tenant_can_allow(spec: dict[str, Any], message: str) -> None:
    """The administrator's password is that of all tenants on the instance; nobody is told to allow it."""
    for allow in (
        {"secrets": ["**"], "serviceAccounts": ["**"]},
        {},
    ):  # or the first remedy would lead to another refusal
        assert _violations(spec, {"allow": allow}) == [message]


def test_any_image_is_allowed_by_default() -> None:
    """A tenant restricts images only where it names some."""
    assert _violations({}, {}) == []
    assert _violations({}, {"allow": {"images": []}}) == [
        f"spec.image: The tenant does not allow image {IMAGE}. Name another, or add it to DjangoTenant "
        "spec.allow.images."
    ]


@pytest.mark.parametrize(
    ("image", "glob", "allowed"),
    [
        ("eu.pkg.dev/acme/apps/shop:v4", "eu.pkg.dev/acme/apps/*", True),
        (f"eu.pkg.dev/acme/apps/shop@sha256:{'a' * 64}", "eu.pkg.dev/acme/apps/shop", True),
        (f"eu.pkg.dev/acme/apps/shop:v4@sha256:{'a' * 64}", "eu.pkg.dev/acme/apps/shop", True),
        ("eu.pkg.dev/acme/apps/shop:v4", "eu.pkg.dev/acme/apps/shop:v*", True),
        ("eu.pkg.dev/acme/apps/shop:x4", "eu.pkg.dev/acme/apps/shop:v*", False),
        ("eu.pkg.dev/acme/apps/team/shop:v4", "eu.pkg.dev/acme/apps/*", False),
        ("eu.pkg.dev/acme/apps/team/shop:v4", "eu.pkg.dev/acme/apps/**", True),
        ("evil.example/eu.pkg.dev/acme/apps/shop:v4", "*.pkg.dev/acme/apps/*", False),
        ("euxpkg.dev/acme/apps/shop:v4", "eu.pkg.dev/acme/apps/*", False),
        ("localhost:5000/shop:v4", "localhost:5000/*", True),
    ],
)
def test_image_globs_cover_whole_paths(image: str, glob: str, allowed: bool) -> None:
    """A star stays within one path segment; the tag need not be named."""
    assert (_violations({"image": image}, {"allow": {"images": [glob]}}) == []) is allowed


def test_every_violation_is_listed() -> None:
    """An author sees all at once, in the order of the fields."""
    found = _violations({**SECRET, **EXISTING, **ACCOUNT}, {"allow": {"images": ["none/*"]}})
    assert [violation.split(":")[0] for violation in found] == [
        "spec.image",
        "spec.env[1].secret.name",
        "spec.database.instance.existing",
        "spec.serviceAccount.existing",
    ]


def test_no_database_needs_no_instance() -> None:
    """With engine None the instance is not looked at."""
    assert _violations({"database": {"engine": "None", **EXISTING["database"]}}, {}) == []


def test_glob_has_no_other_magic() -> None:
    """Only stars are special."""
    assert not matches_any("a", ["[ab]", "?", "."])
    assert matches_any("a.b", ["a.b"])
    assert not matches_any("acb", ["a.b"])
