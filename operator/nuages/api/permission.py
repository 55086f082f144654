"""What an app names besides its own, against what its tenant allows (no confused deputy)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nuages.api import values
from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant


@dataclass(frozen=True)
class Violation:
    """A field that reaches further than the tenant allows; `message` is cause and remedy."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def check_allowed(app: DjangoApp, tenant: DjangoTenant) -> list[Violation]:
    """Everything in the app that its tenant does not allow, in the order of the fields."""
    return [
        *_image(app, tenant),
        *_secrets(app, tenant),
        *_instance(app, tenant),
        *_service_account(app, tenant),
        *_network(app, tenant),
    ]


def matches_any(name: str, globs: Iterable[str]) -> bool:
    """Whether a glob covers the whole name. `*` stands for anything but /, `**` for anything."""
    return any(re.fullmatch(_expression(glob), name) for glob in globs)


def _expression(glob: str) -> str:
    parts = re.split(r"(\*\*|\*)", glob)
    return "".join({"**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts)


def _refused(field: str, name: str, kind: str, allow: str) -> Violation:
    return Violation(
        field, f"The tenant does not allow {kind} {name}. Name another, or add it to DjangoTenant spec.allow.{allow}."
    )


def _image(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    allowed = tenant.spec.allow.images
    image = app.spec.image
    untagged = re.sub(r"(:[^/:@]+)?(@[^/]+)?$", "", image)
    if allowed is not None and not matches_any(image, allowed) and not matches_any(untagged, allowed):
        yield _refused("spec.image", image, "image", "images")


def _secrets(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    for index, variable in enumerate(app.spec.env):
        if variable.secret is None:
            continue
        field, name = f"spec.env[{index}].secret.name", variable.secret.name
        if not matches_any(name, tenant.spec.allow.secrets):
            yield _refused(field, name, "secret", "secrets")
        elif name.startswith(values.ADMINISTRATOR_SECRET):  # whatever a glob of one tenant says: it is everybody's
            yield Violation(
                field, f"Secret {name} opens every database of an instance: for db-init only. Name another."
            )


def _instance(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    if not app.spec.database.enabled:
        return
    chosen = app.spec.database.instance
    existing = chosen.existing if chosen is not None else None
    shared = tenant.spec.database.existing if tenant.spec.database is not None else None
    if existing is not None and existing != shared and not matches_any(existing, tenant.spec.allow.instances):
        yield _refused("spec.database.instance.existing", existing, "instance", "instances")
    created = chosen.create if chosen is not None else None
    if created is not None and created.ip == "Private" and tenant.spec.network.private_services_access == "None":
        yield Violation(
            "spec.database.instance.create.ip",
            "The tenant has no private services access. Use Auto or Public, or set DjangoTenant "
            "spec.network.privateServicesAccess: Existing.",
        )


def _service_account(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    field, existing = "spec.serviceAccount.existing", app.spec.service_account.existing
    if existing is None:
        return
    if not matches_any(existing, tenant.spec.allow.service_accounts):
        yield _refused(field, existing, "service account", "serviceAccounts")
    elif existing.partition("@")[0].endswith(values.DB_INIT_ACCOUNT):
        yield Violation(field, f"{existing} reads the password of an instance's administrator. Name another.")


def _network(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    if app.spec.network.egress == "AllTraffic" and tenant.spec.network.egress != "AllTraffic":
        yield Violation(
            "spec.network.egress",
            "AllTraffic is wider than the tenant's PrivateRangesOnly. Remove it, or set DjangoTenant "
            "spec.network.egress: AllTraffic.",
        )
