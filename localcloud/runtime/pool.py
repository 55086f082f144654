"""The instances of one revision: who takes a request, when one more is started, when an idle one ends."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from localcloud.runtime import probes
from localcloud.runtime.instances import Instance, Instances
from localcloud.runtime.loopback import INSTANCE_ADDRESS
from localcloud.runtime.probes import ProbeTarget, ProbeTimes
from localcloud.runtime.workload import StartAborted, Workload

KEEP_ALIVE_S = 1.0  # below gunicorn's two seconds, so that no request meets a connection that is being closed
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
EXIT_S = 0.5
STARTUP_PATIENCE = 3.5  # a request waits this many times the start time (behaviour-runtime.md, section 3)
OPEN_TO_OTHERS = (  # loopback.py keeps those of Python
    "localcloud: this server makes its sockets itself, and others on this machine's network reach it at port {port}, "
    f"past front door and IAM. Let it listen on {INSTANCE_ADDRESS} here."
)


class NoInstance(Exception):
    """No instance became free in time: 429 "Rate exceeded."."""


class NotReady(Exception):
    """The instance that the request waited for did not start: 503."""


@dataclass(frozen=True)
class PoolTimes:
    """Seconds of this machine's time."""

    idle_s: float
    pending_s: float


@dataclass(eq=False)
class Member:
    """A ready instance with its client connections."""

    instance: Instance
    session: aiohttp.ClientSession
    active: int = 0
    idle_since: float = 0.0
    is_leaving: bool = False
    watching: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{INSTANCE_ADDRESS}:{self.instance.port}"


