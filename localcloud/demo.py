"""`make demo`: from nothing to a page served by Django. `make smoke`: the same, checked and torn down."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from google.protobuf.timestamp_pb2 import Timestamp
from kubernetes.aio.config import ConfigException

from localcloud import operator
from localcloud.api.run_state import RunState
from localcloud.controlplane.errors import ControlPlaneError, StartError
from localcloud.demo_check import CheckFailed, check
from localcloud.demo_progress import Lines, Stalled, follow
from localcloud.folder import Folder, InUse
from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.builder import BuildError, build
from localcloud.signals import until_signalled

SPEED = 60.0  # a Cloud SQL instance, six minutes at Google, takes six seconds
PROJECT = "demo"  # as samples/*.yaml name it
NAMESPACE, APP, USER = "demo", "shop", "admin"
SAMPLE, MANIFEST = operator.ROOT / "samples" / "shop", operator.ROOT / "samples" / "shop.yaml"
PRODUCTS = ("Teapot", "Tin of Assam", "Tea strainer")
READY_WITHIN_S = 300.0

Interval = tuple[float, float]


@dataclass(frozen=True)
class Times:
    """Seconds of each part, one after the other; `deployed` is when the app was applied and when it was Ready."""

    start: float = 0.0
    image: float = 0.0
    install: float = 0.0
    deployed: Interval = (0.0, 0.0)


def demo(folder: Path, unattended: bool) -> int:
    """Returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    say = Lines()
    try:
        if unattended:
            with tempfile.TemporaryDirectory(prefix="nuages-") as elsewhere:
                asyncio.run(_run(Path(elsewhere) / "cloud", say, unattended))
            say("Ended: nothing of it is left.")
        else:
            asyncio.run(_run(folder.absolute(), say, unattended))
    except (InUse, ControlPlaneError, BuildError, CheckFailed, Stalled, ConfigException) as error:
        say(f"Failed: {error}")
        return 1
    except TimeoutError:
        say(f"Failed: the app was not Ready within {READY_WITHIN_S:.0f} s.")
        return 1
    return 0


async def _run(folder: Path, say: Lines, unattended: bool) -> None:
    if not SAMPLE.is_dir():
        raise StartError(f"{operator.ROOT} has no samples: run the demo from a clone of Nuages.")
    options = Options(dir=folder, speed=SPEED, control_plane=True, project=PROJECT)
    say("starting Google Cloud and Kubernetes on this machine")
    async with until_signalled(say), LocalCloud(options, progress=say) as cloud:
        times = Times(start=time.monotonic() - say.began)
        began = time.monotonic()
        say(f"building samples/{APP}")
        await build(SAMPLE, _image(cloud), cloud.runtime.images)
        built = time.monotonic()
        say("installing the operator")
        async with operator.running(cloud, say):
            times = replace(times, image=built - began, install=time.monotonic() - built)
            times = replace(times, deployed=await _deploy(cloud, say))
            _tell_times(cloud, times)
            password = await _password(cloud)
            if unattended:
                say("checking the page and the admin login")
                await check(_url(cloud), PRODUCTS, USER, password)
                say("Checked: the page lists the products, and the admin login works.")
                say("ending all of it")
                return
            _tell(cloud, password, folder)
            await cloud.exited()


async def _deploy(cloud: LocalCloud, say: Lines) -> Interval:
    assert cloud.control_plane is not None
    say(f"kubectl apply -n {NAMESPACE} -f {MANIFEST.relative_to(operator.ROOT)}")
    began = time.time()
    if not await operator.kubectl(cloud, "get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"):
        await operator.kubectl(cloud, "create", "namespace", NAMESPACE)
    await operator.kubectl(cloud, "apply", "--server-side", "-n", NAMESPACE, "-f", str(MANIFEST))
    async with asyncio.timeout(READY_WITHIN_S):
        await follow(cloud.control_plane.kubeconfig, NAMESPACE, APP, say)
    return began, time.time()


