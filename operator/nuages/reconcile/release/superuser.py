"""superuser: created once in an app's life, with a password from Secret Manager.

The password is made when the job is about to run, and not looked at otherwise: once there is a superuser, a secret made
anew would show a password that Django does not know. From then on it is people's to disable or delete.

The job runs as the app, which may read the password for as long as that lasts, and not afterwards. An identity of the
job's own would need every grant that the app has, and one more of a project's 100 service accounts for each app.
"""

from __future__ import annotations

from nuages.cloud.access import CloudAccess
from nuages.desired.iam import IamMember
from nuages.reconcile import reasons
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import DONE, Outcome, Waiting
from nuages.reconcile.release.release import ADOPT, Release, fingerprint


async def superuser(release: Release, cloud: CloudAccess) -> Outcome:
    """Another username is another superuser; the first one is the user's to remove.

    Where the spec wants none any more, clean-up withdraws a grant that is left.
    """
    run = wanted_run(release)
    if run is None:
        return DONE
    outcome = await run_once(run, cloud)
    if run.grant is not None and not isinstance(outcome, Waiting):
        await _withdraw(run.grant, cloud)
    return outcome


def wanted_run(release: Release) -> Run | None:
    """None where the spec wants no superuser, or has it."""
    job, spec, token = release.superuser, release.app.spec.superuser, token_of(release)
    if job is None or spec is None or token == release.made_superuser:
        return None
    return Run(
        job,
        token,
        what=f"createsuperuser {spec.username}",
        reason_running=reasons.CREATING_SUPERUSER,
        reason_failed=reasons.SUPERUSER_FAILED,
        remedy=f"{release.revision} serves. Correct its username, email or command, or release a fixed image",
        field="spec.superuser",
        longer=f"{release.revision} serves. Raise it, or correct the command",
        patience=release.patience,
        secret=release.blueprint.superuser_password,
        adopts=release.annotation(ADOPT) == "true",
        grant=release.blueprint.superuser_grant,
        failure=release.failed.get(job.name),
    )


def token_of(release: Release) -> str:
    """What stands for the superuser: whom, and in which database. "" where the spec wants none.

    Not for the user's word, as db-init's: it would make a password anew where one was deleted after the first login.
    """
    spec = release.app.spec.superuser
    return "" if spec is None else fingerprint([spec.username, release.app.metadata.uid, release.database])[:6]


async def _withdraw(grant: IamMember, cloud: CloudAccess) -> None:
    """What a crash has left is found here by the next release. Raises CloudError."""
    driver = cloud.drivers.of(IamMember)
    if await driver.observe(grant.name) is not None:
        await driver.delete(grant.name)
