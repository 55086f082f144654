"""One operator at a time, on the real API server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sized
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_gate import NO_ANSWER, gate
from kubernetes.aio import client, config
from kubernetes.aio.leaderelection import leaderelection
from structlog.testing import capture_logs

from localcloud.controlplane.plane import ControlPlane
from nuages.kube.lease import LeaseLost, give_up, lead

NAMESPACE = "default"
HOUR = 3600


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


async def _until(told: Sized) -> None:
    while not told:  # noqa: ASYNC110 - a log has no event
        await asyncio.sleep(0.05)


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


async def test_who_cannot_renew_ends_its_work_before_another_begins(
    api: client.ApiClient, controlplane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server answers no renewal, and the machine's clock, by which the election counts, is set back."""
    first, second = Work(), Work()
    async with gate(Path(controlplane.kubeconfig)) as opened, asyncio.timeout(90):
        leading = asyncio.create_task(lead(opened.api, NAMESPACE, "pod-1", first, "late"))
        await first.began.wait()
        opened.fail("PUT", "leases/late", NO_ANSWER, times=1000)
        monkeypatch.setattr(leaderelection, "time", SimpleNamespace(time=lambda: time.time() - HOUR))
        waiting = asyncio.create_task(lead(api, NAMESPACE, "pod-2", second, "late"))
        await second.began.wait()
        assert first.ended.is_set()
        await _stop(waiting)
        with pytest.raises(LeaseLost, match="not renewed in time"):
            await leading


async def test_a_restarted_pod_retakes_its_own_lease(api: client.ApiClient) -> None:
    """Its identity is the pod's name: the container that died need not expire first."""
    for _ in range(2):
        work = Work()
        leading = asyncio.create_task(lead(api, NAMESPACE, "pod-1", work, "restarted"))
        async with asyncio.timeout(5):
            await work.began.wait()
        await _stop(leading)


async def test_who_waits_is_told_for_whom(api: client.ApiClient) -> None:
    """A second operator that seems to do nothing says which one has the Lease, once."""
    first, second = Work(), Work()
    with capture_logs() as told:
        leading = asyncio.create_task(lead(api, NAMESPACE, "pod-1", first, "told"))
        async with asyncio.timeout(20):
            await first.began.wait()
            waiting = asyncio.create_task(lead(api, NAMESPACE, "pod-2", second, "told"))
            await _until(told)
        await _stop(waiting)
        await _stop(leading)
    message = f"The lease {NAMESPACE}/told is held by pod-1: waiting until it ends."
    assert told == [{"log_level": "info", "event": message}]


async def test_a_lease_that_cannot_be_made_is_told_with_its_cause(api: client.ApiClient) -> None:
    """Else a developer's operator would wait without a word in a cluster that lacks the namespace."""
    with capture_logs() as told:
        leading = asyncio.create_task(lead(api, "nowhere", "pod-1", Work()))
        async with asyncio.timeout(20):
            await _until(told)
        await _stop(leading)
    message = (
        "--lease-namespace: the lease nowhere/nuages cannot be made. Create the namespace, let this identity create "
        'leases in it, or name another: namespaces "nowhere" not found'
    )
    assert told == [{"log_level": "warning", "event": message}]


async def test_a_lease_that_may_not_be_read_is_told_with_its_cause(api: client.ApiClient) -> None:
    """Else an operator that worked without a Lease before would stand still without a word."""
    async with client.ApiClient(header_name="Impersonate-User", header_value="nobody") as denied:
        with capture_logs() as told:
            leading = asyncio.create_task(lead(denied, NAMESPACE, "pod-1", Work(), "denied"))
            async with asyncio.timeout(20):
                await _until(told)
            await _stop(leading)
    [warning] = told
    assert warning["log_level"] == "warning"
    assert warning["event"].startswith(
        "--lease-namespace: the lease default/denied cannot be read. Let this identity get, create and update leases "
        'in that namespace, or name another: leases.coordination.k8s.io "denied" is forbidden: User "nobody"'
    )


async def test_work_that_fails_frees_the_way(api: client.ApiClient) -> None:
    """Its error is the caller's."""

    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with asyncio.timeout(20):
            await lead(api, NAMESPACE, "pod-1", broken, "failing")
