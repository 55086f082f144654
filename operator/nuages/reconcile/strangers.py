"""Strangers: members of the roles that we grant on the app's own secrets, bucket and identity, and nobody we know.

They are told and left: a member bears no marker, so that nobody can say whether the platform's team meant it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nuages.api.permission import matches_any
from nuages.api.tenant import DjangoTenant
from nuages.blueprint.blueprint import Blueprint
from nuages.cloud import errors
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.secretmanager import Secret
from nuages.desired.storage import Bucket
from nuages.reconcile.drift import LEFT, Drift
from nuages.reconcile.surplus import Surplus
from nuages.reconcile.trouble import of_error

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

# What Google gives those with a basic role in the project on every new bucket (behaviour.md, section 4).
LEGACY, BASIC = "roles/storage.legacy", ("projectOwner:", "projectEditor:", "projectViewer:")


async def find_strangers(work: Pass, blueprint: Blueprint, surplus: Surplus) -> tuple[Drift, ...]:
    """From the policies that are read for the app's own grants in any case. Raises Trouble."""
    age = work.intervals.deep_age if work.max_age > 0 else 0.0
    found: list[IamMember] = []
    for target in sorted({item.target for item in own_grants(blueprint)}):
        try:
            found += [item.state for item in await work.cloud.inventory.list(IamMember, target, age)]
        except errors.NotFound:  # somebody has deleted it just now: told as such in the next pass
            continue
        except errors.CloudError as error:
            what = f"The policy of {target.rsplit('/', 1)[-1]}"
            raise of_error(error, what, work.cloud.identity.principal) from error
    on_their_way_out = {item.state.name for item in surplus.removable}
    left = [item for item in found if item.name not in on_their_way_out]
    return strangers(left, blueprint, work.tenant, work.cloud.identity.principal)


def own_grants(blueprint: Blueprint) -> tuple[IamMember, ...]:
    """On what bears the app's own marker. What others share has members that the app knows nothing of."""
    owned = {
        item.name
        for item in blueprint.resources
        if isinstance(item, Secret | Bucket | ServiceAccount) and item.owner is not None and item.owner.app
    }
    return tuple(item for item in blueprint.resources if isinstance(item, IamMember) and item.target in owned)


def strangers(
    found: Iterable[IamMember], blueprint: Blueprint, tenant: DjangoTenant, principal: str
) -> tuple[Drift, ...]:
    """Who is neither the app, nor db-init, nor the operator, nor an account that the tenant allows. Pure."""
    granted = {(item.target, item.role) for item in own_grants(blueprint)}
    ours = {item.member for item in blueprint.resources if isinstance(item, IamMember)}

    def is_known(item: IamMember) -> bool:
        kind, _, email = item.member.partition(":")
        return (
            item.member in ours
            or kind == "deleted"  # an account that is gone may do nothing
            or (bool(principal) and email == principal.lower())
            or (kind == "serviceAccount" and matches_any(email, tenant.spec.allow.service_accounts))
            or (item.role.startswith(LEGACY) and item.member.startswith(BASIC))
        )

    seen = {item.shown for item in found if (item.target, item.role) in granted and not is_known(item)}
    return tuple(Drift(shown, LEFT, is_corrected=False) for shown in sorted(seen))
