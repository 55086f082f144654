"""How a release runs a job once per token, finds it again, and reads why it failed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from typing import Any

from nuages.blueprint import names
from nuages.cloud.access import CloudAccess
from nuages.cloud.errors import CloudError, VersionDisabled
from nuages.cloud.executions import Execution, execution_name
from nuages.cloud.logs import LogLine
from nuages.dbinit.verdict import Reason
from nuages.desired.iam import IamMember
from nuages.desired.run import RunJob, Template
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlUser
from nuages.reconcile import reasons
from nuages.reconcile.execute import Executor, Result
from nuages.reconcile.patience import PATIENCE, Patience, until_log
from nuages.reconcile.plan import Action, Plan, Verb
from nuages.reconcile.release.limits import is_killed, limit_of, says_memory
from nuages.reconcile.release.outcome import Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import fingerprint
from nuages.reconcile.release.start_cause import not_run
from nuages.reconcile.trouble import Trouble, of_refusal, shortened

TOLD = range(Reason.NAME_CONFLICT, Reason.FAILED + 1)  # exit codes with which db-init and our scripts tell a verdict
ATTEMPTS = 5  # of executions that asked for another one


@dataclass(frozen=True)
class Run:
    """A job to run: `reason_running` and `reason_failed` are condition reasons, `what` the words for people."""

    job: RunJob
    token: str
    what: str
    reason_running: str
    reason_failed: str
    remedy: str
    field: str = ""  # of the spec, where a failure is most likely mended
    limited: str = ""  # the remedy where a limit of spec.jobs ended it, for those that it is for
    retry_exit_codes: frozenset[int] = frozenset()
    done_exit_code: int | None = None  # besides 0, where there is nothing more to do, as the step tells
    again: str = ""  # after a final failure: any new value is another try, as another template is
    patience: Patience = PATIENCE
    secret: Secret | None = None  # that nothing but this job reads: made before a start
    adopts: bool = False  # that secret, where it is not ours
    grant: IamMember | None = None  # of the job's identity, made before a start
    login: SqlUser | None = None  # that the job uses: given its password again where it was refused
    told: Failed | None = None  # what the status tells of an execution that failed
    failure: CloudError | None = None  # why an earlier pass's operation on the job failed
    stem: str = ""  # of the token, where people's wishes end it: what stands for the work itself
    is_derived_from: bool = False  # by longer tokens, whose success is as good where this one was never started


async def run_once(run: Run, cloud: CloudAccess) -> Outcome:
    """Found, or started; may be entered again after any line. A failure of the container is final for this token, until
    the job is another than the one that failed.

    Raises CloudError.
    """
    newest = await _newest(run, cloud)
    execution, failures = newest.execution, newest.failures
    if execution is None:
        return _pause(run, failures) or await _mend(run, failures, cloud) or await _start(run, newest.token, cloud)
    if execution.state == "Running":
        return running(run, execution)
    if _is_done(run, execution):
        return Done(execution=execution.name, log_link=execution.log_uri, exit_code=execution.exit_code or 0)
    return await _failure(run, execution, cloud)


async def is_to_run(run: Run, cloud: CloudAccess) -> bool:
    """Whether `run_once` would begin it, now or after a pause. Raises CloudError."""
    return (await _newest(run, cloud)).execution is None


async def is_done(run: Run, cloud: CloudAccess) -> bool:
    """Whether `run_once` would find it done. Raises CloudError."""
    found = (await _newest(run, cloud)).execution
    return found is not None and _is_done(run, found)


@dataclass(frozen=True)
class _Newest:
    """What the newest try came to, None where it is to be made; `failures`: of those before it that may heal."""

    token: str
    execution: Execution | None
    failures: Sequence[Execution]


async def _newest(run: Run, cloud: CloudAccess) -> _Newest:
    """What succeeded after a failure outweighs it, though it was asked for, or described, otherwise than now: it may be
    a wish since taken back that had it mended."""
    newest = await _tried(run, cloud)
    seen = newest.execution
    failed = seen if seen is not None and seen.state == "Failed" and not _is_done(run, seen) else None
    if failed is not None or (seen is None and run.is_derived_from):
        as_good, since = (run.stem or run.token, failed.began) if failed is not None else (run.token, 0.0)
        done = await cloud.runs.succeeded(run.job, as_good, since)
        if done is not None:
            return replace(newest, execution=done)
    again = _another(run, failed) if failed is not None else ""
    return await _tried(replace(run, token=f"{run.token}-{again}"), cloud) if again else newest


def _is_done(run: Run, execution: Execution) -> bool:
    if execution.state == "Failed" and run.done_exit_code is not None:
        return execution.exit_code == run.done_exit_code
    return execution.state == "Succeeded"


def _another(run: Run, failed: Execution) -> str:
    """What a further try is named for: the wish for it, and what the spec has made of the job since; "" for none."""
    wanted = _given(run.job.template)
    mended = failed.template is not None and _given(failed.template) != wanted
    return fingerprint([run.again, asdict(wanted) if mended else None])[:5] if run.again or mended else ""


def _given(template: Template) -> Template:
    """What the spec has a part in. Arguments are our scripts: an upgrade of the operator corrects nothing of the app's,
    and must not have all failed apps migrate at once."""
    return replace(template, labels=(), args=())


async def _tried(run: Run, cloud: CloudAccess) -> _Newest:
    """All attempts under one token.

    Where the container never started for want of a grant, or asked for another try by its exit code, the next attempt
    has a token of its own, so that each is started at most once. What ended in any other way may have done its work,
    or half of it: that is final.
    """
    failures: list[Execution] = []
    while True:
        token = f"{run.token}-{len(failures) + 1}" if failures else run.token
        assert len(token) <= names.TOKEN, f"{run.what}: Google would refuse an execution named with {token}"
        execution = await cloud.runs.find(run.job, token)
        if execution is None or execution.state != "Failed":
            return _Newest(token, execution, failures)
        cancelled = execution.reason.upper() == "CANCELLED"  # by somebody's hand: not ours to begin again
        if cancelled or not _may_heal(run, [*failures, execution]):
            return _Newest(token, execution, failures)
        failures.append(execution)


def _may_heal(run: Run, failures: Sequence[Execution]) -> bool:
    """Whether another try may end otherwise than the last one."""
    if failures[-1].refused:
        in_a_row = takewhile(lambda item: item.refused, reversed(failures))
        return not run.patience.is_over([item.began for item in in_a_row][::-1])
    asked = [item for item in failures if not item.refused]
    again = failures[-1].exit_code in run.retry_exit_codes or (failures[-1].exit_code is None and run.retry_exit_codes)
    return bool(again) and len(asked) < ATTEMPTS


def _pause(run: Run, failures: Sequence[Execution]) -> Waiting | None:
    """After a failure that may heal; None where the next try is due."""
    left = run.patience.pause([item.began for item in failures], time.time()) if failures else 0.0
    if left <= 0:
        return None
    last = failures[-1]
    why = "a grant is not known everywhere yet" if last.refused else "the last try failed in a way that heals"
    reason = reasons.WAITING if last.refused else run.reason_running
    return Waiting(reason, f"{run.what} is tried again: {why}.", log_link=last.log_uri, after=left)


async def _mend(run: Run, failures: Sequence[Execution], cloud: CloudAccess) -> Waiting | None:
    """What the last failure asks for, before another try; None once it is done. Raises CloudError."""
    if run.login is None or not failures or failures[-1].exit_code != Reason.LOGIN_REFUSED:
        return None
    operation = await cloud.drivers.sql_users().set_password(run.login, failures[-1].began)
    if operation is None or (operation.done and operation.error is None):
        return None
    if operation.error is not None:
        raise operation.error
    return Waiting(run.reason_running, f"The password of {run.login.id} is set anew.", operation)


async def _start(run: Run, token: str, cloud: CloudAccess) -> Waiting:
    other = await cloud.runs.running(run.job)
    if other is not None:  # of an earlier spec, or somebody's own: never two at once
        message = f"{run.what} waits for an earlier execution to end."
        return Waiting(run.reason_running, message, behind=other.name)
    if run.failure is not None:
        raise run.failure
    made = await _provide(run, run.secret, cloud) if run.secret is not None else None
    if run.grant is not None and await cloud.drivers.of(IamMember).observe(run.grant.name) is None:
        await cloud.drivers.of(IamMember).create(run.grant)
    try:
        operation = await cloud.runs.start(run.job, token)
    finally:
        cloud.inventory.forget(run.job.name)  # it may be there though the answer was lost
    if operation is not None and operation.error is not None:
        raise operation.error
    begun = execution_name(run.job, token)
    return Waiting(run.reason_running, f"{run.what} is being started.", operation, begun, made=made)


async def _provide(run: Run, secret: Secret, cloud: CloudAccess) -> Result:
    """Raises CloudError, and Trouble where it cannot be read, or is somebody else's."""
    executor = Executor(cloud.drivers, cloud.inventory, run.adopts)
    result = (await executor.execute(Plan((Action(Verb.CREATE, secret),))))[secret.name]
    if isinstance(result.error, VersionDisabled):
        remedy = "Enable that version again, or delete the secret: another one is made."
        message = f"{run.field}: {secret.shown}: {result.error.cause} {run.what} has still to read it. {remedy}"
        raise Trouble(reasons.SECRET_VERSION_DISABLED, message)
    if result.error is not None:
        raise result.error
    if result.refused is not None:
        raise of_refusal(result.refused)
    return result


