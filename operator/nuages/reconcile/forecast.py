"""The whole plan of an app: what a pass would provide, and what its release would do. Nothing is written.

`nuages plan` prints it; `status.plan` holds it with spec.management Observe, or the annotation nuages.dev/plan.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nuages.api.app import DjangoApp
from nuages.cloud import errors
from nuages.cloud.driver import Observed
from nuages.desired.resource import Owner, Resource
from nuages.desired.run import RunService
from nuages.reconcile.plan import Action, Plan, Verb, versions_of, whose
from nuages.reconcile.provision import adopts, make, survey
from nuages.reconcile.release import db_init, migrate, superuser
from nuages.reconcile.release.jobs import is_to_run
from nuages.reconcile.release.release import Parts, Release, bind, identity, unlike_doors
from nuages.reconcile.report import Report
from nuages.reconcile.rollout import at_rest, is_through, release_of, removes
from nuages.reconcile.trouble import of_error

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

PLAN = "nuages.dev/plan"
ASIDE = frozenset({Verb.CREATE, Verb.ADOPT, Verb.CONFLICT})  # told as what they are, of a job that is to be run


def only_looks(app: DjangoApp) -> bool:
    """Whether the user wants to be told, and nothing to be done."""
    return app.spec.management == "Observe" or app.metadata.annotations.get(PLAN) == "true"


async def forecast(work: Pass, report: Report) -> Report:
    """What would be done. Raises Trouble."""
    found = await survey(work, report)
    plan = found.plan or Plan(())
    released = await _released(work, found, plan)
    told = {action.resource.name for action in released}  # a job that is adopted may be run too
    before = tuple(action for action in plan.before_release.actions if action.resource.name not in told)
    return replace(found, plan=plan, forecast=Plan((*before, *released, *plan.deletions)))


async def _released(work: Pass, found: Report, plan: Plan) -> tuple[Action, ...]:
    """The release's share: jobs, service, and who may call it."""
    blueprint = found.blueprint
    if blueprint is None or blueprint.service is None or blueprint.migrate is None:
        return ()
    grants, live = await make(work, blueprint.access), found.live
    seen = {action.resource.name: action.observed for action in plan.actions}
    parts = bind(blueprint, versions_of(seen))
    made_of = parts or Parts(blueprint.service, blueprint.db_init, blueprint.migrate, blueprint.superuser)
    release = release_of(work, found, made_of, seen)
    if live is None:
        service = Action(Verb.CREATE, blueprint.service)
    elif parts is None:  # a secret that it is made of is still to come
        service = _on_service(work, Action(Verb.UPDATE, blueprint.service, live, ("template",)))
    else:
        service = _on_service(work, _of_service(parts.service, live, blueprint.hash_host))
    rests = is_through(work, release) and not removes(found) and at_rest(release) is not None and not grants.changes
    jobs = () if rests else await _jobs(work, release)
    return (*jobs, service, *grants.actions)


async def _jobs(work: Pass, release: Release) -> tuple[Action, ...]:
    """Those that a pass would run, as their steps decide it, each after the secret that is made for it."""
    wanted = [step.wanted_run(release) for step in (db_init, migrate, superuser)]
    runs = {run.job.name: run for run in wanted if run is not None}
    there = await make(work, tuple(run.job for run in runs.values()))
    try:
        due = [item.verb in ASIDE or await is_to_run(runs[item.resource.name], work.cloud) for item in there.actions]
    except errors.CloudError as error:
        raise of_error(error, "The release's jobs", work.cloud.identity.principal) from error
    shown = [action for action, is_due in zip(there.actions, due, strict=True) if is_due]
    secrets = [secret for item in shown if (secret := runs[item.resource.name].secret) is not None]
    made = await make(work, tuple(secrets))
    jobs = [item if item.verb in ASIDE else replace(item, verb=Verb.RUN, paths=()) for item in shown]
    return (*made.actions, *jobs)


def _of_service(wanted: RunService, live: Observed[RunService], hash_host: str) -> Action:
    """What of it would change: the template by what a revision is made of, traffic by where it goes."""
    same = identity(live.state, hash_host) == identity(wanted, hash_host)
    paths: tuple[str, ...] = () if same else ("template",)
    paths += unlike_doors(wanted, live.state)
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
