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

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from bench_cloud import (
    APP,
    KUBERNETES_WRITES,
    NAMESPACE,
    PROJECT,
    Aim,
    Bench,
    bench,
    django_app,
    figures,
    machine,
    namespace_manifest,
    run,
    shares,
    show_critical_path,
    table,
)

from localcloud import operator
from localcloud.localcloud import Options

DURATIONS = {"sql.instances.create": 20.0}
AIM = Aim(5.0, 0.02)
READY_WITHIN_S = 300.0
SUPERUSER = {"username": "admin", "email": "admin@example.com"}


async def measure(folder: Path) -> dict[str, Any]:
    """One first deploy. Raises BenchmarkFailed, StartError."""
    options = Options(dir=folder / "cloud", speed=1.0, durations=DURATIONS, control_plane=True, project=PROJECT)
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
    return await figures(site, before, began, ended, AIM)


def show(result: dict[str, Any]) -> None:
    show_critical_path(result)
    table("Google calls", result["google_calls"].items())
    table("Kubernetes calls", result["kubernetes_calls"].items())
    writes = sum(n for verb, n in result["kubernetes_calls"].items() if verb.split()[0] in KUBERNETES_WRITES)
    table(
        f"A first deploy of samples/{APP} in namespace {NAMESPACE}",
        [
            ("apply to Ready, s", result["seconds"]),
            *shares(result),
            ("Google reads", result["google_reads"]),
            ("Google writes", result["google_writes"]),
            ("Google calls that failed", result["google_calls_that_failed"]),
            ("Kubernetes writes", writes),
            ("operator CPU, s", result["operator_cpu_s"]),
            ("operator RSS, MB", result["operator_rss_mb"]),
            ("load of the machine before", result["machine"]["load"]),
        ],
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, show))
