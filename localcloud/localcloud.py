"""One local cloud, put together: state, time, runtime, services, gateways, proxy, control plane."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from localcloud.admin import Admin
from localcloud.api.oauth import Sts
from localcloud.controlplane.errors import StartError
from localcloud.core.clock import Clock
from localcloud.core.cloud import Cloud
from localcloud.core.faults import Faults
from localcloud.core.identity import OWNER
from localcloud.core.rest import RestService
from localcloud.core.service import Service
from localcloud.core.state import Store
from localcloud.environment import client_environment, developer_environment
from localcloud.folder import Address, Folder
from localcloud.front.ca import CertificateAuthority
from localcloud.front.frontdoor import FrontDoor
from localcloud.front.proxy import Proxy
from localcloud.front.upstream import system
from localcloud.gateway.grpc import GrpcGateway
from localcloud.gateway.hosts import is_google
from localcloud.gateway.longrunning import for_services
from localcloud.gateway.rest import RestGateway
from localcloud.gateway.router import Router
from localcloud.runtime.processes import Processes
from localcloud.runtime.runtime import Runtime
from localcloud.services import method_names, services

if TYPE_CHECKING:
    from localcloud.controlplane.plane import ControlPlane

SHUTDOWN_S = 1.0
PROVIDER = "//iam.googleapis.com/projects/{}/locations/global/workloadIdentityPools/localcloud/providers/kubernetes"


@dataclass(frozen=True)
class Options:
    """What `localcloud up` can be told."""

    dir: Path = Path(".localcloud")
    speed: float = 30.0  # operations take a thirtieth of Google's time
    durations: Mapping[str, float] = field(default_factory=dict)  # seconds of Google's that replace the usual ones
    simulate: bool = False
    seed: Path | None = None  # a saved state (core/state.py) that a simulation, which keeps nothing, begins with
    control_plane: bool = False
    project: str = "demo"
    project_number: str = "187635794409"
    region: str = "europe-west1"


class LocalCloud:
    """`async with LocalCloud(options) as cloud:` runs one in this process."""

    def __init__(self, options: Options, progress: Callable[[str], None] = lambda _: None) -> None:
        self.options = options
        self.folder = Folder(options.dir)
        self._progress = progress
        self._kept = contextlib.ExitStack()  # the folder
        self._stack = contextlib.AsyncExitStack()
        self._kubernetes = Processes()
        self.control_plane: ControlPlane | None = None
        self.token = secrets.token_urlsafe(24)
        self.rest = ""  # http://127.0.0.1:PORT
        self.front_port = 0
        self.proxy_url = ""
        self.metadata = ""  # host:port

    async def __aenter__(self) -> LocalCloud:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Run, and return once everything answers. Raises InUse; what was started is stopped again on any error."""
        try:
            self._kept.enter_context(self.folder.used())
            plane = asyncio.create_task(self._start_control_plane())
            try:
                await self._start_cloud()
                self.control_plane = await plane
            except BaseException:
                plane.cancel()
                await asyncio.gather(plane, return_exceptions=True)  # else what ends it below would be its failure
                raise
            self._trust_control_plane()
            self.folder.publish(self.address())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all of it, the cloud beside Kubernetes, each its newest part first; the state stays in the folder."""
        with self._kept:
            await asyncio.gather(self._stack.aclose(), self._kubernetes.close())

    async def exited(self) -> None:
        """Wait until a part that everything needs ended by itself. Raises StartError, which says which."""
        if self.control_plane is None:
            await asyncio.Event().wait()
        else:
            raise StartError(await self.control_plane.exited())

    @property
    def faults(self) -> Faults:
        return self.core.faults

    def address(self) -> Address:
        """Where everything listens."""
        plane = self.control_plane
        return Address(
            pid=os.getpid(),
            rest=self.rest,
            proxy=self.proxy_url,
            front_port=self.front_port,
            metadata=self.metadata,
            kubeconfig="" if plane is None else str(plane.kubeconfig),
            project=self.options.project,
            region=self.options.region,
            speed=self.options.speed,
            simulated=self.options.simulate,
            token=self.token,
        )

    def environment(self) -> dict[str, str]:
        """What a developer's shell, the operator or a test sets to use this cloud."""
        return developer_environment(self.address(), self.authority.bundle, self.folder.path)

    async def _start_cloud(self) -> None:
        options = self.options
        store = Store(None if options.simulate else self.folder.state, options.seed)
        self._stack.callback(store.close)
        self.runtime = Runtime.make(self.folder.path, options.simulate, seeded=options.seed is not None)
        clock = Clock(options.speed, dict(options.durations))
        self.core = Cloud(self.folder.path, store, clock, options.simulate, self.runtime)
        self.runtime.attach(self.core)
        self._stack.push_async_callback(self.runtime.close)
        self._stack.push_async_callback(self.core.operations.close)
        self.services = services(self.core)
        self._make_project()
        await self._listen()
        for service in self.services:
            await service.resume()
        self.core.operations.resume()

    def _make_project(self) -> None:
        project = self.options.project
        if self.core.projects.find(project) is None:
            hosts = frozenset(service.host for service in self.services)
            self.core.projects.create(project, self.options.project_number, hosts)

    def _trust_control_plane(self) -> None:
        """Its ServiceAccounts' tokens, for workload identity federation, as of a cluster outside Google Cloud."""
        if self.control_plane is None:
            return
        project = self.core.projects.get(self.options.project)
        (sts,) = (service for service in self.services if isinstance(service, Sts))
        sts.trust(PROVIDER.format(project.number), self.control_plane.issuer, self.control_plane.jwks)

    async def _listen(self) -> None:
        declared = [service for service in self.services if isinstance(service, Service)]
        running = for_services(self.core, declared)
        router = Router([*self.services, *running])
        grpc = GrpcGateway(self.core, [*declared, *running])
        grpc_port = await grpc.start()
        self._stack.push_async_callback(grpc.stop)
        admin = Admin(self.core, self.token, method_names([*self.services, *running]))
        gateway = RestGateway(self.core, router, FrontDoor(self.core), self._is_front, admin.handle)
        runner = web.AppRunner(
            gateway.application(), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        ports = self.folder.kept_ports()
        rest_port = await _site(runner, ports.get("rest", 0))
        self.front_port = await _site(runner, ports.get("front", 0))
        self.rest = f"http://127.0.0.1:{rest_port}"
        proxy_port = await self._start_proxy(runner, grpc_port, ports.get("proxy", 0))
        self.folder.keep_ports({"rest": rest_port, "front": self.front_port, "proxy": proxy_port})
        self.runtime.client_environment = client_environment(self.proxy_url, self.authority.bundle)
        options = self.options
        self.metadata = await self.runtime.metadata.start(OWNER.email, options.project, options.region, "developer")

    async def _start_proxy(self, runner: web.AppRunner, grpc_port: int, port: int) -> int:
        self.authority = await asyncio.to_thread(CertificateAuthority, self.folder.tls)
        names = [n for s in self.services for n in (s.host, *(s.hosts if isinstance(s, RestService) else ()))]

        def is_ours(host: str) -> bool:
            return is_google(host) or any(fnmatch.fnmatchcase(host, name) for name in names)

        assert runner.server is not None
        proxy = Proxy(self.authority, is_ours, grpc_port, runner.server, system())
        try:
            port = await proxy.start(port)
        except OSError:
            port = await proxy.start()
        self._stack.push_async_callback(proxy.stop)
        self.proxy_url = f"http://127.0.0.1:{port}"
        return port

    def _is_front(self, request: web.BaseRequest) -> bool:
        name = request.transport.get_extra_info("sockname") if request.transport is not None else None
        return name is not None and name[1] == self.front_port

    async def _start_control_plane(self) -> ControlPlane | None:
        if not self.options.control_plane:
            return None
        from localcloud.controlplane.plane import ControlPlane

        return await ControlPlane.start(self._kubernetes, self.folder.path / "kubernetes", progress=self._progress)


async def _site(runner: web.AppRunner, port: int) -> int:
    """Listen on the port of the last run, or where it is taken on another."""
    for candidate in dict.fromkeys((port, 0)):
        site = web.TCPSite(runner, "127.0.0.1", candidate, backlog=512)
        try:
            await site.start()
        except OSError:
            if not candidate:
                raise
            continue
        assert isinstance(site._server, asyncio.Server)
        return int(site._server.sockets[0].getsockname()[1])
    raise AssertionError("port 0 is always tried")
