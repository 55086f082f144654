"""What a first deploy asks of Google, and what rest costs: calls are counted, never timed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from e2e_audit import reads
from e2e_world import World

if TYPE_CHECKING:
    from e2e_local import LocalSite

APP = "shop"
POLLS = ("GetOperation", "Operations.Get", "OperationsService.Get", "GetExecution")
MOST = 110  # calls of a first deploy besides polls: 98 when this was written


async def passes(local: LocalSite, world: World, number: int) -> None:
    """Wakes the operator so often; a pass has ended when the next one has begun."""
    for value in range(number + 1):
        before = reads(local.audit_log, world.namespace, "djangoapps", APP)
        await world.annotate(APP, "nuages.dev/note", str(value))

        def has_looked(_: dict[str, Any], before: int = before) -> bool:
            return reads(local.audit_log, world.namespace, "djangoapps", APP) > before

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
    await world.alone()
    await passes(local, world, 1)
    before, known = await world.app(APP), len(local.requests(world.namespace, APP))
    await passes(local, world, 2)
    after = await world.app(APP)
    fresh = local.requests(world.namespace, APP)[known:]
    assert [f"{request.method} {request.resource}" for request in fresh] == []
    assert after["status"] == before["status"]
