"""The first half of a pass: everything that a release needs is there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from nuages.blueprint.compose import compose
from nuages.blueprint.facts import ImageFacts
from nuages.blueprint.names import service_name
from nuages.cloud import errors
from nuages.cloud.driver import Observed
from nuages.desired.resource import Resource
from nuages.desired.run import RunService
from nuages.reconcile.execute import Executor
from nuages.reconcile.gather import gather, project_number, resolve_image
from nuages.reconcile.permissions import check_permissions
from nuages.reconcile.pin import pinned
from nuages.reconcile.plan import Plan, Sight, make_plan
from nuages.reconcile.report import Report
from nuages.reconcile.trouble import Trouble, of_error

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

ADOPT = "nuages.dev/adopt"


async def provision(work: Pass, report: Report) -> Report:
    """Compose, observe, plan, execute. Raises Trouble."""
    await project_number(work.tenant, work.cloud)  # asked once: a project out of reach is told as such
    live = await look_at_service(work)
    image = await image_of(work, live)
    facts = await gather(
        work.app, work.tenant, work.cluster, work.cloud, work.settings.operator_image, image, work.max_age
    )
    facts = replace(facts, hash_url=_hash_url(live))
    blueprint = compose(work.app, work.tenant, facts)
    if blueprint.problems:
        first = blueprint.problems[0]
        raise Trouble(first.reason, first.message)
    plan = await make(work, blueprint.resources)
    await check_permissions(work, plan, is_first=live is None)
    executor = Executor(work.cloud.drivers, work.cloud.inventory, adopts(work))
    results = await executor.execute(plan, work.underway)
    return replace(report, blueprint=blueprint, plan=plan, results=results, live=live)


async def look_at_service(work: Pass, fresh: bool = False) -> Observed[RunService] | None:
    """The app's service as it is, from the inventory unless it must be fresh."""
    name = service_name(work.app, work.tenant)
    try:
        if fresh:
            return await work.cloud.drivers.of(RunService).observe(name)
        return await work.cloud.inventory.get(RunService, name, work.max_age, work.max_age)
    except errors.ApiDisabled as error:
        if work.tenant.spec.enable_services:
            return None
        raise _unreadable(RunService, name, error, work) from error
    except errors.CloudError as error:
        raise _unreadable(RunService, name, error, work) from error


async def make(work: Pass, resources: tuple[Resource, ...]) -> Plan:
    """The plan for these resources, from snapshots as old as the app allows. Raises Trouble for what cannot be read."""
    return make_plan(
        resources, await see(work, resources), lambda kind: work.cloud.drivers.of(kind).owned, adopt=adopts(work)
    )


async def see(work: Pass, resources: tuple[Resource, ...]) -> Sight:
    """What is there of each."""
    deep = float(work.app.spec.deep_check_interval_seconds or 86_400) if work.max_age else 0.0

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

    found = await asyncio.gather(*(one(resource) for resource in resources))
    return {resource.name: item for resource, item in zip(resources, found, strict=True)}


def adopts(work: Pass) -> bool:
    return work.app.metadata.annotations.get(ADOPT) == "true"


async def image_of(work: Pass, live: Observed[RunService] | None) -> ImageFacts:
    """The digest that the tag was pinned to, or the one that it stands for now."""
    known = pinned(work.app, work.before, live)
    return known if known is not None else await resolve_image(work.app, work.cloud)


def _hash_url(live: Observed[RunService] | None) -> str:
    return "" if live is None else live.outputs.get("uri", "")


def _unreadable(kind: type[Resource], name: str, error: errors.CloudError, work: Pass) -> Trouble:
    what = f"{kind.kind.rsplit('/', 1)[-1]} {name.rsplit('/', 1)[-1]}"
    return of_error(error, what, work.cloud.identity.principal)
