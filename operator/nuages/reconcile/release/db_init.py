"""db-init: the database, its roles and its extensions, once per description of them and instance, and when asked."""

from __future__ import annotations

from dataclasses import replace

from nuages.cloud.access import CloudAccess
from nuages.dbinit.spec import DOCUMENT, DbInitSpec
from nuages.dbinit.verdict import RETRYABLE
from nuages.desired.run import RunJob
from nuages.reconcile import reasons
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import DONE, Outcome
from nuages.reconcile.release.release import RETRY_MIGRATION, Release, fingerprint

ADOPTS = "a"  # at the end of a token


async def db_init(release: Release, cloud: CloudAccess) -> Outcome:
    """A changed description, password version or operator image is another token, hence another execution.

    A password that the instance refuses (changed by somebody, or its version was lost and made anew) is set again.
    """
    run = wanted_run(release)
    return DONE if run is None else await run_once(run, cloud)


def wanted_run(release: Release) -> Run | None:
    """None for an app without a database."""
    job = release.db_init
    if job is None:
        return None
    return replace(run_of(release, job, token_of(release, job)), is_derived_from=not document_of(job).adopt)


def token_of(release: Release, job: RunJob) -> str:
    """What stands for all that the job does, for the instance that it does it on, and for the user's word.

    An older backup that was restored into the instance knows neither newer passwords nor newer roles; that it was
    restored shows nowhere but in the instance's operations. Leave to take over is a letter more: what succeeded with it
    is done without it too, and what was refused without it is not refused for good.
    """
    environment = dict(job.template.environment)
    document = document_of(job)
    environment[DOCUMENT] = replace(document, adopt=False, adopt_unmarked=False).to_json()
    made_of = [job.template.args, job.template.image, [str(item) for item in environment.items()]]
    asked = release.annotation(RETRY_MIGRATION)
    wish = fingerprint([*made_of, release.instance_created, *([asked] if asked else [])])[:6]
    return f"{wish}{ADOPTS}" if document.adopt else wish


def document_of(job: RunJob) -> DbInitSpec:
    """What the job is asked for."""
    return DbInitSpec.from_json(str(dict(job.template.environment)[DOCUMENT]))


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
