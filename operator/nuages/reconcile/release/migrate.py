"""migrate: one execution per image digest, at most one at a time, before any traffic moves."""

from __future__ import annotations

from nuages.cloud.access import CloudAccess
from nuages.reconcile import reasons
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import DONE, Outcome, Waiting
from nuages.reconcile.release.release import MIGRATE, RETRY_MIGRATION, Release, fingerprint


async def migrate(release: Release, cloud: CloudAccess) -> Outcome:
    """Unchanged digest and database: no execution. A failed one is run again only when the user asks."""
    spec, asked = release.app.spec, release.annotation(RETRY_MIGRATION)
    if release.db_init is None or spec.migrations.policy == "Never" or (_was_migrated(release) and not asked):
        return DONE
    if spec.migrations.policy == "Manual" and release.annotation(MIGRATE) not in (spec.image, release.digest):
        return Waiting(
            reasons.MIGRATION_PENDING,
            f"spec.migrations.policy: Manual waits for you. Annotate {MIGRATE}={spec.image} to migrate and release.",
            after=300,
        )
    token = fingerprint([release.digest, release.migrate.template.cloud_sql, release.app.database_name, asked])[:8]
    kept = f"{release.serving} keeps all traffic" if release.serving else "nothing is deployed"
    run = Run(
        release.migrate,
        token,
        what="migrate",
        reason_running=reasons.MIGRATING,
        reason_failed=reasons.MIGRATION_FAILED,
        remedy=f"{kept}. Release a fixed image, or annotate {RETRY_MIGRATION} to try this one again",
        field="spec.image",
        patience=release.patience,
        failure=release.failed.get(release.migrate.name),
    )
    return await run_once(run, cloud)


def _was_migrated(release: Release) -> bool:
    """A revision that is ready was deployed after its migration: the order of the steps is the proof.

    Of that database, that is: an instance that was made again holds nothing yet.
    """
    if release.live is None or not release.serving:
        return False
    template = release.live.state.template
    is_same = template.image.endswith(release.digest) and template.cloud_sql == release.migrate.template.cloud_sql
    return is_same and release.live.outputs.get("latest_ready_revision") == release.live.state.revision
