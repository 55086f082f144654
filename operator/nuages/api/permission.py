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


def _refused(tenant: DjangoTenant, field: str, name: str, kind: str, allow: str) -> Violation:
    listed = f"spec.allow.{allow}"
    grant = f"add it to DjangoTenant {listed}"
    if tenant.is_default:
        grant = _granting(tenant, f"{listed}: [{name}]")
    return Violation(field, f"The {_who(tenant)} does not allow {kind} {name}. Name another, or {grant}.")


def _who(tenant: DjangoTenant) -> str:
    return "operator's default tenant" if tenant.is_default else "tenant"


def _granting(tenant: DjangoTenant, setting: str) -> str:
    """What whoever may allow it does: nobody can edit the operator's default for one namespace."""
    if tenant.is_default:
        return f"create a DjangoTenant in namespace {tenant.metadata.namespace} with {setting}"
    return f"set DjangoTenant {setting}"


def _image(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    allowed = tenant.spec.allow.images
    image = app.spec.image
    untagged = re.sub(r"(:[^/:@]+)?(@[^/]+)?$", "", image)
    if allowed is not None and not matches_any(image, allowed) and not matches_any(untagged, allowed):
        yield _refused(tenant, "spec.image", image, "image", "images")


def _secrets(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    for index, variable in enumerate(app.spec.env):
        if variable.secret is None:
            continue
        field, name = f"spec.env[{index}].secret.name", variable.secret.name
        if name.startswith(values.ADMINISTRATOR_SECRET):  # whatever a glob of one tenant says: it is everybody's
            yield Violation(
                field, f"Secret {name} opens every database of an instance: for db-init only. Name another."
            )
        elif not matches_any(name, tenant.spec.allow.secrets):
            yield _refused(tenant, field, name, "secret", "secrets")


def _instance(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    if not app.spec.database.enabled:
        return
    chosen = app.spec.database.instance
    existing = chosen.existing if chosen is not None else None
    shared = tenant.spec.database.existing if tenant.spec.database is not None else None
    if existing is not None and existing != shared and not matches_any(existing, tenant.spec.allow.instances):
        yield _refused(tenant, "spec.database.instance.existing", existing, "instance", "instances")
    created = chosen.create if chosen is not None else None
    if created is not None and created.ip == "Private" and tenant.spec.network.private_services_access == "None":
        grant = _granting(tenant, "spec.network.privateServicesAccess: Existing")
        message = f"The {_who(tenant)} has no private services access. Use Auto or Public, or {grant}."
        yield Violation("spec.database.instance.create.ip", message)


def _service_account(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    field, existing = "spec.serviceAccount.existing", app.spec.service_account.existing
    if existing is None:
        return
    if existing.partition("@")[0].endswith(values.DB_INIT_ACCOUNT):
        yield Violation(field, f"{existing} reads the password of an instance's administrator. Name another.")
    elif not matches_any(existing, tenant.spec.allow.service_accounts):
        yield _refused(tenant, field, existing, "service account", "serviceAccounts")


def _network(app: DjangoApp, tenant: DjangoTenant) -> Iterator[Violation]:
    if app.spec.network.egress == "AllTraffic" and tenant.spec.network.egress != "AllTraffic":
        grant = _granting(tenant, "spec.network.egress: AllTraffic")
        message = f"AllTraffic is wider than the {_who(tenant)}'s PrivateRangesOnly. Remove it, or {grant}."
        yield Violation("spec.network.egress", message)
