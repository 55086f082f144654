"""What the benchmarks share: a local cloud with an operator, a watch on its apps, readings of what all of it cost."""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from google.protobuf.timestamp_pb2 import Timestamp
from kubernetes.aio import client, config, watch

from localcloud import operator
from localcloud.api.messages import sql
from localcloud.api.run_state import RunState
from localcloud.api.sql_queue import Queue
from localcloud.controlplane.plane import ControlPlane
from localcloud.core.requests import Request
from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.builder import build
from localcloud.runtime.processes import Child, Processes

GROUP, VERSION, APPS = "nuages.dev", "v1alpha1", "djangoapps"
USER = f"system:serviceaccount:{operator.NAMESPACE}:{operator.SERVICE_ACCOUNT}"
PROJECT, NAMESPACE, APP = "nuages-bench", "bench", "shop"
KUBERNETES_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
GOOGLE_READS = ("get", "list", "access", "test")


class BenchmarkFailed(Exception):
    """The system under measurement did not do what was to be measured."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of one process: CPU seconds since its start, resident bytes."""

    cpu_s: float
    rss_bytes: int


@dataclasses.dataclass(frozen=True)
class Aim:
    """For the operator's share: seconds, and a share of the critical path."""

    fixed_s: float
    share: float


@dataclasses.dataclass(frozen=True)
class Step:
    """One link of the critical path: something of the cloud's own that everything after it waits for."""

    name: str
    seconds: float


class Bench:
    """One cloud with one operator."""

    def __init__(self, cloud: LocalCloud, installation: operator.Installation, processes: Processes) -> None:
        self.cloud, self.installation = cloud, installation
        self._processes = processes
        self.operator: Child | None = None

    @property
    def plane(self) -> ControlPlane:
        assert self.cloud.control_plane is not None
        return self.cloud.control_plane

    async def start_operator(self, settings: Mapping[str, str] | None = None) -> None:
        """Raises StartError."""
        self.operator = await operator.start_operator(
            self.cloud, self.installation, self._processes, settings=dict(settings or {})
        )

    async def stop_operator(self) -> None:
        if self.operator is not None:
            await self.operator.stop()
            self.operator = None

    def usage(self) -> Usage:
        """Of the operator, now."""
        assert self.operator is not None
        return usage(self.operator.pid)

    async def image(self, sample: Path, tag: str) -> str:
        """A sample, built and pushed; its reference."""
        options = self.cloud.options
        reference = f"{options.region}-docker.pkg.dev/{options.project}/apps/{APP}:{tag}"
        await build(sample, reference, self.cloud.runtime.images)
        return reference

    async def apply(self, *manifests: Mapping[str, Any]) -> None:
        """What `kubectl apply --server-side` sends, without the second that it takes to begin. One after the other."""
        async with self._client() as api:
            for manifest in manifests:
                asked = await api.param_serialize(
                    method="PATCH",
                    resource_path=_path(manifest),
                    query_params=[("fieldManager", "kubectl"), ("force", "true"), ("fieldValidation", "Strict")],
                    header_params={"Content-Type": "application/apply-patch+yaml", "Accept": "application/json"},
                    body=dict(manifest),
                    auth_settings=["BearerToken"],
                )
                answer = await api.call_api(*asked)
                if answer.status >= 300:
                    raise BenchmarkFailed((await answer.read()).decode(errors="replace"))  # type: ignore[no-untyped-call]

    def requests(self, began: float, ended: float) -> list[Request]:
        """The operator's Google calls between two times of the wall clock, oldest first."""
        return [
            request
            for request in self.cloud.core.requests.last()
            if request.caller == self.installation.email and began <= request.at <= ended
        ]

    async def kubernetes_calls(self, began: float, ended: float) -> collections.Counter[str]:
        """The operator's calls of the API server by verb and resource, from the audit log."""
        await asyncio.sleep(0.5)  # the log is written in the background
        return await asyncio.to_thread(_audited, self.plane.audit_log, began, ended)

    async def ready(self, holds: Callable[[Mapping[str, Any]], bool], within_s: float) -> float:
        """The time at which the app was as asked. Raises BenchmarkFailed with what it says."""
        last: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_s):
                async for app in self.watch():
                    last = app
                    stalled = condition(app, "Stalled")
                    if stalled.get("status") == "True":
                        raise BenchmarkFailed(f"{stalled['reason']}: {stalled['message']}")
                    if is_ready(app) and holds(app):
                        return time.time()
        except TimeoutError:
            raise BenchmarkFailed(f"not Ready within {within_s:.0f} s: {json.dumps(last.get('status'))}") from None
        raise AssertionError("a watch ends by time alone")

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        """Every app as it is, and whenever one changes."""
        async with self._client() as api:
            listing = client.CustomObjectsApi(api).list_cluster_custom_object
            while True:
                stream = watch.Watch().stream(listing, GROUP, VERSION, APPS, timeout_seconds=300)  # type: ignore[no-untyped-call]
                with contextlib.suppress(aiohttp.ClientError):
                    async for event in stream:
                        yield event["object"]

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[client.ApiClient]:
        """As the cluster's administrator."""
        async with await config.new_client_from_config(config_file=str(self.plane.kubeconfig)) as api:  # type: ignore[no-untyped-call]
            yield api

    def critical_path(self, began: float, ended: float) -> list[Step]:
        """What Cloud SQL and Cloud Run themselves took between two times; see ready.py for why each is a link."""
        within = [*self._sql(), *self._executions(), *self._service()]
        return [Step(name, last - first) for first, last, name in sorted(within) if began <= first and last <= ended]

    def _sql(self) -> Iterable[tuple[float, float, str]]:
        for project in self.cloud.core.projects.all():
            for found in self.cloud.core.shared(Queue).under(project.id):
                name = f"Cloud SQL {sql.name_of(found, 'operation_type')} {found.target_id}"
                yield seconds(found.insert_time), seconds(found.end_time), name

    def _executions(self) -> Iterable[tuple[float, float, str]]:
        """Made by the very call that names its token."""
        state = self.cloud.core.shared(RunState)
        for name in state.executions:
            found = state.executions.get(name)
            yield seconds(found.create_time), seconds(found.completion_time), f"execution {name.rsplit('/', 1)[-1]}"

    def _service(self) -> Iterable[tuple[float, float, str]]:
        """Each create or update: its operation's time, or as long as the revision took to be ready."""
        state, clock = self.cloud.core.shared(RunState), self.cloud.core.clock
        starts = {}
        for name in state.revisions:
            found = state.revisions.get(name)
            ready = [seconds(c.last_transition_time) for c in found.conditions if c.type_ == "Ready"]
            starts[seconds(found.create_time)] = max(ready, default=0.0)
        for request in self.cloud.core.requests.last():
            if not request.method.endswith(("CreateService", "UpdateService")) or request.status >= 300:
                continue
            verb = request.method.rpartition(".")[2]
            lasts = clock.real_seconds(f"run.services.{verb.removesuffix('Service').lower()}") / clock.speed
            began = request.at - request.milliseconds / 1000
            own = [ready for made, ready in starts.items() if began <= made <= request.at + 0.1]
            yield request.at, max([request.at + lasts, *own]), f"{verb} {request.resource.rsplit('/', 1)[-1]}"


