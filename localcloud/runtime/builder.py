"""Builds an image from a project's own Dockerfile, without a container engine."""

import asyncio
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from localcloud.runtime import dockerfile as df
from localcloud.runtime import instructions as ins
from localcloud.runtime import shellwords
from localcloud.runtime.buildcontext import CopyError, Ignore, Source, copy, place_in
from localcloud.runtime.buildstage import LineRunner, StageState, base_variables, builder_platform
from localcloud.runtime.environments import (
    CommandFailed,
    Environment,
    Environments,
    Interpreter,
    NoSuchPython,
    cache_folder,
    run,
)
from localcloud.runtime.imagepaths import SYSTEM_ENVIRONMENT, environment_on_path, own_paths
from localcloud.runtime.imagereference import BadReference, Reference
from localcloud.runtime.images import Image, ImageConfig, ImageIncomplete, ImageStore, StandIn
from localcloud.runtime.runlines import RunLineError
from localcloud.runtime.sandbox import Sandbox

Progress = Callable[[str], None]
BUILDER_VERSION = "1"  # raise it when the same Dockerfile makes another image
_OUTPUT_LINES = 15


class BuildError(RuntimeError):
    """A build that failed; the message names the Dockerfile's line, the cause and the remedy."""


async def build(
    context: Path,
    reference: str,
    store: ImageStore,
    *,
    assume_system_packages: bool = False,
    arguments: Mapping[str, str] | None = None,
    dockerfile: str = "Dockerfile",
    cache: Path | None = None,
    sandbox: Sandbox | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Image:
    """Builds `context` by its Dockerfile, keeps the image in `store` under the tag of `reference` and returns it.

    The same content gives the same digest, and costs a hash of the context when this store has built it before.
    `arguments` are --build-arg's. RUN lines see the image's paths in their own place where `sandbox` can show them.
    Raises DockerfileError for what cannot be run here, BuildError for what failed, and
    BadReference.
    """
    name = Reference.parse(reference)
    if name.tag is None:
        raise BadReference(f"image {reference!r}: it has no tag; write {name.repository}:v1, say.")
    try:
        text = await asyncio.to_thread((context / dockerfile).read_text)
    except FileNotFoundError:
        raise BuildError(f"{context}: there is no {dockerfile}; write one, or name the folder that has it.") from None
    parsed = df.parse(text, assume_system_packages=assume_system_packages, arguments=arguments)
    sandbox = sandbox or Sandbox(store.directory / "sandbox")
    work = _Build(context, dockerfile, parsed, store, Environments(cache or cache_folder()), sandbox, progress)
    digest = await work.run(text, assume_system_packages)
    await asyncio.to_thread(store.tag, name.repository, name.tag, digest)
    for line, stand_in in work.stand_ins:  # last, where it is read
        progress(_warning(f"{dockerfile}:{line}", stand_in))
    return await asyncio.to_thread(store.open, name.repository, digest)


class _Build:
    def __init__(
        self,
        context: Path,
        name: str,
        parsed: ins.Dockerfile,
        store: ImageStore,
        environments: Environments,
        sandbox: Sandbox,
        progress: Progress,
    ) -> None:
        self._parsed, self._store, self._environments = parsed, store, environments
        self._sandbox, self._progress = sandbox, progress
        self._context = Source(context, Ignore.parse(_ignore_text(context, name)))
        self._work = store.directory / "work" / uuid.uuid4().hex
        self._stages: dict[str, StageState] = {}
        self.stand_ins: tuple[tuple[int, StandIn], ...] = ()  # with the line of each FROM

    async def run(self, text: str, assume_system_packages: bool) -> str:
        """The digest: of a build of the same content, or of a new one."""
        found = await self._interpreters()
        versions = [interpreter.version for interpreter in found.values()]
        for stage in self._parsed.stages.values():
            if not stage.base and (stand_in := _stand_in(stage.python, found[stage.python])):
                self.stand_ins += ((stage.line, stand_in),)
        content = await asyncio.to_thread(self._context.digest)
        own = [BUILDER_VERSION, dict(self._parsed.arguments), assume_system_packages, versions]
        settings = json.dumps([*own, *(asdict(stand_in) for _, stand_in in self.stand_ins)])
        key = hashlib.sha256(f"{settings}{builder_platform()}{text}{content}".encode()).hexdigest()
        memo = self._store.directory / "builds" / key
        digest = await asyncio.to_thread(self._remembered, memo)
        if digest is not None:
            self._progress("unchanged since its last build")
            return digest
        bases = {version: await self._environments.empty(interpreter) for version, interpreter in found.items()}
        try:
            digest = await self._build(bases)
        finally:
            await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)
        memo.parent.mkdir(parents=True, exist_ok=True)
        memo.write_text(digest)
        return digest

    async def _interpreters(self) -> dict[str, Interpreter]:
        """By the version that the stages ask for."""
        found: dict[str, Interpreter] = {}
        for stage in sorted(self._parsed.stages.values(), key=lambda stage: stage.python):
            if not stage.base and stage.python not in found:
                try:
                    found[stage.python] = await self._environments.interpreter(stage.python, self._progress)
                except NoSuchPython as error:
                    remedy = "name a version that there is, or install this one here"
                    raise ins.DockerfileError(stage.line, stage.text, str(error), remedy) from None
        return found

    def _remembered(self, memo: Path) -> str | None:
        if not memo.is_file():
            return None
        digest = memo.read_text()
        with suppress(ImageIncomplete):
            image = self._store.open("localhost/unchanged", digest)
            programs = [place / "bin" / "python" for place in image.environments.values()]
            if image.rootfs.is_dir() and all(program.exists() for program in programs):
                return digest
        return None

    async def _build(self, bases: Mapping[str, Environment]) -> str:
        for number, (key, stage) in enumerate(self._parsed.stages.items(), start=1):
            if len(self._parsed.stages) > 1:
                self._progress(f"stage {stage.name or number} ({number} of {len(self._parsed.stages)})")
            try:
                state = await asyncio.to_thread(self._begin, key, stage, bases)
                self._stages[key] = state
                for instruction in stage.instructions:
                    await self._instruction(state, instruction)
            except BaseException:
                self._stages.pop(key, None)
                raise
        state = self._stages[self._parsed.target]
        await self._compile(state)
        used = {place: (made.key, made.directory) for place, made in state.environments.items()}
        return await self._store.put(state.config, state.rootfs, used)

    def _begin(self, key: str, stage: ins.Stage, bases: Mapping[str, Environment]) -> StageState:
        rootfs = self._work / f"stage-{key}"
        if stage.base:
            earlier = self._stages[stage.base]
            shutil.copytree(earlier.rootfs, rootfs, symlinks=True)
            return StageState(rootfs, dict(earlier.environments), earlier.config, users=dict(earlier.users))
        for folder in ("root", "tmp"):
            (rootfs / folder).mkdir(parents=True, exist_ok=True)
        environment = bases[stage.python]
        stand_in = _stand_in(stage.python, environment.interpreter)
        variables = base_variables(environment.interpreter.version)
        config = ImageConfig(cmd=("python3",), env=variables, stand_in=stand_in)
        return StageState(rootfs, {SYSTEM_ENVIRONMENT: environment}, config)

    async def _instruction(self, state: StageState, instruction: ins.Instruction) -> None:
        if isinstance(instruction, ins.Note):
            self._progress(instruction.message)
            return
        self._progress(" ".join(instruction.text.split()))
        try:
            if isinstance(instruction, ins.Run):
                await self._run(state, instruction)
            elif isinstance(instruction, ins.Copy):
                await asyncio.to_thread(self._copy, state, instruction)
            else:
                _configure(state, instruction, self._parsed.arguments)
        except (RunLineError, CopyError) as error:
            cause, remedy = getattr(error, "cause", str(error)), getattr(error, "remedy", "correct the path")
            raise ins.DockerfileError(instruction.line, instruction.text, cause, remedy) from None
        except shellwords.ShellSyntaxError as error:
            raise ins.DockerfileError(instruction.line, instruction.text, f"it holds {error}", "write it out") from None
        except CommandFailed as error:
            last = "\n".join(error.output.splitlines()[-_OUTPUT_LINES:])
            raise BuildError(f"Dockerfile line {instruction.line}: {instruction.text!r}: {error}:\n{last}") from None

    async def _run(self, state: StageState, instruction: ins.Run) -> None:
        mounted = await asyncio.to_thread(self._mount, state, instruction.mounts)
        runner = LineRunner(state, self._environments, self._sandbox, self._progress)
        try:
            if instruction.argv:
                await runner.run(shellwords.ShellCommand(instruction.argv))
                return
            # Each command is read anew, for an export before it may change its variables.
            count = len(shellwords.commands(instruction.command, runner.variables))
            for number in range(count):
                await runner.run(shellwords.commands(instruction.command, runner.variables)[number])
        finally:
            for place in mounted:
                await asyncio.to_thread(_remove, place)

    def _mount(self, state: StageState, mounts: tuple[ins.Mount, ...]) -> list[Path]:
        """Bind mounts: their content stands in the tree while the line runs."""
        mounted: list[Path] = []
        for mount in mounts:
            target = state.absolute(mount.target).rstrip("/")
            place = place_in(state.rootfs, target)
            if place.is_file() or (place.is_dir() and any(place.iterdir())):
                raise CopyError(f"the mount would hide {target}, which is in the image")
            existed = place.is_dir()
            source, _ = self._source(mount.stage)
            copy(source, (mount.source,), state.rootfs, target)
            mounted += [] if existed and not any(place.iterdir()) else [place]
        return mounted

    def _source(self, name: str | None) -> tuple[Source, StageState | None]:
        if name is None:
            return self._context, None
        keys = list(self._parsed.stages)
        stage = self._stages.get(name.lower())
        if stage is None and name.isdigit() and int(name) < len(keys):
            stage = self._stages.get(keys[int(name)])
        if stage is None:
            raise RunLineError(
                f"{name} is no stage of this Dockerfile, and images cannot be unpacked without a container engine",
                "copy from a stage, or keep the files in the project",
            )
        return Source(stage.rootfs), stage

    def _copy(self, state: StageState, instruction: ins.Copy) -> None:
        variables = state.variables
        sources = tuple(df.expanded(instruction, source, variables) for source in instruction.sources)
        written = df.expanded(instruction, instruction.destination, variables)
        stage_name = None if instruction.stage is None else df.expanded(instruction, instruction.stage, variables)
        if stage_name is not None and df.UV_IMAGE.fullmatch(stage_name):
            return  # uv is the builder's own
        source, stage = self._source(stage_name)
        destination = state.absolute(written)
        if any(destination.startswith(f"{place}/") for place in state.environments if place != SYSTEM_ENVIRONMENT):
            raise CopyError(f"{destination} lies inside a Python environment")
        files = sources
        if stage is not None:
            files = tuple(path for path in sources if not _adopt(stage, state, path, destination.rstrip("/")))
        if files:
            copy(source, files, state.rootfs, destination, mode=instruction.mode)

    async def _compile(self, state: StageState) -> None:
        """Byte code of the image's own modules, so that no process starts by compiling them."""
        place = environment_on_path(state.config.env.get("PATH", ""), state.folders) or SYSTEM_ENVIRONMENT
        python = str(state.environments[place].directory / "bin" / "python")
        roots = await asyncio.to_thread(_own_folders, state.rootfs)
        if roots:
            # Not by time stamps: the tree is copied. Modules that do not compile are the project's business.
            arguments = ["-m", "compileall", "-q", "-q", "--invalidation-mode", "unchecked-hash", *roots]
            with suppress(CommandFailed):
                await run([python, *arguments], cwd=state.rootfs, env={"PATH": "/usr/bin:/bin"})


