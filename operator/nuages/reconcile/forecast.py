"""The whole plan of an app: what a pass would provide, and what its release would do. Nothing is written.

`nuages plan` prints it; `status.plan` holds it with spec.management Observe, or the annotation nuages.dev/plan.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nuages.api.app import DjangoApp
from nuages.cloud.driver import Observed
from nuages.desired.resource import Owner, Resource
from nuages.desired.run import RunService
from nuages.reconcile.plan import Action, Plan, Verb, versions_of, whose
from nuages.reconcile.provision import adopts, make, survey
from nuages.reconcile.release.release import Parts, bind, identity
from nuages.reconcile.report import Report

if TYPE_CHECKING:
    from nuages.blueprint.blueprint import Blueprint
    from nuages.reconcile.reconciler import Pass

PLAN = "nuages.dev/plan"


def only_looks(app: DjangoApp) -> bool:
    """Whether the user wants to be told, and nothing to be done."""
    return app.spec.management == "Observe" or app.metadata.annotations.get(PLAN) == "true"


async def forecast(work: Pass, report: Report) -> Report:
    """What would be done. Raises Trouble."""
    found = await survey(work, report)
    plan = found.plan or Plan(())
    if found.blueprint is None or found.blueprint.service is None:
        return replace(found, plan=plan, forecast=plan)
    released = await _released(work, found.blueprint, plan, found.live)
    return replace(found, forecast=Plan((*plan.before_release.actions, *released, *plan.deletions)))


async def _released(
    work: Pass, blueprint: Blueprint, plan: Plan, live: Observed[RunService] | None
) -> tuple[Action, ...]:
    """The release's share: jobs, service, and who may call it."""
    grants = (await make(work, blueprint.access)).actions
    if live is None:
        made = (blueprint.db_init, blueprint.migrate, blueprint.service, blueprint.superuser)
        return (*(Action(Verb.CREATE, item) for item in made if item is not None), *grants)
    service = blueprint.service
    assert service is not None
    parts = bind(blueprint, versions_of({a.resource.name: a.observed for a in plan.actions}))
    if parts is None:  # a secret that it is made of is still to come
        return (_on_service(work, Action(Verb.UPDATE, service, live, ("template",))), *grants)
    jobs = await _jobs(work, parts, live)
    return (*jobs, _on_service(work, _of_service(parts.service, live, blueprint.hash_host)), *grants)


async def _jobs(work: Pass, parts: Parts, live: Observed[RunService]) -> tuple[Action, ...]:
    """The jobs that would run: db-init where its description differs, migrate for another image, superuser once."""
    there = (await make(work, tuple(job for job in (parts.db_init, parts.superuser) if job is not None))).actions
    db_init = parts.db_init.name if parts.db_init is not None else ""
    found = [a for a in there if a.resource.name == db_init or a.verb in (Verb.CREATE, Verb.CONFLICT)]
    migrates = parts.db_init is not None and work.app.spec.migrations.policy != "Never"
    if migrates and live.state.template.image != parts.service.template.image:
        found.append(Action(Verb.UPDATE, parts.migrate, None, ("template.image",)))
    return tuple(found)


def _of_service(wanted: RunService, live: Observed[RunService], hash_host: str) -> Action:
    """What of it would change: the template by what a revision is made of, traffic by where it goes."""
    same = identity(live.state, hash_host) == identity(wanted, hash_host)
    paths: tuple[str, ...] = () if same else ("template",)
    paths += tuple(n for n in ("open_access", "ingress") if getattr(live.state, n) != getattr(wanted, n))
    serving = {(target.revision, target.percent) for target in live.state.traffic if target.percent}
    if serving != {(live.state.revision, 100)}:
        paths += ("traffic",)
    return Action(Verb.UPDATE if paths else Verb.KEEP, wanted, live, paths)


def _on_service(work: Pass, action: Action) -> Action:
    """The service is outside of the plan proper, so whose it is must be asked here."""
    metadata, live = work.app.metadata, action.observed
    owner = Owner(metadata.namespace, metadata.name, metadata.uid)
    if live is None or owner.may_have(live.owner):
        return action
    if adopts(work) and owner.may_adopt(live.owner):
        return replace(action, verb=Verb.ADOPT, paths=("owner", *action.paths))
    resource: Resource = replace(live.state, owner=owner)
    paths = action.paths if owner.may_adopt(live.owner) else ()
    return Action(Verb.CONFLICT, resource, live, paths, whose(live))
