"""The first half of a pass: everything that a release needs is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nuages.api.app import DjangoApp
from nuages.blueprint import names
from nuages.blueprint.compose import compose
from nuages.blueprint.facts import ImageFacts
from nuages.cloud import errors
from nuages.cloud.driver import Observed, Readiness
from nuages.desired.iam import IamMember, ProjectService
from nuages.desired.resource import Owner, Resource
from nuages.desired.run import RunService
from nuages.desired.sql import SqlUser
from nuages.reconcile.adoption import find_left
from nuages.reconcile.drift import is_judged, of_results, wanted
from nuages.reconcile.execute import Executor, Result, State
from nuages.reconcile.gather import find_own_instance, gather, project_number, resolve_image
from nuages.reconcile.moves import begun_with, check_database, known_database
from nuages.reconcile.permissions import check_permissions
from nuages.reconcile.pin import pinned
from nuages.reconcile.plan import Action, Plan, Sight, Verb, make_plan, whose
from nuages.reconcile.release.release import ADOPT
from nuages.reconcile.report import Report
from nuages.reconcile.rotation import rotating_secrets, with_rotation
from nuages.reconcile.surplus import find_surplus
from nuages.reconcile.trouble import Trouble, of_error, of_refusal

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass


async def survey(work: Pass, report: Report) -> Report:
    """Compose, observe, plan: nothing is written. Raises Trouble."""
    await project_number(work.tenant, work.cloud)  # asked once: a project out of reach is told as such
    live = await look_at_service(work)
    if live is None and not work.before.get("resources"):  # a first pass: before anything is made, no snapshot will do
        live = await look_at_service(work, fresh=True)
    known = known_database(work.app, work.before, live)
    begun = begun_with(work.before, known)
    own = await find_own_instance(work.app, work.tenant, work.cloud, work.max_age, begun)
    check_database(work.app, work.tenant, known, own)
    image = await image_of(work, live)
    facts = await gather(
        work.app,
        work.tenant,
        work.cluster,
        work.cloud,
        work.settings.operator_image,
        image,
        own,
        work.max_age,
    )
    wishes = wanted(work.app, work.tenant, facts)
    facts = replace(facts, hash_url=_hash_url(live))
    facts = with_rotation(facts, work, await see(work, rotating_secrets(work)), live)
    blueprint = compose(work.app, work.tenant, facts)
    if blueprint.problems:
        first = blueprint.problems[0]
        raise Trouble(first.reason, first.message)
    surplus = await find_surplus(work, blueprint, live)
    left = await find_left(work, blueprint, live) if adopts(work) else ()
    plan = await make(work, (*blueprint.resources, *left), policies_anew=_was_denied(live), surplus=surplus.due)
    return replace(report, blueprint=blueprint, plan=plan, surplus=surplus, live=live, wanted=wishes)


async def provision(work: Pass, report: Report) -> Report:
    """Survey, and carry the plan out. Raises Trouble."""
    report = await survey(work, report)
    plan, is_first = report.plan or Plan(()), report.live is None
    require_own_service(work, report.live)
    if is_first and not _has_begun(plan, work):
        await _require_unrefused(plan, work, report)
    await check_permissions(work, plan, is_first)
    await work.hold()
    if any(action.verb is not Verb.KEEP for action in plan.before_release.actions):
        await work.touch()
    executor = Executor(work.cloud.drivers, work.cloud.inventory, adopts(work))
    ordered = plan.before_release if _has_begun(plan, work) else _claiming(plan.before_release, work)
    results = await executor.execute(ordered, work.underway, work.failed)
    drift = of_results(plan, results) if is_judged(work.before, report.wanted) else ()
    kept = {item.state.name: Result(item.state, State.READY, item, Verb.KEEP) for item in report.surplus.kept}
    return replace(report, results=results | kept, drift=drift)


async def _require_unrefused(plan: Plan, work: Pass, report: Report) -> None:
    """Rather nothing than half an app; so what only a step of the release makes is looked at too, in the list that has
    shown the other secrets. Raises Trouble."""
    password = None if report.blueprint is None else report.blueprint.superuser_password
    later = await make(work, () if password is None else (password,))
    refusals = (*plan.refusals, *later.refusals)
    if refusals:
        raise of_refusal(refusals[0])


def _has_begun(plan: Plan, work: Pass) -> bool:
    """Whether something of this app is there already."""
    ours = (work.app.metadata.namespace, work.app.metadata.name, work.app.metadata.uid)
    owners = (action.observed.owner for action in plan.actions if action.observed is not None)
    return any(owner is not None and (owner.namespace, owner.app, owner.uid) == ours for owner in owners)


def _claiming(plan: Plan, work: Pass) -> Plan:
    """All else waits until SECRET_KEY, which every app has, bears this app's marker.

    Two apps that come to the same names may begin at once: neither sees anything of the other, and Google gives each
    name to one of them. So the first name decides, and the other app has made nothing.
    """
    claim = names.secret_name(work.app, work.tenant, names.key_part("a"))
    opened = [action for action in plan.actions if isinstance(action.resource, ProjectService)]
    first = [action for action in plan.actions if action.resource.name == claim]
    rest = [action for action in plan.actions if action not in (*opened, *first)]
    return Plan((*opened, *first, *(_after(claim, action) for action in rest)))


def _after(name: str, action: Action) -> Action:
    resource = action.resource
    return replace(action, resource=replace(resource, needs=resource.needs | {name}))


def require_own_service(work: Pass, live: Observed[RunService] | None) -> None:
    """The release is outside of the plan, so whose the service is must be asked for here. Raises Trouble."""
    metadata = work.app.metadata
    owner = Owner(metadata.namespace, metadata.name, metadata.uid)
    if live is None or owner.may_have(live.owner) or (adopts(work) and owner.may_adopt(live.owner)):
        return
    raise of_refusal(Action(Verb.CONFLICT, replace(live.state, owner=owner), live, message=whose(live)))


async def look_at_service(work: Pass, fresh: bool = False) -> Observed[RunService] | None:
    """The app's service, as the inventory knows it, or as it was seen in this pass, after our last write."""
    name = names.service_name(work.app, work.tenant)
    try:
        if fresh:
            return await work.cloud.inventory.fresh(RunService, name, work.began)
        return await work.cloud.inventory.get(RunService, name, work.max_age, work.max_age)
    except errors.ApiDisabled as error:
        if work.tenant.spec.enable_services:
            return None
        raise _unreadable(RunService, name, error, work) from error
    except errors.CloudError as error:
        raise _unreadable(RunService, name, error, work) from error


