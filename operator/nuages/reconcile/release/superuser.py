"""superuser: created once in an app's life; its password is in Secret Manager, and the job alone sees it."""

from __future__ import annotations

from nuages.cloud.access import CloudAccess
from nuages.reconcile import reasons
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import DONE, Outcome
from nuages.reconcile.release.release import Release, fingerprint


async def superuser(release: Release, cloud: CloudAccess) -> Outcome:
    """Another username is another superuser; the first one is the user's to remove."""
    job, spec = release.superuser, release.app.spec.superuser
    if job is None or spec is None:
        return DONE
    run = Run(
        job,
        fingerprint([spec.username, release.app.metadata.uid, job.template.cloud_sql])[:6],
        what=f"createsuperuser {spec.username}",
        reason_running=reasons.CREATING_SUPERUSER,
        reason_failed=reasons.SUPERUSER_FAILED,
        remedy=f"{release.revision} serves. Correct its command or username, or release a fixed image",
        field="spec.superuser",
        again=fingerprint([spec.command, spec.email, release.digest])[:5],
        patience=release.patience,
        failure=release.failed.get(job.name),
    )
    return await run_once(run, cloud)
