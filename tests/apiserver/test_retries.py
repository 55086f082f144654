"""What was tried again by the annotation, after it was mended outside of the spec."""

from __future__ import annotations

from typing import Any

import pytest
from machine_world import FIRST, Life, Operator, Site, said

from localcloud.runtime.tasks import EXITED_WITH_ERROR, Attempt
from localcloud.runtime.workload import Workload

ADOPTING = {
    "database": {"instance": {"existing": "shared-pg"}}
}  # on another's instance db-init needs leave to take over


class Broken:
    """The jobs whose name ends like this fail, for good."""

    def __init__(self, site: Site, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.part, self._runtime = part, site.world.cloud.runtime
        self._attempt = self._runtime.tasks.attempt
        monkeypatch.setattr(self._runtime.tasks, "attempt", self)

    async def __call__(self, of: Workload, *rest: Any) -> Attempt:
        if not self.part or not of.resource_labels["job_name"].endswith(self.part):
            return await self._attempt(of, *rest)
        self._runtime.logs.write(of.resource_type, of.resource_labels, "stderr", "no", entry_labels=of.entry_labels)
        return Attempt(1, message=EXITED_WITH_ERROR)

    def mend(self) -> None:
        self.part = ""


def rests(site: Site, life: Life, operator: Operator) -> str:
    """How the app comes to rest: the reason of its Ready."""
    app = site.run(site.world.rest(operator, life))
    return (said(app, "Stalled") or said(app, "Ready"))["reason"]


@pytest.mark.parametrize(
    ("part", "spec", "stalled"),
    [
        ("db-init", {}, "DatabaseInitialisationFailed"),
        ("db-init", ADOPTING, "DatabaseInitialisationFailed"),
        ("migrate", {}, "MigrationFailed"),
        ("migrate", {"migrations": {"policy": "Manual"}}, "MigrationFailed"),
    ],
    ids=["db-init", "db-init-adopting", "migrate", "migrate-manual"],
)
@pytest.mark.parametrize("wiped", [False, True], ids=["known", "wiped"])
def test_what_a_retry_has_mended_stays_so_without_the_annotation(
    site: Site, monkeypatch: pytest.MonkeyPatch, part: str, spec: dict[str, Any], stalled: str, wiped: bool
) -> None:
    """Nothing fails anew, and nothing runs again; nor where the status that knew of it is lost."""
    world, life, broken = site.world, site.run(site.world.begin()), Broken(site, part, monkeypatch)
    asked = {"adopt": "true"} if spec is ADOPTING else {"migrate": FIRST["image"]}
    site.run(world.apply(life, {**FIRST, **spec}))
    for name, value in asked.items():
        site.run(world.annotate(life, name, value))
    operator = world.operator()
    assert rests(site, life, operator) == stalled
    broken.mend()
    site.run(world.annotate(life, "retry-migration", "1"))
    assert rests(site, life, operator) == "Available"
    runs = [run.name for run in world.executions(life)]
    for name in ("retry-migration", *asked):
        site.run(world.annotate(life, name, None))
        if wiped:
            site.run(world.wipe_status(life))
        assert rests(site, life, operator) == "Available"
    assert [run.name for run in world.executions(life)] == runs
    assert site.run(world.plan(life)).changes == ()
    site.run(operator.close())
