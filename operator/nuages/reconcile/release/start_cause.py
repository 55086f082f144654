"""Why a revision did not start, and which field of the spec that points to: a table of Google's words. Pure.

The condition tells memory and little else: where a startup probe is set, it says the same of a crash, of a 503 and of
silence. Those are told apart by Cloud Run's own lines in the log (behaviour-runtime.md, section 3), which every pattern
matches from the beginning, since the app may write anything itself.
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
# Of the condition alone: an app may say it of a secret that it reads itself.
NOT_GRANTED = re.compile(r"Permission denied on secret|does not have \S+ access")
# Of the condition, where no line tells more.
VAGUE: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (re.compile(r"failed the configured startup probe checks"), UNHEALTHY),
    (re.compile(r"failed to start and (?:then )?listen on the port"), SILENT),
)


def cause_of(condition: str, lines: Sequence[str], service: RunService) -> tuple[Cause, bool]:
    """Of the condition's message, without its preamble, and the log's lines, oldest first; whether it is told for sure.

    What the log says is asked only where the condition leaves it open.
    """
    if NOT_GRANTED.search(condition):
        return DENIED, True
    for text in (condition, *lines):  # the first line: a container that its probe has failed for is ended after that
        found = next((cause for words, cause in TELLING if words.search(text)), None)
        if found is not None:
            return _filled(found, service), True
    found = next((cause for words, cause in VAGUE if words.search(condition)), UNKNOWN)
    return _filled(found, service), False


def cause_told(told: str, service: RunService) -> Cause:
    """The one in a sentence that was told: it stays, though more of the log may come, or none be had any more."""
    known = (DENIED, *(_filled(cause, service) for _, cause in (*TELLING, *VAGUE)))
    return next((cause for cause in known if told.startswith(f"{cause.field}: ") and cause.remedy in told), UNKNOWN)


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