class Pool:
    """Scales one revision."""

    def __init__(
        self, instances: Instances, workload: Workload, revision: Any, times: PoolTimes, probe_times: ProbeTimes
    ) -> None:
        self._instances, self._workload, self._revision = instances, workload, revision
        self._times, self._probe_times = times, probe_times
        self._most = revision.scaling.max_instance_count or 100
        self._concurrency = revision.max_instance_request_concurrency or 80
        self._least = 0
        self._members: list[Member] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting: collections.deque[asyncio.Future[Member]] = collections.deque()
        self._start_seconds = 1.0
        self._leaving: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._retry_s = FIRST_RETRY_S
        self.failed_probe = False
        self.had_process = False

    @property
    def container_port(self) -> int:
        return self._workload.port

    @property
    def running(self) -> int:
        return len(self._members)

    async def start_first(self) -> None:
        """Start an instance unless one runs, and wait until it is ready. Raises StartAborted."""
        if not self._members:
            await self._start()

    def keep(self, least: int) -> None:
        """Have at least so many instances from now on."""
        self._least = min(least, self._most)
        self._grow_to_least()
        self._plan_reaping()

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator[Member]:
        """An instance for one request. Raises NoInstance, NotReady."""
        member = self._free() or await self._wait()
        try:
            yield member
        finally:
            member.active -= 1
            self._given_back(member)

    async def lose(self, member: Member) -> None:
        """The instance broke a connection; if its process is gone, nobody must be sent there again.

        A process that crashes closes its connections before anybody can learn of its end: that gets a moment.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(member.instance.exited(), EXIT_S)
            self._drop(member)

    async def close(self) -> None:
        """End every instance, at once."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for task in self._starting:
            task.cancel()
        for future in self._waiting:
            if not future.done():
                future.set_exception(NotReady("The revision is deleted."))
        for member in list(self._members):
            self._drop(member)
        await asyncio.gather(*self._starting, *self._leaving, return_exceptions=True)

    def _free(self) -> Member | None:
        """The least busy instance with room; takes the place."""
        best = min(self._members, key=lambda member: member.active, default=None)
        if best is None or best.active >= self._concurrency:
            return None
        best.active += 1
        return best

    async def _wait(self) -> Member:
        future: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._scale_out()
        patience = max(self._times.pending_s, STARTUP_PATIENCE * self._start_seconds)
        try:
            while True:
                done, _ = await asyncio.wait({future}, timeout=patience)
                if done:
                    return future.result()
                if not self._starting:
                    raise NoInstance("The request was aborted because there was no available instance.")
        except BaseException:
            self._abandon(future)
            raise

    def _abandon(self, future: asyncio.Future[Member]) -> None:
        """Who waited has gone: a place that came at the same moment is given back."""
        if future.done() and not future.cancelled() and future.exception() is None:
            member = future.result()
            member.active -= 1
            self._given_back(member)
            return
        with contextlib.suppress(ValueError):
            self._waiting.remove(future)
        future.cancel()

    def _scale_out(self) -> None:
        """Start as many more as the waiting requests need."""
        room = self._most - len(self._members) - len(self._starting)
        needed = -(-len(self._waiting) // self._concurrency) - len(self._starting)
        for _ in range(max(0, min(room, needed))):
            self._start_aside()

    def _start_aside(self) -> None:
        task = asyncio.create_task(self._try_start(), name=f"start {self._workload.name}")
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _try_start(self) -> None:
        try:
            await self._start()
            self._retry_s = FIRST_RETRY_S
        except StartAborted as error:
            if not self._members:  # else those that run may still become free
                while self._waiting:
                    future = self._waiting.popleft()
                    if not future.done():
                        future.set_exception(NotReady(str(error)))
            if self._least:  # a crash loop of a kept instance must not become a busy one
                asyncio.get_running_loop().call_later(self._retry_s, self._grow_to_least)
                self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)

    async def _start(self) -> None:
        """One more instance, ready to answer. Raises StartAborted."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.failed_probe = self.had_process = False
        instance = await self._instances.start(self._workload)
        self.had_process = True
        try:
            await self._ready(instance)
        except BaseException:
            await asyncio.shield(instance.stop())
            raise
        self._start_seconds = loop.time() - began
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        member = Member(instance, session, idle_since=loop.time())
        member.watching.append(asyncio.create_task(self._watch(member)))
        probe = self._revision.containers[0].liveness_probe
        if self._revision.containers[0].HasField("liveness_probe"):
            member.watching.append(asyncio.create_task(self._keep_alive(member, probe)))
        self._members.append(member)
        self._serve_waiting(member)
        self._plan_reaping()

    async def _ready(self, instance: Instance) -> None:
        """Wait for the startup probe, or for the process to give up. Raises StartAborted."""
        container = self._revision.containers[0]
        probe, target = container.startup_probe, ProbeTarget(self._workload.port, instance.port)
        probing = asyncio.create_task(probes.started(probe, target, self._probe_times))
        exiting = asyncio.create_task(instance.exited())
        try:
            await asyncio.wait({probing, exiting}, return_when=asyncio.FIRST_COMPLETED)
            if exiting.done():
                raise StartAborted(f"Container called exit({exiting.result()}).")
            failure = probing.result()
        finally:
            for task in (probing, exiting):
                task.cancel()
            await asyncio.gather(probing, exiting, return_exceptions=True)
        is_default = probe.timeout_seconds == 240 and probe.failure_threshold == 1
        kind = f"{'Default ' if is_default else ''}STARTUP {probes.kind(probe)} probe"
        name = self._workload.entry_labels["container_name"]
        where = f'for container "{name}" on port {self._workload.port}'
        if failure is None:
            instance.log(f"{kind} succeeded after 1 attempt {where}.", "INFO")
            if await probes.is_open_to_others(instance.port):
                instance.log(OPEN_TO_OTHERS.format(port=instance.port), "WARNING")
            return
        self.failed_probe = True
        times = f"{probe.failure_threshold} time{'s' if probe.failure_threshold > 1 else ''}"
        instance.log(
            f"{kind} failed {times} consecutively {where}. The instance was not started. {failure.why}", "ERROR"
        )
        if not failure.is_answer:
            instance.log(
                f"localcloud: instances share one loopback, so PORT is {instance.port} here instead of "
                f"{self._workload.port}. A container must listen on all addresses, at the port that PORT names.",
                "NOTICE",
            )
        if early := self._probe_times.gave_up_early(probe):
            instance.log(early, "NOTICE")
        raise StartAborted(f"{kind} failed. {failure.why}")

    async def _watch(self, member: Member) -> None:
        await member.instance.exited()
        self._drop(member)

    async def _keep_alive(self, member: Member, probe: Any) -> None:
        target = ProbeTarget(self._workload.port, member.instance.port)
        failure = await probes.failed_liveness(probe, target, self._probe_times)
        name = self._workload.entry_labels["container_name"]
        member.instance.log(
            f"LIVENESS {probes.kind(probe)} probe failed {probe.failure_threshold} times consecutively for container "
            f'"{name}" on port {self._workload.port}. The instance has been shut down. {failure.why}',
            "ERROR",
        )
        self._drop(member)

    def _drop(self, member: Member) -> None:
        """No more requests to this instance; it ends aside."""
        if member.is_leaving:
            return
        member.is_leaving = True
        with contextlib.suppress(ValueError):
            self._members.remove(member)
        task = asyncio.create_task(self._end(member), name=f"end {self._workload.name}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        if not self._is_closed:
            asyncio.get_running_loop().call_later(self._retry_s, self._grow_to_least)
            if self._waiting:
                self._scale_out()

    async def _end(self, member: Member) -> None:
        current = asyncio.current_task()
        for task in member.watching:
            if task is not current:
                task.cancel()
        try:
            await member.instance.stop()
        finally:
            await member.session.close()

    def _given_back(self, member: Member) -> None:
        if member.is_leaving:
            return
        if self._waiting:
            self._serve_waiting(member)
        if member.active == 0:
            member.idle_since = asyncio.get_running_loop().time()
            self._plan_reaping()

    def _serve_waiting(self, member: Member) -> None:
        while self._waiting and member.active < self._concurrency:
            future = self._waiting.popleft()
            if not future.done():
                member.active += 1
                future.set_result(member)

    def _grow_to_least(self) -> None:
        if self._is_closed:
            return
        for _ in range(self._least - len(self._members) - len(self._starting)):
            self._start_aside()

    def _plan_reaping(self) -> None:
        """Look again when the first idle instance has lingered long enough."""
        if self._reaper is not None or self._is_closed or len(self._members) <= self._least:
            return
        idle = [member.idle_since for member in self._members if member.active == 0]
        if idle:
            loop = asyncio.get_running_loop()
            self._reaper = loop.call_at(min(idle) + self._times.idle_s, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        now = asyncio.get_running_loop().time()
        idle = [m for m in self._members if m.active == 0 and m.idle_since + self._times.idle_s <= now + 0.001]
        for member in idle[: max(0, len(self._members) - self._least)]:
            self._drop(member)
        self._plan_reaping()
