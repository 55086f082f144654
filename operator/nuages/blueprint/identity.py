"""Who the app runs as: a service account of its own, or one that the tenant allows."""

from __future__ import annotations

from nuages.blueprint import names
from nuages.blueprint.blueprint import Capability
from nuages.blueprint.scope import Scope
from nuages.desired.iam import IamMember, ServiceAccount


def identity(scope: Scope) -> Capability:
    email = scope.runtime_account
    name = f"{names.project(scope.tenant)}/serviceAccounts/{email}"
    # Signed URLs: django-storages has IAM sign as the account itself (behaviour-runtime.md, section 2).
    signs = IamMember.of(name, "roles/iam.serviceAccountTokenCreator", f"serviceAccount:{email}")
    if scope.app.spec.service_account.existing:
        return Capability(resources=(signs,), condition="IdentityReady")
    account = ServiceAccount(name=name, owner=scope.owner, display_name=f"Django app {scope.app.key}"[:100])
    return Capability(resources=(account, signs), condition="IdentityReady")
