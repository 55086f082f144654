"""The order of a release. The first step that is not done decides what the app is doing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nuages.cloud.access import CloudAccess
from nuages.reconcile.release.access import access
from nuages.reconcile.release.candidate import candidate
from nuages.reconcile.release.clean_up import clean_up
from nuages.reconcile.release.db_init import db_init
from nuages.reconcile.release.ingress import ingress
from nuages.reconcile.release.migrate import migrate
from nuages.reconcile.release.outcome import Outcome
from nuages.reconcile.release.release import Release
from nuages.reconcile.release.superuser import superuser
from nuages.reconcile.release.traffic import traffic
from nuages.reconcile.release.verify import verify


@dataclass(frozen=True)
class Stage:
    """A step under the name that status.release.stage shows."""

    name: str
    run: Callable[[Release, CloudAccess], Awaitable[Outcome]]


STEPS: tuple[Stage, ...] = (
    Stage("DbInit", db_init),
    Stage("Migrate", migrate),
    Stage("Candidate", candidate),
    Stage("Verify", verify),
    Stage("Access", access),
    Stage("Traffic", traffic),
    Stage("Ingress", ingress),
    Stage("Superuser", superuser),
    Stage("CleanUp", clean_up),
)
DONE = "Done"
