"""One operator at a time, on the real API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio import client, config

from localcloud.controlplane.plane import ControlPlane
from nuages.kube.lease import LeaseLost, give_up, lead

NAMESPACE = "default"


@pytest.fixture
async def api(controlplane: ControlPlane) -> AsyncIterator[client.ApiClient]:
    """An administrator's client."""
    await config.load_kube_config(config_file=str(controlplane.kubeconfig))
    async with client.ApiClient() as made:
        yield made


class Work:
    """Work that goes on until it is cancelled, and tells when it began and ended."""

    def __init__(self) -> None:
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def _stop(leader: asyncio.Task[None]) -> None:
    leader.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leader


async def test_the_second_waits_until_the_first_gives_up(api: client.ApiClient) -> None:
    """And then begins at once, without waiting for the Lease to expire."""
    first, second = Work(), Work()
    leading = asyncio.create_task(lead(api, NAMESPACE, "pod-1", first, "handover"))
    async with asyncio.timeout(20):
        await first.began.wait()
        waiting = asyncio.create_task(lead(api, NAMESPACE, "pod-2", second, "handover"))
        await _stop(leading)
        assert first.ended.is_set()
        assert not second.began.is_set()
        await give_up(api, NAMESPACE, "pod-1", "handover")
        await second.began.wait()
    await _stop(waiting)


async def test_who_loses_the_lease_ends_its_work(api: client.ApiClient) -> None:
    """Before `lead` returns: nobody writes any more once another may begin."""
    work = Work()
    leading = asyncio.create_task(lead(api, NAMESPACE, "pod-1", work, "stolen"))
    leases = client.CoordinationV1Api(api)
    async with asyncio.timeout(60):
        await work.began.wait()
        while not leading.done():  # somebody else writes its own name, again and again
            lease = await leases.read_namespaced_lease("stolen", NAMESPACE)
            lease.spec.holder_identity = "pod-2"
            with contextlib.suppress(client.ApiException):  # the holder was faster
                await leases.replace_namespaced_lease("stolen", NAMESPACE, lease)
            await asyncio.wait({leading}, timeout=0.2)
    with pytest.raises(LeaseLost):
        leading.result()
    assert work.ended.is_set()


async def test_a_restarted_pod_retakes_its_own_lease(api: client.ApiClient) -> None:
    """Its identity is the pod's name: the container that died need not expire first."""
    for _ in range(2):
        work = Work()
        leading = asyncio.create_task(lead(api, NAMESPACE, "pod-1", work, "restarted"))
        async with asyncio.timeout(5):
            await work.began.wait()
        await _stop(leading)


async def test_work_that_fails_frees_the_way(api: client.ApiClient) -> None:
    """Its error is the caller's."""

    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with asyncio.timeout(20):
            await lead(api, NAMESPACE, "pod-1", broken, "failing")
