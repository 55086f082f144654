"""What an adoption takes over besides what the spec wants of it: jobs, which only a run changes, and what it has left.

The marker alone, and before the release: from then on it is the app's, to be run, kept or removed as any other is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nuages.blueprint.blueprint import Blueprint
from nuages.cloud import errors
from nuages.cloud.driver import Observed
from nuages.cloud.inventory import MARKED
from nuages.desired.iam import ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Secret
from nuages.desired.storage import Bucket
from nuages.reconcile.surplus import is_made, owner_of
from nuages.reconcile.trouble import of_error

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

KINDS: tuple[type[Resource], ...] = (RunJob, Secret, Bucket, ServiceAccount)


async def find_left(work: Pass, blueprint: Blueprint, live: Observed[RunService] | None) -> tuple[Resource, ...]:
    """Each as it is, but with the marker of this life of the app. Raises Trouble.

    The service is marked last: until then no list from before will do.
    """
    owner, spec, inventory = owner_of(work), work.tenant.spec, work.cloud.inventory
    age = work.max_age if live is not None and live.owner == owner else 0.0
    planned = {item.name for item in blueprint.resources}
    jobs = {job.name for job in (blueprint.db_init, blueprint.migrate, blueprint.superuser) if job is not None}
    scopes = {False: f"projects/{spec.project}", True: f"projects/{spec.project}/locations/{spec.region}"}

    def is_left(item: Observed[Any] | None) -> bool:
        if item is None or item.state.name in planned or (item.owner is None and item.state.name not in jobs):
            return False  # of what bears no marker, only what the app is about to run
        return owner.may_adopt(item.owner) and not owner.may_have(item.owner) and is_made(work, item.state)

    found: list[Resource] = []
    for kind in KINDS:
        try:
            for item in await inventory.shown(kind, scopes[MARKED[kind]], age, is_left):
                seen = await inventory.fresh(kind, item.state.name, work.began)  # a list does not show all of it
                found += [replace(seen.state, owner=owner)] if seen is not None and is_left(seen) else []
        except errors.ApiDisabled:  # so there is nothing
            continue
        except errors.CloudError as error:
            raise of_error(error, "What nuages.dev/adopt takes over", work.cloud.identity.principal) from error
    return tuple(found)
