"""Python environments of images: made by uv, kept by what went into them, shared by hard links.

An environment's key is a hash of its Python, platform and every installation with the content that it read, so an
unchanged lock costs nothing. Environments are relocatable (uv venv --relocatable): their console scripts find Python
beside themselves, wherever an image shows them. loopback.py, which each of them runs, is localcloud's and in no key:
images name environments by key, and a digest must not change with a release of localcloud. It is brought up to date
instead, in the cache as an environment is asked for and in an image as an instance starts.
"""

import asyncio
import hashlib
import json
import os
import platform
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from localcloud.runtime import loopback
from localcloud.runtime.images import clone_tree

Progress = Callable[[str], None]
_DOWNLOAD_SECONDS = 180
_RETRY_DOWNLOAD_AFTER_SECONDS = 24 * 3600


class CommandFailed(RuntimeError):
    """A command of a build that exited otherwise than with 0."""

    def __init__(self, argv: Sequence[str], exit_code: int, output: str) -> None:
        super().__init__(f"{Path(argv[0]).name} exited with {exit_code}")
        self.exit_code, self.output = exit_code, output


class NoSuchPython(LookupError):
    """A version that is neither on this machine nor in uv's list of all that can be downloaded."""


@dataclass(frozen=True)
class Interpreter:
    path: Path
    version: str  # "3.11.7"

    def fits(self, wanted: str) -> bool:
        """Whether it is of this version ("3.12"; "" is any)."""
        return not wanted or f"{self.version}.".startswith(f"{wanted}.")


@dataclass(frozen=True)
class Environment:
    """A virtual environment in the cache; once there, only loopback.py in it changes."""

    key: str
    directory: Path
    interpreter: Interpreter


def cache_folder() -> Path:
    """$LOCALCLOUD_CACHE, else nuages in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LOCALCLOUD_CACHE") or Path(base) / "nuages")


async def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], progress: Progress | None = None) -> str:
    """Runs a command to its end and returns its output. Raises CommandFailed; cancelled, it kills it with its group."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise CommandFailed(argv, 127, f"{argv[0]}: {error.strerror}") from None
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async for raw in process.stdout:
            lines.append(raw.decode(errors="replace").rstrip())
            if progress is not None:
                progress(lines[-1])
        exit_code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if exit_code != 0:
        raise CommandFailed(argv, exit_code, "\n".join(lines))
    return "\n".join(lines)


