"""One instance of a container: its process with the environment, files and identity that Cloud Run gives it.

Sources: gcp/behaviour-runtime.md, sections 1, 3, 4, 7 and 8. All instances share this machine's loopback, so that each
listens on a PORT of its own where Google's all have 8080.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcloud.core.errors import ApiError
from localcloud.runtime.environments import keep_on_loopback
from localcloud.runtime.images import Image, ImageIncomplete
from localcloud.runtime.processes import STOP_GRACE_S, Child, ProcessError
from localcloud.runtime.sandbox import Sandbox
from localcloud.runtime.secretvalues import SecretRef, SecretValues, startup_error
from localcloud.runtime.volumes import Volumes
from localcloud.runtime.workload import StartAborted, Workload

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

HOME = "/home/app"  # writable in the sandbox; an image's own home is read-only files
SYSTEM_LOG = "varlog/system"


@dataclass
class Instance:
    """A started process with all that belongs to it."""

    id: str
    workload: Workload
    child: Child
    port: int
    _report: Path  # has words where the program could not be run
    _close: Callable[[], Any]
    log: Callable[[str, str], None]

    async def exited(self) -> int:
        """The exit code, negative for a signal; the system log says it too.

        Raises StartAborted where the program could not be run: Google looks for it before the container starts.
        """
        code = await self.child.wait()
        if self._report.exists() and (why := self._report.read_text().strip()):
            raise StartAborted(f"Application failed to start: {why}")
        return code

    async def stop(self, grace_s: float = STOP_GRACE_S) -> int:
        """SIGTERM, and SIGKILL after `grace_s`; then everything of it is removed. May be called again."""
        code = await self.child.stop(grace_s)
        await self._close()
        return code


class Instances:
    """Starts them."""

    def __init__(self, cloud: Cloud, kind: str = "revisions") -> None:
        """`kind` names the folder that is theirs."""
        self._cloud = cloud
        self._folder = cloud.dir / "instances" / kind
        shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was killed
        self.sandbox = Sandbox(cloud.dir / "sandbox")
        self._secrets = SecretValues(cloud)
        self._ports: set[int] = set()

    async def start(self, workload: Workload) -> Instance:
        """Raises StartAborted; what was made until then is removed."""
        instance_id = secrets.token_hex(65)  # about 130 hex characters (behaviour-runtime.md, section 1)

        def log(text: str, severity: str = "INFO") -> None:
            self.log(workload, instance_id, SYSTEM_LOG, text, severity)

        async with contextlib.AsyncExitStack() as stack:
            try:
                launch = await self._prepare(workload, instance_id, stack, log)
                child = await self._run(workload, instance_id, launch)
            except StartAborted as error:
                log(str(error), "ERROR")
                raise
            kept = stack.pop_all()
            closing = asyncio.Lock()

            async def close() -> None:
                async with closing:
                    await kept.aclose()

            instance = Instance(instance_id, workload, child, launch.port, launch.report, close, log)
            watching = asyncio.create_task(self._watch(instance), name=f"watch {workload.name}")
            kept.push_async_callback(asyncio.wait, {watching})  # the exit is logged before all is removed
            return instance
        raise AssertionError("the stack does not swallow exceptions")

    def log(
        self,
        workload: Workload,
        instance_id: str,
        log_id: str,
        payload: str | dict[str, Any],
        severity: str = "DEFAULT",
    ) -> None:
        """Write an entry of this workload."""
        labels = {"instanceId": instance_id, **workload.entry_labels}
        self._cloud.runtime.logs.write(
            workload.resource_type, workload.resource_labels, log_id, payload, severity, labels
        )

    async def _prepare(
        self, workload: Workload, instance_id: str, stack: contextlib.AsyncExitStack, log: Callable[[str, str], None]
    ) -> _Prepared:
        image = self._image(workload)
        if (python := image.config.stand_in) is not None:
            log(
                f"localcloud: this instance runs on Python {python.used}, but its image asks for {python.asked}, which "
                "this machine did not have when it was built. Install that version here, and build the image again.",
                "NOTICE",
            )
        own = await self._environment(workload)
        port = self._take_port(stack) if workload.port else 0
        folder = self._folder / instance_id[:16]
        await asyncio.to_thread(folder.mkdir, parents=True)
        stack.push_async_callback(asyncio.to_thread, shutil.rmtree, folder, ignore_errors=True)
        volumes = Volumes(self._cloud, self._secrets, folder, log)
        stack.push_async_callback(volumes.close)
        mounts = await volumes.mount(workload)
        runtime = self._cloud.runtime
        metadata = await runtime.metadata.start(workload.account, workload.project, workload.region, instance_id)
        stack.push_async_callback(runtime.metadata.stop, metadata)
        environment = {
            **runtime.client_environment,
            **dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"), metadata),
            **own,
            **workload.environment,
            **({"PORT": str(port)} if port else {}),
        }
        return await self._launch(workload, image, environment, mounts, port, folder / "not-run")

    async def _launch(
        self,
        workload: Workload,
        image: Image,
        environment: dict[str, str],
        mounts: dict[str, Path],
        port: int,
        report: Path,
    ) -> _Prepared:
        """The command as this machine runs it: in a namespace where there is one, else with paths rewritten."""
        in_namespace = (await self.sandbox.probe()).kind == "namespace"
        container = workload.container
        try:
            argv, env, cwd = image.command(
                environment,
                command=tuple(container.command),
                args=tuple(container.args),
                mounts=mounts,
                in_namespace=in_namespace,
            )
        except ImageIncomplete as error:
            raise StartAborted(f"localcloud: {error}") from None
        for folder in image.environments.values():  # an earlier localcloud may have built it
            await asyncio.to_thread(keep_on_loopback, folder)
        if not argv:
            raise StartAborted(f"Image '{workload.image}' has neither a command nor an entrypoint.")
        if not in_namespace:
            launch = self.sandbox.command(argv, env, str(cwd), mounts)
        else:
            own = dict(image.paths.entries)
            homes = [path for path in own if image.config.home.startswith(path)]
            env["HOME"] = image.config.home if homes else HOME
            trusted = [Path(p) for n, p in environment.items() if n == "SSL_CERT_FILE"]
            launch = self.sandbox.command(
                argv,
                env,
                container.working_dir or str(cwd),
                {**own, **mounts},
                image=own.keys(),
                visible=[image.rootfs, *image.environments.values(), *trusted],
                uid=image.config.uid,
                report=report,
            )
        return _Prepared(list(launch.argv), launch.cwd, port, report, launch.env)

    async def _run(self, workload: Workload, instance_id: str, launch: _Prepared) -> Child:
        processes = self._cloud.runtime.processes
        assert processes is not None  # simulated clouds have no Instances

        def on_line(stream: str, line: str) -> None:
            self.log(workload, instance_id, stream, line)

        try:
            return await processes.start(workload.name, launch.argv, env=launch.env, cwd=launch.cwd, on_line=on_line)
        except ProcessError as error:
            raise StartAborted(f"Application failed to start: Failed to find executable or start it: {error}") from None

    async def _watch(self, instance: Instance) -> None:
        try:
            code = await instance.exited()
        except StartAborted as error:
            instance.log(f"terminated: {error}", "ERROR")
            return
        if code >= 0:
            instance.log(f"Container called exit({code}).", "INFO" if code == 0 else "WARNING")
        else:
            instance.log(f"Container terminated on signal {-code}.", "WARNING")

    def _image(self, workload: Workload) -> Image:
        found: Image | None = self._cloud.runtime.images.resolve(workload.image)
        if found is None:
            raise StartAborted(f"Image '{workload.image}' not found.")
        return found

    async def _environment(self, workload: Workload) -> dict[str, str]:
        """The container's own variables; those from secrets are read now, as the account."""
        found: dict[str, str] = {}
        for variable in workload.container.env:
            if variable.WhichOneof("values") != "value_source":
                found[variable.name] = variable.value
                continue
            source = variable.value_source.secret_key_ref
            ref = SecretRef.of(workload.number, source.secret, source.version)
            try:
                found[variable.name] = (await self._secrets.read(workload.account, ref)).decode()
            except ApiError as error:
                raise StartAborted(startup_error(ref, variable.name, error)) from None
            except UnicodeDecodeError:
                raise StartAborted(
                    f"Secret {ref.name} contains non-UTF8 data. Instance startup will now abort."
                ) from None
        return found

    def _take_port(self, stack: contextlib.AsyncExitStack) -> int:
        """A free one; the container will take it in a moment."""
        for _ in range(100):
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", 0))  # noqa: S104 - only to see that nobody has it, on any address
                port = int(probe.getsockname()[1])
            if port not in self._ports:
                self._ports.add(port)
                stack.callback(self._ports.discard, port)
                return port
        raise StartAborted(f"localcloud: no port is free ({errno.errorcode[errno.EADDRINUSE]}).")


@dataclass(frozen=True)
class _Prepared:
    argv: list[str]
    cwd: Path
    port: int
    report: Path
    env: dict[str, str] = field(repr=False)  # holds secrets
