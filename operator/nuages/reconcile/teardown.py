"""Deletion: in reverse order, as far as deletionPolicy says. What a parent's absence has taken along is deleted too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from nuages.api.status import DatabaseStatus
from nuages.blueprint import names
from nuages.blueprint.access import reader
from nuages.blueprint.blueprint import Belonging, Blueprint
from nuages.blueprint.compose import compose
from nuages.cloud.driver import Observed, Operation
from nuages.cloud.errors import CloudError, NotFound, Propagating, Unfinished
from nuages.dbinit.verdict import RETRYABLE
from nuages.desired.iam import IamMember
from nuages.desired.resource import Resource
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlInstance
from nuages.desired.storage import Bucket
from nuages.reconcile import reasons, snapshot
from nuages.reconcile.execute import Result, State
from nuages.reconcile.gather import find_own_instance, gather
from nuages.reconcile.moves import as_deployed, known_database
from nuages.reconcile.plan import Verb, versions_of
from nuages.reconcile.provision import look_at_service, see
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import DONE, Done, Failed, Waiting
from nuages.reconcile.release.release import fingerprint
from nuages.reconcile.report import Report
from nuages.reconcile.rotation import rotating_secrets, with_rotation
from nuages.reconcile.surplus import is_made, marked, owner_of
from nuages.reconcile.trouble import Trouble, of_error

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass


@dataclass(frozen=True, kw_only=True)
class NamedService(Resource):
    """A Cloud Run service whose template does not matter any more."""

    kind: ClassVar[str] = RunService.kind


@dataclass(frozen=True, kw_only=True)
class NamedJob(Resource):
    """A job whose template does not matter any more."""

    kind: ClassVar[str] = RunJob.kind


@dataclass(frozen=True, kw_only=True)
class NamedInstance(Resource):
    """An instance that an operation is under way on."""

    kind: ClassVar[str] = SqlInstance.kind


async def tear_down(work: Pass, report: Report) -> Report:
    """One pass of it; `gone` once nothing is left to do. Raises Trouble, CloudError."""
    if (found := await _lost_database(work)) is not None:
        said = Waiting(reasons.DELETING, "Where the database is was found again; the service goes next.", after=0.0)
        return replace(report, database=found, outcome=said)
    work = replace(work, app=as_deployed(work.app, work.tenant, known_database(work.app, work.before, None)))
    blueprint, instance_is_there = await _composed(work)
    report = replace(report, blueprint=blueprint)
    if work.underway:
        waiting = {o.resource: Result(_named(o.resource), State.WAITING, operation=o) for o in work.underway}
        return replace(report, results=waiting)
    runs = await _delete_all(work, _run_resources(blueprint), keep=False)
    if not _are_gone(runs):
        return replace(report, results=runs)
    left = await _leave_database(work, blueprint) if instance_is_there else DONE
    if isinstance(left, Waiting):
        return replace(report, outcome=left, stage="LeaveDatabase")
    report = replace(report, database_left=blueprint.db_leave is not None and not left.news)
    keep = work.app.spec.deletion_policy != "Delete"
    rest = await _delete_all(work, blueprint.own, keep)
    others: tuple[Observed[Any], ...] = ()
    if _are_gone(rest):  # by the marker: what is in no blueprint
        others = tuple(item for item in await marked(work, blueprint, 0.0) if item.state.name not in rest)
        made = tuple(_with_reader(work, item.state) for item in others if is_made(work, item.state))
        rest |= await _delete_all(work, made, keep)
    results = runs | rest
    kept = tuple(r.resource.shown for r in rest.values() if r.did is Verb.KEEP)
    kept += (left.news,) if left.news else ()
    if blueprint.db_init is not None and _are_gone(results):  # last: it proves what was done inside the instance
        if report.database_left and work.before.get("database"):
            said = Waiting(reasons.DELETING, "The database is left; what is shared goes next.", after=0.0)
            return replace(report, results=results, outcome=said, kept=kept)
        results |= await _delete_all(work, (Belonging(blueprint.db_init),), keep=False)
    if not _are_gone(results):
        return replace(report, results=results, outcome=_emptying(results), kept=kept)
    work.cloud.inventory.drop(results)
    if snapshot.is_wanted(work):
        kept += await snapshot.taken(work, _instance_of(blueprint.db_leave) if blueprint.db_leave is not None else "")
    copies = tuple(item.state.shown for item in others if item.state.name not in results)
    return replace(report, results=results, kept=kept, copies=copies, gone=True)


async def _lost_database(work: Pass) -> DatabaseStatus | None:
    """Where the status was lost, what the app's own service tells, before it goes. Raises Trouble."""
    if work.before.get("database"):
        return None
    live = await look_at_service(work, fresh=True)
    return known_database(work.app, {}, live) if live is not None and live.owner == owner_of(work) else None


