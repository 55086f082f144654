"""From the apply of a new image to all traffic on it: what of a release is the operator's own time, and what it calls.

    python benchmarks/release.py [--json FILE]

As ready.py: localcloud at speed 1, real PostgreSQL and real Django. samples/shop is deployed first; then the image of
samples/shop-v2, which adds a column, is applied. The clock stops when status.traffic shows 100 % on the new revision
and the app is Ready again.

The operator's share is that time less the critical path of the cloud's own operations, each of which waits for the one
before it: migrate, from the update of the job to the end of the execution; the update of the service that makes the
candidate, or its revision's start where that lasts; the update that moves the traffic, once the candidate was verified.
Aim: 3 s and 2 % of the critical path.

Google's calls are held against the smallest number that could do (MINIMUM: each with its reason). What is above it is
polling, of which one call for each wait is in the minimum, or what docs/quality.md explains.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench_cloud import (
    APP,
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
from ready import DURATIONS, READY_WITHIN_S, SUPERUSER

from localcloud import operator
from localcloud.localcloud import Options

AIM = Aim(3.0, 0.02)
MINIMUM: dict[str, tuple[int, str]] = {
    "artifactregistry/GET": (2, "the digest behind the tag; the image's configuration, for its working directory"),
    "run/Jobs.GetJob": (1, "the etag of the migrate job, and what in it is not ours"),
    "run/Jobs.UpdateJob": (1, "the new image and the token that starts the execution"),
    "run/Executions.GetExecution": (2, "was it started before; how did it end"),
    "run/Services.GetService": (3, "the etag before the candidate; its readiness; the traffic as it then is"),
    "run/Services.UpdateService": (2, "the candidate at 0 %; the traffic"),
    "run/Operations.GetOperation": (3, "the end of each of the three operations"),
    "run/Revisions.ListRevisions": (1, "which old revisions are surplus"),
}


async def measure(folder: Path) -> dict[str, Any]:
    """A first deploy and one release. Raises BenchmarkFailed, StartError."""
    options = Options(dir=folder / "cloud", speed=1.0, durations=DURATIONS, control_plane=True, project=PROJECT)
    about = machine()
    async with bench(options) as site:
        samples = operator.ROOT / "samples"
        first = await site.image(samples / APP, "v1")
        for name in (APP, f"{APP}-v2"):
            await asyncio.to_thread(shutil.copytree, samples / name, folder / "v2", dirs_exist_ok=True)
        second = await site.image(folder / "v2", "v2")
        await site.start_operator()
        deployed = asyncio.create_task(site.ready(lambda _: True, READY_WITHIN_S))
        await site.apply(namespace_manifest(), django_app(first, superuser=SUPERUSER))
        await deployed
        await asyncio.sleep(2)  # the first deploy has come to rest
        return {"machine": about, **await release(site, second)}


async def release(site: Bench, image: str) -> dict[str, Any]:
    """Apply the image and take the release's measure."""
    before, began = site.usage(), time.time()
    served = asyncio.create_task(site.ready(lambda app: _serves(app, image), READY_WITHIN_S))
    await site.apply(django_app(image, superuser=SUPERUSER))
    ended = await served
    smallest = {method: number for method, (number, _) in MINIMUM.items()}
    return {**await figures(site, before, began, ended, AIM), "smallest": smallest}


def _serves(app: Mapping[str, Any], image: str) -> bool:
    status = app.get("status") or {}
    release, traffic = status.get("release") or {}, status.get("traffic") or []
    all_there = any(t.get("revision") == status.get("revision") and t.get("percent") == 100 for t in traffic)
    return bool(all_there and release.get("image") == image and release.get("stage") == "Done")


def show(result: dict[str, Any]) -> None:
    show_critical_path(result)
    made = _kinds(result["google_calls"])
    methods = sorted({*made, *MINIMUM})
    rows: list[tuple[object, ...]] = [("method", "made", "smallest", "why")]
    rows += [(method, made.get(method, 0), *MINIMUM.get(method, (0, ""))) for method in methods]
    table("Google calls of a release", rows)
    table("Kubernetes calls", result["kubernetes_calls"].items())
    table(
        f"A release of samples/{APP}",
        [
            ("apply to 100 % of the traffic, s", result["seconds"]),
            *shares(result),
            ("Google calls", sum(made.values())),
            ("  smallest possible", sum(number for number, _ in MINIMUM.values())),
            ("operator CPU, s", result["operator_cpu_s"]),
            ("load of the machine before", result["machine"]["load"]),
        ],
    )


def _kinds(calls: Mapping[str, int]) -> dict[str, int]:
    """Whatever the answer was. Over gRPC one service answers for the operations of all APIs."""
    found: dict[str, int] = {}
    for method, count in calls.items():
        name = method.rpartition(" ")[0] if method.rpartition(" ")[2].isdigit() else method
        if name.startswith("artifactregistry"):
            name = "artifactregistry/GET"
        name = name.replace("cloudresourcemanager/Operations", "run/Operations")
        found[name] = found.get(name, 0) + count
    return found


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, show))
