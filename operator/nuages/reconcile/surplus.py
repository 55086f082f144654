"""Surplus: what the app has made, or is a grant of ours, and is wanted no more while the app lives.

What keeps data stays for as long as the app does. All else goes in clean-up: after the release that no longer needs it,
and only once no revision that may still start refers to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nuages.api import values
from nuages.blueprint import names
from nuages.blueprint.blueprint import Blueprint
from nuages.cloud import errors
from nuages.cloud.driver import Observed
from nuages.cloud.revisions import Revision
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Owner, Resource
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlInstance
from nuages.desired.storage import Bucket
from nuages.reconcile.trouble import of_error

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

INVOKER, CLIENT = "roles/run.invoker", "roles/cloudsql.client"
TITLES = "nuages-"  # what the conditions of our grants on projects begin with
ORDER: tuple[type[Resource], ...] = (RunService, RunJob, IamMember, Secret, ServiceAccount)  # dependents first
Found = Sequence[Observed[Any]]


@dataclass(frozen=True)
class Surplus:
    """`removable` in the order of removal; those among them that a revision still refers to are in `held`."""

    removable: tuple[Observed[Any], ...] = ()
    held: frozenset[str] = frozenset()  # full names
    kept: tuple[Observed[Any], ...] = ()  # what holds data

    @property
    def due(self) -> tuple[Observed[Any], ...]:
        """What can go now."""
        return tuple(item for item in self.removable if item.state.name not in self.held)


NO_SURPLUS = Surplus()


async def find_surplus(work: Pass, blueprint: Blueprint, live: Observed[RunService] | None) -> Surplus:
    """From lists that all apps share; before the first deploy there is none. Raises Trouble."""
    if live is None or live.owner != owner_of(work):  # somebody else's service: nothing about it is ours to say
        return NO_SURPLUS
    try:
        found = await owned(work, blueprint, _age(work))
        vanished = await _vanished_instances(work, found)
        remade = [item for item in found if _can_go(work, item.state, vanished)]
        kept = tuple(item for item in found if item not in remade)
        accounts = {item.state.member for item in remade if isinstance(item.state, ServiceAccount)}
        grants = [
            *await _invokers(work, blueprint),
            *await _connections(work, blueprint, accounts, vanished),
            *await _grants_of(work, blueprint, accounts),
        ]
        removable = sorted((*remade, *grants), key=lambda item: ORDER.index(type(item.state)))
        if not removable:
            return Surplus(kept=kept)
        revisions = await work.cloud.revisions.seen(blueprint.service_name, _age(work))
    except errors.NotFound:  # the service has gone, and comes back with the release
        return NO_SURPLUS
    except errors.CloudError as error:
        raise of_error(error, "What spec no longer wants", work.cloud.identity.principal) from error
    return Surplus(tuple(removable), held_by(removable, revisions), kept)


def owner_of(work: Pass) -> Owner:
    """The app in this very life of it."""
    metadata = work.app.metadata
    return Owner(metadata.namespace, metadata.name, metadata.uid)


def held_by(items: Iterable[Observed[Any]], revisions: Sequence[Revision]) -> frozenset[str]:
    """Full names of those that a revision would need in order to start."""
    secrets = {secret for item in revisions for secret, _ in item.secret_versions}
    accounts = {item.service_account for item in revisions}
    instances = {name.rsplit(":", 1)[-1] for item in revisions for name in item.cloud_sql}

    def is_needed(state: Resource) -> bool:
        match state:
            case Secret(name=name):
                return name in secrets
            case ServiceAccount(email=email):
                return email in accounts
            case IamMember(role=role, member=member, condition=condition) if role == CLIENT and condition:
                runs = member.removeprefix("serviceAccount:") in accounts
                return runs and any(f'/{name}"' in condition.expression for name in instances)
            case IamMember(role=role, member=member) if role != INVOKER:
                return member.removeprefix("serviceAccount:") in accounts
            case _:
                return False

    return frozenset(item.state.name for item in items if is_needed(item.state))


def is_caller(state: Resource) -> bool:
    """Whether it lets somebody call the service: surplus without another wish, it was granted by hand."""
    return isinstance(state, IamMember) and state.role == INVOKER


def wanted_names(blueprint: Blueprint) -> frozenset[str]:
    """Full names of everything that is wanted, what the release makes included."""
    grant = () if blueprint.superuser_grant is None else (blueprint.superuser_grant,)
    every = (*blueprint.resources, *blueprint.access, *blueprint.made_by_steps, *grant)
    return frozenset((blueprint.service_name, *(item.name for item in every)))


async def owned(work: Pass, blueprint: Blueprint, max_age: float) -> Found:
    """What the app has made and no longer wants, in this very life of it: what an earlier one left is not in the way.

    Raises CloudError.
    """
    return [item for item in await marked(work, blueprint, max_age) if is_made(work, item.state)]


def is_made(work: Pass, state: Resource) -> bool:
    """Whether what bears the app's marker is of its making: by its name, or because the status has it.

    Labels alone are no proof: Cloud SQL gives a clone those of its origin, and people copy jobs with all they have.
    """
    known = {row["name"] for row in work.before.get("resources") or []}
    if instance := (work.before.get("database") or {}).get("instance"):
        known.add(f"{names.project(work.tenant)}/instances/{instance}")
    return state.name in known or names.is_given(work.app, work.tenant, state.name)


async def marked(work: Pass, blueprint: Blueprint, max_age: float) -> Found:
    """What bears the marker of this very life of the app, without what is wanted. Raises CloudError."""
    spec, owner = work.tenant.spec, owner_of(work)
    kinds: list[type[Resource]] = [RunService, RunJob, Secret, Bucket, ServiceAccount]
    if work.app.spec.database.enabled or work.before.get("database"):  # else its API may not be turned on
        kinds.append(SqlInstance)
    found = await work.cloud.inventory.owned_by(owner, spec.project, spec.region, max_age, kinds)
    wanted = wanted_names(blueprint)
    return [item for item in found if item.owner == owner and item.state.name not in wanted]


def _can_go(work: Pass, state: Resource, vanished: frozenset[str]) -> bool:
    """A secret that is copied or composed, or whose only use has gone; and whatever keeps no data."""
    if not isinstance(state, Secret):
        return not state.keeps_data
    return names.is_remade(work.app, work.tenant, state.id) or _instance_of_administrator(state) in vanished


def _instance_of_administrator(state: Resource) -> str:
    """Full name of the instance that a secret opens as its administrator; "" for any other."""
    if not isinstance(state, Secret) or not state.id.startswith(values.ADMINISTRATOR_SECRET):
        return ""
    return f"projects/{state.project}/instances/{state.id.removeprefix(values.ADMINISTRATOR_SECRET)}"


async def _vanished_instances(work: Pass, found: Found) -> frozenset[str]:
    """Of administrators' secrets. The list alone proves no absence."""
    opened = {name for item in found if (name := _instance_of_administrator(item.state))}
    inventory, age, gone = work.cloud.inventory, work.max_age, []
    for name in sorted(opened):
        seen = await inventory.get(SqlInstance, name, age, age)
        if seen is None and await inventory.fresh(SqlInstance, name) is None:
            gone.append(name)
    return frozenset(gone)