async def _composed(work: Pass) -> tuple[Blueprint, bool]:
    """The blueprint, and whether the instance of the database is there, as far as it is not the app's own."""
    known = (work.before.get("database") or {}).get("instance", "")
    image = work.settings.operator_image
    own = await find_own_instance(work.app, work.tenant, work.cloud, work.max_age, known)
    facts = await gather(work.app, work.tenant, work.cluster, work.cloud, image, None, own, work.max_age)
    facts = with_rotation(facts, work, await see(work, rotating_secrets(work)), None)
    blueprint = compose(work.app, work.tenant, facts)
    return blueprint, blueprint.db_leave is None or facts.existing_instance is not None


def _are_gone(results: Mapping[str, Result]) -> bool:
    """Deleted, or kept as the policy says."""
    return all(result.state is State.READY for result in results.values())


def _emptying(results: Mapping[str, Result]) -> Waiting | None:
    """A bucket that has more objects than a pass deletes: the next one follows at once."""
    bucket = next((r.resource for r in results.values() if isinstance(r.resource, Bucket) and _goes_on(r)), None)
    if bucket is None:
        return None
    told = of_error(Unfinished(""), bucket.shown)
    return Waiting(told.reason, told.message, after=0.0)


def _goes_on(result: Result) -> bool:
    """Whether it is this operator's own work that is not done, rather than an operation of Google's."""
    return result.state is State.WAITING and result.operation is None


def _run_resources(blueprint: Blueprint) -> tuple[Belonging, ...]:
    """The service and the app's jobs, by name: their templates do not matter any more."""
    return tuple(Belonging(_named(name)) for name in (blueprint.service_name, *blueprint.job_names))


def _with_reader(work: Pass, resource: Resource) -> Belonging:
    """The app's identity may outlive it: of a secret that is kept too, it reads no more what the app left behind."""
    account = names.runtime_account(work.app, work.tenant)
    return Belonging(resource, (reader(resource.name, account),) if isinstance(resource, Secret) else ())


async def _delete_all(work: Pass, belongings: Iterable[Belonging], keep: bool) -> dict[str, Result]:
    """One after the other: dependents come first, and a failure leaves what they need alone."""
    results: dict[str, Result] = {}
    for item in belongings:
        results |= await _delete(work, item, keep)
        if not _are_gone(results):
            break
    return results


async def _delete(work: Pass, item: Belonging, keep: bool) -> dict[str, Result]:
    """With its grants, which go before it. What bears another's marker keeps them."""
    resource, results = item.resource, dict[str, Result]()
    found: Observed[Any] | None = None
    driver = work.cloud.drivers.of(_kind_of(resource))
    try:
        found = await driver.observe(resource.name)
        if found is None or _is_ours(work, resource, found):
            results = await _delete_all(work, map(Belonging, item.grants), keep=False)
            if not _are_gone(results):
                return results
            if any(result.did for result in results.values()):  # to its policy, or to another while time went by
                found = await driver.observe(resource.name)
        if found is None or not _is_ours(work, resource, found):
            last = Result(resource, State.READY)
        else:
            last = await _remove(work, resource, found, keep)
    except (NotFound, Propagating):  # what it is of has gone before it: a grant's target, or its member
        last = Result(resource, State.READY)
    except Unfinished:
        last = Result(resource, State.WAITING, found)
    except CloudError as error:
        last = Result(resource, State.FAILED, error=error)
    finally:
        work.cloud.inventory.forget(resource.name)
    return results | {resource.name: last}


async def _remove(work: Pass, resource: Resource, found: Observed[Any], keep: bool) -> Result:
    """What is there and ours: retained, or deleted. Raises CloudError."""
    driver = work.cloud.drivers.of(_kind_of(resource))
    ends_in_backup = isinstance(found.state, SqlInstance) and snapshot.is_wanted(work)
    if keep and resource.keeps_data and not ends_in_backup:
        return await _retain(work, resource, found)
    if isinstance(found.state, SqlInstance) and found.state.deletion_protection:
        operation = await driver.update(
            replace(found.state, deletion_protection=False), found, ("deletion_protection",)
        )
        return Result(resource, State.WAITING, found, Verb.UPDATE, operation)
    if ends_in_backup:
        instances = work.cloud.drivers.sql_instances()
        operation = await instances.delete(resource.name, final_backup=snapshot.description(work))
    else:
        operation = await driver.delete(resource.name, found.etag)
    if operation is None or operation.done:
        return Result(resource, State.READY, found, Verb.DELETE)
    return Result(resource, State.WAITING, found, Verb.DELETE, operation)


