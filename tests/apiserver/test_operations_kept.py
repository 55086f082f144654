"""What a pass records of long-running operations, another pass that sees nothing does not lose."""

from __future__ import annotations

from machine_world import FIRST, Site, said

from localcloud.core.errors import Code, plain
from localcloud.core.faults import Fault, Kind


def test_an_operation_outlives_a_pass_that_could_not_look(site: Site) -> None:
    """While one list fails, the instance's creation stays in the status; then it is waited for, and the app comes."""

    async def work() -> None:
        world, operator = site.world, site.world.operator()
        life, clock, faults = await world.begin(), world.cloud.core.clock, world.cloud.core.faults
        speed, clock.speed = clock.speed, 1.0
        await world.apply(life, FIRST)
        for _ in range(50):
            app = await world.one_pass(operator, life)
            if recorded := app.get("status", {}).get("operations"):
                break
        assert recorded, app
        await operator.close()
        operator = world.operator()  # which has no snapshot
        faults.add(Fault("*.ListServices", Kind.FAIL, plain(Code.UNAVAILABLE), times=100))
        app = await world.one_pass(operator, life)
        assert said(app, "Ready")["reason"] == "GoogleUnavailable", app["status"]
        assert app["status"]["operations"] == recorded
        faults.clear()
        clock.speed = speed
        app = await world.rest(operator, life)
        await operator.close()
        assert said(app, "Ready")["status"] == "True", app["status"]
        assert app["status"]["operations"] == []

    site.run(work())
