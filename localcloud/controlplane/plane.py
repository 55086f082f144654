"""One control plane: started in a folder, whose state it keeps, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp

from localcloud.controlplane import commands
from localcloud.controlplane.binaries import Binaries
from localcloud.controlplane.build import Progress, find
from localcloud.controlplane.credentials import ADMIN, CONTROLLERS, Credentials, write_private
from localcloud.controlplane.errors import StartError
from localcloud.runtime.processes import Child, Processes

READY_WITHIN_S = 60.0
POLL_S = 0.05
STOP_GRACE_S = 5.0
PORTS_TRIED = 3
PORT_FREED_WITHIN_S = 1.5  # after kill -9 the one before us may still be ending
LAST_LINES = 3
MEMORY = {"GOGC": "50"}  # measured: 35 MB less in kube-apiserver, start-up no slower


class ControlPlane:
    """A running kube-apiserver with etcd and, where the program has them, the collectors."""

    def __init__(self, processes: Processes, folder: Path, binaries: Binaries, credentials: Credentials) -> None:
        self.folder = folder
        self.version = binaries.version
        self.has_collectors = binaries.has_collectors
        self.kubeconfig = folder / "kubeconfig"
        self.audit_log = folder / "audit.log"
        self.url = ""
        self.issuer = commands.ISSUER  # of its ServiceAccounts' tokens
        self.jwks: dict[str, Any] = {}  # what verifies them
        self._processes = processes
        self._binaries = binaries
        self._credentials = credentials
        self._children: list[Child] = []

    @classmethod
    async def start(
        cls,
        processes: Processes,
        folder: Path,
        *,
        progress: Progress = lambda _: None,
        binaries: Binaries | None = None,
    ) -> ControlPlane:
        """Starts one whose state lives in `folder`, and returns once it is ready.

        Raises MissingError where there is no program to run, StartError where it does not become ready.
        """
        folder = await asyncio.to_thread(folder.absolute)
        binaries = binaries or await find(progress)
        if not binaries.has_collectors:
            progress(binaries.NO_COLLECTORS)
        credentials = await asyncio.to_thread(Credentials.load, folder / "credentials")
        plane = cls(processes, folder, binaries, credentials)
        try:
            await plane._start()
        except BaseException:
            await plane.stop()
            raise
        return plane

    async def stop(self) -> None:
        """Stops it, the collectors first; what it stored stays in the folder."""
        while self._children:
            await self._children.pop().stop(STOP_GRACE_S)

    async def exited(self) -> str:
        """Waits until one of its processes ends by itself; returns a sentence that says which."""
        waits = {asyncio.create_task(child.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        child = waits[done.pop()]
        return f"{child.name} ended with {child.returncode}: {await self._last_lines(child.name)}"

    async def write_kubeconfig(self, path: Path, user: str, token: str, namespace: str = "default") -> None:
        """A kubeconfig for another user's token, that of a ServiceAccount for example."""
        await asyncio.to_thread(self._credentials.write_kubeconfig, path, self.url, user, token, namespace)

    async def _start(self) -> None:
        etcd_folder = self.folder / "etcd"
        await asyncio.to_thread(etcd_folder.mkdir, mode=0o700, exist_ok=True)
        policy = self.folder / "audit-policy.yaml"
        await asyncio.to_thread(write_private, policy, commands.AUDIT_POLICY.encode())
        if self._binaries.controlplane is None:
            await self._run("etcd", commands.etcd(self._binaries))
        for attempt in range(PORTS_TRIED):
            port = await _port(self.folder / "port", attempt)
            flags = commands.kube_apiserver_flags(port, self._credentials, policy, self.audit_log)
            command = commands.kube_apiserver(self._binaries, etcd_folder, flags)
            server = await self._run("kube-apiserver", command)
            self.url = f"https://127.0.0.1:{port}"
            if await self._becomes_ready(server):
                break
            self._children.remove(server)
        else:
            raise StartError(f"kube-apiserver did not start: {await self._last_lines('kube-apiserver')}")
        await self._write_own_kubeconfigs()

    async def _write_own_kubeconfigs(self) -> None:
        await self.write_kubeconfig(self.kubeconfig, ADMIN, self._credentials.admin_token)
        if self.has_collectors:
            kubeconfig = self.folder / "controllers.kubeconfig"
            await self.write_kubeconfig(kubeconfig, CONTROLLERS, self._credentials.controllers_token)
            await self._run("kube-controller-manager", commands.controllers(self._binaries, kubeconfig))

    async def _run(self, name: str, command: list[str]) -> Child:
        """Our program ends when its standard input does; Kubernetes' own ones do not read theirs."""
        child = await self._processes.start(
            name,
            command,
            env={"HOME": str(self.folder), **MEMORY},
            cwd=self.folder / "etcd",
            log=self._log(name),
            stdin_pipe=True,
        )
        self._children.append(child)
        return child

    async def _becomes_ready(self, server: Child) -> bool:
        """False where the port was taken by another in the meantime. Raises StartError for anything else."""
        deadline = time.monotonic() + READY_WITHIN_S
        trust = ssl.create_default_context(cafile=str(self._credentials.certificate_authority))
        headers = {"Authorization": f"Bearer {self._credentials.admin_token}"}
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(self.url, headers=headers, connector=connector) as session:
            # The namespace "default" is made after readiness, and people's first command uses it.
            for path in ("/readyz", "/api/v1/namespaces/default"):
                while not await _answers(session, path):
                    if server.returncode is not None:
                        said = await self._last_lines(server.name)
                        if "address already in use" in said:
                            return False
                        raise StartError(f"{server.name} ended with {server.returncode}: {said}")
                    if time.monotonic() > deadline:
                        said = await self._last_lines(server.name)
                        raise StartError(f"{server.name} was not ready within {READY_WITHIN_S:.0f} s: {said}")
                    await asyncio.sleep(POLL_S)
            async with session.get("/version") as answer:
                self.version = str((await answer.json())["gitVersion"]).removeprefix("v")
            async with session.get("/openid/v1/jwks") as answer:
                self.jwks = await answer.json(content_type=None)
        return True

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    async def _last_lines(self, name: str) -> str:
        log = self._log(name)
        lines = (await asyncio.to_thread(log.read_text, errors="replace")).splitlines()
        return f"{' / '.join(lines[-LAST_LINES:])} (all in {log})"


async def _answers(session: aiohttp.ClientSession, path: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(path, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.status == 200
    return False


async def _port(path: Path, attempt: int) -> int:
    """The port of last time, so that kubeconfigs stay valid, unless another keeps it; else a free one."""
    deadline = time.monotonic() + PORT_FREED_WITHIN_S
    while attempt == 0 and await asyncio.to_thread(path.exists) and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            return _bindable(int(await asyncio.to_thread(path.read_text)))
        await asyncio.sleep(POLL_S)
    port = _bindable(0)
    await asyncio.to_thread(path.write_text, str(port))
    return port


def _bindable(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Go's listeners do
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
