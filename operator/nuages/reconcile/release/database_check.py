"""The inside of the database, which no API shows: db-init is run again as a check, each deep interval.

db-init sets right what it finds otherwise, so the check is its own remedy. It costs one short execution an app and
interval. When the last one ended, Google knows: a list of jobs says so, and at rest nothing else is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Observed
from nuages.desired.run import RunJob
from nuages.reconcile.patience import until_log
from nuages.reconcile.release.db_init import run_of, stem_of
from nuages.reconcile.release.jobs import execution_filter, run_once, verdict_of
from nuages.reconcile.release.outcome import DONE, Failed, Outcome
from nuages.reconcile.release.release import Release, fingerprint

POLL = 5.0  # seconds, while it runs


@dataclass(frozen=True)
class Check:
    """`outcome` is Done or Failed; `execution` the last one whose verdict was read, and `changed` what that one says.

    `again`: seconds until the next look, while something is under way.
    """

    outcome: Outcome = DONE
    execution: str = ""
    changed: tuple[str, ...] = ()
    again: float | None = None


@dataclass(frozen=True)
class _Latest:
    """The job's newest execution."""

    name: str  # short
    ended: float  # epoch seconds; 0.0 while it runs
    succeeded: bool

    @classmethod
    def of(cls, job: Observed[RunJob]) -> _Latest:
        outputs = job.outputs
        return cls(outputs["latest_execution"], float(outputs["latest_ended"]), outputs["latest_succeeded"] == "true")


async def check_database(release: Release, cloud: CloudAccess, known: str, age: float) -> Check:
    """`known`: the execution whose verdict the status has told of; `age`: the most that the last run may have, and the
    list that shows it, in seconds.

    Raises CloudError.
    """
    job = release.db_init
    if job is None or not release.app.spec.deep_check_interval_seconds:
        return Check(execution=known)
    listed = await cloud.inventory.get(RunJob, job.name, age, age)
    if listed is None or _is_checked(_Latest.of(listed), release, job, known, release.now - age):
        return Check(execution=known)
    found = await cloud.inventory.fresh(RunJob, job.name)
    if found is None or _is_checked(latest := _Latest.of(found), release, job, known, release.now - age):
        return Check(execution=known)
    current = _check_of(latest, release, job)
    is_recent = not latest.ended or latest.ended > release.now - age
    if is_recent and current and latest.succeeded:
        return await _verdict(job, latest, cloud, known)
    token = current if is_recent and current else f"{stem_of(release, job)}-c{fingerprint(latest.name)[:6]}"
    outcome = await run_once(run_of(release, job, token), cloud)
    cloud.inventory.forget(job.name)
    if isinstance(outcome, Failed):
        return Check(outcome, known)
    return Check(execution=known, again=POLL)


def _is_checked(latest: _Latest, release: Release, job: RunJob, known: str, since: float) -> bool:
    """A run that ended well since then, and was told of where it was a check."""
    is_told = latest.name == known or not _check_of(latest, release, job)
    return latest.succeeded and latest.ended > since and is_told


def _check_of(latest: _Latest, release: Release, job: RunJob) -> str:
    """The token of the check that an execution is a try of; "" where it is none."""
    found = re.fullmatch(rf"{re.escape(job.id)}-({stem_of(release, job)}-c[0-9a-f]{{6}})(-\w+)*", latest.name)
    return "" if found is None else found[1]


async def _verdict(job: RunJob, latest: _Latest, cloud: CloudAccess, known: str) -> Check:
    tail = await cloud.logs.tail(job.project, execution_filter(job, latest.name))
    said, again = verdict_of(tail.lines), until_log(tail.waited)
    if not said and again > 0:
        return Check(execution=known, again=again)
    return Check(execution=latest.name, changed=tuple(map(str, said.get("changed") or ())))
