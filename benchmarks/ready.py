"""From `kubectl apply` to Ready: what of a first deploy is the operator's own time, and what it calls.

    python benchmarks/ready.py [--json FILE]

localcloud runs at speed 1, so that operations last as long as Google's, but for the creation of the SQL instance, which
is cut to 20 s. Real PostgreSQL and real Django; the image of samples/shop is built and the operator runs before the
clock starts.

The operator's share is the time from the apply to Ready, less the critical path of the cloud's own operations. Each of
these waits for the one before it, so their times add up, and no order of calls could make the sum less:

1. the SQL instance's creation, from the answer to its insertion to the end of its operation, then its administrator's;
2. db-init, which needs the instance: from the job's creation to the end of the execution, the container's run included;
3. migrate, which needs the database and its roles: likewise;
4. the service's creation, which needs the migrated database: its operation, or the revision's start where that lasts;
5. the opening of the service, once the revision was verified: an update's operation;
6. createsuperuser, an execution like 2.

All else is the operator's share: its own time, the time that Google's APIs and the API server take to answer, polling.
Aim: 5 s and 2 % of the critical path.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_cloud import (
    APP,
    KUBERNETES_WRITES,
    NAMESPACE,
    PROJECT,
    Bench,
    BenchmarkFailed,
    bench,
    by_method,
    django_app,
    is_google_write,
    machine,
    namespace_manifest,
    table,
    write_json,
)

from localcloud import operator
from localcloud.localcloud import Options

DURATIONS = {"sql.instances.create": 20.0}
FIXED_S, SHARE = 5.0, 0.02
READY_WITHIN_S = 300.0
SUPERUSER = {"username": "admin", "email": "admin@example.com"}


async def measure(folder: Path) -> dict[str, Any]:
    """One first deploy. Raises BenchmarkFailed, StartError."""
    options = Options(dir=folder, speed=1.0, durations=DURATIONS, control_plane=True, project=PROJECT)
    about = machine()
    async with bench(options) as site:
        image = await site.image(operator.ROOT / "samples" / APP, "v1")
        await site.start_operator()
        await asyncio.sleep(2)  # its watches have begun
        return {"machine": about, **await deploy(site, image)}


async def deploy(site: Bench, image: str) -> dict[str, Any]:
    """Apply the app and take its measure."""
    before = site.usage()
    began = time.time()
    waiting = asyncio.create_task(site.ready(lambda _: True, READY_WITHIN_S))
    await site.apply(namespace_manifest(), django_app(image, superuser=SUPERUSER))
    ended = await waiting
    after = site.usage()
    steps = site.critical_path(began, ended)
    critical = sum(step.seconds for step in steps)
    calls = site.requests(began, ended)
    return {
        "ready_s": round(ended - began, 2),
        "critical_path_s": round(critical, 2),
        "critical_path": [{"name": step.name, "seconds": round(step.seconds, 2)} for step in steps],
        "operator_s": round(ended - began - critical, 2),
        "aim_s": round(FIXED_S + SHARE * critical, 2),
        "google_calls": by_method(calls),
        "google_reads": sum(not is_google_write(call) for call in calls),
        "google_writes": sum(is_google_write(call) for call in calls),
        "google_calls_that_failed": sum(call.status >= 300 for call in calls),
        "kubernetes_calls": dict((await site.kubernetes_calls(began, ended)).most_common()),
        "operator_cpu_s": round(after.cpu_s - before.cpu_s, 2),
        "operator_rss_mb": round(after.rss_bytes / 1e6, 1),
    }


def show(result: dict[str, Any]) -> None:
    table(
        "The critical path of the cloud's own operations", [(s["name"], s["seconds"]) for s in result["critical_path"]]
    )
    table("Google calls", result["google_calls"].items())
    table("Kubernetes calls", result["kubernetes_calls"].items())
    writes = sum(n for verb, n in result["kubernetes_calls"].items() if verb.split()[0] in KUBERNETES_WRITES)
    table(
        f"A first deploy of samples/{APP} in namespace {NAMESPACE}",
        [
            ("apply to Ready, s", result["ready_s"]),
            ("critical path of the cloud, s", result["critical_path_s"]),
            ("the operator's share, s", result["operator_s"]),
            ("  aim, s", result["aim_s"]),
            ("Google reads", result["google_reads"]),
            ("Google writes", result["google_writes"]),
            ("Google calls that failed", result["google_calls_that_failed"]),
            ("Kubernetes writes", writes),
            ("operator CPU, s", result["operator_cpu_s"]),
            ("operator RSS, MB", result["operator_rss_mb"]),
            ("load of the machine before", result["machine"]["load"]),
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="nb-") as folder:
            result = asyncio.run(measure(Path(folder) / "cloud"))
    except BenchmarkFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    show(result)
    write_json(arguments.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