async def _failure(run: Run, execution: Execution, cloud: CloudAccess) -> Waiting | Failed:
    """With what the log says: it is waited for, as long as it may be on its way."""
    if run.told is not None and run.told.execution == execution.name:
        return run.told
    tail = await cloud.logs.tail(run.job.project, execution_filter(run.job, execution.name))
    after = until_log(tail.waited)
    if after > 0 and not _has_come(execution, tail.lines):
        said = f"{run.what} has ended; its log is on its way."
        return replace(running(run, execution), message=said, after=after, has_failed=True)
    return failure(run, execution, tail.lines)


def _has_come(execution: Execution, lines: Sequence[LogLine]) -> bool:
    """Whether the log has what there is to say; a container that was never started says nothing."""
    if execution.exit_code is None or verdict_of(lines):
        return True
    if is_killed(execution):  # Google says why, after the job's own lines
        return says_memory(lines)
    return execution.exit_code not in TOLD and any(line.shown for line in lines)


def running(run: Run, execution: Execution) -> Waiting:
    """What is said of an execution under way."""
    return Waiting(run.reason_running, f"{run.what} is running.", None, execution.name, execution.log_uri)


def failure(run: Run, execution: Execution, lines: Sequence[LogLine]) -> Failed:
    """What is said of a failed execution whose log ends in these lines."""
    verdict = verdict_of(lines)
    exited = f"exited with {execution.exit_code}" if execution.exit_code is not None else execution.message
    blamed = f"{run.field}: {run.what}" if run.field else run.what
    if execution.refused:
        said = shortened(execution.message)
        reason, message = run.reason_failed, f'{run.what} was not started; {run.remedy}. Google says: "{said}".'
    elif verdict.get("message"):
        reason, message = str(verdict.get("reason") or run.reason_failed), str(verdict["message"])
    elif (limit := limit_of(execution, lines, run.job.template.memory)) is not None:
        limited = f"{limit.field}: {run.what}" if run.limited else blamed
        reason, message = run.reason_failed, f"{limited} {limit.why}; {run.limited or run.remedy}."
    elif (cause := not_run([line.text for line in lines])) is not None:
        reason, message = run.reason_failed, f"{blamed} was not started: {cause.why}; {run.remedy}."
    else:
        reason, message = run.reason_failed, f"{blamed} {exited.rstrip('. ')}; {run.remedy}."
    texts = tuple(line.shown for line in lines if line.shown)
    return Failed(reason, message, execution.log_uri, execution.name, lines=texts)


def verdict_of(lines: Sequence[LogLine]) -> Mapping[str, Any]:
    """What a job of Nuages's own says last of itself; empty where its log has not come."""
    return next((line.payload for line in reversed(lines) if line.payload and "nuages" in line.payload), {})


def execution_filter(job: RunJob, execution: str) -> str:
    """The log filter that Google's console uses for one execution, by its name (behaviour-runtime.md, section 4)."""
    return (
        f'resource.type = "cloud_run_job" resource.labels.job_name = "{job.id}" '
        f'labels."run.googleapis.com/execution_name" = "{execution.rpartition("/")[2]}"'
    )
