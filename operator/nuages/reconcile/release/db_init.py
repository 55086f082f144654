"""db-init: the database, its roles and its extensions, once per description of them and instance, and when asked."""

from __future__ import annotations

from nuages.cloud.access import CloudAccess
from nuages.dbinit.verdict import RETRYABLE
from nuages.desired.run import RunJob
from nuages.reconcile import reasons
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import DONE, Outcome
from nuages.reconcile.release.release import RETRY_MIGRATION, Release, fingerprint


async def db_init(release: Release, cloud: CloudAccess) -> Outcome:
    """A changed description, password version or operator image is another token, hence another execution.

    A password that the instance refuses (changed by somebody, or its version was lost and made anew) is set again.
    """
    run = wanted_run(release)
    return DONE if run is None else await run_once(run, cloud)


def wanted_run(release: Release) -> Run | None:
    """None for an app without a database."""
    job = release.db_init
    return None if job is None else run_of(release, job, token_of(release, job))


def token_of(release: Release, job: RunJob) -> str:
    """What stands for all that the job does, for the instance that it does it on, and for the user's word.

    An older backup that was restored into the instance knows neither newer passwords nor newer roles; that it was
    restored shows nowhere but in the instance's operations.
    """
    made_of = [job.template.args, job.template.image, [str(item) for item in job.template.environment]]
    asked = release.annotation(RETRY_MIGRATION)
    return fingerprint([*made_of, release.instance_created, *([asked] if asked else [])])[:6]


def run_of(release: Release, job: RunJob, token: str) -> Run:
    """db-init under a token of its own."""
    return Run(
        job,
        token,
        what="db-init",
        reason_running=reasons.INITIALISING_DATABASE,
        reason_failed=reasons.DATABASE_INITIALISATION_FAILED,
        remedy="the app's database is not prepared. Mend what its log says, then annotate nuages.dev/reconcile-at",
        field="spec.database",
        retry_exit_codes=RETRYABLE,
        again=fingerprint(release.app.reconcile_at)[:5] if release.app.reconcile_at else "",
        patience=release.patience,
        login=release.blueprint.administrator,
        failure=release.failed.get(job.name),
    )
