"""What a release step says."""

from __future__ import annotations

from dataclasses import dataclass

from nuages.cloud.driver import Operation
from nuages.reconcile.execute import Result


@dataclass(frozen=True)
class Done:
    """The step's effect is there. `news` is an event worth telling, where this pass brought it about, under `reason`,
    or else the stage's name.

    `execution` (full name) is the one of the step's job whose end was seen, with its `log_link` and `exit_code`.
    """

    news: str = ""
    execution: str = ""
    log_link: str = ""
    exit_code: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Waiting:
    """Come back: an execution, an operation, a person or time is needed. `after` seconds; a step never sleeps.

    `execution` is the step's own, `behind` another one, which has to end first (full names). `anew`: the step's clock
    begins here, not when a pass first came to it. `has_failed`: the execution, whose log alone is waited for. `made`:
    what the step needed besides, as this pass has made it.
    """

    reason: str
    message: str
    operation: Operation | None = None
    execution: str = ""
    log_link: str = ""
    behind: str = ""
    after: float = 1.0
    anew: bool = False
    has_failed: bool = False
    made: Result | None = None

    @property
    def awaited(self) -> str:
        """The execution whose end it waits for, whosever it is; "" where it waits for something else."""
        return "" if self.has_failed else self.execution or self.behind


@dataclass(frozen=True)
class Failed:
    """The old revision keeps all traffic. `lines` are the log's last ones, for an event.

    What has failed for good, an `execution` (full name) or a `revision`, is told once: a later pass says the same of
    it, whatever more its log may have by then, and reads none.
    """

    reason: str
    message: str
    log_link: str = ""
    execution: str = ""
    revision: str = ""
    lines: tuple[str, ...] = ()


Outcome = Done | Waiting | Failed

DONE = Done()