async def _password(cloud: LocalCloud) -> str:
    """From Secret Manager, as the project's owner reads it."""
    name = f"projects/{cloud.options.project}/secrets/{NAMESPACE}-{APP}-superuser-password/versions/latest"
    headers = {"Host": "secretmanager.googleapis.com", "Authorization": "Bearer owner"}
    async with (
        aiohttp.ClientSession(cloud.rest, headers=headers) as session,
        session.get(f"/v1/{name}:access") as found,
    ):
        content: dict[str, Any] = await found.json()
        if found.status != 200:
            raise CheckFailed(f"{name}: {content['error']['message']}")
        return base64.b64decode(content["payload"]["data"]).decode()


def _image(cloud: LocalCloud) -> str:
    return f"{cloud.options.region}-docker.pkg.dev/{cloud.options.project}/apps/{APP}:v1"


def _host(cloud: LocalCloud) -> str:
    return f"{NAMESPACE}-{APP}-{cloud.options.project_number}.localhost:{cloud.front_port}"


def _url(cloud: LocalCloud) -> str:
    return f"http://{_host(cloud)}/"


def _tell_times(cloud: LocalCloud, times: Times) -> None:
    """Where the time went, in parts that add up as they are printed; what was the cloud's wait, and is at Google."""
    began, ended = times.deployed
    waits = list(cloud.core.clock.waited)
    cloud_s = _covered(waits, began, ended)
    django_s = _covered([*waits, *_django(cloud)], began, ended) - cloud_s
    start, image, install, django = (round(part, 1) for part in (times.start, times.image, times.install, django_s))
    waited, total = round(cloud_s, 1), round(times.start + times.image + times.install + ended - began, 1)
    deployment = total - start - image - install
    speed = cloud.options.speed
    sys.stdout.write(
        f"\n{total:.1f} s until the app was Ready:\n"
        f"{start:8.1f} s  start of Google Cloud and Kubernetes\n"
        f"{image:8.1f} s  image of samples/{APP}\n"
        f"{install:8.1f} s  installation and start of the operator\n"
        f"{deployment:8.1f} s  deployment, of which\n"
        f"{waited:12.1f} s  the cloud's own operations, {speed:g} times faster here: at Google "
        f"{cloud_s * speed / 60:.0f} minutes\n"
        f"{django:12.1f} s  Django: the app's jobs, and the start of its revision\n"
        f"{deployment - waited - django:12.1f} s  the rest: the operator's work, and its pauses between two looks\n\n"
    )
    sys.stdout.flush()


def _django(cloud: LocalCloud) -> Iterable[Interval]:
    """When the app's jobs ran and its revisions started."""
    state = cloud.core.shared(RunState)
    for name in state.executions:
        found = state.executions.get(name)
        yield _seconds(found.start_time), _seconds(found.completion_time)
    for name in state.revisions:
        found = state.revisions.get(name)
        ready = [_seconds(c.last_transition_time) for c in found.conditions if c.type_ == "Ready"]
        yield _seconds(found.create_time), max(ready, default=0.0)


def _seconds(stamp: Timestamp) -> float:
    return float(stamp.seconds + stamp.nanos / 1e9)


def _covered(intervals: Iterable[Interval], began: float, ended: float) -> float:
    """Seconds between `began` and `ended` that lie in any of the intervals."""
    total, reached = 0.0, began
    for first, last in sorted(intervals):
        first, last = max(first, reached), min(last, ended)
        if last > first:
            total, reached = total + last - first, last
    return total


def _tell(cloud: LocalCloud, password: str, folder: Path) -> None:
    region = cloud.options.region
    sys.stdout.write(
        f"  The shop:   {_url(cloud)}\n"
        f"  or:         curl -H 'Host: {_host(cloud)}' http://127.0.0.1:{cloud.front_port}/\n"
        f"  Its admin:  {_url(cloud)}admin/   {USER} / {password}\n"
        f"\n  In another shell:\n"
        f'    eval "$({Folder(folder).command("env")})"\n'
        f"    kubectl get djangoapps -A -o wide\n"
        f"    kubectl describe djangoapp {APP} -n {NAMESPACE}\n"
        f"    gcloud run services list --region {region}\n"
        f"    gcloud sql instances list\n"
        f"    gcloud secrets list\n"
        f"\n  Ctrl-C ends all of it; the state stays in {folder}, until\n  {Folder(folder).command('reset')}\n"
    )
    sys.stdout.flush()