def _stand_in(asked: str, found: Interpreter) -> StandIn | None:
    return None if found.fits(asked) else StandIn(asked, found.version)


def _warning(where: str, found: StandIn) -> str:
    return (
        f"warning: {where} asks for Python {found.asked}; built with {found.used}, "
        f"for {found.asked} is not installed and could not be downloaded. Install it here, and build again."
    )


def _own_folders(rootfs: Path) -> list[str]:
    folders = (rootfs / path.lstrip("/") for path in own_paths(rootfs))
    return [str(folder) for folder in folders if folder.is_dir()]


def _configure(state: StageState, instruction: ins.Instruction, global_arguments: Mapping[str, str]) -> None:
    variables = state.variables

    def filled(text: str) -> str:
        return df.expanded(instruction, text, variables)

    if isinstance(instruction, ins.Arg):
        default = None if instruction.default is None else filled(instruction.default)
        value = global_arguments.get(instruction.name, default)
        if value is not None:
            state.args[instruction.name] = value
    elif isinstance(instruction, ins.Env):
        added = {name: filled(value) for name, value in instruction.pairs}
        state.config = replace(state.config, env={**state.config.env, **added})
    elif isinstance(instruction, ins.Label):
        added = {name: filled(value) for name, value in instruction.pairs}
        state.config = replace(state.config, labels={**state.config.labels, **added})
    elif isinstance(instruction, ins.Workdir):
        state.set_workdir(filled(instruction.path))
    elif isinstance(instruction, ins.User):
        state.set_user(filled(instruction.user))
    elif isinstance(instruction, ins.Expose):
        ports = tuple(port if "/" in port else f"{port}/tcp" for port in map(filled, instruction.ports))
        state.config = replace(state.config, exposed_ports=(*state.config.exposed_ports, *ports))
    elif isinstance(instruction, ins.Command) and instruction.is_entrypoint:
        # Docker drops the base image's CMD, but keeps one that this file set.
        cmd = () if state.config.cmd == ("python3",) else state.config.cmd
        state.config = replace(state.config, entrypoint=instruction.argv, cmd=cmd)
    elif isinstance(instruction, ins.Command):
        state.config = replace(state.config, cmd=instruction.argv)


