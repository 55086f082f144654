"""When an app at rest is looked at again, and how old what the pass sees may be: what "found within its interval" is
kept by, where the intervals are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from memory_cloud import MemoryCloud
from unit_support import API, REGISTRY, a_tenant, an_app

from nuages.cloud.access import CloudAccess, Clouds
from nuages.reconcile.cluster import Body, Cluster
from nuages.reconcile.intervals import intervals
from nuages.reconcile.queue import Next
from nuages.reconcile.reconciler import Pass, Reconciler
from nuages.reconcile.settings import Settings

GIVEN = [(600, 3600), (4, 6), (3600, 60), (0, 3600), (600, 0), (0, 0)]
SETTINGS = Settings("example/nuages:1", default_tenant=lambda namespace: a_tenant(namespace=namespace))


def spec(reconcile: int, deep: int) -> dict[str, Any]:
    return {"reconcileIntervalSeconds": reconcile, "deepCheckIntervalSeconds": deep}


class OneApp:
    """A cluster with one app in it, which rests by itself: it is paused."""

    def __init__(self, **fields: Any) -> None:
        metadata = {"name": "shop", "namespace": "acme", "uid": "u-1", "generation": 3, "resourceVersion": "1"}
        asked = {"image": f"{REGISTRY}/shop:v4", "paused": True, **fields}
        self.body: Body = {"apiVersion": API, "kind": "DjangoApp", "metadata": metadata, "spec": asked}

    async def app(self, namespace: str, name: str) -> Body | None:
        return self.body

    async def tenant(self, namespace: str) -> Body | None:
        return None

    async def write_status(self, body: Body, status: Mapping[str, Any]) -> Body:
        self.body = {**body, "status": status}
        return self.body

    async def event(self, app: Body, kind: str, reason: str, message: str) -> None:
        """Nobody listens."""


class EmptyCloud:
    """Google Cloud with nothing in it, for every tenant."""

    async def for_tenant(self, impersonate: str = "") -> CloudAccess:
        return cast(CloudAccess, SimpleNamespace(inventory=MemoryCloud().inventory))


def a_pass(app: dict[str, Any], status: Mapping[str, Any], **metadata: Any) -> Pass:
    nothing: Any = None  # neither is asked for the age
    return Pass({"status": status}, an_app(app, **metadata), a_tenant(), nothing, nothing, SETTINGS, (), lambda: False)


@pytest.mark.parametrize(("reconcile", "deep"), GIVEN)
async def test_an_app_at_rest_is_looked_at_again_after_the_pause_of_its_intervals(reconcile: int, deep: int) -> None:
    """In the first pass, which tells that it rests, and in each after it; never by itself where both are 0."""
    cluster = OneApp(**spec(reconcile, deep))
    reconciler = Reconciler(cast(Cluster, cluster), cast(Clouds, EmptyCloud()), SETTINGS)
    rest = Next(after=intervals(reconcile, deep).pause)
    assert [await reconciler.reconcile("acme/shop") for _ in range(3)] == [rest] * 3
    assert cluster.body["status"]["phase"] == "Paused"


@pytest.mark.parametrize(("reconcile", "deep"), GIVEN)
def test_a_pass_sees_nothing_older_than_its_intervals_allow(reconcile: int, deep: int) -> None:
    """Lists and looks at what no list shows alike, also where a look was asked for and has been taken."""
    asked = {"annotations": {"nuages.dev/reconcile-at": "now"}}
    for work in (a_pass(spec(reconcile, deep), {}), a_pass(spec(reconcile, deep), _looked("now"), **asked)):
        assert work.max_age == intervals(reconcile, deep).list_age
        assert work.intervals == intervals(reconcile, deep)


def test_a_pass_that_was_asked_for_sees_nothing_old() -> None:
    """Whoever writes another value in the annotation means now."""
    asked = {"annotations": {"nuages.dev/reconcile-at": "now"}}
    assert a_pass(spec(600, 3600), {}, **asked).max_age == 0
    assert a_pass(spec(600, 3600), _looked("before"), **asked).max_age == 0


def _looked(at: str) -> dict[str, Any]:
    """The status after a pass with this value in the annotation."""
    return {"release": {"reconcileAt": at}}
