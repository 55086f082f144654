"""One cloud, one API server and one operator at a time; all of it can be put back as it was, in an instant.

The API server runs from beginning to end. The cloud is started anew for each life, from a saved state, which takes a
twentieth of a second where it is simulated; the objects in Kubernetes are put back in etcd; operators are forked from a
warm process. With real processes the state is a copy of the cloud's folder, PostgreSQL's files among it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from sweep_etcd import LEASES, OBJECTS, Etcd, Saved, etcd
from sweep_gate import Gate, gate
from sweep_points import GoogleCall, google_calls
from sweep_warm import Operator, Warm, warm

from localcloud import operator
from localcloud.admin_token import TOKEN_HEADER
from localcloud.controlplane.plane import ControlPlane
from localcloud.environment import CA_VARIABLES
from localcloud.folder import Folder
from localcloud.front.ca import CertificateAuthority
from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.builder import build
from localcloud.runtime.environments import run
from localcloud.runtime.metadata import instance_id
from localcloud.runtime.processes import Processes

PROJECT, NAMESPACE, APP = "nuages-sweep", "sweep", "shop"
SPEED, REAL_SPEED = 1000.0, 120.0
CALL_TIMEOUT_S = 2.0  # so that a call that never answers does not take a minute
SAMPLES = operator.ROOT / "samples"
KEPT = (OBJECTS, LEASES)
INSTANCE_WITHIN_S = 60.0
SHARED = ("images", "tls", "lock", "address.json", "ports.json")  # of the cloud's folder: no state of a life's
WIPED = {"observedGeneration": -1}  # what is left of a status
EVENTS = f"/registry/events/{NAMESPACE}/"


@dataclass(frozen=True)
class State:
    """At one moment without an operator: the cloud (a file of its store; of a real one its folder), the objects."""

    cloud: Path
    objects: Saved


class Site:
    """`site()` makes one."""

    def __init__(self, folder: Path, plane: ControlPlane, store: Etcd, way: Gate, zygote: Warm, real: bool) -> None:
        self.folder, self.etcd, self.gate, self.real = folder, store, way, real
        self._plane, self._warm = plane, zygote
        speed = REAL_SPEED if real else SPEED
        self._options = Options(dir=folder / "cloud", speed=speed, simulate=not real, project=PROJECT)
        self.cloud = LocalCloud(self._options)
        self.installation = operator.Installation(Path(), "", "", "")
        self.operator: Operator | None = None
        self.images: dict[str, str] = {}

    async def install(self) -> None:
        """The operator into cluster and cloud; the images that the lives deploy."""
        await self._start(None)
        self.cloud.control_plane = self._plane
        self.installation = await operator.install(self.cloud)
        config = yaml.safe_load(self.installation.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = self.gate.url
        self.installation.kubeconfig.write_text(yaml.safe_dump(config))
        await operator.kubectl(self.cloud, "create", "namespace", NAMESPACE)
        for version, layers in (("v1", ("shop",)), ("v2", ("shop", "shop-v2"))):
            self.images[version] = await self._image(version, layers)

    async def save(self, name: str) -> State:
        """Things as they are now; nothing may be under way. A real cloud is down afterwards, until `restore`."""
        path = self.folder / f"{name}.saved"
        if self.real:
            await self.cloud.stop()
            path.mkdir()
            await self._copy(self._options.dir, path)
        else:
            self.cloud.core.store.copy_to(path)
        return State(path, await self.etcd.saved(KEPT))

    async def restore(self, state: State) -> None:
        """Everything as it was saved; no operator runs afterwards."""
        await self.kill_operator()
        await self.cloud.stop()
        self.gate.clear()
        if self.real:
            await self._copy(state.cloud, self._options.dir)
        await asyncio.gather(
            self._start(None if self.real else state.cloud), self.etcd.restore(state.objects, (*KEPT, EVENTS))
        )

    async def start_operator(self, hold: bool = False) -> None:
        """A new process with the name of the pod before it; `hold`: stopped until `let_go`."""
        env = operator.environment(self.cloud, self.installation)
        env |= {"POD_NAME": operator.IDENTITY, "NUAGES_CALL_TIMEOUT": str(CALL_TIMEOUT_S)}
        # To read all the authorities of this system, for each connection, is a tenth of a life's processor time.
        env |= dict.fromkeys(CA_VARIABLES, str(self.cloud.authority.certificate))
        self.operator = await self._warm.start(env, self.folder / "operator.log", hold)

    @property
    def pid(self) -> int:
        """The operator's."""
        assert self.operator is not None
        return self.operator.pid

    def let_go(self) -> None:
        """The operator that was held begins."""
        os.kill(self.pid, signal.SIGUSR1)

    async def kill_operator(self) -> None:
        if self.operator is not None:
            await self.operator.kill()
            self.operator = None

    async def app(self) -> dict[str, Any] | None:
        """The one of all lives, as etcd has it."""
        return await self.etcd.custom("djangoapps", NAMESPACE, APP)

    async def kubectl(self, *arguments: str) -> str:
        return await operator.kubectl(self.cloud, *arguments)

    async def wipe_status(self) -> None:
        """As where the manifests were applied to a new cluster, but for the uid."""
        found = await self.app()
        if found is not None:
            found["status"] = WIPED
            key = f"{OBJECTS}djangoapps/{NAMESPACE}/{APP}".encode()
            await self.etcd.put(key, found)

    async def make_instance(self, name: str) -> None:
        """A PostgreSQL instance as a platform team makes it; returns once it runs."""
        headers = {"Authorization": "Bearer owner", "Host": "sqladmin.googleapis.com"}
        settings = {"tier": "db-custom-1-3840", "edition": "ENTERPRISE"}
        body = {"name": name, "region": self._options.region, "databaseVersion": "POSTGRES_16", "settings": settings}
        path = f"/v1/projects/{PROJECT}/instances"
        async with aiohttp.ClientSession(self.cloud.rest, headers=headers, raise_for_status=True) as session:
            async with session.post(path, json=body):
                pass
            async with asyncio.timeout(INSTANCE_WITHIN_S):
                while await _state_of(session, f"{path}/{name}") != "RUNNABLE":  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)

    async def fault(self, **fields: Any) -> None:
        """As `localcloud faults add` asks for it."""
        headers = {TOKEN_HEADER: self.cloud.token}
        async with (
            aiohttp.ClientSession(self.cloud.rest, headers=headers) as session,
            session.post("/_localcloud/faults", json=fields) as answer,
        ):
            assert answer.status == 200, await answer.text()

    def google_calls(self) -> tuple[GoogleCall, ...]:
        """The operator's, since the cloud was started."""
        return google_calls(self.cloud.core.requests.last(), self.installation.email)

    def calls_made(self) -> int:
        """How many."""
        caller = self.installation.email
        return sum(request.caller == caller for request in self.cloud.core.requests.last())

    async def stop(self) -> None:
        await self.kill_operator()
        await self.cloud.stop()

    async def _start(self, seed: Path | None) -> None:
        self.cloud = LocalCloud(dataclasses.replace(self._options, seed=seed))
        await self.cloud.start()
        self.cloud.control_plane = self._plane
        options = self.cloud.options
        if self.installation.email:
            metadata = await self.cloud.runtime.metadata.start(
                self.installation.email, options.project, options.region, instance_id("operator")
            )
            self.installation = dataclasses.replace(self.installation, metadata=metadata)

    async def _copy(self, source: Path, target: Path) -> None:
        """The state of a cloud that is down, in place of what is there; with owners, which PostgreSQL asks for."""
        commands = [
            *(["rm", "-rf", str(target / name)] for name in await _state_in(target)),
            *(["cp", "-a", str(source / name), str(target)] for name in await _state_in(source)),
        ]
        for command in commands:
            await run(command, cwd=self.folder, env={"PATH": os.defpath})

    async def _image(self, version: str, layers: tuple[str, ...]) -> str:
        context = self.folder / f"image-{version}"
        for layer in layers:
            await asyncio.to_thread(shutil.copytree, SAMPLES / layer, context, dirs_exist_ok=True)
        reference = f"{self.cloud.options.region}-docker.pkg.dev/{PROJECT}/apps/{APP}:{version}"
        await build(context, reference, self.cloud.runtime.images)
        return reference


async def _state_of(session: aiohttp.ClientSession, path: str) -> str:
    async with session.get(path) as answer:
        return str((await answer.json())["state"])


async def _state_in(folder: Path) -> list[str]:
    return [name for name in await asyncio.to_thread(os.listdir, folder) if name not in SHARED]


@contextlib.asynccontextmanager
async def site(folder: Path, real: bool = False) -> AsyncIterator[Site]:
    """With the operator installed, and not running. `real`: with PostgreSQL, Django and everything else that runs."""
    processes = Processes()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(processes.close)
        home = folder / "cloud"
        authority = CertificateAuthority(Folder(home).tls)
        zygote = await stack.enter_async_context(warm(home / "operator.kubeconfig", authority.certificate))
        plane = await ControlPlane.start(processes, folder / "kubernetes")
        store = await stack.enter_async_context(etcd(plane.folder))
        way = await stack.enter_async_context(gate(plane.url, plane.folder / "credentials"))
        made = Site(folder, plane, store, way, zygote, real)
        stack.push_async_callback(made.stop)
        await made.install()
        yield made