@contextlib.asynccontextmanager
async def bench(options: Options) -> AsyncIterator[Bench]:
    """A cloud with the operator installed and not yet started."""
    async with LocalCloud(options) as cloud:
        installation = await operator.install(cloud)
        processes = Processes()
        try:
            yield Bench(cloud, installation, processes)
        finally:
            await processes.close()


def django_app(image: str, name: str = APP, namespace: str = NAMESPACE, **spec: Any) -> dict[str, Any]:
    """samples/shop.yaml for another image."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DjangoApp",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"image": image, **spec},
    }


def namespace_manifest(name: str = NAMESPACE) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def figures(site: Bench, before: Usage, began: float, ended: float, aim: Aim) -> dict[str, Any]:
    """What ready.py and release.py tell of the time between two times, `before` being the operator's usage then."""
    steps, calls, used = site.critical_path(began, ended), site.requests(began, ended), site.usage()
    critical = sum(step.seconds for step in steps)
    return {
        "seconds": round(ended - began, 2),
        "critical_path_s": round(critical, 2),
        "critical_path": [{"name": step.name, "seconds": round(step.seconds, 2)} for step in steps],
        "operator_s": round(ended - began - critical, 2),
        "aim_s": round(aim.fixed_s + aim.share * critical, 2),
        "google_calls": by_method(calls),
        "google_reads": sum(not is_google_write(call) for call in calls),
        "google_writes": sum(is_google_write(call) for call in calls),
        "google_calls_that_failed": sum(call.status >= 300 for call in calls),
        "kubernetes_calls": dict((await site.kubernetes_calls(began, ended)).most_common()),
        "operator_cpu_s": round(used.cpu_s - before.cpu_s, 2),
        "operator_rss_mb": round(used.rss_bytes / 1e6, 1),
    }


