"""What is said of failures: whole, once, and no more than is true."""

from __future__ import annotations

import json

import pytest
from machine_world import FIRST, REGISTRY, Life, Site, said
from test_lives import begun

from localcloud.runtime.tasks import EXITED_WITH_ERROR, Attempt
from localcloud.runtime.workload import Workload

SECOND = {**FIRST, "image": f"{REGISTRY}/shop:v2"}
FRAMES = tuple(f'  File "/app/catalogue/migrations/0002.py", line {line}, in forwards' for line in range(40))
EXCEPTION = "django.db.utils.OperationalError: no such table: orders"


def test_a_traceback_in_one_entry_of_the_log_is_told_by_its_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migration's logger writes JSON, and Cloud Run says in a line of its own that the task failed."""
    world, life = site.world, begun(site)

    async def breaks(of: Workload, *_: object) -> Attempt:
        trace = "\n".join(("migrate failed", "Traceback (most recent call last):", *FRAMES, EXCEPTION))
        text = json.dumps({"severity": "ERROR", "message": trace})
        world.cloud.runtime.logs.write(of.resource_type, of.resource_labels, "stdout", text, "ERROR", of.entry_labels)
        return Attempt(1, message=EXITED_WITH_ERROR)

    monkeypatch.setattr(world.cloud.runtime.tasks, "attempt", breaks)
    site.run(world.apply(life, SECOND))
    operator = world.operator()
    app = site.run(world.rest(operator, life))
    site.run(operator.close())
    assert said(app, "Stalled")["reason"] == "MigrationFailed"
    [log] = [message for reason, message in site.run(world.told(life)) if reason == "MigrationFailedLog"]
    lines = log.splitlines()
    assert lines[:2] == ["Traceback (most recent call last):", "  …"]
    assert lines[-3:-1] == [FRAMES[-1], EXCEPTION]
