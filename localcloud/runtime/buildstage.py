"""One stage of a build: its tree, environment variables and Python environments, and its RUN lines."""

import asyncio
import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from localcloud.runtime import runlines
from localcloud.runtime.buildcontext import CopyError, digest_of, place_in
from localcloud.runtime.environments import Environment, Environments, Progress, run
from localcloud.runtime.filecommands import run_file_command
from localcloud.runtime.imagepaths import SYSTEM_ENVIRONMENT, PathMap, environment_on_path, search_path
from localcloud.runtime.images import ImageConfig
from localcloud.runtime.runlines import RunLineError
from localcloud.runtime.sandbox import Sandbox
from localcloud.runtime.shellwords import ShellCommand

_INCLUDES = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]?\s*(\S+)", re.MULTILINE)
_LOCAL = re.compile(r"^\s*(?:-e\s+|--editable[ =]\s*)?(\.{1,2}(?:/[^\s\[;#]*)?|/[^\s\[;#]+)", re.MULTILINE)
# uv's settings that say where, not what: those are the builder's own.
_OWN_SETTINGS = re.compile(r"UV_(LINK_MODE|CACHE_DIR|PYTHON\w*|PROJECT_ENVIRONMENT|TOOL\w*|SYSTEM_PYTHON|NO_CACHE)")


@dataclass
class StageState:
    """What the instructions so far have made."""

    rootfs: Path
    environments: dict[str, Environment]  # by image path
    config: ImageConfig
    args: dict[str, str] = field(default_factory=dict)
    users: dict[str, tuple[int, str]] = field(default_factory=lambda: {"root": (0, "/root")})  # uid and home

    @property
    def variables(self) -> dict[str, str]:
        """What instructions and RUN lines see: ENV wins over ARG, as in Docker."""
        return {**self.args, **self.config.env}

    @property
    def paths(self) -> PathMap:
        return PathMap.of(self.rootfs, self.folders, self.config.workdir)

    @property
    def folders(self) -> dict[str, Path]:
        return {place: environment.directory for place, environment in self.environments.items()}

    def absolute(self, path: str) -> str:
        """An image path, relative ones from WORKDIR; a closing slash stays."""
        joined = os.path.normpath(os.path.join("/", self.config.workdir, path))
        return f"{joined.rstrip('/')}/" if path.endswith(("/", "/.")) or path == "." else joined

    def set_workdir(self, path: str) -> None:
        workdir = os.path.normpath(os.path.join("/", self.config.workdir, path))
        place_in(self.rootfs, workdir).mkdir(parents=True, exist_ok=True)
        self.config = replace(self.config, workdir=workdir)

    def set_user(self, text: str) -> None:
        """USER. Raises RunLineError for a name that no useradd made."""
        name = text.partition(":")[0]
        if name.isdigit():
            known = {str(uid): (uid, home) for uid, home in self.users.values()}
            uid, home = known.get(name, (int(name), "/"))
        elif name in self.users:
            uid, home = self.users[name]
        else:
            raise RunLineError(f"the user {name} does not exist in the image", "make it by RUN useradd, or use its UID")
        self.config = replace(self.config, user=text, uid=uid, home=home)


