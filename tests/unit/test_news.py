"""Events: what a pass changed, and nothing when it changed nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from reports import LATER, NOW, a_release, a_service, reports, serving, with_result

from nuages.cloud.driver import Operation
from nuages.reconcile.execute import Result, State
from nuages.reconcile.news import Event, news
from nuages.reconcile.plan import Verb
from nuages.reconcile.release.outcome import DONE, Done, Failed, Waiting
from nuages.reconcile.report import Report
from nuages.reconcile.status import status
from nuages.reconcile.trouble import Trouble

BUCKET = "acme-prod-acme-shop-media"
BEFORE = status(serving(), {}, NOW)


def _news(report: Report, before: dict[str, Any] | None = None) -> list[Event]:
    known = BEFORE if before is None else before
    return news(report, known, status(report, known, LATER))


@given(reports())
def test_a_pass_that_found_all_as_it_was_says_nothing(report: Report) -> None:
    """But for writes, which were made."""
    made = status(report, {}, NOW)
    told = news(report, made, status(report, made, LATER))
    assert {event.reason for event in told} <= {"Created", "Updated", "TakenBack", "Adopted", "Deleted"}


@pytest.mark.parametrize(
    ("did", "reason"), [(Verb.CREATE, "Created"), (Verb.UPDATE, "Updated"), (Verb.ADOPT, "Adopted")]
)
def test_a_write_is_told(did: Verb, reason: str) -> None:
    """With the kind and the short name."""
    report = with_result(serving(), BUCKET, state=State.READY, did=did)
    assert _news(report)[0] == Event("Normal", reason, f"Bucket {BUCKET}")


def test_what_takes_its_time_says_so() -> None:
    """The event comes when it begins; the end shows in the conditions."""
    operation = Operation("sql", "op-1", "x")
    report = with_result(serving(), "acme-shop-a24a7f", state=State.WAITING, did=Verb.CREATE, operation=operation)
    assert _news(report)[0] == Event("Normal", "Created", "Instance acme-shop-a24a7f (under way)")


def test_what_was_retained_is_told_when_it_is_used_again() -> None:
    """Data of an earlier life is a surprise to whoever does not know of it."""
    report = with_result(serving(), BUCKET, state=State.READY, did=Verb.UPDATE, taken_back=True)
    assert _news(report)[0] == Event("Normal", "TakenBack", f"Bucket {BUCKET}, kept from an earlier life of this app")


def test_what_a_step_made_for_itself_is_told_like_any_resource() -> None:
    """A superuser's password is its step's, not the plan's."""
    report = serving()
    assert report.release is not None
    password = report.release.blueprint.superuser_password
    assert password is not None
    outcome = Waiting("x", "y", execution="e-1", made=Result(password, State.READY, did=Verb.CREATE))
    assert _news(replace(report, outcome=outcome))[0] == Event("Normal", "Created", f"Secret {password.id}")


def test_becoming_ready_names_the_revision() -> None:
    """Once."""
    report = serving()
    assert report.release is not None
    expected = [Event("Normal", "Available", f"{report.release.revision} serves all traffic")]
    assert _news(report, {}) == expected
    assert _news(report) == []


def test_steps_are_told_in_their_order() -> None:
    """Before what the app became."""
    report = serving(
        done={"Access": Done("Granted run.invoker to 1 member(s)."), "Verify": DONE, "CleanUp": Done("Deleted 2.")}
    )
    assert [event.reason for event in _news(report, {})] == ["Access", "CleanUp", "Available"]


def test_trouble_is_a_warning_once() -> None:
    """While its cause stays, its sentence stays, and there is no other event."""
    report = Report(4, trouble=Trouble("InvalidSpec", "spec.image: Is missing. Add it."))
    assert _news(report) == [Event("Warning", "InvalidSpec", "spec.image: Is missing. Add it.")]
    assert _news(report, status(report, BEFORE, LATER)) == []


