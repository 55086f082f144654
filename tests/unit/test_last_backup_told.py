"""What deletionPolicy Snapshot says at the end of a deletion, which it must not hold up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from unit_support import a_tenant, an_app

from nuages.cloud import errors
from nuages.cloud.backups import BackupRun
from nuages.reconcile import snapshot
from nuages.reconcile.reconciler import Pass

SHARED = "projects/acme-prod/instances/acme-pg"


class SomeBackups:
    """`answer` to whatever is asked; asked how often."""

    def __init__(self, answer: Any) -> None:
        self._answer, self.asked = answer, 0

    async def find(self, instance: str, description: str) -> Any:
        return self._said()

    async def final(self, project: str, opening: str) -> Any:
        return self._said()

    def _said(self) -> Any:
        self.asked += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def _work(backups: SomeBackups, database: dict[str, Any], status: dict[str, Any]) -> Pass:
    app = an_app({"deletionPolicy": "Snapshot", "database": database})
    made = SimpleNamespace(app=app, tenant=a_tenant(), before=status, cloud=SimpleNamespace(backups=backups))
    return cast(Pass, made)


async def test_an_app_without_a_database_asks_nothing() -> None:
    """Cloud SQL's API may be off in its project, which would keep the app for ever."""
    backups = SomeBackups(errors.ApiDisabled("off", service="sqladmin.googleapis.com"))
    assert await snapshot.taken(_work(backups, {"engine": "None"}, {}), "") == ()
    assert backups.asked == 0


@pytest.mark.parametrize("shared", ["", SHARED])
async def test_a_backup_that_cannot_be_told_holds_nothing_up(shared: str) -> None:
    """All is deleted by then."""
    backups = SomeBackups(errors.PermissionDenied("no", permission="cloudsql.backupRuns.list"))
    assert await snapshot.taken(_work(backups, {}, {}), shared) == ()
    assert backups.asked == 1


@pytest.mark.parametrize(
    ("shared", "answer", "told"),
    [
        (SHARED, BackupRun("17", True), "backup run 17 of acme-pg,"),
        ("", "projects/acme-prod/backups/b-1", "final backup projects/acme-prod/backups/b-1, for 365 days,"),
    ],
)
async def test_a_backup_is_told_with_its_description(shared: str, answer: Any, told: str) -> None:
    """Also where the spec lost its database in the meantime."""
    work = _work(SomeBackups(answer), {"engine": "None"}, {"database": {"instance": "acme-pg", "name": "shop"}})
    (line,) = await snapshot.taken(work, shared)
    assert line.startswith(told)
    assert 'described as "nuages acme/shop u-1"' in line
