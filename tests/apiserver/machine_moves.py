"""An app that moves from one cluster to another, with one API server for both: the old one is a view of it that has the
old object still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from machine_world import BETWEEN_S, PATIENCE, Life, MachineWorld, Operator

from nuages.reconcile.cluster import Body


class OldCluster:
    """All but the app is as on the real one; nobody hears of its events."""

    def __init__(self, operator: Operator, app: Body) -> None:
        self._real, self._app = operator.cluster, app
        self.gone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def app(self, namespace: str, name: str) -> Body | None:
        return None if self.gone else self._app

    async def apps(self, namespace: str) -> list[Body]:
        return [] if self.gone else [self._app]

    async def write_status(self, body: Body, status: Mapping[str, Any]) -> Body:
        if body["kind"] == "DjangoApp":
            self._app = {**body, "status": dict(status)}
        return self._app

    async def write_finalizers(self, body: Body, finalizers: list[str]) -> Body:
        self.gone = self.gone or (body["kind"] == "DjangoApp" and not finalizers)
        return body

    async def event(self, app: Body, kind: str, reason: str, message: str) -> None:
        return


async def move(world: MachineWorld, life: Life) -> tuple[Body, Body]:
    """The app as it was in the old cluster, and as it is in the new one, which took everything over and made a release:
    the service too bears the new marker.
    """
    operator = world.operator()
    old = await world.rest(operator, life)
    await world.leave_cluster(operator, life)
    await world.apply(life, {**old["spec"], "env": [{"name": "CLUSTER", "value": "new"}]})
    await world.annotate(life, "adopt", "true")
    new = await world.rest(operator, life)
    await operator.close()
    return old, new


async def delete_old(world: MachineWorld, life: Life, old: Body) -> None:
    """By the old cluster's operator, until the object is gone; fails where it stays."""
    metadata = {**old["metadata"], "deletionTimestamp": "2026-11-21T00:00:00Z"}
    operator = world.operator()
    cluster = OldCluster(operator, {**old, "metadata": metadata})
    operator.serve(cluster)
    for _ in range(PATIENCE):
        await operator.one_pass(life.key)
        await asyncio.sleep(BETWEEN_S)
        if cluster.gone:
            break
    left = await cluster.app(life.namespace, life.name)
    assert left is None, left.get("status")
    await operator.close()
