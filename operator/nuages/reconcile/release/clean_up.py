"""clean-up: old revisions beyond those that are kept, then what only they needed, and what nobody wants any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from nuages.blueprint.access import reader
from nuages.cloud.access import CloudAccess
from nuages.cloud.revisions import Revision
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Secret, SecretRef
from nuages.reconcile import reasons
from nuages.reconcile.execute import Executor, Result, State
from nuages.reconcile.plan import Plan, Verb, removal
from nuages.reconcile.release.outcome import DONE, Done, Outcome, Waiting
from nuages.reconcile.release.release import Release
from nuages.reconcile.surplus import held_by, wanted_names


async def clean_up(release: Release, cloud: CloudAccess) -> Outcome:
    """spec.release.keepRevisions counts the ready ones besides the serving one. What serves, is tagged or is the newest
    is never touched."""
    revisions = await cloud.revisions.list(release.service.name)
    live = release.live
    in_use = {target.revision for target in live.state.traffic} if live is not None else set()
    in_use |= {release.revision}
    spare = [item for item in revisions if item.name not in in_use]
    kept = [item for item in spare if item.ready][: release.app.spec.release.keep_revisions]
    old = [item for item in spare if item not in kept]
    left = [item for item in revisions if item not in old]
    await _withdraw(release, old, left, cloud)  # while they still tell what they could read
    for item in old:
        await cloud.revisions.delete(release.service.name, item.name)
    retired = await _retire(release, left, cloud)
    removed = await _remove(release, left, cloud)
    waiting = next((result for result in removed if result.state is State.WAITING), None)
    if waiting is not None:
        message = f"{waiting.resource.shown} is wanted no more, and is being deleted."
        return Waiting(reasons.CLEANING_UP, message, waiting.operation)
    return _told(release, len(old), retired, removed)


def _told(release: Release, revisions: int, retired: int, removed: Sequence[Result]) -> Done:
    deleted = [result.resource.shown for result in removed if result.did is Verb.DELETE]
    kept = [item.state.shown for item in release.surplus.kept]
    told = [f"Deleted {revisions} old revision(s)."] if revisions else []
    told += [f"Disabled {retired} old secret version(s)."] if retired else []
    told += [f"Deleted what spec no longer wants: {', '.join(deleted)}."] if deleted else []
    told += [f"Kept what spec no longer wants, for it holds data: {', '.join(kept)}."] if kept else []
    return Done(" ".join(told)) if told else DONE


async def _remove(release: Release, left: Sequence[Revision], cloud: CloudAccess) -> Sequence[Result]:
    """What no revision refers to any more. Raises CloudError."""
    held = held_by(release.surplus.removable, left)
    due = [item for item in release.surplus.removable if item.state.name not in held]
    results = await Executor(cloud.drivers, cloud.inventory).execute(Plan(removal(due)), failed=release.failed)
    for result in results.values():
        if result.error is not None:
            raise result.error
    return tuple(results.values())


async def _withdraw(release: Release, old: Sequence[Revision], left: Sequence[Revision], cloud: CloudAccess) -> None:
    """The app's identity reads a secret while a revision needs it, no longer; nor what is kept for nobody's use, such
    as a superuser's password, though its job ran as another one. Raises CloudError."""
    email = release.service.template.service_account
    jobs = [item.state for item in release.surplus.removable if isinstance(item.state, RunJob)]
    is_own = any(isinstance(item, ServiceAccount) and item.email == email for item in release.blueprint.resources)
    # An identity that others use too may need the grant, but for secrets of this very app.
    used = {secret for item in old for secret, _ in item.secret_versions} if is_own else set()
    kept = {item.state.name for item in release.surplus.kept if isinstance(item.state, Secret)}
    still = {secret for item in left for secret, _ in item.secret_versions}
    wanted = wanted_names(release.blueprint) | {item.state.name for item in release.surplus.removable}
    ran_as = {email, *(job.template.service_account for job in jobs)}
    driver = cloud.drivers.of(IamMember)
    unused = {*product(used - still - wanted, (email,)), *product(kept - still - wanted, ran_as)}
    for grant in (reader(*item) for item in sorted(unused)):
        if grant.name not in wanted and await driver.observe(grant.name) is not None:
            await driver.delete(grant.name)
            cloud.inventory.forget(grant.name)


async def _retire(release: Release, left: Iterable[Revision], cloud: CloudAccess) -> int:
    """Of the app's own secrets. A first version has none before it, so that nothing is asked about it."""
    workloads = (release.service, release.db_init, release.migrate, release.superuser)
    current = dict(reference for item in workloads if item is not None for reference in _references(item))
    needed = {reference for item in left for reference in item.secret_versions} | set(current.items())
    own = [item for item in release.blueprint.resources if isinstance(item, Secret) and item.owner and item.owner.app]
    driver, count = cloud.drivers.secrets(), 0
    for name in (item.name for item in own if int(current.get(item.name, "1")) > 1):
        count += await driver.retire(
            name, int(current[name]), {version for secret, version in needed if secret == name}
        )
    return count


def _references(workload: RunService | RunJob) -> Iterable[tuple[str, str]]:
    for _, value in workload.template.environment:
        if isinstance(value, SecretRef) and value.version is not None:
            yield value.secret, value.version