def test_what_heals_is_no_warning() -> None:
    """Nobody has to act."""
    report = Report(4, trouble=Trouble("GoogleUnavailable", "Google Cloud: tried again soon.", stalled=False))
    assert [event.kind for event in _news(report)] == ["Normal"]


def test_a_failed_step_brings_the_end_of_its_log() -> None:
    """As much as an event holds, the last lines of it."""
    release = a_release()
    lines = tuple(f"line {number}: {'x' * 60}" for number in range(40))
    failed = Failed("RevisionFailed", "spec.image: it did not start.", "https://log", lines=lines)
    report = serving(stage="Candidate", outcome=failed, live=a_service(release, release.revision, "acme-shop-old"))
    first, second = _news(report)
    assert first == Event("Warning", "RevisionFailed", "spec.image: it did not start. Log: https://log")
    assert (second.kind, second.reason) == ("Warning", "RevisionFailedLog")
    assert second.message == "\n".join(lines[-len(second.message.splitlines()) :])  # whole lines
    assert 800 < len(second.message) <= 1024
    assert _news(report, status(report, BEFORE, LATER)) == []


def _log_event(lines: tuple[str, ...]) -> str:
    release = a_release()
    failed = Failed("MigrationFailed", "spec.image: it failed.", lines=lines)
    report = serving(stage="Migrate", outcome=failed, live=a_service(release, release.revision, "acme-shop-old"))
    return _news(report)[1].message


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (("short", "lines"), "short\nlines"),
        (("x" * 513, "y" * 512), "y" * 512),
        (("first", "x" * 2000, "Container called exit(3)."), f"…{'x' * 995}\nContainer called exit(3)."),
        (("first", "y" * 1024), "y" * 1024),
        (("first", "é" * 512), "é" * 512),
        (("first", "x" * 2000), f"…{'x' * 1021}"),
        (("first", f"x{'é' * 1000}"), f"…{'é' * 510}"),
    ],
    ids=["short", "one fits", "a long one before", "as long as may be", "of two bytes", "too long", "too long, of two"],
)
def test_a_log_line_is_not_cut_while_whole_ones_fill_half_an_event(lines: tuple[str, ...], shown: str) -> None:
    """One holds 1,024 bytes, and a line that is longer loses its beginning, not its end."""
    assert _log_event(lines) == shown


# Of a migration that Django 5.2 could not apply, as Cloud Logging has it: without empty lines.
SITE = "/venv/lib/python3.12/site-packages/django/db"
LAST_FRAMES = (
    f'  File "{SITE}/backends/utils.py", line 79, in execute',
    "    return self._execute_with_wrappers(",
    "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    f'  File "{SITE}/backends/utils.py", line 92, in _execute_with_wrappers',
    "    return executor(sql, params, many, context)",
    "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    f'  File "{SITE}/backends/utils.py", line 100, in _execute',
    "    with self.db.wrap_database_errors:",
    f'  File "{SITE}/utils.py", line 91, in __exit__',
    "    raise dj_exc_value.with_traceback(traceback) from exc_value",
    f'  File "{SITE}/backends/utils.py", line 103, in _execute',
    "    return self.cursor.execute(sql)",
    "           ^^^^^^^^^^^^^^^^^^^^^^^^",
    f'  File "{SITE}/backends/sqlite3/base.py", line 356, in execute',
    "    return super().execute(query)",
    "           ^^^^^^^^^^^^^^^^^^^^^^",
    "django.db.utils.OperationalError: no such table: orders",
)
FIRST_FRAMES = (
    "The above exception was the direct cause of the following exception:",
    "Traceback (most recent call last):",
    '  File "/app/manage.py", line 14, in <module>',
    "    main()",
)


