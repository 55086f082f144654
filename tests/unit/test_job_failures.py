"""What is said of a job that failed: field, cause, remedy, and the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import pytest
from reports import NOW, a_release, serving

from nuages.cloud.access import CloudAccess
from nuages.cloud.executions import Execution
from nuages.cloud.logs import LogLine, Tail
from nuages.reconcile.release import db_init, migrate, superuser
from nuages.reconcile.release.jobs import Run, failure, run_once
from nuages.reconcile.release.outcome import Failed, Waiting
from nuages.reconcile.release.release import Release
from nuages.reconcile.status import status

KILLED = {"exit_code": 137}
EXITED, OVERTIME = {"exit_code": 1}, {"exit_code": 124, "overtime": 1800}
REFUSED = {"refused": True, "message": "Permission denied on secret: s"}
LATE = {"exit_code": 124, "message": "Task t0 failed with message: The container exited with an error."}
NOTHING = "nothing is deployed"


def failed(wanted_run: Callable[[Release], Run | None], **fields: object) -> Execution:
    run = wanted_run(a_release())
    assert run is not None
    return Execution(f"{run.job.name}/executions/{run.job.id}-1", "Failed", log_uri="https://log", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted_run", "fields", "message"),
    [
        (
            migrate.wanted_run,
            EXITED,
            f"spec.image: migrate exited with 1; {NOTHING}. Release a fixed image, correct "
            "spec.env or spec.django, or annotate nuages.dev/retry-migration to try this one again.",
        ),
        (
            migrate.wanted_run,
            LATE,
            f"spec.image: migrate exited with 124; {NOTHING}. Release a fixed image, correct "
            "spec.env or spec.django, or annotate nuages.dev/retry-migration to try this one again.",
        ),
        (
            migrate.wanted_run,
            OVERTIME,
            f"spec.jobs.timeoutSeconds: migrate ran longer than 1800 s; {NOTHING}. Raise it, or "
            "release an image that needs less.",
        ),
        (
            migrate.wanted_run,
            KILLED,
            "spec.jobs.memory: migrate was killed (exit code 137), mostly for want of more memory than 1Gi; "
            f"{NOTHING}. Raise it, or release an image that needs less.",
        ),
        (
            migrate.wanted_run,
            {**KILLED, "reason": "CANCELLED"},
            f"spec.image: migrate exited with 137; {NOTHING}. Release a fixed image, correct "
            "spec.env or spec.django, or annotate nuages.dev/retry-migration to try this one again.",
        ),
        (
            migrate.wanted_run,
            REFUSED,
            f"migrate was not started; {NOTHING}. Release a fixed image, correct spec.env or spec.django, or annotate "
            'nuages.dev/retry-migration to try this one again. Google says: "Permission denied on secret: s".',
        ),
        (
            superuser.wanted_run,
            OVERTIME,
            f"spec.jobs.timeoutSeconds: superuser admin ran longer than 1800 s; {a_release().revision} serves. "
            "Raise it, or correct the command.",
        ),
        (
            db_init.wanted_run,
            OVERTIME,
            "spec.database: db-init ran longer than 1800 s; the app's database is not prepared. Mend what its log "
            "says, then annotate nuages.dev/reconcile-at.",
        ),
    ],
    ids=[
        "exited",
        "exited-as-if-late",
        "overtime",
        "killed",
        "cancelled",
        "refused",
        "superuser-overtime",
        "db-init-overtime",
    ],
)
def test_a_failure_names_field_cause_and_remedy(
    wanted_run: Callable[[Release], Run | None], fields: dict[str, object], message: str
) -> None:
    """A limit is blamed only where it is what ended the job, and where the spec has it."""
    run = wanted_run(a_release())
    assert run is not None
    said = failure(run, failed(wanted_run, **fields), [])
    assert (said.reason, said.message, said.log_link) == (run.reason_failed, message, "https://log")


@dataclass
class Ended:
    """Google, where every execution is this one, with such a log, looked for since so many seconds."""

    execution: Execution
    lines: Sequence[LogLine]
    waited: float

    async def find(self, *_: object) -> Execution:
        return self.execution

    async def succeeded(self, *_: object) -> None:
        """None has."""

    async def tail(self, *_: object) -> Tail:
        return Tail(self.lines, self.waited)


@pytest.mark.parametrize("fields", [KILLED, EXITED], ids=["itself", "its-child"])
def test_google_tells_of_memory_in_the_log(fields: dict[str, object]) -> None:
    """Whatever the program made of it: a child's end by the kernel may be an exit code of its parent's own."""
    run = migrate.wanted_run(a_release())
    assert run is not None
    said = failure(run, failed(migrate.wanted_run, **fields), [PLAIN, MEMORY])
    assert said.message == (
        f"spec.jobs.memory: migrate ran out of memory with 1Gi; {NOTHING}. Raise it, or release an image that needs "
        "less."
    )


def test_google_tells_in_the_log_of_a_command_that_is_not_there() -> None:
    """Whatever exit code stands for what never ran."""
    run = migrate.wanted_run(a_release())
    assert run is not None
    said = failure(run, failed(migrate.wanted_run, **EXITED), [NO_COMMAND])
    assert said.message.startswith(
        f"spec.image: migrate was not started: its command is not there or cannot be run; {NOTHING}. Release a fixed "
    )


NO_COMMAND = LogLine(
    "terminated: Application failed to start: failed to resolve binary path: error finding executable "
    '"/venv/bin/python" in PATH [/usr/local/bin /usr/bin /bin]: no such file or directory',
    "ERROR",
)
MEMORY = LogLine("Memory limit of 1024 MiB exceeded with 1033 MiB used. Consider …", "ERROR")
PLAIN, VERDICT = LogLine("Traceback", "ERROR"), LogLine("no", "ERROR", {"nuages": "migrate", "message": "no"})


@pytest.mark.parametrize(
    ("seconds", "exit_code", "lines", "is_said"),
    [
        (5, 1, [], False),
        (5, 1, [PLAIN], True),
        (5, 17, [PLAIN], False),
        (5, 17, [PLAIN, VERDICT], True),
        (5, 137, [PLAIN], False),
        (5, 137, [PLAIN, MEMORY], True),
        (5, None, [], True),
        (61, 17, [], True),
    ],
    ids=[
        "nothing yet",
        "a traceback",
        "its verdict is to come",
        "its verdict",
        "its cause is to come",
        "its cause",
        "never started",
        "nothing will come",
    ],
)
async def test_a_failure_is_said_once_its_log_has_come(
    seconds: float, exit_code: int | None, lines: list[LogLine], is_said: bool
) -> None:
    """Or when it has been waited for a minute, for there may be none."""
    run = migrate.wanted_run(a_release())
    assert run is not None
    google = Ended(failed(migrate.wanted_run, exit_code=exit_code), lines, seconds)
    outcome = await run_once(run, cast(CloudAccess, SimpleNamespace(runs=google, logs=google)))
    assert isinstance(outcome, Failed if is_said else Waiting)
    assert outcome.execution == google.execution.name
    assert isinstance(outcome, Failed) or (outcome.awaited, outcome.after >= 2.0) == ("", True)  # not each second
    migrates = replace(serving(), stage="Migrate", outcome=outcome, release=a_release())
    assert status(migrates, {}, NOW)["release"]["migration"]["state"] == "Failed"


def test_a_verdict_in_the_log_comes_first() -> None:
    """The job's own words, under its own reason; the lines of the log follow as they are."""
    run = migrate.wanted_run(a_release())
    assert run is not None
    verdict = {"nuages": "migrate", "reason": "MigrationLocked", "message": "migrate: locked."}
    lines = [LogLine("begun", "INFO"), LogLine("migrate: locked.", "ERROR", verdict), LogLine("", "INFO", {"a": 1})]
    said = failure(run, failed(migrate.wanted_run, **EXITED), lines)
    assert (said.reason, said.message) == ("MigrationLocked", "migrate: locked.")
    assert said.lines == ("begun", "migrate: locked.", '{"a": 1}')
