"""Which of its limits ended a job, and the field of the spec that has it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nuages.cloud.executions import SIGNALLED, Execution
from nuages.cloud.logs import LogLine
from nuages.reconcile.release.start_cause import OUT_OF_MEMORY

KILLED = SIGNALLED + 9


@dataclass(frozen=True)
class Limit:
    """`why` follows the job's name in a sentence."""

    field: str
    why: str


def limit_of(execution: Execution, lines: Sequence[LogLine], memory: str) -> Limit | None:
    """None where the job ended for another reason; `memory`: what it was given, such as 512Mi."""
    rules = (
        (execution.overtime > 0, "spec.jobs.timeoutSeconds", f"ran longer than {execution.overtime} s"),
        (says_memory(lines), "spec.jobs.memory", f"ran out of memory with {memory}"),
        (
            is_killed(execution),
            "spec.jobs.memory",
            f"was killed (exit code {KILLED}), mostly for want of more memory than {memory}",
        ),
    )
    return next((Limit(field, why) for applies, field, why in rules if applies), None)


def is_killed(execution: Execution) -> bool:
    """Whether the kernel or Google did it, not a person who cancelled the execution."""
    return execution.exit_code == KILLED and execution.reason.upper() != "CANCELLED"


def says_memory(lines: Sequence[LogLine]) -> bool:
    """Google says it in the log alone: "Memory limit of 512 MiB exceeded with 520 MiB used. …"."""
    return any(re.search(OUT_OF_MEMORY, line.text) for line in lines)
