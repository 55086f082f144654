"""Why a revision did not start: Google's words, and the field of the spec that they point to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports import a_release

from nuages.reconcile.release.start_cause import cause_of

SERVICE = a_release({"django": {"healthPath": "/up/"}, "web": {"memory": "512Mi"}}).service
UNHEALTHY = (
    "The user-provided container failed the configured startup probe checks. Logs for this revision might contain more "
    "information.\n\nLogs URL: https://console.cloud.google.com/logs/viewer\nFor more troubleshooting "
    "guidance, see https://cloud.google.com/run/docs/troubleshooting"
)
SILENT = (
    "The user-provided container failed to start and listen on the port defined provided by the PORT=8080 environment "
    "variable within the allocated timeout. This can happen when the container port is misconfigured or if the timeout "
    "is too short. The health check timeout can be extended. Logs for this revision might contain more information."
)
OUT_OF_MEMORY = (
    "The user-provided container ran out of memory. Logs for this revision might contain more information; consider "
    "increasing the memory limit."
)
DENIED = (
    "spec.template.spec.containers[0].env[0].value_from.secret_key_ref.name: Permission denied on secret: "
    "projects/187635794409/secrets/stripe/versions/1 for Revision service account shop@acme-prod.iam"
)
PROBE = 'STARTUP HTTP probe failed 18 times consecutively for container "shop-1" on port 8080 path "/up/". '
STOPPED = f"{PROBE}The instance was not started."
REFUSED = f"{STOPPED} Connection failed with status ERROR_CONNECTION_FAILED."
LATE = f"{STOPPED} Connection failed with status DEADLINE_EXCEEDED."
BINARY = "Secret projects/acme-prod/secrets/logo contains non-UTF8 data. Instance startup will now abort."
DISABLED = "Secret Version [stripe/versions/1] is in DISABLED state. Instance startup will now abort."
UNGIVEN = "a secret could not be given to it"
NO_PROGRAM = "terminated: Application failed to start: failed to load /usr/local/bin/python: exec format error"
NO_COMMAND = 'terminated: Application failed to start: "gunicorn shop" not found (PATH=/usr/local/bin:/usr/bin:/bin)'
NOT_IN_PATH = (
    "terminated: Application failed to start: failed to resolve binary path: error finding executable "
    '"gunicorn" in PATH [/usr/local/bin /usr/bin /bin]: no such file or directory'
)
NOT_EXECUTABLE = "terminated: Application failed to start: failed to load /app/start.sh: permission denied"
ENDED, NO_ROOM = "its container ended at once", "it ran out of memory with 512Mi"
ANSWERED = ("spec.django.healthPath", "GET /up/ was answered with an error")
NOTHING = "nothing answered GET /up/ on port 8080 within 90 s"
NOTHING_GOOD = "GET /up/ on port 8080 had no good answer within 90 s"
PLATFORM, COMMAND = "its command is no program of linux/amd64", "its command is not there or cannot be run"
APP_SAYS = ("Traceback (most recent call last):", "OSError: Container called exit(1). exec format error")


@pytest.mark.parametrize(
    ("condition", "lines", "field", "why"),
    [
        (OUT_OF_MEMORY, (), "spec.web.memory", NO_ROOM),
        (UNHEALTHY, ("Memory limit of 512 MiB exceeded with 520 MiB used.", REFUSED), "spec.web.memory", NO_ROOM),
        (f"{BINARY} Logs for this revision might contain more information.", (), "spec.env", UNGIVEN),
        (UNHEALTHY, (DISABLED, REFUSED), "spec.env", UNGIVEN),
        (UNHEALTHY, (NO_PROGRAM,), "spec.image", PLATFORM),
        (NO_PROGRAM, (), "spec.image", PLATFORM),
        (SILENT, (NO_COMMAND,), "spec.image", COMMAND),
        (SILENT, ("Default STARTUP TCP probe failed 1 time consecutively", NOT_IN_PATH), "spec.image", COMMAND),
        (UNHEALTHY, (NOT_EXECUTABLE,), "spec.image", COMMAND),
        (UNHEALTHY, (f"{STOPPED} HTTP probe failed with status 503.",), *ANSWERED),
        (UNHEALTHY, ("Container called exit(0).", f"{STOPPED} HTTP probe failed with status 503."), *ANSWERED),
        (UNHEALTHY, (REFUSED, NO_PROGRAM), "spec.image", PLATFORM),
        (SILENT, ("Container called exit(0).",), "spec.image", ENDED),
        (UNHEALTHY, (REFUSED, "Container called exit(1)."), "spec.image", ENDED),  # it ended by itself
    ],
)
def test_google_s_words_point_to_a_field_for_sure(condition: str, lines: tuple[str, ...], field: str, why: str) -> None:
    """The condition's, and where it leaves the cause open those of Cloud Run's own lines."""
    cause, is_certain = cause_of(condition, lines, SERVICE)
    assert (cause.field, cause.why, is_certain) == (field, why, True)


@pytest.mark.parametrize(
    ("lines", "field", "why"),
    [
        (("Container called exit(0).",), "spec.image", ENDED),
        (("Container called exit(143).", REFUSED), "spec.image", ENDED),
        ((REFUSED, "Container called exit(0)."), "spec.web.startupProbe", NOTHING),
        ((LATE, "Container called exit(1)."), "spec.web.startupProbe", NOTHING),  # it was alive until it was ended
        (("Uncaught signal: 11, pid=1, tid=1, fault_addr=0.",), "spec.image", ENDED),
        (("Booting worker", REFUSED), "spec.web.startupProbe", NOTHING),
        ((LATE,), "spec.web.startupProbe", NOTHING),
        ((STOPPED,), "spec.web.startupProbe", NOTHING_GOOD),
    ],
)
def test_what_follows_from_a_failed_probe_is_not_for_sure(lines: tuple[str, ...], field: str, why: str) -> None:
    """Lines come in any order, and one that is still on its way may say what it followed from."""
    cause, is_certain = cause_of(UNHEALTHY, lines, SERVICE)
    assert (cause.field, cause.why, is_certain) == (field, why, False)


@pytest.mark.parametrize(
    ("condition", "field", "why"),
    [
        (UNHEALTHY, "spec.web.startupProbe", NOTHING_GOOD),
        (SILENT, "spec.image", "it did not listen on port 8080"),
        ("it is not ready", "spec.image", ""),
    ],
)
@pytest.mark.parametrize("lines", [(), APP_SAYS])
def test_without_a_line_of_cloud_run_s_the_condition_has_to_do(
    condition: str, field: str, why: str, lines: tuple[str, ...]
) -> None:
    """What the app itself has written is never taken for a verdict; unknown words blame the image."""
    cause, is_certain = cause_of(condition, lines, SERVICE)
    assert (cause.field, cause.why, is_certain) == (field, why, False)


def test_a_secret_that_may_not_be_read_asks_for_a_grant() -> None:
    """No other image would help."""
    cause, is_certain = cause_of(DENIED, (), SERVICE)
    assert (cause.field, is_certain) == ("spec.serviceAccount", True)
    assert cause.remedy == "Grant it, then annotate nuages.dev/reconcile-at"
    assert cause_of(UNHEALTHY, (DENIED,), SERVICE)[0].field == "spec.web.startupProbe"


def test_a_command_of_the_spec_is_named_itself() -> None:
    """Only where it is there: else the image's own cannot be run."""
    own = replace(SERVICE, template=replace(SERVICE.template, command=("gunicorn shop",)))
    assert cause_of(SILENT, (NO_COMMAND,), own)[0].field == "spec.web.command"
