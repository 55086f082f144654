"""Finds the control plane, builds it once with Go, or takes Kubernetes' own binaries for tests.

In this order: LOCALCLOUD_CONTROLPLANE, the cache, `go build`, KUBEBUILDER_ASSETS, the envtest archive.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from localcloud.controlplane import envtest
from localcloud.controlplane.binaries import Binaries
from localcloud.controlplane.errors import MissingError
from localcloud.runtime.processes import ProcessError, Processes

Progress = Callable[[str], None]

SOURCES = Path(__file__).parent / "server"
FLAGS = ("-trimpath", "-buildvcs=false")
GO_FOLDER = Path("/usr/local/go")  # where Go's own instructions put it, which is on no PATH of itself
OLDEST_GO = (1, 21)  # the first that fetches the newer toolchain that go.mod asks for
PROGRESS_EVERY_S = 10.0
LOCK_POLL_S = 0.2
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # Python's names to Go's


async def find(progress: Progress, environment: Mapping[str, str] = os.environ) -> Binaries:
    """The control plane's programs; the first time this may take minutes. Raises MissingError."""
    source = await asyncio.to_thread(Source.read)
    if given := environment.get("LOCALCLOUD_CONTROLPLANE"):
        return _given(Path(given), source)
    cache = cache_folder(environment)
    target = cache / source.file_name
    if not await asyncio.to_thread(target.is_file):
        try:
            await _build_once(source, target, progress, environment)
        except MissingError as cannot_build:
            return await _kubernetes_own(source, cache, progress, environment, cannot_build)
    return Binaries(origin="built here", version=source.version, controlplane=target)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where programs are kept: LOCALCLOUD_CACHE, else `nuages` in the user's cache folder."""
    if given := environment.get("LOCALCLOUD_CACHE"):
        return Path(given).absolute()
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nuages"


@dataclass(frozen=True)
class Source:
    """Our Go program: the Kubernetes version that it is made of, and a digest of all that makes it."""

    version: str
    go: tuple[int, ...]
    digest: str

    @classmethod
    def read(cls) -> Source:
        """From go.mod, go.sum and the Go files."""
        files = sorted([*SOURCES.glob("*.go"), SOURCES / "go.mod", SOURCES / "go.sum"])
        content = b"".join(file.name.encode() + b"\0" + file.read_bytes() for file in files)
        module = (SOURCES / "go.mod").read_text()
        kubernetes = re.search(r"^\s*k8s\.io/kubernetes v(\S+)$", module, re.MULTILINE)
        go = re.search(r"^go ([\d.]+)$", module, re.MULTILINE)
        if kubernetes is None or go is None:
            raise MissingError(f"{SOURCES / 'go.mod'} names no version of Kubernetes or Go: restore it")
        return cls(kubernetes[1], _numbers(go[1]), hashlib.sha256(content).hexdigest()[:16])

    @property
    def file_name(self) -> str:
        """Of the program in the cache."""
        return f"controlplane-{self.version}-{self.digest}-{'-'.join(machine())}"

    @property
    def linker_flags(self) -> str:
        """Without a version, clients cannot parse what the API server says of itself."""
        major, minor = self.version.split(".")[:2]
        settings = {"gitVersion": f"v{self.version}", "gitMajor": major, "gitMinor": minor}
        values = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in settings.items())
        return f"-s -w {values}"


def machine() -> tuple[str, str]:
    """This machine's system and architecture, as Go names them."""
    architecture = platform.machine().lower()
    return platform.system().lower(), ARCHITECTURES.get(architecture, architecture)


def _given(path: Path, source: Source) -> Binaries:
    if not os.access(path, os.X_OK) or not path.is_file():
        raise MissingError(f"LOCALCLOUD_CONTROLPLANE: {path} is no program. Correct the path or unset the variable.")
    return Binaries(origin="from LOCALCLOUD_CONTROLPLANE", version=source.version, controlplane=path.absolute())


async def _kubernetes_own(
    source: Source, cache: Path, progress: Progress, environment: Mapping[str, str], cannot_build: MissingError
) -> Binaries:
    """etcd and kube-apiserver as Kubernetes publishes them for tests; they have no collectors."""
    if assets := environment.get("KUBEBUILDER_ASSETS"):
        found = Binaries.beside_each_other(Path(assets), "from KUBEBUILDER_ASSETS", source.version)
        if found is not None:
            return found
    progress(str(cannot_build))
    try:
        async with _lock(cache / "envtest.lock", progress):
            return await envtest.fetch(cache, source.version, machine(), progress)
    except envtest.UnavailableError as error:
        raise MissingError(f"{cannot_build} Nor could Kubernetes' own binaries be fetched: {error}") from error


