"""deletionPolicy Snapshot: a last backup of the database before it goes, found again by its description.

An instance of the app's own is deleted with a final backup, which Google keeps for a year. On an instance that stays,
a backup run of the whole of it comes before the database is dropped: Cloud SQL makes no smaller one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from nuages.cloud.errors import CloudError
from nuages.cloud.sql import BACKUP_DAYS
from nuages.reconcile import reasons
from nuages.reconcile.release.outcome import Waiting
from nuages.reconcile.release.release import fingerprint
from nuages.reconcile.trouble import Trouble

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

log = structlog.get_logger()


def is_wanted(work: Pass) -> bool:
    return work.app.spec.deletion_policy == "Snapshot"


def description(work: Pass) -> str:
    """Of this life of the app; any new value of nuages.dev/reconcile-at is another try."""
    asked = work.app.reconcile_at
    return _life(work) + (f" {fingerprint(asked)[:5]}" if asked else "")


async def back_up(work: Pass, instance: str) -> Waiting | None:
    """A backup run of an instance that stays (full name); None once it has succeeded. Raises Trouble, CloudError."""
    run = await work.cloud.backups.find(instance, description(work))
    short = instance.rsplit("/", 1)[-1]
    if run is None:
        operation = await work.cloud.backups.start(instance, description(work))
        return Waiting(reasons.BACKING_UP, f"The backup of {short} has begun.", operation)
    if run.succeeded is None:
        return Waiting(reasons.BACKING_UP, f"Backup run {run.id} of {short} is under way.", after=5.0)
    if not run.succeeded:
        raise Trouble(
            reasons.BACKUP_FAILED,
            f"spec.deletionPolicy: backup run {run.id} of {short} failed, and nothing was deleted. Annotate "
            "nuages.dev/reconcile-at for another one, or set Retain or Delete.",
        )
    return None


async def taken(work: Pass, shared: str) -> tuple[str, ...]:
    """What is there now, and how it is found; `shared`: the instance that stays (full name), "" for one that went.

    Nothing where there was no database, for Cloud SQL's API may be off; nor where Google does not say, for what cannot
    be told must not hold a deletion up that is through.
    """
    if not (work.app.spec.database.enabled or work.before.get("database")):
        return ()
    try:
        return await (_run_of(work, shared) if shared else _final(work))
    except CloudError as error:
        log.warning("last backup was not told", app=work.app.key, error=type(error).__name__)
        return ()


async def _run_of(work: Pass, instance: str) -> tuple[str, ...]:
    run, short = await work.cloud.backups.find(instance, description(work)), instance.rsplit("/", 1)[-1]
    if run is None or not run.succeeded:
        return ()
    found = f"gcloud sql backups list --project {instance.split('/')[1]} --instance {short}"
    return (f'backup run {run.id} of {short}, described as "{_life(work)}": {found}',)


async def _final(work: Pass) -> tuple[str, ...]:
    name = await work.cloud.backups.final(work.tenant.spec.project, _life(work))
    return (f'final backup {name}, for {BACKUP_DAYS} days, described as "{_life(work)}"',) if name else ()


def _life(work: Pass) -> str:
    """What the descriptions of an app's backups begin with."""
    metadata = work.app.metadata
    return f"nuages {metadata.namespace}/{metadata.name} {metadata.uid}"
