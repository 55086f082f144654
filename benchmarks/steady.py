"""The cost of rest: what an operator does, and needs, when nothing has to be done.

    python benchmarks/steady.py --apps 1 10 100 1000 --projects 10 [--json FILE]

For each number of apps: a simulated localcloud (timers instead of processes, 1000 times Google's speed) with the apps
spread over the projects, each namespace with a DjangoTenant for its project. The operator creates them all. Then it is
stopped and started again, as after an upgrade: the clock runs from the start of the process until a pass over every
app has ended well, which is when each has been compared with Google. Then it is left alone for as long as one
reconcileIntervalSeconds (that of the apps: --interval) and a tenth, for intervals are jittered: all that it asks in
that time is the cost of rest.

- list reads: pages of the lists that the apps of a project share, per interval; deep reads: what no list shows
  (policies, secret versions), which age by deepCheckIntervalSeconds, so that most intervals have none: those of the
  first verification are shown per app, which is what one deep interval (an hour) costs;
- writes at Google and at the API server must be 0, or this fails; the Lease, which has to be renewed, is counted apart;
- RSS and CPU are of the operator's process at the end. Aim for 1,000 apps: under 220 MB, verified within 60 s.

Service accounts are limited to 100 in a project by default: raised here, as a platform team would have to.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from bench_cloud import (
    APP,
    GROUP,
    KUBERNETES_WRITES,
    PROJECT,
    VERSION,
    Bench,
    BenchmarkFailed,
    bench,
    django_app,
    is_ready,
    machine,
    namespace_manifest,
    table,
    write_json,
)

from localcloud import operator
from localcloud.core.faults import is_read
from localcloud.localcloud import Options

ACCOUNT_QUOTA = 500
SPEED = 1000.0
PASSES = re.compile(r'nuages_reconcile_total\{result="(\w+)"\} ([\d.e+]+)')
WITHIN_S = 3600.0
WRITES = ("verification_writes", "google_writes", "kubernetes_writes")  # all 0, or nothing is at rest


async def measure(folder: Path, apps: int, projects: int, interval: int) -> dict[str, Any]:
    """Create, restart, rest. Raises BenchmarkFailed, StartError."""
    options = Options(dir=folder, speed=SPEED, control_plane=True, simulate=True, project=PROJECT)
    async with bench(options) as site:
        image = await site.image(operator.ROOT / "samples" / APP, "v1")
        names = [f"{PROJECT}-{number}" for number in range(min(apps, projects))]
        await _projects(site, names)
        created = await _create(site, image, apps, names, interval)
        verified = await _restart(site, apps, len(names))
        rest = await _rest(site, interval)
        found = {"apps": apps, "projects": len(names), **created, **verified, **rest}
        require_no_writes(found)
        return found


def require_no_writes(found: dict[str, Any]) -> None:
    """Raises BenchmarkFailed where the operator wrote though nothing had to be done; it names the calls."""
    told = [f"{name} {found[name]}" for name in WRITES if found[name]]
    if told:
        google = {**found["verification_calls"], **found["google_calls"]}
        calls = [call for call in google if not is_read(call)]
        calls += [call for call in found["kubernetes_calls"] if call.split()[0] in KUBERNETES_WRITES]
        raise BenchmarkFailed(f"something was written at rest ({', '.join(told)}); calls that write: {calls}")


async def _projects(site: Bench, names: list[str]) -> None:
    """With the operator's roles in each, as deploy/roles.txt has them."""
    core = site.cloud.core
    core.accounts.configure(quota=ACCOUNT_QUOTA)
    hosts = frozenset(service.host for service in site.cloud.services)
    bindings = [{"role": role, "members": [f"serviceAccount:{site.installation.email}"]} for role in operator.roles()]
    headers = {"Authorization": "Bearer owner", "Host": "cloudresourcemanager.googleapis.com"}
    async with aiohttp.ClientSession(site.cloud.rest, headers=headers) as session:
        for name in names:
            core.projects.create(name, enabled=hosts)
            body = {"policy": {"bindings": bindings}}
            async with session.post(f"/v3/projects/{name}:setIamPolicy", json=body) as answer:
                if answer.status != 200:
                    raise BenchmarkFailed(await answer.text())


async def _create(site: Bench, image: str, apps: int, projects: list[str], interval: int) -> dict[str, Any]:
    """Until all are Ready."""
    await site.start_operator({"NUAGES_WORKERS": "32"})
    began, ready = time.time(), asyncio.create_task(_all_ready(site, apps))
    manifests: list[dict[str, Any]] = []
    for project in projects:
        manifests.append(namespace_manifest(project))
        tenant = {"project": project, "region": site.cloud.options.region, "deploymentId": "x"}
        kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "DjangoTenant"}
        manifests.append({**kind, "metadata": {"name": "default", "namespace": project}, "spec": tenant})
    # Nothing answers in a simulation, so the services are internal, where the startup probe is all there is to see.
    spec = {"web": {"ingress": "Internal"}, "reconcileIntervalSeconds": interval}
    for number in range(apps):
        namespace = projects[number % len(projects)]
        manifests.append(django_app(image, f"app-{number:04d}", namespace, **spec))
    await site.apply(*manifests)
    ended = await ready
    await site.stop_operator()
    return {"creation_s": round(ended - began, 1)}


