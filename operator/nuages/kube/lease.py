"""The Lease: one operator at a time. Who loses it, ends: fail closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp
import structlog
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection import electionconfig, leaderelection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from nuages.kube.objects import words

DURATION, RENEW, RETRY = 15, 10, 2  # seconds, as client-go's defaults

log = structlog.get_logger()


class LeaseLost(Exception):
    """Another operator may begin: this one has ended all work."""


class Lock(LeaseLock):
    """The official lock; an API server out of reach for a moment is a failed try, not the end.

    Each try is bounded: the election looks at its own deadline only between two of them.
    """

    def __init__(self, name: str, namespace: str, identity: str, api: client.ApiClient) -> None:
        super().__init__(name, namespace, identity, api)
        self.held_since = time.monotonic()  # when the Lease was last known to be ours
        self._told = ""

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        try:
            async with asyncio.timeout(RETRY):
                found = await super().get(name, namespace)
        except (aiohttp.ClientError, TimeoutError) as error:
            return False, ApiException(status=0, reason=str(error))
        if isinstance(found[1], ApiException) and found[1].status != HTTPStatus.NOT_FOUND:
            self._tell(
                log.warning,
                f"--lease-namespace: the lease {namespace}/{name} cannot be read. Let this identity get, create and "
                f"update leases in that namespace, or name another: {words(found[1])}",
            )
        holder = found[1].holder_identity if isinstance(found[1], LeaderElectionRecord) else None
        if holder is not None and holder != self.identity:
            self._tell(log.info, f"The lease {namespace}/{name} is held by {holder}: waiting until it ends.")
        return found

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        """Without the official one's `pretty=True`, which the client's own validation refuses."""
        spec = self.update_lease(election_record)
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=name), spec=spec)
        began = time.monotonic()
        try:
            async with asyncio.timeout(RETRY):
                await self.api_instance.create_namespaced_lease(namespace, body)
        except ApiException as error:
            if error.status != HTTPStatus.CONFLICT:  # else another was faster
                self._tell(
                    log.warning,
                    f"--lease-namespace: the lease {namespace}/{name} cannot be made. Create the namespace, let this "
                    f"identity create leases in it, or name another: {words(error)}",
                )
            return False
        except (aiohttp.ClientError, TimeoutError):
            return False
        self.held_since = began
        return True

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        began = time.monotonic()
        try:
            async with asyncio.timeout(RETRY):
                if not await super().update(name, namespace, updated_record):
                    return False
        except (aiohttp.ClientError, TimeoutError):
            return False
        self.held_since = began
        return True

    def _tell(self, tell: Callable[[str], None], text: str) -> None:
        """Once, though every try meets it again."""
        if text != self._told:
            self._told = text
            tell(text)


async def lead(
    api: client.ApiClient, namespace: str, identity: str, work: Callable[[], Awaitable[None]], name: str = "nuages"
) -> None:
    """Run `work` while the Lease is held, and end with it. Raises LeaseLost once `work` has ended, and what it raises.

    `identity` is the pod's name: a restarted container retakes its own Lease at once.
    """
    elected = asyncio.Event()

    async def begin() -> None:
        elected.set()
        await asyncio.Event().wait()  # the election cancels this; the work is ours to end

    async def lost() -> None:
        raise LeaseLost(f"the lease {namespace}/{name} is another's")

    lock = Lock(name, namespace, identity, api)
    config = electionconfig.Config(lock, DURATION, RENEW, RETRY, begin, lost)
    tasks = [asyncio.create_task(leaderelection.LeaderElection(config).run())]
    try:
        waiting = asyncio.create_task(elected.wait())
        await asyncio.wait({tasks[0], waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if elected.is_set():
            tasks += [asyncio.create_task(_until_late(lock)), asyncio.create_task(_as_coroutine(work))]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # nobody else leads while this one still writes


async def _until_late(lock: Lock) -> None:
    """Ends before the Lease can be another's, however the election is held up."""
    while (left := lock.held_since + RENEW + RETRY - time.monotonic()) > 0:  # noqa: ASYNC110 - a clock has no event
        await asyncio.sleep(left)
    raise LeaseLost("the lease was not renewed in time")


async def _as_coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def give_up(api: client.ApiClient, namespace: str, identity: str, name: str = "nuages") -> None:
    """A clean end hands the Lease over, so that the next pod need not wait for it to expire."""
    leases = client.CoordinationV1Api(api)
    try:
        async with asyncio.timeout(RETRY):
            lease = await leases.read_namespaced_lease(name, namespace)
            if lease.spec is not None and lease.spec.holder_identity == identity:
                lease.spec.holder_identity = None
                await leases.replace_namespaced_lease(name, namespace, lease)
    except (ApiException, aiohttp.ClientError, TimeoutError) as error:
        log.debug("lease was not given up", error=str(error))
