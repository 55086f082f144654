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
from nuages.reconcile.release.release import Release, fingerprint

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
    stem, adopts = stem_of(release, job), document_of(job).adopt
    token = f"{stem}{release.retry}{ADOPTS if adopts else ''}"
    return replace(run_of(release, job, token), stem=stem, is_derived_from=not adopts)


def stem_of(release: Release, job: RunJob) -> str:
    """What stands for all that the job does, and for the instance that it does it on. A token has the user's word too.

    An older backup that was restored into the instance knows neither newer passwords nor newer roles; that it was
    restored shows nowhere but in the instance's operations, so it is the user who asks. That wish, and leave to take
    over, follow in the token: what succeeded with them is done without them too, and what failed without them has not
    failed for good.
    """
    environment = dict(job.template.environment)
    environment[DOCUMENT] = replace(document_of(job), adopt=False, adopt_unmarked=False).to_json()
    made_of = [job.template.args, job.template.image, [str(item) for item in environment.items()]]
    return fingerprint([*made_of, release.instance_created])[:6]


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
        told=release.told,
        login=release.blueprint.administrator,
        failure=release.failed.get(job.name),
    )
