"""localcloud as the site of the scenarios: cloud, control plane and operator, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from e2e_audit import AuditLog
from e2e_secrets import CommandLines, in_files, in_texts
from google.oauth2.credentials import Credentials

from localcloud import operator
from localcloud.api.messages import secretmanager as pb
from localcloud.core.errors import ApiError, Code
from localcloud.core.faults import Fault, Kind
from localcloud.core.requests import Request
from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.builder import build
from localcloud.runtime.processes import Child, Processes

T = TypeVar("T")

SAMPLES = operator.ROOT / "samples"
SPEED = 120.0
START_S = 120.0
LOG_TAIL = 60  # lines
READS = ("get", "list", "access", "test")
OVERLAYS = {"v1": (), "v2": ("v2",), "next": ("next",)}  # others: the shop's, v2 and their own (samples/README.md)


class LocalSite:
    """Implements Site; `cloud` is there for what only a local cloud can be asked: requests, faults, processes."""

    def __init__(self, folder: Path, authority: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._images: dict[tuple[str, str], asyncio.Task[str]] = {}
        shutil.copytree(authority, folder / "cloud" / "tls")
        options = Options(dir=folder / "cloud", speed=SPEED, control_plane=True, project="nuages-e2e")
        self.cloud = LocalCloud(options)
        self.project, self.region = self.cloud.options.project, self.cloud.options.region
        self.payloads: dict[str, bytes] = {}  # of every secret version that there ever was, by name
        self.command_lines = CommandLines(folder / "command lines")

    @property
    def kubeconfig(self) -> Path:
        assert self.cloud.control_plane is not None
        return self.cloud.control_plane.kubeconfig

    @property
    def has_collectors(self) -> bool:
        assert self.cloud.control_plane is not None
        return self.cloud.control_plane.has_collectors

    @property
    def audit_log(self) -> Path:
        """What the API server was asked, as lines of JSON."""
        assert self.cloud.control_plane is not None
        return self.cloud.control_plane.audit_log

    @property
    def environment(self) -> Mapping[str, str]:
        return self.cloud.environment()

    @property
    def operator_account(self) -> str:
        return self.installation.email

    def credentials(self) -> Any:
        return Credentials("owner")  # type: ignore[no-untyped-call]

    async def image(self, name: str, version: str) -> str:
        return await self.call(self._image(name, version))

    async def build(self, context: Path, name: str) -> str:
        """The reference of an image of a test's own."""
        reference = f"{self.region}-docker.pkg.dev/{self.project}/apps/{name}"
        await self.call(build(context, reference, self.cloud.runtime.images))
        return reference

    async def shop(self, tag: str, files: Mapping[str, str]) -> str:
        """The reference of an image of the shop's v2 with files of a test's own in it."""
        context = self._folder / f"shop-{tag}"
        await asyncio.to_thread(_lay_out, "shop", ("v2",), context)
        for path, text in files.items():
            await asyncio.to_thread(_write, context / path, text)
        return await self.build(context, f"shop:{tag}")

    def origin(self, url: str) -> str:
        label = urlsplit(url).netloc.partition(".")[0]
        return f"http://{label}.localhost:{self.cloud.front_port}"

    def logs(self) -> Mapping[str, str]:
        log = self._folder / "cloud" / "operator.log"
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        last = self.cloud.core.requests.last()
        asked = [f"{r.status} {r.method} {r.resource} {r.reason}" for r in list(last)[-LOG_TAIL:]]
        entries = [_line(entry) for entry in list(self.cloud.runtime.logs.entries())[-LOG_TAIL:]]
        return {
            "operator.log": "\n".join(lines[-LOG_TAIL:]),
            "requests": "\n".join(asked),
            "log entries": "\n".join(entries),
        }

    def requests(self, namespace: str, app: str) -> list[Request]:
        """What the operator asked of Google for an app, oldest first."""
        return list(self.cloud.core.requests.last(f"nuages/{namespace}/{app}@"))

    @staticmethod
    def is_write(request: Request) -> bool:
        """Whether a request may have changed something."""
        name = request.method.partition("/")[2]  # "Services.GetService", or "GET /storage/v1/b/{bucket}"
        verb = name.split(" ")[0] if " " in name else name.rpartition(".")[2]
        return not verb.lower().startswith(READS)

    async def misdeeds(self, objects: Mapping[str, bytes]) -> list[str]:
        denied = [f"denied: {' '.join(use)}" for use in self.audit.denied()]
        return denied + await self.call(self._leaks(objects))

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something where the cloud runs."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def free_instance_name(self, instance: str) -> None:
        """As a week after its deletion does; `instance` as projects/P/instances/I."""

        async def free() -> None:
            self.cloud.core.store.records("sql.deleted").put(instance, {"at": 0.0})

        await self.call(free())

    @contextmanager
    def grants_take(self, seconds: float) -> Iterator[None]:
        """Of Google's time, for those that are made from now on; in the end all are there."""
        self.cloud.core.policies.configure(propagation_s=seconds)
        try:
            yield
        finally:
            self.cloud.core.policies.configure()

    @contextmanager
    def accounts_take(self, seconds: float) -> Iterator[None]:
        """Of Google's time, until those that are made from now on are known."""
        accounts = self.cloud.core.accounts
        accounts.configure(quota=accounts.quota, propagation_s=seconds)
        try:
            yield
        finally:
            accounts.configure(quota=accounts.quota)

    async def kill_operator(self) -> None:
        """As kill -9 does."""

        async def kill() -> None:
            self.operator.signal_group(9)
            await self.operator.wait()

        await self.call(kill())

    async def start_operator(self, identity: str = operator.IDENTITY) -> None:
        """Another one, after a kill."""
        self.operator: Child = await self.call(self._start(identity))

    @contextmanager
    def running(self) -> Iterator[LocalSite]:
        """From the start of the cloud to the end of all processes."""
        thread = threading.Thread(target=self._loop.run_forever, name="localcloud", daemon=True)
        thread.start()
        with self.command_lines.watched(), self._said():
            yield from self._run(thread)

    def _run(self, thread: threading.Thread) -> Iterator[LocalSite]:
        try:
            self._do(self.cloud.start())
            self.audit = AuditLog(self.audit_log)
            # A payload goes with its secret or its version, but must not have been anywhere else.
            for end in ("DeleteSecret", "DestroySecretVersion"):
                self.cloud.faults.add(Fault(f"*.{end}", Kind.CALL, times=-1, hook=self._remember))
            try:
                self._do(self._start_all())
                yield self
            finally:
                self._do(self._stop_all())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Keeps what `localcloud up` writes to its log: warnings and errors of localcloud and of what it is made of."""
        handler, logger = logging.FileHandler(self.cloud.folder.log), logging.getLogger()
        handler.setLevel(logging.WARNING)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            handler.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    async def _start_all(self) -> None:
        self.processes = Processes()
        self.installation = await operator.install(self.cloud)
        self.operator = await self._start(operator.IDENTITY)

    async def _start(self, identity: str) -> Child:
        return await operator.start_operator(self.cloud, self.installation, self.processes, identity)

    async def _stop_all(self) -> None:
        await self.processes.close()
        await self.cloud.stop()

    async def _remember(self) -> None:
        """The payloads of Secret Manager's own store."""
        kept = self.cloud.core.store.collection("secretmanager.payloads", pb.SecretPayload, _absent)
        self.payloads |= {name: bytes(kept.get(name).data) for name in kept}

    async def _leaks(self, objects: Mapping[str, bytes]) -> list[str]:
        """Where payloads are besides Secret Manager: "name of the version: place"."""
        await self._remember()
        folder, plane = self._folder / "cloud", self.cloud.control_plane
        assert plane is not None
        requests = "\n".join(map(str, self.cloud.core.requests.last())).encode()
        found = in_texts(self.payloads, {**objects, "requests": requests})
        await asyncio.to_thread(self.command_lines.look)
        logs = [folder / "operator.log", self.cloud.folder.log, self.command_lines.file]
        logs += [*folder.glob("logs/**/*"), *plane.folder.glob("*.log")]
        found += await asyncio.to_thread(in_files, self.payloads, logs)
        # The user's own Secrets are in etcd, and some payloads are their copies: those were looked for in `objects`.
        made = {name: payload for name, payload in self.payloads.items() if "-env-" not in name}
        return found + await asyncio.to_thread(in_files, made, plane.folder.glob("etcd/**/*"))

    async def _image(self, name: str, version: str) -> str:
        key = (name, version)
        if key not in self._images:
            self._images[key] = asyncio.create_task(self._build(name, version))
        return await self._images[key]

    async def _build(self, name: str, version: str) -> str:
        reference = f"{self.region}-docker.pkg.dev/{self.project}/apps/{name}:{version}"
        context = self._folder / f"{name}-{version}"
        await asyncio.to_thread(_lay_out, name, OVERLAYS.get(version, ("v2", version)), context)
        await build(context, reference, self.cloud.runtime.images)
        return reference


def _lay_out(name: str, overlays: Iterable[str], context: Path) -> None:
    """A sample's folder, and over it those of a version."""
    for folder in (name, *(f"{name}-{overlay}" for overlay in overlays)):
        shutil.copytree(SAMPLES / folder, context, dirs_exist_ok=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _line(entry: Mapping[str, Any]) -> str:
    """One entry of Cloud Logging, as people read it."""
    labels = entry["resource"]["labels"]
    whose = next((labels[k] for k in ("job_name", "revision_name", "database_id") if labels.get(k)), "")
    asked = entry.get("httpRequest", {})
    web = f"{asked['requestMethod']} {asked['requestUrl']} {asked['status']}" if asked else ""
    said = entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", "")
    return f"{entry['timestamp'][11:23]} {whose} {entry['severity']} {web} {said}".rstrip()


def _absent(name: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, name)