class LineRunner:
    """Runs the commands of one RUN line on a stage."""

    def __init__(self, stage: StageState, environments: Environments, sandbox: Sandbox, progress: Progress) -> None:
        self._stage, self._environments, self._sandbox, self._progress = stage, environments, sandbox, progress
        self._variables = dict(stage.variables)  # export and activate last until the end of the line
        self._workdir = stage.config.workdir

    @property
    def variables(self) -> Mapping[str, str]:
        return self._variables

    async def run(self, command: ShellCommand) -> None:
        """Raises RunLineError and CommandFailed."""
        if not command.words:
            self._variables.update(command.assignments)
            return
        program = command.words[0]
        if program in runlines.PACKAGE_MANAGERS:
            self._progress(f"{program} {' '.join(command.words[1:])}: assumed to be on this machine")
        elif program in runlines.FILE_COMMANDS:
            await asyncio.to_thread(self._file_command, command.words)
        elif program in runlines.USER_COMMANDS:
            self._user_command(command.words)
        elif program in runlines.SHELL_COMMANDS:
            self._shell_command(command.words)
        else:
            await self._python_command(command)

    def _file_command(self, words: Sequence[str]) -> None:
        if words[0] in ("rm", "mv"):
            places = [self._stage.absolute(word).rstrip("/") for word in words[1:]]
            touched = next((place for place in places if place in self._stage.environments), None)
            if touched and touched != SYSTEM_ENVIRONMENT:
                raise RunLineError(f"{words[0]} of the environment {touched} is not supported", "leave it in its stage")
        run_file_command(words, self._stage.rootfs, self._workdir)

    def _shell_command(self, words: Sequence[str]) -> None:
        if words[0] == "cd":
            self._workdir = os.path.normpath(os.path.join(self._workdir, *words[1:2]))
            if not place_in(self._stage.rootfs, self._workdir).is_dir():
                raise RunLineError(f"{self._workdir} is not in the image", "make it with WORKDIR or mkdir")
        elif words[0] == "export":
            self._variables.update(word.partition("=")[::2] for word in words[1:] if "=" in word)
        elif words[0] in (".", "source"):
            place = os.path.join(self._workdir, words[1]).removesuffix("/bin/activate")
            if place not in self._stage.environments:
                raise RunLineError(f"{' '.join(words)} is not the activation of an environment", "set PATH by ENV")
            self._variables["PATH"] = f"{place}/bin:{self._variables.get('PATH', '')}"
            self._variables["VIRTUAL_ENV"] = place

    def _user_command(self, words: Sequence[str]) -> None:
        if words[0] in ("groupadd", "addgroup", "usermod"):
            return
        options = {"-u": "", "--uid": "", "-d": "", "--home-dir": "", "--home": ""}
        for number, word in enumerate(words[:-1]):
            name, equals, value = word.partition("=")
            if name in options:
                options[name] = value if equals else words[number + 1]
        name = words[-1]
        if words[0] == "adduser" and len(words) > 2 and words[-2] in self._stage.users:
            return  # adduser user group
        uid = options["-u"] or options["--uid"] or str(1000 + len(self._stage.users) - 1)
        home = options["-d"] or options["--home-dir"] or options["--home"] or f"/home/{name}"
        if not uid.isdigit():
            raise RunLineError(f"{words[0]} has the UID {uid!r}", "give a number")
        self._stage.users[name] = (int(uid), home)
        if home not in ("/nonexistent", "/"):
            place_in(self._stage.rootfs, home).mkdir(parents=True, exist_ok=True)

    async def _python_command(self, command: ShellCommand) -> None:
        variables = {**self._variables, **dict(command.assignments)}
        read = runlines.read_python(command.words)
        if isinstance(read, runlines.Install):
            await self._install(command, read, variables)
        elif isinstance(read, runlines.Sync):
            await self._sync(command, read, variables)
        elif isinstance(read, runlines.MakeEnvironment):
            await self._make_environment(read)
        elif isinstance(read, runlines.Execute):
            await self._execute(read, variables)

    async def _make_environment(self, read: runlines.MakeEnvironment) -> None:
        place = self._image_path(read.path)
        python = self._stage.environments[SYSTEM_ENVIRONMENT].interpreter
        self._stage.environments[place] = await self._environments.empty(python)

    def _image_path(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._workdir, path))

    async def _install(self, command: ShellCommand, read: runlines.Install, variables: Mapping[str, str]) -> None:
        place = self._target(read, variables)
        if place not in self._stage.environments:  # pip install --prefix
            await self._make_environment(runlines.MakeEnvironment(place))
        if read.editables:
            self._progress(f"{command.words[0]}: an editable project is installed as it is now")
        files = self._requirement_files(read.files)
        projects = [self._place(project.partition("[")[0]) for project in read.projects]
        projects += [found for file in files for found in self._local_requirements(file)]
        identity = [" ".join(command.words), await asyncio.to_thread(digest_of, [*files, *projects])]
        await self._extend(place, ["pip", read.verb, *self._rewritten(read.arguments)], identity, variables)

    def _rewritten(self, words: Sequence[str]) -> list[str]:
        return [self._stage.paths.rewrite(word) for word in words]

    def _target(self, read: runlines.Install, variables: Mapping[str, str]) -> str:
        """The image path of the environment that an installation goes to, by the tools' own rules."""
        if read.prefix is not None:
            return self._image_path(read.prefix)
        known = self._stage.environments
        if read.python is not None and "/bin/" in read.python:
            place = os.path.join(self._workdir, read.python.partition("/bin/")[0])
            if place not in known:
                raise RunLineError(f"{read.python} is in no environment of this stage", "make it with python -m venv")
            return place
        if read.is_system or (read.by_uv and variables.get("UV_SYSTEM_PYTHON", "") not in ("", "0", "false")):
            return environment_on_path(variables.get("PATH", ""), self._stage.folders) or SYSTEM_ENVIRONMENT
        if read.by_uv:
            beside = os.path.join(self._workdir, ".venv")
            place = variables.get("VIRTUAL_ENV") or (beside if beside in known else "")
            if place not in known:
                raise RunLineError("uv pip finds no virtual environment here", "add --system, or RUN uv venv before")
            return place
        return environment_on_path(variables.get("PATH", ""), self._stage.folders) or SYSTEM_ENVIRONMENT

    async def _sync(self, command: ShellCommand, read: runlines.Sync, variables: Mapping[str, str]) -> None:
        place = self._project_environment(variables)
        if place not in self._stage.environments:
            await self._make_environment(runlines.MakeEnvironment(place))
        folder = self._place(".")
        reads = [folder / name for name in ("pyproject.toml", "uv.lock") if (folder / name).is_file()]
        if read.installs_project:
            reads = [folder]
        identity = [" ".join(command.words), await asyncio.to_thread(digest_of, reads)]
        # Not editable: the build's folder is not where the image will be.
        arguments = ["sync", *read.arguments, *([] if "--no-editable" in read.arguments else ["--no-editable"])]
        await self._extend(place, [word for word in arguments if word != "--active"], identity, variables)

    def _project_environment(self, variables: Mapping[str, str]) -> str:
        return self._image_path(variables.get("UV_PROJECT_ENVIRONMENT") or ".venv")

    async def _extend(
        self, place: str, arguments: Sequence[str], identity: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        settings = {name: value for name, value in variables.items() if name.startswith("UV_")}
        settings = {name: value for name, value in settings.items() if not _OWN_SETTINGS.fullmatch(name)}
        self._stage.environments[place] = await self._environments.install(
            self._stage.environments[place],
            arguments,
            identity=identity,
            settings=settings,
            cwd=self._place("."),
            progress=self._progress,
        )

    async def _execute(self, read: runlines.Execute, variables: Mapping[str, str]) -> None:
        stage = self._stage
        path = variables.get("PATH", "")
        if read.in_project:
            path = f"{self._project_environment(variables)}/bin:{path}"
        settings = {
            **variables,
            "PATH": ":".join(search_path(path, stage.rootfs, stage.folders, stage.paths)),
            "HOME": stage.config.home,
            "PYTHONDONTWRITEBYTECODE": "1",  # byte code is compiled once, at the end
        }
        own = dict(stage.paths.entries)
        if (await self._sandbox.probe()).kind == "namespace":
            words = [stage.paths.only_system.rewrite(word) for word in read.words]
            words[0] = words[0] if "/" in words[0] else shutil.which(words[0], path=settings["PATH"]) or words[0]
            visible = [stage.rootfs, *stage.folders.values()]
            launch = self._sandbox.command(words, settings, self._workdir, own, visible=visible, uid=stage.config.uid)
            await run(launch.argv, cwd=launch.cwd, env=launch.env, progress=self._progress)
        else:
            env = {**stage.paths.environment(settings), "HOME": str(place_in(stage.rootfs, stage.config.home))}
            await run(self._rewritten(read.words), cwd=self._place("."), env=env, progress=self._progress)

    def _place(self, path: str) -> Path:
        try:
            found = place_in(self._stage.rootfs, os.path.join(self._workdir, path))
        except CopyError as error:
            raise RunLineError(str(error), "correct the path") from None
        if not found.exists():
            raise RunLineError(f"{path} is not in the image", "COPY it before")
        return found

    def _requirement_files(self, files: Sequence[str]) -> list[Path]:
        """The files and those that they include; URLs are left to uv."""
        found: list[Path] = []
        waiting = [self._place(name) for name in files if "://" not in name]
        while waiting:
            file = waiting.pop()
            if file in found or not file.is_file():
                continue
            found.append(file)
            included = _INCLUDES.findall(file.read_text()) if file.suffix == ".txt" else []
            waiting += [file.parent / name for name in included if "://" not in name]
        return sorted(found)

    def _local_requirements(self, file: Path) -> list[Path]:
        if file.suffix != ".txt":
            return []
        candidates = (file.parent / name for name in _LOCAL.findall(file.read_text()))
        return [place for place in candidates if place.exists()]


def base_variables(version: str) -> dict[str, str]:
    """What the official python images set."""
    return {
        "PATH": "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHON_VERSION": version,
    }


def builder_platform() -> str:
    """What else than the project decides what a build makes: this machine's kind."""
    return f"{platform.system()}-{platform.machine()}"
