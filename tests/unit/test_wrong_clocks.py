"""An operator whose clock is wrong: whatever it waits for by Google's stamps takes no longer for that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest
from reports import a_release, a_service

from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Observed, Readiness
from nuages.cloud.executions import Execution
from nuages.cloud.logs import LATE, Looks, Tail
from nuages.desired.run import RunJob
from nuages.reconcile.patience import SKEW_S
from nuages.reconcile.release import jobs
from nuages.reconcile.release.candidate import candidate
from nuages.reconcile.release.database_check import Check, check_database
from nuages.reconcile.release.db_init import stem_of
from nuages.reconcile.release.jobs import Run, run_once
from nuages.reconcile.release.outcome import Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import Release

BEGINNING, ENDS_AFTER, POLL = 1_000_000.0, 3.0, 1.0  # seconds; POLL between passes that ask for no pause
READS = 10  # of one log that never comes
UNWELL = "Revision 'r' is not ready and cannot serve traffic. It did not start. Logs URL: https://log"
Step = Callable[[Release, CloudAccess], Awaitable[Outcome | Check]]


@dataclass
class Google:
    """Where the time is right, and the operator's is off by `skew`: no execution is as good as the `good`th one, no
    container ever says a word, and the newest revision did not start."""

    skew: float
    good: int = 99
    refused: bool = False
    now: float = BEGINNING
    began: dict[str, float] = field(default_factory=dict)  # by token
    read: list[float] = field(default_factory=list)  # when the log was
    looks: Looks = field(default_factory=Looks)
    checked: str = ""  # the last execution of the database's check

    def time(self) -> float:
        """By the operator's clock."""
        return self.now + self.skew

    async def find(self, job: RunJob, token: str) -> Execution | None:
        if token not in self.began:
            return None
        name, ended = f"{job.name}/executions/{job.id}-{token}", self.began[token] + ENDS_AFTER
        if self.now < ended:
            return Execution(name, "Running")
        if list(self.began).index(token) + 1 >= self.good:
            return Execution(name, "Succeeded")
        failed = Execution(name, "Failed", began=self.began[token], template=job.template)
        return replace(failed, refused=True) if self.refused else replace(failed, exit_code=17)

    async def start(self, _: RunJob, token: str) -> None:
        self.began[token] = self.now

    async def nothing(self, *_: object, **__: object) -> None:
        """There is none."""

    running = succeeded = nothing

    async def tail(self, _: str, query: str) -> Tail:
        self.read.append(self.now)
        return Tail((), self.looks.waited(query, self.now - BEGINNING))

    async def look(self, job: RunJob) -> Observed[RunJob]:
        outputs = {"latest_execution": self.checked, "latest_ended": str(BEGINNING), "latest_succeeded": "true"}
        return Observed(job, outputs=outputs)


async def passes(step: Step, release: Release, google: Google, monkeypatch: pytest.MonkeyPatch) -> Outcome | Check:
    """The same step again and again, each time when it asked for it, until there is nothing to wait for."""
    monkeypatch.setattr(jobs, "time", google)

    async def look(*_: object) -> Observed[RunJob]:
        assert release.db_init is not None
        return await google.look(release.db_init)

    inventory = SimpleNamespace(get=look, fresh=look, forget=lambda name: None)
    cloud = cast(CloudAccess, SimpleNamespace(runs=google, logs=google, inventory=inventory))
    while True:
        told = await step(replace(release, now=google.time()), cloud)
        after = told.again if isinstance(told, Check) else told.after if isinstance(told, Waiting) else None
        if after is None:
            return told
        google.now += max(after, POLL)


async def migrates(release: Release, cloud: CloudAccess) -> Outcome:
    assert release.migrate is not None
    return await run_once(Run(release.migrate, "1a2b3c4d", "migrate", "Migrating", "MigrationFailed", "Mend it"), cloud)


async def checks(release: Release, cloud: CloudAccess) -> Check:
    return await check_database(release, cloud, "", 3600.0)


@pytest.mark.parametrize("skew", [-600.0, -60.0, -2.0, 0.0, 2.0, 600.0])
async def test_a_try_is_made_again_as_soon_as_by_a_right_clock(skew: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pause is five seconds, and ten minutes behind it is not one of ten minutes."""
    google = Google(skew, good=2, refused=True)
    assert isinstance(await passes(migrates, a_release(), google, monkeypatch), Done)
    first, second = google.began.values()
    assert second - first <= 5.0 + SKEW_S
    if skew == 0.0:
        assert second - first >= 5.0


@pytest.mark.parametrize("skew", [-600.0, -60.0, -2.0, 0.0, 2.0, 600.0])
@pytest.mark.parametrize("step", [migrates, candidate, checks])
async def test_a_log_is_waited_for_as_long_as_by_a_right_clock(
    step: Step, skew: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute, whatever it shows. It is read a few times, for what is read is counted (60 a minute)."""
    release = a_release()
    google = Google(skew)
    assert release.db_init is not None
    google.checked = f"{release.db_init.id}-{stem_of(release, release.db_init)}-c012345"
    failed = a_service(release, release.revision, "")
    release = replace(release, live=replace(failed, readiness=Readiness.FAILED, message=UNWELL))
    assert isinstance(await passes(step, release, google, monkeypatch), Failed | Check)
    assert google.read[-1] - google.read[0] == LATE
    assert len(google.read) <= READS