async def _invokers(work: Pass, blueprint: Blueprint) -> Found:
    """spec.web.invokers says all of them; the operator's own way in is not the spec's to say."""
    wanted = {item.name for item in blueprint.access}
    ourselves = f"serviceAccount:{work.cloud.identity.principal}"
    found = await work.cloud.inventory.list(IamMember, blueprint.service_name, _deep_age(work))
    return [
        item
        for item in found
        if is_caller(item.state) and item.state.name not in wanted and item.state.member != ourselves
    ]


async def _connections(work: Pass, blueprint: Blueprint, accounts: set[str], vanished: frozenset[str]) -> Found:
    """Grants on the project of the app's own identities, or to an instance of its own that has gone."""
    members = accounts | _own_members(blueprint)
    titles = {names.connection_title(name) for name in vanished}
    wanted = wanted_names(blueprint)

    def is_surplus(state: IamMember) -> bool:
        title = state.condition.title if state.condition is not None else ""
        if state.role != CLIENT or not title.startswith(TITLES) or state.name in wanted:
            return False
        return state.member in members or title in titles

    if not members and not titles:
        return []
    project = names.project(work.tenant)
    return await work.cloud.inventory.shown(IamMember, project, _deep_age(work), lambda item: is_surplus(item.state))


async def _grants_of(work: Pass, blueprint: Blueprint, accounts: set[str]) -> Found:
    """What surplus identities may do with the app's resources: a deleted account would stay in the policies."""
    if not accounts:
        return []
    grants = [item for item in blueprint.resources if isinstance(item, IamMember) and item.target.count("/") > 1]
    found = [
        item
        for target in sorted({item.target for item in grants})
        for item in await work.cloud.inventory.list(IamMember, target, _deep_age(work))
    ]
    roles = {item.role for item in grants}
    return [item for item in found if item.state.member in accounts and item.state.role in roles]


def _own_members(blueprint: Blueprint) -> set[str]:
    """The app's own identities, as members of policies; not the one that the apps of a namespace share."""
    return {
        item.member
        for item in blueprint.resources
        if isinstance(item, ServiceAccount) and item.owner is not None and item.owner.app
    }


def _age(work: Pass) -> float:
    """A new spec is the moment at which something becomes surplus: then a list from before will not do."""
    is_new = work.before.get("observedGeneration") != work.app.metadata.generation
    return 0.0 if is_new else work.max_age


def _deep_age(work: Pass) -> float:
    return work.intervals.deep_age if _age(work) > 0 else 0.0
