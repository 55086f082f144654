"""Why a revision did not start, and which field of the spec that points to: a table of Google's words. Pure.

The condition tells memory and little else: where a startup probe is set, it says the same of a crash, of a 503 and of
silence. Those are told apart by Cloud Run's own lines in the log (behaviour-runtime.md, section 3), which every pattern
matches from the beginning, since the app may write anything itself. They come late and in any order (section 4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nuages.desired.run import RunService


@dataclass(frozen=True)
class Cause:
    """`field`, `why` ("" where nobody knows) and `remedy` of a failed start's sentence."""

    field: str
    why: str
    remedy: str


UNKNOWN = Cause("spec.image", "", "Release a fixed image")
DENIED = Cause("spec.serviceAccount", "", "Grant it, then annotate nuages.dev/reconcile-at")
SECRET = Cause(
    "spec.env",
    "a secret could not be given to it",
    "Correct the secret that is named, then annotate nuages.dev/reconcile-at",
)
MEMORY = Cause("spec.web.memory", "it ran out of memory with {memory}", "Raise it, or release an image that needs less")
PLATFORM = Cause(
    "spec.image",
    "its command is no program of linux/amd64",
    "Push an image for linux/amd64; a script must begin with #!",
)
COMMAND = Cause(
    "{command_field}",
    "its command is not there or cannot be run",
    "Release a fixed image, or correct spec.web.command and spec.web.args",
)
ANSWERED = Cause(
    "spec.django.healthPath",
    "GET {path} was answered with an error",
    "Release a fixed image, or name a path that answers without one",
)
EXITED = Cause(
    "spec.image",
    "its container ended at once",
    "Release a fixed image, or correct spec.env, spec.django.settingsModule or spec.web.args",
)
UNANSWERED = Cause(
    "spec.web.startupProbe",
    "nothing answered GET {path} on port {port} within {seconds} s",
    "Release a fixed image that listens on 0.0.0.0:$PORT, correct spec.web.port, or give it more time",
)
UNHEALTHY = Cause(
    "spec.web.startupProbe",
    "GET {path} on port {port} had no good answer within {seconds} s",
    "Release a fixed image, correct spec.django.healthPath, or give it more time",
)
SILENT = Cause(
    "spec.image",
    "it did not listen on port {port}",
    "Release a fixed image that listens on 0.0.0.0:$PORT, or correct spec.web.port, spec.web.args or spec.env",
)

OUT_OF_MEMORY = r"^The user-provided container ran out of memory|^Memory limit of \d+ \w+ exceeded"
_NOT_RUN = r"^(?:terminated: )?Application failed to start: .*"
# Of the condition or of a line; the first that matches, so what says most of a probe comes first.
TELLING: tuple[tuple[re.Pattern[str], Cause], ...] = tuple(
    (re.compile(pattern), cause)
    for pattern, cause in (
        (OUT_OF_MEMORY, MEMORY),
        (r"^(?:Secret Version \[|Could not fetch secret |Secret ).*Instance startup will now abort", SECRET),
        (rf"{_NOT_RUN}exec format error", PLATFORM),
        (rf"{_NOT_RUN}(?i:not found|no such file|find(?:ing)? executable|permission denied)", COMMAND),
        (r"^STARTUP HTTP probe failed.*\bstatus(?: code)?:? [1-5]\d\d\b", ANSWERED),
        (r"^Container called exit\(|^Container terminated on signal|^Uncaught signal: ", EXITED),
        (r"^STARTUP \w+ probe failed.*Connection failed with status", UNANSWERED),
        (r"^STARTUP \w+ probe failed", UNHEALTHY),
    )
)
# What follows from the others too: a container that its probe has failed for is ended, and one that was never started
# answers nothing.
CONSEQUENCES = (EXITED, UNANSWERED, UNHEALTHY)
# Of its own accord: one that is ended gets SIGTERM, then SIGKILL, and exits with 0 or by the signal, mostly. What a
# probe waited for in vain was alive until then.
CRASHED = re.compile(r"^Container called exit\((?!0\)|137\)|143\))")
HUNG = re.compile(r"^STARTUP \w+ probe failed.*DEADLINE_EXCEEDED")
# Of the condition alone: an app may say it of a secret that it reads itself.
NOT_GRANTED = re.compile(r"Permission denied on secret|does not have \S+ access")
# Of the condition, where no line tells more.
VAGUE: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (re.compile(r"failed the configured startup probe checks"), UNHEALTHY),
    (re.compile(r"failed to start and (?:then )?listen on the port"), SILENT),
)


def cause_of(condition: str, lines: Sequence[str], service: RunService) -> tuple[Cause, bool]:
    """Of the condition's message, without its preamble, and the log's lines, oldest first; whether it is told for sure.

    What the log says is asked only where the condition leaves it open. Of several causes the earliest is told, a
    consequence only where there is nothing else: of a configured probe's failure another line may yet tell more.
    """
    if NOT_GRANTED.search(condition):
        return DENIED, True
    vague = next((cause for words, cause in VAGUE if words.search(condition)), UNKNOWN)
    told, certain = list[Cause](), list[Cause]()
    was_alive = any(HUNG.search(text) for text in lines)
    for text in (condition, *lines):
        if (cause := _told(text)) is not None:
            told.append(cause)
            if cause not in CONSEQUENCES or (CRASHED.search(text) and not was_alive):
                certain.append(cause)
    is_certain = bool(certain) or (bool(told) and vague is not UNHEALTHY)
    return _filled([*certain, *told, vague][0], service), is_certain


def not_run(lines: Sequence[str]) -> Cause | None:
    """Why a job's program could not be run; None where it was."""
    return next((cause for text in lines if (cause := _told(text)) in (PLATFORM, COMMAND)), None)


def _told(text: str) -> Cause | None:
    return next((cause for words, cause in TELLING if words.search(text)), None)


def _filled(cause: Cause, service: RunService) -> Cause:
    probe = service.startup_probe
    why = cause.why.format(
        memory=service.template.memory,
        path=probe.path,
        port=service.port,
        seconds=probe.initial_delay + probe.period * probe.failure_threshold,
    )
    field = cause.field.format(command_field="spec.web.command" if service.template.command else "spec.image")
    return replace(cause, field=field, why=why)
