"""What a first deploy asks of Google, and what rest costs: calls are counted, never timed."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from e2e_world import World

if TYPE_CHECKING:
    from e2e_local import LocalSite

APP = "shop"
POLLS = ("GetOperation", "Operations.Get", "OperationsService.Get", "GetExecution")
MOST = 110  # calls of a first deploy besides polls: 98 when this was written


def app_reads(local: LocalSite, world: World) -> int:
    """How often the operator read the app from the API server."""
    wanted, found = {"namespace": world.namespace, "name": APP, "resource": "djangoapps"}, 0
    for line in local.audit_log.read_text().splitlines():
        if world.namespace in line and '"get"' in line:
            entry: dict[str, Any] = json.loads(line)
            target = entry.get("objectRef") or {}
            by_operator = entry["user"]["username"].endswith(":nuages")
            found += by_operator and entry["verb"] == "get" and wanted.items() <= target.items()
    return found


async def alone(world: World) -> None:
    """No other app is left whose writes would make the shared lists old."""
    deadline = time.monotonic() + 180
    while len((left := world.kubectl("get", "djangoapps", "--all-namespaces", "--no-headers")).splitlines()) > 1:
        assert time.monotonic() < deadline, f"other apps are still there: {left}"
        await asyncio.sleep(0.5)


async def passes(local: LocalSite, world: World, number: int) -> None:
    """Wakes the operator so often; a pass has ended when the next one has begun."""
    for value in range(number + 1):
        before = app_reads(local, world)
        await world.annotate(APP, "nuages.dev/note", str(value))

        def has_looked(_: dict[str, Any], before: int = before) -> bool:
            return app_reads(local, world) > before

        await world.until(has_looked, APP)


async def test_first_deploy_asks_little_and_rest_asks_nothing(world: World, local: LocalSite) -> None:
    """No policy of what is not there, nothing created twice; then whole passes without any call or write."""
    await world.apply(
        {
            "apiVersion": "nuages.dev/v1alpha1",
            "kind": "DjangoApp",
            "metadata": {"name": APP},
            "spec": {"image": await world.site.image("shop", "v1")},
        }
    )
    await world.wait(APP)
    asked = local.requests(world.namespace, APP)
    methods = Counter(request.method.partition("/")[2] for request in asked if not request.method.endswith(POLLS))
    assert methods.total() <= MOST, methods
    policies = [request for request in asked if request.method.endswith(("GetIamPolicy", "/iam"))]
    assert policies
    assert [request.resource for request in policies if request.status == 404] == []
    await alone(world)
    await passes(local, world, 1)
    before, known = await world.app(APP), len(local.requests(world.namespace, APP))
    await passes(local, world, 2)
    after = await world.app(APP)
    fresh = local.requests(world.namespace, APP)[known:]
    assert [f"{request.method} {request.resource}" for request in fresh] == []
    assert after["status"] == before["status"]
