"""migrate: one execution per image digest and database, at most one at a time, before any traffic moves.

The execution is the proof that an image has migrated, or the status that has told of it; that the image serves is none,
for it may have been released without, under another policy or by hand.
"""

from __future__ import annotations

from nuages.cloud.access import CloudAccess
from nuages.cloud.executions import execution_name
from nuages.reconcile import reasons
from nuages.reconcile.release.jobs import Run, is_done, run_once
from nuages.reconcile.release.outcome import DONE, Outcome, Waiting
from nuages.reconcile.release.release import MIGRATE, RETRY_MIGRATION, Release, fingerprint


async def migrate(release: Release, cloud: CloudAccess) -> Outcome:
    """A failed one is run again where the user asks, or has corrected what it is started with."""
    run = wanted_run(release)
    if run is None:
        return DONE
    if release.app.spec.migrations.policy == "Manual" and not await _is_agreed(run, release, cloud):
        image = release.app.spec.image
        return Waiting(
            reasons.MIGRATION_PENDING,
            f"spec.migrations.policy: Manual waits for you. Annotate {MIGRATE}={image} to migrate and release.",
            after=300,
        )
    return await run_once(run, cloud)


def wanted_run(release: Release) -> Run | None:
    """None where no migration is wanted, or the digest and database have theirs: then not even Google is asked."""
    token = _token(release)
    if not release.migrates or (release.is_migrated and (not release.retry or _tells_of(release, token))):
        return None
    kept = f"{release.serving} keeps all traffic" if release.serving else "nothing is deployed"
    return Run(
        release.migrate,
        token,
        what="migrate",
        reason_running=reasons.MIGRATING,
        reason_failed=reasons.MIGRATION_FAILED,
        remedy=f"{kept}. Release a fixed image, correct spec.env or spec.django, or annotate {RETRY_MIGRATION} to try "
        "this one again",
        field="spec.image",
        limited=f"{kept}. Raise it, or release an image that needs less",
        patience=release.patience,
        told=release.told,
        failure=release.failed.get(release.migrate.name),
        stem=_hash(release),
        is_derived_from=not release.retry,
    )


def _token(release: Release) -> str:
    """The hash, and the wish for another try behind it.

    Older operators had the wish in the hash. What they began for it keeps that token while the status tells of it.
    Where that is lost, the migration runs once more for the annotation, and without it an older failure counts again.
    """
    older = _hash(release, release.annotation(RETRY_MIGRATION))
    return older if _tells_of(release, older) else f"{_hash(release)}{release.retry}"


def _hash(release: Release, asked: str = "") -> str:
    """Without a wish the same as older operators'."""
    return fingerprint([release.digest, release.database, asked])[:8]


def _tells_of(release: Release, token: str) -> bool:
    """Whether the execution that the status names is one of the token's tries."""
    return str(release.migration.get("execution", "")).startswith(execution_name(release.migrate, token))


async def _is_agreed(run: Run, release: Release, cloud: CloudAccess) -> bool:
    """By the user's word, or because it has run already. Raises CloudError."""
    if release.annotation(MIGRATE) in (release.app.spec.image, release.digest):
        return True
    return await is_done(run, cloud)