async def make(
    work: Pass, resources: tuple[Resource, ...], policies_anew: bool = False, surplus: Iterable[Observed[Any]] = ()
) -> Plan:
    """The plan for these resources, from snapshots as old as the app allows. Raises Trouble for what cannot be read."""
    return make_plan(
        resources,
        await see(work, resources, policies_anew),
        lambda kind: work.cloud.drivers.of(kind).owned,
        adopt=adopts(work),
        surplus=surplus,
    )


async def see(work: Pass, resources: tuple[Resource, ...], policies_anew: bool = False) -> Sight:
    """What is there of each. What is part of another resource is not looked for while that one is not there."""
    looks_back = work.max_age > 0 and not policies_anew
    deep = work.intervals.deep_age if looks_back else 0.0

    async def one(resource: Resource) -> Observed[Resource] | None:
        try:
            return await work.cloud.inventory.get(type(resource), resource.name, work.max_age, deep)
        except (errors.NotFound, errors.Propagating):  # its parent is not there (yet) either
            return None
        except errors.ApiDisabled as error:
            if work.tenant.spec.enable_services:
                return None  # about to be turned on
            raise _unreadable(type(resource), resource.name, error, work) from error
        except errors.CloudError as error:
            raise _unreadable(type(resource), resource.name, error, work) from error

    seen: dict[str, Observed[Resource] | None] = {}
    for group in (
        [resource for resource in resources if not _whole_of(resource)],
        [resource for resource in resources if _whole_of(resource)],
    ):
        there = [resource for resource in group if _may_be_there(resource, seen)]
        found = await asyncio.gather(*(one(resource) for resource in there))
        seen |= dict.fromkeys((resource.name for resource in group), None)
        seen |= {resource.name: item for resource, item in zip(there, found, strict=True)}
    return seen


def _whole_of(resource: Resource) -> str:
    """Full name of the resource that it is a part of: a member of its policy, a user on its instance."""
    match resource:
        case IamMember(target=whole) | SqlUser(instance=whole):
            return whole
        case _:
            return ""


def _may_be_there(part: Resource, seen: Sight) -> bool:
    """Not on what is missing, nor on an instance that is still being made."""
    whole = _whole_of(part)
    if whole not in seen:
        return True
    found = seen[whole]
    return found is not None and not (isinstance(part, SqlUser) and found.readiness is Readiness.BUSY)


def adopts(work: Pass) -> bool:
    return work.app.metadata.annotations.get(ADOPT) == "true"


async def image_of(work: Pass, live: Observed[RunService] | None) -> ImageFacts:
    """The digest that the tag was pinned to, or the one that it stands for now."""
    known = pinned(work.app, work.before, live)
    if known is None:
        return await resolve_image(work.app, work.cloud)
    if _mounts_anew(work.app, live):  # whether that hides the image's own files, only the registry knows
        return await resolve_image(work.app, work.cloud, known.reference)
    return known


def _mounts_anew(app: DjangoApp, live: Observed[RunService] | None) -> bool:
    """Whether the bucket comes where the service does not have it."""
    path = app.spec.storage.media.mount_path
    return bool(path) and (live is None or path not in {bucket.path for bucket in live.state.template.buckets})


def _hash_url(live: Observed[RunService] | None) -> str:
    return "" if live is None else live.outputs.get("uri", "")


def _was_denied(live: Observed[RunService] | None) -> bool:
    """Whether the newest revision was refused a secret: a grant may have been taken away since the last deep look."""
    return live is not None and live.readiness is Readiness.FAILED and "Permission denied on secret" in live.message


def _unreadable(kind: type[Resource], name: str, error: errors.CloudError, work: Pass) -> Trouble:
    what = f"{kind.kind.rsplit('/', 1)[-1]} {name.rsplit('/', 1)[-1]}"
    return of_error(error, what, work.cloud.identity.principal)