async def _all_ready(site: Bench, apps: int) -> float:
    ready: set[str] = set()
    said: collections.Counter[str] = collections.Counter()
    told = time.monotonic()
    async with asyncio.timeout(WITHIN_S):
        async for app in site.watch():
            key = f"{app['metadata']['namespace']}/{app['metadata']['name']}"
            (ready.add if is_ready(app) else ready.discard)(key)
            for item in (app.get("status") or {}).get("conditions") or []:
                if item["type"] == "Stalled":
                    said[f"{item['reason']}: {item['message']}"[:200]] += 1
            if len(ready) == apps:
                return time.time()
            if time.monotonic() - told > 15:
                told = time.monotonic()
                sys.stderr.write(f"{len(ready)} of {apps} apps are Ready {said.most_common(2) or ''}\n")
    raise AssertionError("a watch ends by time alone")


async def _restart(site: Bench, apps: int, tenants: int) -> dict[str, Any]:
    """From the start of the process until every app has been seen to be as it should be; a tenant has a pass too."""
    calls = site.cloud.core.requests
    calls.clear()
    began = time.time()
    await site.start_operator()
    port = _probe_port(site)
    async with aiohttp.ClientSession() as session:
        while True:
            passes = await _passes(session, port)
            if passes.get("failed"):
                raise BenchmarkFailed(f"{passes['failed']:.0f} passes failed")
            if passes.get("ok", 0) >= apps + tenants:
                break
            await asyncio.sleep(0.1)
    took = time.time() - began
    asked = dict(calls.counts)
    lists = sum(count for method, count in asked.items() if _is_list(method))
    return {
        "verified_s": round(took, 1),
        "verification_list_reads": lists,
        "verification_deep_reads_per_app": round((sum(asked.values()) - lists) / apps, 1),
        "verification_calls": asked,
        "verification_cpu_s": round(site.usage().cpu_s, 1),
        "verification_writes": sum(count for method, count in asked.items() if not is_read(method)),
    }


async def _rest(site: Bench, interval: int) -> dict[str, Any]:
    calls, before = site.cloud.core.requests, site.usage()
    calls.clear()
    began = time.time()
    await asyncio.sleep(interval * 1.1)
    ended, after = time.time(), site.usage()
    asked = dict(calls.counts)
    lists = sum(count for method, count in asked.items() if _is_list(method))
    kubernetes = dict((await site.kubernetes_calls(began, ended)).most_common())
    writes = {k: n for k, n in kubernetes.items() if k.split()[0] in KUBERNETES_WRITES}
    return {
        "interval_s": interval,
        "list_reads": lists,
        "deep_reads": sum(count for method, count in asked.items() if is_read(method)) - lists,
        "google_writes": sum(count for method, count in asked.items() if not is_read(method)),
        "kubernetes_writes": sum(n for k, n in writes.items() if not k.endswith(" leases")),
        "lease_renewals": writes.get("update leases", 0),
        "google_calls": asked,
        "kubernetes_calls": kubernetes,
        "rss_mb": round(after.rss_bytes / 1e6, 1),
        "cpu_share": round((after.cpu_s - before.cpu_s) / (ended - began), 4),
    }


def _is_list(method: str) -> bool:
    """Lists of a project; the users of an instance are read instance by instance, as policies are."""
    if method.endswith("SqlUsersService.List"):
        return False
    return method.rpartition("/")[2].rpartition(".")[2].startswith("List") or method.endswith("GET /storage/v1/b")


def _probe_port(site: Bench) -> int:
    lines = (site.cloud.folder.path / "operator.log").read_text().splitlines()
    return int(next(json.loads(line)["port"] for line in reversed(lines) if '"probes and metrics"' in line))


async def _passes(session: aiohttp.ClientSession, port: int) -> dict[str, float]:
    async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return {result: float(count) for result, count in PASSES.findall(await answer.text())}


def show(results: list[dict[str, Any]]) -> None:
    rows: list[tuple[object, ...]] = [("apps", *(r["apps"] for r in results))]
    for key in (
        "projects",
        "creation_s",
        "verified_s",
        "verification_cpu_s",
        "verification_list_reads",
        "verification_deep_reads_per_app",
        "verification_writes",
        "interval_s",
        "list_reads",
        "deep_reads",
        "google_writes",
        "kubernetes_writes",
        "lease_renewals",
        "rss_mb",
        "cpu_share",
    ):
        rows.append((key, *(r[key] for r in results)))
    table("The cost of rest", rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--apps", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--projects", type=int, default=10)
    parser.add_argument("--interval", type=int, default=60, help="the apps' reconcileIntervalSeconds")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    about, results = machine(), []
    for apps in arguments.apps:
        try:
            with tempfile.TemporaryDirectory(prefix="nb-") as folder:
                results.append(
                    asyncio.run(measure(Path(folder) / "cloud", apps, arguments.projects, arguments.interval))
                )
        except BenchmarkFailed as error:
            sys.stderr.write(f"{apps} apps: {error}\n")
            return 1
        write_json(arguments.json, {"machine": about, "results": results})
    show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