class Environments:
    """The cache of environments, and the interpreters that they are made of."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "envs"
        self._missing = cache / "missing-pythons.json"
        self._uv = find_uv_bin()

    async def interpreter(self, wanted: str, progress: Progress) -> Interpreter:
        """The Python of a version ("3.12", "" for any): the running one, one installed, one that uv can get.

        Where none can be had, the running one stands in: it does not fit. Raises NoSuchPython.
        """
        running = Interpreter(Path(getattr(sys, "_base_executable", "") or sys.executable), platform.python_version())
        if running.fits(wanted):
            return running
        found = await self._find(wanted)
        if found is None and not await self._is_listed(wanted):
            raise NoSuchPython(f"there is no Python {wanted} on this machine, and uv knows of none")
        if found is None and not await asyncio.to_thread(self._is_known_missing, wanted):
            progress(f"getting Python {wanted}")
            found = await self._download(wanted)
        return found or running

    async def _is_listed(self, wanted: str) -> bool:
        """Whether uv's own list has it for any platform. Of a patch only the minor: a newer one is not in the list."""
        minor = ".".join(wanted.split(".")[:2])
        arguments = ["python", "list", "--only-downloads", "--all-platforms", "--output-format", "json", minor]
        try:
            return bool(json.loads(await run([self._uv, *arguments], cwd=Path("/"), env=_host_environment())))
        except (CommandFailed, ValueError):  # the list is somewhere else by this machine's settings, and out of reach
            return True

    async def _find(self, wanted: str) -> Interpreter | None:
        # Shims of pyenv answer for versions that are not selected, and make uv fail: look behind them.
        behind = [str(path.parent) for path in Path.home().glob(f".pyenv/versions/{wanted}*/bin/python")]
        search = [entry for entry in os.environ.get("PATH", "").split(":") if not entry.endswith("/shims")]
        env = {**_host_environment(), "PATH": ":".join([*behind, *search])}
        arguments = ["python", "find", "--system", "--no-python-downloads", "--no-project", wanted]
        try:
            path = await run([self._uv, *arguments], cwd=Path("/"), env=env)
            located = path.splitlines()[-1]
            show = "import platform; print(platform.python_version())"
            version = await run([located, "-I", "-c", show], cwd=Path("/"), env=env)
        except CommandFailed:
            return None
        return Interpreter(Path(located), version.strip())

    async def _download(self, wanted: str) -> Interpreter | None:
        try:
            async with asyncio.timeout(_DOWNLOAD_SECONDS):
                await run([self._uv, "python", "install", "--no-bin", wanted], cwd=Path("/"), env=_host_environment())
        except (CommandFailed, TimeoutError):
            await asyncio.to_thread(self._remember_missing, wanted)
            return None
        return await self._find(wanted)

    def _is_known_missing(self, wanted: str) -> bool:
        return time.time() - self._read_missing().get(wanted, 0) < _RETRY_DOWNLOAD_AFTER_SECONDS

    def _remember_missing(self, wanted: str) -> None:
        self._missing.parent.mkdir(parents=True, exist_ok=True)
        partial = self._missing.with_name(f".{uuid.uuid4().hex}")
        partial.write_text(json.dumps({**self._read_missing(), wanted: time.time()}))
        partial.replace(self._missing)

    def _read_missing(self) -> dict[str, float]:
        try:
            found = json.loads(self._missing.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    async def empty(self, interpreter: Interpreter) -> Environment:
        """An environment with nothing in it but what keeps its servers on loopback."""
        machine = f"{platform.system()}-{platform.machine()}-{platform.libc_ver()[0]}"
        key = _key("python", interpreter.version, machine)

        async def fill(directory: Path) -> None:
            arguments = ["venv", "--quiet", "--relocatable", "--no-project", "--python", str(interpreter.path)]
            await run([self._uv, *arguments, str(directory)], cwd=Path("/"), env=_host_environment())

        return await self._made(Environment(key, self._folder / key, interpreter), fill)

    async def install(
        self,
        base: Environment,
        arguments: Sequence[str],
        *,
        identity: Sequence[str],
        settings: Mapping[str, str],
        cwd: Path,
        progress: Progress,
    ) -> Environment:
        """`base` with `uv <arguments>` run on it in `cwd`.

        `identity` says what is installed, without paths of this machine: the words of the command and digests of what
        it reads. It makes the key, with `settings`, the image's own UV_ variables. Raises CommandFailed.
        """
        key = _key(base.key, *identity, *(f"{name}={value}" for name, value in sorted(settings.items())))

        async def fill(directory: Path) -> None:
            progress(f"installing: {' '.join(identity[0].split())}")
            await asyncio.to_thread(clone_tree, base.directory, directory)
            env = {**_host_environment(), **settings, "UV_PROJECT_ENVIRONMENT": str(directory)}
            python = str(directory / "bin" / "python")
            await run([self._uv, *arguments, "--compile-bytecode", "--python", python], cwd=cwd, env=env)

        return await self._made(Environment(key, self._folder / key, base.interpreter), fill)

    async def _made(self, environment: Environment, fill: Callable[[Path], object]) -> Environment:
        if not await asyncio.to_thread((environment.directory / "bin" / "python").exists):
            await self._make(environment, fill)
        await asyncio.to_thread(keep_on_loopback, environment.directory)
        return environment

    async def _make(self, environment: Environment, fill: Callable[[Path], object]) -> None:
        partial = self._folder / f".{uuid.uuid4().hex}"
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            result = fill(partial)
            assert asyncio.iscoroutine(result)
            await result
            await asyncio.to_thread(_move, partial, environment.directory)
        finally:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)


def keep_on_loopback(environment: Path) -> None:
    """Has the Python of an environment run this localcloud's loopback.py as it starts."""
    keeper = Path(loopback.__file__).read_bytes()
    start = f"import {loopback.MODULE}; {loopback.MODULE}.install()\n".encode()
    for packages in environment.glob("lib/python*/site-packages"):
        for name, content in ((f"{loopback.MODULE}.py", keeper), (f"{loopback.MODULE}.pth", start)):
            target = packages / name
            if not target.is_file() or target.read_bytes() != content:
                partial = packages / f".{uuid.uuid4().hex}"
                partial.write_bytes(content)
                partial.replace(target)  # never written into: other environments have the same file by a hard link


def _move(partial: Path, target: Path) -> None:
    if target.exists():  # made meanwhile, or broken: its Python was removed from this machine
        if (target / "bin" / "python").exists():
            return
        shutil.rmtree(target)
    partial.rename(target)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _host_environment() -> dict[str, str]:
    """This machine's environment, for uv: where its index, certificates and cache are; but no active environment."""
    dropped = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    inherited = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**inherited, "UV_NO_PROGRESS": "1"}