def test_a_traceback_too_long_begins_with_its_first_line_and_keeps_whole_frames() -> None:
    """Its end is the exception; what was left out shows."""
    shown = _log_event((*FIRST_FRAMES, *LAST_FRAMES))
    assert shown == "\n".join(("Traceback (most recent call last):", "  …", *LAST_FRAMES[3:]))
    assert len(shown.encode()) <= 1024
    glued = ("  Applying orders.0001_initial...Traceback (most recent call last):", *LAST_FRAMES)
    assert _log_event(glued) == shown


@pytest.mark.parametrize(
    "lines",
    [
        (*FIRST_FRAMES, *LAST_FRAMES, "Container called exit(1)."),
        ("Internal Server Error: /ready/", *FIRST_FRAMES, "KeyError: 'A'", "", "Container called exit(1)."),
        ("first", "x" * 2000),
    ],
    ids=["cut", "whole", "a line too long"],
)
def test_an_entry_of_many_lines_is_read_line_by_line(lines: tuple[str, ...]) -> None:
    """As a logger that writes JSON has a traceback in its message."""
    read = tuple(line for line in lines if line)
    assert _log_event(("\n".join(lines[:-1]), lines[-1])) == _log_event(("\n".join(lines),)) == _log_event(read)


def test_a_log_without_words_is_no_event() -> None:
    """Nobody would read it."""
    report = serving(stage="Migrate", outcome=Failed("MigrationFailed", "spec.image: it failed.", lines=("\n", " ")))
    assert [event.reason for event in _news(report)] == ["MigrationFailed"]


def test_a_traceback_whose_beginning_was_not_fetched_begins_as_it_was_fetched() -> None:
    """With whole lines, and no first line that nobody read."""
    shown = _log_event(LAST_FRAMES)
    assert shown == "\n".join(LAST_FRAMES[-len(shown.splitlines()) :])
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "lines",
    [
        FIRST_FRAMES,
        ("Traceback (most recent call last):", *(f"  {'x' * 500}" for _ in range(3)), "y" * 1000),
        (*FIRST_FRAMES, "KeyError: 'A'", *(f"worker {number} exits {'x' * 60}" for number in range(20))),
        (*FIRST_FRAMES, f"KeyError: {'y' * 965}"),
    ],
    ids=["it fits", "its exception alone fits", "it ended before", "no room for a frame under it"],
)
def test_no_traceback_is_opened_where_none_was_cut(lines: tuple[str, ...]) -> None:
    """The last whole lines, as of any log."""
    shown = _log_event(lines)
    assert shown == "\n".join(lines[-len(shown.splitlines()) :])


def test_a_new_release_is_followed_step_by_step() -> None:
    """Each reason that the app goes through, once."""
    before, told = BEFORE, []
    for reason in ("Migrating", "Migrating", "DeployingCandidate", "Verifying"):
        report = serving(stage="Migrate", outcome=Waiting(reason, f"{reason}."))
        after = status(report, before, LATER)
        told += [event.reason for event in news(report, before, after)]
        before = after
    assert told == ["Migrating", "DeployingCandidate", "Verifying"]


def test_a_deletion_ends_by_telling_what_was_kept() -> None:
    """By name: it is the last that anybody hears of it."""
    release = a_release()
    report = Report(4, blueprint=release.blueprint, deleting=True, gone=True, kept=("Bucket media", "Secret key"))
    assert news(report, BEFORE, {}) == [
        Event("Normal", "Retained", "Kept, as spec.deletionPolicy says: Bucket media"),
        Event("Normal", "Retained", "Kept, as spec.deletionPolicy says: Secret key"),
    ]
    assert news(replace(report, kept=()), BEFORE, {}) == []


def test_what_heals_is_told_once_with_a_warning() -> None:
    """When it begins to be waited for; that it stalls unmended is no other news."""
    report = Report(3, trouble=Trouble("PermissionDenied", "no", heals=True))
    first = status(report, {}, NOW)
    assert [(event.kind, event.message) for event in news(report, {}, first)] == [("Warning", "no")]
    waited = replace(report, is_waited_for=True)
    assert news(waited, first, status(waited, first, LATER)) == []