def show_critical_path(result: Mapping[str, Any]) -> None:
    rows = [(step["name"], step["seconds"]) for step in result["critical_path"]]
    table("The critical path of the cloud's own operations", rows)


def shares(result: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Rows of the closing table that both have."""
    return [
        ("critical path of the cloud, s", result["critical_path_s"]),
        ("the operator's share, s", result["operator_s"]),
        ("  aim, s", result["aim_s"]),
    ]


def run(
    about: str | None,
    measure: Callable[[Path], Coroutine[Any, Any, dict[str, Any]]],
    show: Callable[[dict[str, Any]], None],
) -> int:
    """The command: measure in a folder of its own, show, write JSON where asked. The process's exit status."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="nb-") as folder:
            result = asyncio.run(measure(Path(folder)))
    except BenchmarkFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    show(result)
    write_json(arguments.json, result)
    return 0


def _path(manifest: Mapping[str, Any]) -> str:
    metadata = manifest["metadata"]
    if manifest["kind"] == "Namespace":
        return f"/api/v1/namespaces/{metadata['name']}"
    plural = f"{manifest['kind'].lower()}s"
    return f"/apis/{manifest['apiVersion']}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"


def condition(app: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    found = (app.get("status") or {}).get("conditions") or []
    return next((item for item in found if item["type"] == type_), {})


def is_ready(app: Mapping[str, Any]) -> bool:
    """Of the spec as it is now."""
    current = (app.get("status") or {}).get("observedGeneration") == app["metadata"]["generation"]
    return bool(current and condition(app, "Ready").get("status") == "True")


def is_google_write(request: Request) -> bool:
    return not request.method.rpartition(".")[2].lower().startswith(GOOGLE_READS)


def by_method(requests: Iterable[Request]) -> dict[str, int]:
    """Most first; a call that found nothing or was refused is told apart by its HTTP status."""
    counted = collections.Counter(
        r.method.replace(".googleapis.com", "") + (f" {r.status}" if r.status >= 300 else "") for r in requests
    )
    return dict(counted.most_common())


def usage(pid: int) -> Usage:
    """Of a process, by Linux's /proc where there is one (10 ms), else by ps (macOS: 10 ms as well)."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        fields = stat.read_text().rpartition(")")[2].split()
        ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        return Usage((int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * page)
    said = subprocess.run(["ps", "-o", "rss=,time=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    rss, clock = said.split()
    parts = [float(part) for part in clock.split(":")]
    return Usage(sum(part * 60**place for place, part in enumerate(reversed(parts))), int(rss) * 1024)


def seconds(stamp: Timestamp) -> float:
    return float(stamp.seconds + stamp.nanos / 1e9)


def machine() -> dict[str, Any]:
    """Where and when: `load` above the number of processors before the start means that others were at work."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def write_json(path: Path | None, result: Mapping[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n")


def table(title: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Columns as wide as what is in them; numbers to the right."""
    lines = [tuple(f"{cell:.2f}" if isinstance(cell, float) else cell for cell in row) for row in rows]
    columns = list(zip(*lines, strict=True))
    widths = [max(len(str(cell)) for cell in column) for column in columns]
    sys.stdout.write(f"\n{title}\n")
    for line in lines:
        cells = [_cell(cell, width) for cell, width in zip(line, widths, strict=True)]
        sys.stdout.write(f"  {'  '.join(cells).rstrip()}\n")
    sys.stdout.flush()


def _cell(cell: object, width: int) -> str:
    text = str(cell)
    return text.rjust(width) if text.replace(".", "").replace("-", "").isdigit() else text.ljust(width)


def _audited(log: Path, began: float, ended: float) -> collections.Counter[str]:
    counted: collections.Counter[str] = collections.Counter()
    with log.open() as lines:
        for line in lines:
            if USER not in line:
                continue
            entry = json.loads(line)
            at = dt.datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()
            if entry["user"]["username"] != USER or entry["stage"] != "ResponseComplete" or not began <= at <= ended:
                continue
            found = entry.get("objectRef") or {}
            resource = "/".join(part for part in (found.get("resource", ""), found.get("subresource", "")) if part)
            counted[f"{entry['verb']} {resource}"] += 1
    return counted