async def _build_once(source: Source, target: Path, progress: Progress, environment: Mapping[str, str]) -> None:
    go = await _go(source, environment)
    async with _lock(_beside(target, ".lock"), progress):
        if await asyncio.to_thread(target.is_file):
            return  # another process built it while this one waited
        progress(f"building kube-apiserver {source.version} and etcd, once; this takes some 5 minutes on 2 cores")
        partial = _beside(target, ".partial")
        await _build(go, source, partial, progress, environment)
        partial.rename(target)


async def _build(go: Go, source: Source, output: Path, progress: Progress, environment: Mapping[str, str]) -> None:
    lines: list[str] = []
    processes = Processes()
    try:
        build = await processes.start(
            "go build",
            [go.path, "build", "-v", *FLAGS, "-ldflags", source.linker_flags, "-o", str(output), "."],
            env=go.environment(source, environment),
            cwd=SOURCES,
            on_line=lambda _, line: lines.append(line),
        )
        reporting = asyncio.create_task(_report(lines, progress))
        try:
            code = await build.wait()
        finally:
            reporting.cancel()
    except ProcessError as error:
        raise MissingError(f"The control plane could not be built: {error}.") from error
    finally:
        await processes.close()
    if code != 0:
        said = next((line for line in reversed(lines) if line.strip()), "nothing was said")
        raise MissingError(
            f"The control plane could not be built: go build exited with {code} ({said}). Go needs the network "
            f"or a filled module cache, and 7 GB of disk; run 'go build' in {SOURCES} to see all."
        )


async def _report(lines: list[str], progress: Progress) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        modules = sum(line.startswith("go: downloading") for line in lines)
        progress(
            f"{len(lines) - modules} packages compiled, {modules} modules downloaded, "
            f"{time.monotonic() - started:.0f} s"
        )


@dataclass(frozen=True)
class Go:
    """The Go that is installed."""

    path: str
    version: tuple[int, ...]

    def environment(self, source: Source, base: Mapping[str, str]) -> dict[str, str]:
        """Lets an older Go fetch the one that go.mod asks for, which distributions switch off (GOTOOLCHAIN=local)."""
        if self.version >= source.go or base.get("GOTOOLCHAIN"):
            return dict(base)
        return {**base, "GOTOOLCHAIN": "auto"}


async def _go(source: Source, environment: Mapping[str, str]) -> Go:
    """The first that is new enough: what a distribution has may be older than what was installed beside it."""
    found = "is not installed"
    for folder in [*(environment.get("PATH") or os.defpath).split(os.pathsep), str(GO_FOLDER / "bin")]:
        path = shutil.which("go", path=folder)
        if path is None:
            continue
        said = await _version(path, environment)
        number = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", said)
        if number is not None and _numbers(number[1]) >= OLDEST_GO:
            return Go(path, _numbers(number[1]))
        found = f"{path} is {said or 'no Go'}"
    remedy = _installing_go(source, environment)
    raise MissingError(f"Go 1.21 or later is needed to build the control plane, and {found}. {remedy}")


async def _version(go: str, environment: Mapping[str, str]) -> str:
    asked = await asyncio.create_subprocess_exec(
        *(go, "version"), stdout=asyncio.subprocess.PIPE, env={**environment, "GOTOOLCHAIN": "local"}, cwd="/"
    )
    return (await asked.communicate())[0].decode(errors="replace").strip()


def _installing_go(source: Source, environment: Mapping[str, str]) -> str:
    """A command where one is known. On Linux it is Go's own: what many run has a distribution's that is too old."""
    system, architecture = machine()
    if system == "linux":
        archive = f"https://go.dev/dl/go{'.'.join(map(str, source.go))}.{system}-{architecture}.tar.gz"
        clear = f"sudo rm -rf {GO_FOLDER} && " if GO_FOLDER.exists() else ""  # as go.dev/doc/install has it
        return f"Run '{clear}curl -fsSL {archive} | sudo tar -xz -C {GO_FOLDER.parent}'."
    has_brew = shutil.which("brew", path=environment.get("PATH") or os.defpath)
    return "Run 'brew install go'." if has_brew else "Install it from https://go.dev/dl."


@asynccontextmanager
async def _lock(path: Path, progress: Progress) -> AsyncIterator[None]:
    """One process at a time; the system frees the lock when its holder ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    has_said = False
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not has_said:
                    progress("another process is building the control plane: waiting for it")
                    has_said = True
            await asyncio.sleep(LOCK_POLL_S)
        yield


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
