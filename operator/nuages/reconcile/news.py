"""Events: what changed since the last status, in the order in which it happened. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nuages.reconcile import reasons
from nuages.reconcile.conditions import trouble_of
from nuages.reconcile.drift import Drift, strange, unknown
from nuages.reconcile.plan import Verb
from nuages.reconcile.release.outcome import Waiting
from nuages.reconcile.report import Report

VERBS = {
    Verb.CREATE: reasons.CREATED,
    Verb.UPDATE: reasons.UPDATED,
    Verb.ADOPT: reasons.ADOPTED,
    Verb.DELETE: reasons.DELETED,
}


EVENT_BYTES = 1024  # of an event's message, as events.k8s.io limits it, by which others read it
LONGEST = 900  # characters of a list in it
TRACEBACK, FRAME = "Traceback (most recent call last):", '  File "'  # how Python begins these lines
STRANGERS = "Granted by somebody else, who may have meant it, so not taken away; remove it where nobody does"


@dataclass(frozen=True)
class Event:
    """One line of `kubectl describe`; `kind` is Normal or Warning."""

    kind: str
    reason: str
    message: str


def news(report: Report, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Event]:
    """A pass that found everything as it was says nothing."""
    events = _drift(unknown(report.drift, before), strange(report.strangers, before))
    events += [Event("Normal", *line) for line in _writes(report)]
    events += [Event("Normal", stage, text) for stage, text in _told(report)]
    events += _verdict(report, _of(before), _of(after))
    if report.gone:
        field = "deletionPolicy" if report.blueprint else "management"  # an observed app is not looked at any more
        events += [Event("Normal", reasons.RETAINED, f"Kept, as spec.{field} says: {name}") for name in report.kept]
        events += [Event("Warning", reasons.LEFT_ALONE, _copy(name)) for name in report.copies]
    return events


def _copy(name: str) -> str:
    return f"{name} bears the app's labels and no name of its giving: a copy of somebody's, which was not deleted"


def _drift(found: tuple[Drift, ...], strangers: tuple[Drift, ...]) -> list[Event]:
    """One event for each of what is set back, what is lost, what stands in the way, and what is left to others."""
    lost = [item for item in found if item.is_lost]
    corrected = [item for item in found if item.is_corrected and not item.is_lost]
    left = [item for item in found if not item.is_corrected]
    lines = (
        ("Normal", reasons.DRIFT_CORRECTED, "Changed by somebody else, set back", corrected),
        ("Warning", reasons.DRIFT_DETECTED, "Deleted by somebody else with all that it held, made anew", lost),
        ("Warning", reasons.DRIFT_DETECTED, "Changed by somebody else, not set back: see Stalled", left),
        ("Warning", reasons.DRIFT_DETECTED, STRANGERS, list(strangers)),
    )
    return [Event(kind, reason, _listed(said, items)) for kind, reason, said, items in lines if items]


def _listed(said: str, items: list[Drift]) -> str:
    text = f"{said}: {'; '.join(map(str, items))}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _writes(report: Report) -> list[tuple[str, str]]:
    lines = []
    made = report.outcome.made if isinstance(report.outcome, Waiting) else None
    for result in (*report.results.values(), *([made] if made is not None else [])):
        if result.did in VERBS:
            under_way = " (under way)" if result.operation and not result.operation.done else ""
            if result.taken_back:
                lines.append((reasons.TAKEN_BACK, f"{result.resource.shown}, kept from an earlier life of this app"))
            else:
                lines.append((VERBS[result.did], f"{result.resource.shown}{under_way}"))
    return lines


def _told(report: Report) -> list[tuple[str, str]]:
    """Of the steps that this pass brought to their end."""
    return [(done.reason or stage, done.news) for stage, done in report.done.items() if done.news]


def _verdict(report: Report, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Event]:
    """The head of the conditions, when it became another."""
    old, new = before.get(reasons.READY, {}), after.get(reasons.READY, {})
    same = (old.get("reason"), old.get("message"), old.get("status")) == (
        new.get("reason"),
        new.get("message"),
        new.get("status"),
    )
    if same or not new:
        return []
    trouble = trouble_of(report)
    warns = reasons.STALLED in after or (trouble is not None and trouble.heals)  # told once: it may stall unmended
    text = str(new.get("message") or new.get("reason"))
    if report.is_ready and report.release is not None:
        text = f"{report.release.revision} serves all traffic"
    events = [Event("Warning" if warns else "Normal", str(new.get("reason")), text)]
    failure = report.failure
    if failure is not None and (said := _end_of(failure.lines)):
        events.append(Event("Warning", f"{failure.reason}Log", said))
    return events


def _end_of(entries: Sequence[str]) -> str:
    """As many of the last lines as an event holds, whole ones; of one that is very long, the end.

    Of a traceback that is longer its first line, where it was fetched, and its last frames. An entry of a log may have
    many lines; "" where none has words.
    """
    lines = [line for entry in entries for line in entry.splitlines() if line.strip()]
    start = _fitting(lines, EVENT_BYTES)
    if start == 0:
        return "\n".join(lines)
    return _cut_traceback(lines, start) or "\n".join((*_cut_line(lines, start), *lines[start:]))


def _fitting(lines: Sequence[str], room: int) -> int:
    """The first of the last lines that go together into so many bytes."""
    for start in range(len(lines) - 1, -1, -1):
        room -= len(lines[start].encode())
        if room < 0:
            return start + 1
        room -= 1  # the line break before it
    return 0


def _cut_line(lines: Sequence[str], start: int) -> tuple[str, ...]:
    """The end of the line before `start`, where those from there on leave half of an event empty; else none."""
    room = EVENT_BYTES - len("…".encode()) - sum(len(line.encode()) + 1 for line in lines[start:])
    if room < EVENT_BYTES // 2:
        return ()
    return (f"…{lines[start - 1].encode()[-room:].decode(errors='ignore')}",)


def _cut_traceback(lines: Sequence[str], start: int) -> str:
    """The first line and the last frames of one that has its first line before `start` and frames after it; else ""."""
    opening = f"{TRACEBACK}\n  …\n"
    fitting = range(_fitting(lines, EVENT_BYTES - len(opening.encode())), len(lines))
    frame = next((index for index in fitting if lines[index].startswith(FRAME)), 0)
    opened = next((index for index in range(frame, -1, -1) if not _is_within(lines[index])), frame)
    if opened >= min(start, frame) or not lines[opened].endswith(TRACEBACK):
        return ""
    return opening + "\n".join(lines[frame:])


def _is_within(line: str) -> bool:
    """Whether it may be of a frame, which is indented; Django's own words may stand before a traceback's first line."""
    return line.startswith("  ") and not line.endswith(TRACEBACK)


def _of(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {item["type"]: item for item in status.get("conditions") or []}
