"""What the operator may not do in a tenant's project, found before the first resource is made there.

Of the project alone: on what is there already the grants may be narrower, and its own call tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nuages.cloud import errors
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlInstance, SqlUser
from nuages.desired.storage import Bucket
from nuages.reconcile import reasons
from nuages.reconcile.plan import Plan, Verb
from nuages.reconcile.roles import role_for
from nuages.reconcile.trouble import Trouble

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

CREATION: dict[type[Resource], tuple[str, ...]] = {
    ServiceAccount: ("iam.serviceAccounts.create", "iam.serviceAccounts.setIamPolicy"),
    Secret: ("secretmanager.secrets.create", "secretmanager.secrets.setIamPolicy", "secretmanager.versions.add"),
    SqlInstance: ("cloudsql.instances.create",),
    SqlUser: ("cloudsql.users.create",),
    Bucket: ("storage.buckets.create", "storage.buckets.setIamPolicy"),
}
PROJECT_GRANT = ("resourcemanager.projects.setIamPolicy",)
RELEASE = ("iam.serviceAccounts.actAs", "run.jobs.create", "run.jobs.run", "run.services.create")


async def check_permissions(work: Pass, plan: Plan, is_first: bool) -> None:
    """Raises Trouble where a creation, or with `is_first` the first release, would be denied half-way."""
    needed = permissions_for(plan, is_first)
    project, who = work.tenant.spec.project, work.cloud.identity.principal or "the operator's identity"
    if not needed:
        return
    try:
        missing = needed - await work.cloud.projects.allowed(project, needed)
    except errors.CloudError:  # it would only have told earlier what the calls themselves tell
        return
    if not missing:
        return
    lacks, roles = ", ".join(sorted(missing)), ", ".join(sorted({role_for(item) for item in missing}))
    raise Trouble(
        reasons.PERMISSION_DENIED,
        f"DjangoTenant spec.project: {who} lacks {lacks} in {project}. Grant it {roles}.",
        heals=True,
    )


def permissions_for(plan: Plan, is_first: bool) -> frozenset[str]:
    """Of the project, to carry out the plan's creations; none where nothing is created."""
    created = [action.resource for action in plan.actions if action.verb is Verb.CREATE]
    needed = {permission for resource in created for permission in CREATION.get(type(resource), ())}
    if any(isinstance(item, IamMember) and item.target.count("/") == 1 for item in created):
        needed |= set(PROJECT_GRANT)
    return frozenset(needed | set(RELEASE)) if needed and is_first else frozenset(needed)