async def _retain(work: Pass, resource: Resource, found: Observed[Any]) -> Result:
    """Marked as left behind, so that an app of the same namespace and name takes it back."""
    if found.owner is not None and not found.owner.retained:
        marked = replace(found.state, owner=replace(found.owner, retained=True))
        operation: Operation | None = await work.cloud.drivers.of(type(found.state)).update(marked, found, ("owner",))
        if operation is not None and not operation.done:
            return Result(resource, State.WAITING, found, Verb.UPDATE, operation)
    return Result(resource, State.READY, found, Verb.KEEP)


async def _leave_database(work: Pass, blueprint: Blueprint) -> Waiting | Done:
    """On an instance that stays, the database goes, or is marked as retained, by a job. Raises Trouble, CloudError."""
    job, user = blueprint.db_leave, blueprint.administrator
    if job is None or user is None or not await _was_initialised(work, job):
        return DONE
    secret = await work.cloud.inventory.fresh(Secret, user.password)
    if secret is None:
        name = work.app.database_name
        return Done(f"database {name} on {_instance_of(job)}, for the secret of {user.id} has gone, which opens it")
    bound = job.bind(versions_of({user.password: secret}))
    if bound is None:
        raise Trouble(
            reasons.SECRET_VERSION_DISABLED,
            f"spec.deletionPolicy: the version of {secret.state.shown} that opens the instance cannot be used, and the "
            "database is still there. Enable that version again.",
        )
    if snapshot.is_wanted(work):
        unfinished = await snapshot.back_up(work, _instance_of(job))
        if unfinished is not None:
            return unfinished
    run = Run(
        bound,
        fingerprint([[str(item) for item in bound.template.environment], work.app.metadata.uid])[:8],
        what="db-init (deletion)",
        reason_running=reasons.LEAVING_DATABASE,
        reason_failed=reasons.DATABASE_NOT_LEFT,
        remedy="the database is still there. Mend what its log says, then annotate nuages.dev/reconcile-at",
        retry_exit_codes=RETRYABLE,
        again=fingerprint(work.app.reconcile_at)[:5] if work.app.reconcile_at else "",
        patience=work.settings.patience,
        login=blueprint.administrator,
    )
    outcome = await run_once(run, work.cloud)
    if isinstance(outcome, Failed):
        raise Trouble(outcome.reason, f"spec.deletionPolicy: {outcome.message}")
    return outcome


async def _was_initialised(work: Pass, job: RunJob) -> bool:
    """Whether there may be a database: somebody may have deleted the job by hand, or the status may have been lost.

    Once the database is left, the status forgets it first, and the job goes in a later pass: together they say that it
    is done, wherever the operator may die in between. Whose job it is by now has taken over the database too.
    """
    found = await work.cloud.drivers.of(RunJob).observe(job.name)
    return bool(work.before.get("database")) if found is None else _is_ours(work, job, found)


def _instance_of(job: RunJob) -> str:
    """Full name of the instance that a job connects to ("project:region:name")."""
    project, _, name = job.template.cloud_sql[0].rsplit(":", 2)
    return f"projects/{project}/instances/{name}"


def _is_ours(work: Pass, resource: Resource, found: Observed[Any]) -> bool:
    """What bears another's marker stays; a grant, which cannot bear one, is asked for with what it is of."""
    if resource.owner is not None:
        return resource.owner.may_have(found.owner)
    if isinstance(found.state, IamMember):
        return True
    owner, metadata = found.owner, work.app.metadata
    return owner is not None and (owner.namespace, owner.app, owner.uid) == (
        metadata.namespace,
        metadata.name,
        metadata.uid,
    )


def _kind_of(resource: Resource) -> type[Resource]:
    """The type whose driver serves it."""
    by_name: dict[type[Resource], type[Resource]] = {NamedService: RunService, NamedJob: RunJob}
    return by_name.get(type(resource), type(resource))


def _named(name: str) -> Resource:
    """What is known by its name alone."""
    if "/jobs/" in name:
        return NamedJob(name=name)
    return NamedService(name=name) if "/services/" in name else NamedInstance(name=name)
