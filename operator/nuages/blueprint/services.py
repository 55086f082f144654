"""The Google APIs that an app needs, turned on where the tenant allows."""

from __future__ import annotations

from nuages.blueprint import names
from nuages.blueprint.blueprint import Capability
from nuages.blueprint.scope import Scope
from nuages.desired.iam import ProjectService

NEEDED = ("cloudresourcemanager", "iam", "iamcredentials", "logging", "run", "secretmanager", "storage")


def services(scope: Scope) -> Capability:
    if not scope.tenant.spec.enable_services:
        return Capability()
    wanted = [*NEEDED, *(["sqladmin"] if scope.app.spec.database.enabled else [])]
    found = (
        ProjectService(name=f"{names.project(scope.tenant)}/services/{api}.googleapis.com") for api in sorted(wanted)
    )
    return Capability(resources=tuple(found))
