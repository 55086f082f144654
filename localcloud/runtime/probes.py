"""Startup and liveness probes of Cloud Run containers (gcp/behaviour-runtime.md, section 3).

Processes are real and need their real time to start, however fast the cloud is: an attempt's timeout is wall-clock
time, and a startup probe has a minute of it, unless Google's would give up before. What a probe waits on purpose
(initial delay, period) is divided by the speed, and never under a floor.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

import aiohttp

from localcloud.runtime.loopback import INSTANCE_ADDRESS, LOCALHOST

ELSEWHERE = ("192.0.2.1", 9)  # an address for documentation (RFC 5737): whichever way there is, it is no loopback
OUTSIDE_S = 1.0
FASTEST_PERIOD_S = 0.05
STARTUP_FLOOR_S = 60.0  # a startup probe never gives up earlier, unless Google's would
LIVENESS_PERIOD_FLOOR_S = 2.0
LIVENESS_TIMEOUT_FLOOR_S = 4.0  # this machine runs everything at once; Google's has a CPU for each container


@dataclass(frozen=True)
class ProbeTimes:
    """How long things take here; tests shorten them."""

    speed: float
    startup_floor_s: float = STARTUP_FLOOR_S
    liveness_period_floor_s: float = LIVENESS_PERIOD_FLOOR_S
    liveness_timeout_floor_s: float = LIVENESS_TIMEOUT_FLOOR_S

    def startup_seconds(self, probe: Any) -> float:
        """Until it is given up: Google's time over the speed, but not under the floor (nor over Google's)."""
        real = googles_startup_seconds(probe)
        return min(real, max(real / self.speed, self.startup_floor_s))

    def gave_up_early(self, probe: Any) -> str:
        """What the log says of a failed startup probe that Google would have gone on with; "" where it would not."""
        here, real = self.startup_seconds(probe), googles_startup_seconds(probe)
        if here >= real:
            return ""
        return (
            f"localcloud: waited {here:g} s, where Google would wait {real:g} s. Start localcloud with a lower --speed "
            "to wait longer; with 1 it waits as long as Google."
        )


def googles_startup_seconds(probe: Any) -> float:
    """How long the container has to start in at Google."""
    return float(probe.initial_delay_seconds + probe.period_seconds * probe.failure_threshold)


@dataclass(frozen=True)
class ProbeTarget:
    """Where a container's ports are on this machine: `port` stands for `container_port`."""

    container_port: int
    port: int

    def actual(self, port: int) -> tuple[str, int]:
        """Host and port. A port beside the container's is on localhost for its own processes, and so for a probe."""
        return (INSTANCE_ADDRESS, self.port) if port == self.container_port else (LOCALHOST, port)


@dataclass(frozen=True)
class ProbeFailure:
    """Why the last attempt failed, in the words of Google's log."""

    why: str
    is_answer: bool = False  # by a server that listens


async def attempt(probe: Any, target: ProbeTarget, timeout_s: float) -> ProbeFailure | None:
    """One try; None where it succeeded."""
    if probe.WhichOneof("probe_type") == "http_get":
        return await _http(probe, target, timeout_s)
    return await _tcp(target.actual(probe.tcp_socket.port), timeout_s)


async def started(probe: Any, target: ProbeTarget, times: ProbeTimes) -> ProbeFailure | None:
    """Try until it succeeds (None) or has to be given up (the last failure)."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + times.startup_seconds(probe)
    await asyncio.sleep(probe.initial_delay_seconds / times.speed)
    # A TCP probe of Google's connects as soon as the port is open, whatever the period says.
    is_tcp = probe.WhichOneof("probe_type") != "http_get"
    period = FASTEST_PERIOD_S if is_tcp else max(probe.period_seconds / times.speed, FASTEST_PERIOD_S)
    failures = 0
    while True:
        left = deadline - loop.time()
        failure = await attempt(probe, target, max(min(float(probe.timeout_seconds), left), 0.5))
        if failure is None:
            return None
        failures += 1
        if loop.time() >= deadline and failures >= (1 if is_tcp else probe.failure_threshold):
            return failure
        await asyncio.sleep(min(period, max(deadline - loop.time(), FASTEST_PERIOD_S)))


async def failed_liveness(probe: Any, target: ProbeTarget, times: ProbeTimes) -> ProbeFailure:
    """Return once the probe has failed as often in a row as its threshold says."""
    await asyncio.sleep(probe.initial_delay_seconds / times.speed)
    period = max(probe.period_seconds / times.speed, times.liveness_period_floor_s)
    failures = 0
    while True:
        await asyncio.sleep(period)
        failure = await attempt(probe, target, max(float(probe.timeout_seconds), times.liveness_timeout_floor_s))
        failures = 0 if failure is None else failures + 1
        if failure is not None and failures >= probe.failure_threshold:
            return failure


def kind(probe: Any) -> str:
    """As Google's log names it."""
    return "HTTP" if probe.WhichOneof("probe_type") == "http_get" else "TCP"


def outside_address() -> str | None:
    """An address of this machine that others on its network can reach; None where it is on no network."""
    with socket.socket(type=socket.SOCK_DGRAM) as route:
        try:
            route.connect(ELSEWHERE)  # nothing is sent
        except OSError:
            return None
        address = str(route.getsockname()[0])
    return None if ipaddress.ip_address(address).is_loopback else address


async def is_open_to_others(port: int) -> bool:
    """Whether an instance's server answers at such an address."""
    outside = outside_address()
    return outside is not None and await _tcp((outside, port), OUTSIDE_S) is None


async def _tcp(address: tuple[str, int], timeout_s: float) -> ProbeFailure | None:
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(*address)
    except TimeoutError:
        return ProbeFailure("Connection failed with status DEADLINE_EXCEEDED.")
    except OSError:
        return ProbeFailure("Connection failed with status ERROR_CONNECTION_FAILED.")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


async def _http(probe: Any, target: ProbeTarget, timeout_s: float) -> ProbeFailure | None:
    host, port = target.actual(probe.http_get.port)
    headers = {"User-Agent": "GoogleHC/1.0", "Host": f"{host}:{target.container_port}"}
    headers |= {header.name: header.value for header in probe.http_get.http_headers}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s), auto_decompress=False) as session,
            session.get(f"http://{host}:{port}{probe.http_get.path}", headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status < 400:  # 2xx and 3xx are healthy, as in Kubernetes
                return None
            return ProbeFailure(f"HTTP probe failed with status {answer.status}.", is_answer=True)
    except TimeoutError:
        return ProbeFailure("Connection failed with status DEADLINE_EXCEEDED.")
    except aiohttp.ClientError:
        return ProbeFailure("Connection failed with status ERROR_CONNECTION_FAILED.")