def _adopt(stage: StageState, state: StageState, source: str, destination: str) -> bool:
    """COPY --from of what is, holds or lies in a Python environment. True if no file of `source` is left to copy."""
    path = f"/{source.strip('/')}"
    own = place_in(stage.rootfs, path)
    given = False
    for place, environment in stage.environments.items():
        if place == path:
            _give(state, destination, environment)
        elif place != SYSTEM_ENVIRONMENT and place.startswith(f"{path.rstrip('/')}/"):
            _give(state, f"{destination}/{place.removeprefix(path).lstrip('/')}", environment)
        elif path.startswith((f"{place}/bin", f"{place}/lib")) and not own.is_file():
            if destination not in (path, str(Path(path).parent)):
                raise CopyError(f"{source} is a part of a Python environment: copy it whole, to the same path")
            _give(state, place, environment)
        else:
            continue
        given = True
    return given and not own.exists()


def _give(state: StageState, place: str, environment: Environment) -> None:
    known = state.environments.get(place)
    is_bare = known is None or known.key == environment.key or not any(_installed(known))
    if not is_bare:
        raise CopyError(f"{place} would be merged from two Python environments")
    state.environments[place] = environment


def _installed(environment: Environment) -> list[Path]:
    return list(environment.directory.glob("lib/python*/site-packages/*.dist-info"))


def _ignore_text(context: Path, name: str) -> str:
    """The file beside the Dockerfile wins over .dockerignore, as in BuildKit."""
    for candidate in (f"{name}.dockerignore", ".dockerignore"):
        with suppress(FileNotFoundError):
            return (context / candidate).read_text()
    return ""


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
