"""What one pass found and did: all that status, conditions and events are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nuages.api.status import DatabaseStatus
from nuages.blueprint.blueprint import Blueprint
from nuages.cloud.driver import Observed, Operation, Readiness
from nuages.desired.run import RunService
from nuages.reconcile.drift import Drift
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import REFUSED, WRITES, Action, Plan
from nuages.reconcile.release.outcome import Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import Release
from nuages.reconcile.surplus import NO_SURPLUS, Surplus
from nuages.reconcile.trouble import Trouble


@dataclass(frozen=True)
class Report:
    """`stage` is the release step that `outcome` is of; None where the pass did not come so far."""

    generation: int
    blueprint: Blueprint | None = None
    plan: Plan | None = None
    forecast: Plan | None = None  # where nothing is to be done but told
    surplus: Surplus = NO_SURPLUS
    results: Mapping[str, Result] = field(default_factory=dict)
    release: Release | None = None
    stage: str = ""
    outcome: Outcome | None = None
    done: Mapping[str, Done] = field(default_factory=dict)  # by stage, in their order: the steps before `outcome`
    live: Observed[RunService] | None = None
    made: tuple[Observed[Any], ...] | None = None  # by the release's steps; None: not looked at
    trouble: Trouble | None = None
    is_waited_for: bool = False  # trouble that heals has been there for as long as it may be
    untouched: bool = False  # the pass has changed nothing: an app that was at rest is so still
    paused: bool = False
    deleting: bool = False
    kept: tuple[str, ...] = ()  # what a deletion leaves behind
    copies: tuple[str, ...] = ()  # what bears the app's marker and is not of its making: a deletion leaves it alone
    database: DatabaseStatus | None = None  # of a deletion whose status was lost: as the service told it
    database_left: bool = False  # dropped, or marked as retained, on an instance that stays
    gone: bool = False  # a deletion that is through
    reconcile_at: str = ""
    wanted: str = ""  # what all of this is made from: see drift.wanted
    drift: tuple[Drift, ...] = ()
    strangers: tuple[Drift, ...] | None = None  # None: not looked for
    checked: str = ""  # the execution of db-init, run as a check, whose verdict was read last
    again: float | None = None  # seconds until the next pass, where something goes on behind an app that is Ready
    unsettled: frozenset[str] | None = None  # recorded operations under way, or failed and not told; None: not asked
    image: str = ""  # spec.image, for the tag that the digest was made from

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Everything under way at Google."""
        found = [result.operation for result in self.results.values() if result.operation and not result.operation.done]
        if isinstance(self.outcome, Waiting) and self.outcome.operation and not self.outcome.operation.done:
            found.append(self.outcome.operation)
        return tuple(found)

    @property
    def is_provisioned(self) -> bool:
        return self.blueprint is not None and all(r.state is State.READY for r in self.results.values())

    @property
    def is_migrating(self) -> bool:
        """Whether this pass has come to the database, and not past its migrations."""
        return self.stage in ("DbInit", "Migrate") and "Migrate" not in self.done and not isinstance(self.outcome, Done)

    @property
    def is_ready(self) -> bool:
        """All is there, the release is through, nothing is in the way."""
        if self.forecast is not None:
            return self.trouble is None and self.serves and not self.differs and not self.deleting
        through = self.trouble is None and self.is_provisioned and isinstance(self.outcome, Done)
        return through and not self.paused and not self.deleting

    @property
    def differs(self) -> tuple[Action, ...]:
        """What a forecast would write, or could not."""
        actions = () if self.forecast is None else self.forecast.actions
        return tuple(action for action in actions if action.verb in WRITES | REFUSED)

    @property
    def failure(self) -> Failed | None:
        return self.outcome if isinstance(self.outcome, Failed) else None

    @property
    def serves(self) -> bool:
        """Whether some revision answers requests: not one that has them all, and verify is not content with."""
        is_verified = self.stage != "Verify" or isinstance(self.outcome, Done)
        if not is_verified and self.release is not None and replace(self.release, live=self.live).is_serving:
            return False
        if self.live is None or (self.live.readiness is Readiness.FAILED and not self.live.outputs.get("uri")):
            return False
        return bool(self.live.outputs.get("latest_ready_revision"))


Json = Mapping[str, Any]
