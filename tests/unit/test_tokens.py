"""What starts executions: every token, also of the last try that there may be, fits the job of the longest name."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest
from reports import a_release
from unit_support import a_tenant, an_app

from nuages.blueprint import names
from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Observed
from nuages.cloud.executions import Execution
from nuages.cloud.logs import Tail
from nuages.desired.run import RunJob
from nuages.reconcile.release.database_check import check_database
from nuages.reconcile.release.db_init import db_init
from nuages.reconcile.release.migrate import migrate
from nuages.reconcile.release.release import Release
from nuages.reconcile.release.superuser import superuser

EXECUTION = 62  # "under 63 characters", with the job's name
TRIES = 99
WISHES = {"nuages.dev/reconcile-at": "now", "nuages.dev/retry-migration": "now", "nuages.dev/adopt": "true"}


@dataclass
class Failing:
    """Google, where another job of the same name failed for good, and all later tries are refused."""

    tokens: list[str] = field(default_factory=list)

    async def find(self, job: RunJob, token: str) -> Execution | None:
        self.tokens.append(token)
        if len(self.tokens) == TRIES:
            return None
        refused, before = len(self.tokens) > 1, replace(job.template, timeout=1)
        name = f"{job.name}/executions/{job.id}-{token}"
        return Execution(name, "Failed", refused=refused, exit_code=1, template=before)

    async def succeeded(self, job: RunJob, token: str, since: float) -> None:
        """Nothing has."""

    async def running(self, job: RunJob) -> Execution:
        return Execution(f"{job.name}/executions/another", "Running")

    async def tail(self, *_: object) -> Tail:
        return Tail()

    async def get(self, kind: type[RunJob], name: str, *_: float) -> Observed[RunJob]:
        """The job, whose last run was long ago."""
        job = cast(RunJob, SimpleNamespace(name=name))
        return Observed(job, outputs={"latest_execution": "old", "latest_ended": "1", "latest_succeeded": "true"})

    async def fresh(self, kind: type[RunJob], name: str) -> Observed[RunJob]:
        return await self.get(kind, name)

    def forget(self, name: str) -> None:
        """There is no snapshot."""

    async def observe(self, name: str) -> None:
        """Nothing is there."""

    async def create(self, desired: object) -> None:
        """A grant, at once."""

    def of(self, kind: object) -> Failing:
        return self


async def check(release: Release, cloud: CloudAccess) -> object:
    """As of an app at rest."""
    return await check_database(release, cloud, "", 60.0)


@pytest.mark.parametrize("produce", [db_init, migrate, superuser, check])
async def test_the_longest_token_fits_the_longest_job(
    produce: Callable[[Release, CloudAccess], Awaitable[object]],
) -> None:
    """Tried again by a person's wish or with a corrected spec, and again and again for want of a grant."""
    release = a_release()
    app = release.app.model_copy(update={"metadata": release.app.metadata.model_copy(update={"annotations": WISHES})})
    google = Failing()
    cloud = cast(CloudAccess, SimpleNamespace(runs=google, logs=google, inventory=google, drivers=google))
    await produce(replace(release, app=app, now=time.time()), cloud)
    longest = an_app({"database": {"name": "data"}}, name="a" * 40)
    jobs = [names.job_name(longest, a_tenant({"deploymentId": "b" * 30}), part) for part in names.JOB_PARTS]
    job = max((name.rpartition("/")[2] for name in jobs), key=len)
    assert len(google.tokens) == TRIES
    assert max(len(f"{job}-{token}") for token in google.tokens) <= EXECUTION
