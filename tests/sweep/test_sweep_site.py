"""What a site does to a life, with its own etcd, API server and operator."""

from __future__ import annotations

import json

import pytest
from sweep_points import Point
from sweep_run import run
from sweep_sample import Sample
from sweep_site import APP, NAMESPACE, WIPED

pytestmark = [pytest.mark.xdist_group("sweep"), pytest.mark.asyncio(loop_scope="session")]

# An operator that dies once all is done: its successor finds a life that is over.
LATE = Point("release", "kubernetes", "POST events Available", "", 0, after=True)
EARLY = Point("release", "kubernetes", "PUT leases", "", 0, after=True, wiped=True)


async def test_a_wiped_status_is_gone_for_everybody(sample: Sample) -> None:
    """Of the app nothing else is; the API server says the same."""
    await sample.site.restore(sample.lives["rotation"].start)
    before = await sample.site.app()
    assert before is not None
    assert before["status"]["release"]
    await sample.site.wipe_status()
    assert await sample.site.app() == {**before, "status": WIPED}
    shown = json.loads(await sample.site.kubectl("get", "djangoapp", APP, "-n", NAMESPACE, "-o", "json"))
    assert shown["status"] == WIPED
    assert shown["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_status_that_stays_is_a_problem(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the points that wipe it would prove what the others prove."""

    async def nothing() -> None:
        pass

    result = await run(sample.site, sample.lives["release"], EARLY)
    assert (result.outcome, result.problems) == ("passed", [])
    monkeypatch.setattr(sample.site, "wipe_status", nothing)
    result = await run(sample.site, sample.lives["release"], EARLY)
    assert (result.outcome, result.problems) == ("failed", ["the status was not wiped"])


async def test_the_lease_is_waited_for_though_all_is_done(sample: Sample) -> None:
    """Who comes after the end takes it too, and changes nothing."""
    result = await run(sample.site, sample.lives["release"], LATE)
    assert (result.outcome, result.problems) == ("passed", [])
    assert result.lease_s is not None
