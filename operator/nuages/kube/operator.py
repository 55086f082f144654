"""The operator as a process: credentials, Lease, watches, queue; everything ends together."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass

import kopf
import structlog
from kubernetes.aio import client, config

from nuages.cloud.access import Clouds
from nuages.kube.contents import Contents
from nuages.kube.handlers import Watched, registry, settings
from nuages.kube.lease import LeaseLost, give_up, lead
from nuages.kube.memory import give_back_large_buffers
from nuages.kube.objects import KubernetesCluster
from nuages.kube.probes import Probes
from nuages.reconcile.gather import copies
from nuages.reconcile.queue import Next, Queue
from nuages.reconcile.reconciler import Reconciler
from nuages.reconcile.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True)
class Options:
    """`nuages run`'s flags. No namespaces: all of them."""

    settings: Settings
    namespaces: Collection[str]
    identity: str
    lease_namespace: str  # "" runs without a Lease
    parallel: int
    probe_address: tuple[str, int]
    call_timeout: float  # seconds that one call of Google's may take


async def run(options: Options) -> int:
    """Serve until a signal or a lost Lease; the process's exit status."""
    give_back_large_buffers()
    await load_config()
    probes, stop = Probes(), asyncio.Event()
    port = await probes.start(*options.probe_address)
    log.info("probes and metrics", port=port)
    end_on_signals(stop)
    async with client.ApiClient() as api:
        probes.ready = True  # a standby is ready too, or a rollout would wait for it for ever
        work = asyncio.create_task(_led(api, options, stop))
        stopped = asyncio.create_task(stop.wait())
        beat = asyncio.create_task(_beat(probes))
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        by_signal = stop.is_set()
        for task in (work, stopped, beat):
            task.cancel()
        outcomes = await asyncio.gather(work, stopped, beat, return_exceptions=True)
        if options.lease_namespace:
            await give_up(api, options.lease_namespace, options.identity)
    await probes.stop()
    failure = outcomes[0]
    if isinstance(failure, LeaseLost):
        log.error("ending", cause=str(failure))
    elif isinstance(failure, Exception):
        log.error("operator failed", exc_info=failure)
    return 1 if isinstance(failure, Exception) and not by_signal else 0


async def load_config() -> None:
    """In a pod its ServiceAccount, else the kubeconfig that kubectl uses."""
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config()  # type: ignore[no-untyped-call]


def end_on_signals(stop: asyncio.Event) -> None:
    """SIGINT and SIGTERM set it."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


async def _led(api: client.ApiClient, options: Options, stop: asyncio.Event) -> None:
    async def serve() -> None:
        await _serve(api, options, stop)

    if options.lease_namespace:
        log.info("waiting for the lease", namespace=options.lease_namespace, identity=options.identity)
        await lead(api, options.lease_namespace, options.identity, serve)
    else:
        log.warning("There is no Lease: another operator in this cluster would work on the same apps at once.")
        await serve()


async def _serve(api: client.ApiClient, options: Options, stop: asyncio.Event) -> None:
    cluster = KubernetesCluster(api, options.identity)
    clouds = Clouds(copies(cluster), call_timeout=options.call_timeout)
    reconciler = Reconciler(cluster, clouds, options.settings)

    async def work(key: str) -> Next:
        return await reconciler.reconcile(key, lambda: queue.interrupted(key))

    queue = Queue(work, options.parallel)
    contents = Contents(queue.add)
    watched = Watched(queue.add, contents)
    tasks = [
        asyncio.create_task(queue.run(), name="queue"),
        asyncio.create_task(contents.watch(client.Configuration.get_default_copy()), name="contents"),
        asyncio.create_task(watch(watched, options.namespaces, options.identity, stop), name="kopf"),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await clouds.close()


async def watch(watched: Watched, namespaces: Collection[str], identity: str, stop: asyncio.Event) -> None:
    """Kopf, until cancelled; signals still set `stop`, which ends all at once.

    Kopf takes them for itself, and would then give every task of this process five seconds more, passes too.
    """
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_with_login(registry(watched)),
        settings=settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        # Else Kopf asks for the user's name, and the uid of the image has none (peering.detect_own_id in Kopf).
        identity=identity,  # type: ignore[arg-type] # a NewType of str that Kopf does not export
    )
    end_on_signals(stop)
    await kopf.run_tasks(tasks, ignored=before)


def _with_login(made: kopf.OperatorRegistry) -> kopf.OperatorRegistry:
    """The same credentials as our own client: pod, else kubeconfig."""

    @kopf.on.login(registry=made)
    def login(**fields: object) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**fields) or kopf.login_with_kubeconfig(**fields)  # type: ignore[arg-type]
        return found if isinstance(found, kopf.ConnectionInfo) else None

    return made


async def _beat(probes: Probes) -> None:
    while True:
        probes.beat = time.monotonic()
        await asyncio.sleep(5)
