"""superuser: created once in an app's life, with a password from Secret Manager.

The password is made when the job is about to run, and only listed otherwise: once there is a superuser, a secret made
anew would show a password that Django does not know. From then on it is people's to disable or delete.

The job runs as the app, which may read the password for as long as that lasts, and not afterwards. An identity of the
job's own would need every grant that the app has, and one more of a project's 100 service accounts for each app.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nuages.cloud.access import CloudAccess
from nuages.desired.iam import IamMember
from nuages.desired.run import RunJob
from nuages.desired.secretmanager import Secret, SecretRef
from nuages.reconcile import reasons
from nuages.reconcile.execute import Executor
from nuages.reconcile.plan import Action, Plan, Verb
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import DONE, Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import ADOPT, Release, fingerprint

FOUND = 93  # how the job exits where the user was there with another password: see blueprint/scripts/superuser.py
SETTLED = ("Created", "Found")


async def superuser(release: Release, cloud: CloudAccess) -> Outcome:
    """Another username is another superuser; the first one is the user's to remove.

    Where the spec wants none any more, clean-up withdraws a grant that is left.
    """
    run = wanted_run(release)
    if run is None:
        return DONE
    outcome = await run_once(run, cloud)
    if run.grant is not None and not isinstance(outcome, Waiting):
        await _withdraw(run.job, run.grant, cloud, is_last=isinstance(outcome, Done))
    if isinstance(outcome, Done):
        return await _settled(release, run, outcome, cloud)
    return outcome


def wanted_run(release: Release) -> Run | None:
    """None where the spec wants no superuser, or has it."""
    job, spec, known = release.superuser, release.app.spec.superuser, _known(release)
    if job is None or spec is None or known.get("state") in SETTLED:
        return None
    return Run(
        job,
        token_of(release),
        what=f"superuser {spec.username}",
        reason_running=reasons.CREATING_SUPERUSER,
        reason_failed=reasons.SUPERUSER_FAILED,
        remedy=f"{release.revision} serves. Correct its username, email or command, set DJANGO_SUPERUSER_<FIELD> in "
        "spec.env for each other field that the user model requires, or release a fixed image",
        field="spec.superuser",
        limited=f"{release.revision} serves. Raise it, or correct the command",
        done_exit_code=FOUND,
        patience=release.patience,
        told=release.told,
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


def told(release: Release, outcome: Outcome | None) -> dict[str, Any]:
    """What the status says of the superuser after such an outcome of the step; empty where nothing was run.

    While it is on its way, `secret` is one that was made for it alone.
    """
    spec = release.app.spec.superuser
    if spec is None or outcome is None or not outcome.execution:
        return {}
    state, secret = "Creating", _known(release).get("secret", "")
    if isinstance(outcome, Waiting) and outcome.made is not None and outcome.made.did is Verb.CREATE:
        secret = outcome.made.resource.name
    if isinstance(outcome, Failed):
        state = "Failed"
    if isinstance(outcome, Done):
        is_found = outcome.exit_code == FOUND
        state, secret = ("Found", "") if is_found else ("Created", _password(release))
    made = {"id": token_of(release), "username": spec.username, "state": state}
    return made | ({"secret": secret} if secret else {})


def _known(release: Release) -> dict[str, Any]:
    """What the status tells of just this superuser."""
    known = release.known_superuser
    return dict(known) if known.get("id") == token_of(release) else {}


def _password(release: Release) -> str:
    """Full name of the secret that the job reads it from."""
    environment = () if release.superuser is None else release.superuser.template.environment
    reference = dict(environment).get("DJANGO_SUPERUSER_PASSWORD")
    return reference.secret if isinstance(reference, SecretRef) else ""


async def _settled(release: Release, run: Run, done: Done, cloud: CloudAccess) -> Done:
    """With the news, which name no login: the user model may have another than the username. A password that was made
    for nothing goes again. Raises CloudError."""
    secret = f"Secret {_password(release).rpartition('/')[2]}"
    if done.exit_code != FOUND and not _known(release):  # of long ago, and the status was lost
        return done
    if done.exit_code != FOUND:
        return replace(done, news=f"The superuser is in the database, with the password in {secret}.")
    news = f"The superuser was in the database already: its password was not changed, and is not the one in {secret}"
    # Else it may open the login of one before: a job may fail after its user was made.
    if run.secret is not None and _known(release).get("secret") == run.secret.name:
        await _discard(run.secret, cloud)
        news += ", which was made for it and is deleted again"
    return replace(done, reason=reasons.SUPERUSER_EXISTS, news=f"{news}.")


async def _discard(secret: Secret, cloud: CloudAccess) -> None:
    executor = Executor(cloud.drivers, cloud.inventory)
    result = (await executor.execute(Plan((Action(Verb.DELETE, secret),))))[secret.name]
    if result.error is not None:
        raise result.error


async def _withdraw(job: RunJob, grant: IamMember, cloud: CloudAccess, *, is_last: bool) -> None:
    """From whom the job ran as too, for the spec may have named another identity meanwhile. What a crash has left is
    found here by the next release. Who looks for the last time trusts no read that shows nothing: it may be of before
    the grant. Raises CloudError."""
    live = await cloud.drivers.of(RunJob).observe(job.name)
    ran_as = {grant.member} if live is None else {grant.member, f"serviceAccount:{live.state.template.service_account}"}
    driver = cloud.drivers.of(IamMember)
    for member in sorted(ran_as):
        name = IamMember.of(grant.target, grant.role, member).name
        if is_last or await driver.observe(name) is not None:
            await driver.delete(name)
