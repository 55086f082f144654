"""What a RUN line may do without a container engine, and how its pip and uv commands read. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from localcloud.runtime.shellwords import ShellCommand

FILE_COMMANDS = frozenset(["mkdir", "chown", "chgrp", "chmod", "rm", "touch", "ln", "cp", "mv"])
USER_COMMANDS = frozenset(["useradd", "adduser", "groupadd", "addgroup", "usermod"])
SHELL_COMMANDS = frozenset(["cd", "export", "set", "true", ":", "echo", ".", "source"])
PACKAGE_MANAGERS = frozenset(["apt-get", "apt", "apk", "dnf", "yum", "microdnf"])
_PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
_PIP = re.compile(r"pip(\d+(\.\d+)?)?")
_REMEDIES = {
    "poetry": "export a requirements file and install it with pip, or use uv",
    "pipenv": "export a requirements file and install it with pip, or use uv",
    "pdm": "export a requirements file and install it with pip, or use uv",
    "npm": "build the assets before, and COPY them",
    "yarn": "build the assets before, and COPY them",
    "curl": "keep the file in the project and COPY it",
    "wget": "keep the file in the project and COPY it",
    "git": "keep the files in the project and COPY them",
    "if": "write out the commands that are meant",
    "for": "write its commands out",
    "while": "write its commands out",
    "sh": "write its commands as RUN lines",
    "bash": "write its commands as RUN lines",
}
# pip's options, as uv understands them: True takes a value. What only concerns pip's output and cache is dropped.
_PASSED = {
    "-r": True, "--requirement": True, "-c": True, "--constraint": True, "-e": True, "--editable": True,
    "-i": True, "--index-url": True, "--extra-index-url": True, "-f": True, "--find-links": True,
    "--only-binary": True, "--no-binary": True, "--group": True, "--extra": True, "--index": True,
    "--require-hashes": False, "--no-deps": False, "-U": False, "--upgrade": False, "--pre": False,
    "--no-index": False, "--no-build-isolation": False, "--no-build": False, "--all-extras": False,
    "--force-reinstall": False, "--strict": False, "--no-verify-hashes": False,
}  # fmt: skip
_DROPPED = {
    "--timeout": True, "--default-timeout": True, "--retries": True, "--trusted-host": True, "--cache-dir": True,
    "--root-user-action": True, "--progress-bar": True, "--link-mode": True, "--no-cache-dir": False,
    "--no-cache": False, "-n": False, "--disable-pip-version-check": False, "--no-warn-script-location": False,
    "--no-input": False, "--prefer-binary": False, "--no-compile": False, "--compile": False, "-q": False,
    "--quiet": False, "-qq": False, "-v": False, "--verbose": False, "--break-system-packages": False,
    "--compile-bytecode": False, "--no-python-downloads": False, "--no-progress": False,
}  # fmt: skip
_PLACED = {"--prefix": True, "--system": False, "--python": True, "-p": True}
_OPTIONS: Mapping[str, bool] = {**_PASSED, **_DROPPED, **_PLACED}
_SYNC_OPTIONS = {
    "--frozen": False, "--locked": False, "--no-dev": False, "--no-install-project": False, "--no-editable": False,
    "--all-extras": False, "--extra": True, "--group": True, "--no-group": True, "--only-group": True,
    "--no-default-groups": False, "--all-groups": False, "--dev": False, "--inexact": False, "--package": True,
    "--no-install-workspace": False, "--no-sources": False, "--active": False, "--all-packages": False,
    "--no-install-package": True, "--no-build-isolation": False,
}  # fmt: skip
_RUN_OPTIONS = {"--frozen": False, "--locked": False, "--no-sync": False, "--no-dev": False, "--no-project": False}
_VENV_OPTIONS = {
    "--python": True, "-p": True, "--seed": False, "--relocatable": False, "--copies": False, "--clear": False,
    "--upgrade-deps": False, "--without-pip": False, "--symlinks": False, "--no-project": False, "--prompt": True,
    "--allow-existing": False,
}  # fmt: skip


class RunLineError(ValueError):
    """A command that cannot be run here; cause and remedy are one sentence together."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}; {remedy}.")
        self.cause, self.remedy = cause, remedy


@dataclass(frozen=True)
class Install:
    """pip install, uv pip install or uv pip sync."""

    verb: str  # install | sync
    arguments: tuple[str, ...]  # for uv
    prefix: str | None
    python: str | None
    is_system: bool  # --system
    by_uv: bool
    files: tuple[str, ...]  # requirement and constraint files, whose content decides
    projects: tuple[str, ...]  # local projects, wheels and folders, whose content decides
    editables: int = 0


@dataclass(frozen=True)
class Sync:
    """uv sync."""

    arguments: tuple[str, ...]

    @property
    def installs_project(self) -> bool:
        return not {"--no-install-project", "--no-install-workspace"} & set(self.arguments)


@dataclass(frozen=True)
class MakeEnvironment:
    """python -m venv, virtualenv, uv venv."""

    path: str


@dataclass(frozen=True)
class Execute:
    """A program of the project or of its environment, run as it is."""

    words: tuple[str, ...]
    in_project: bool = False  # uv run: in the project's own environment


@dataclass(frozen=True)
class Nothing:
    """A command whose effect an image here does not need."""

    reason: str


PythonCommand = Install | Sync | MakeEnvironment | Execute | Nothing


def check_command(command: ShellCommand, *, assume_system_packages: bool) -> None:
    """Raises RunLineError for a command that could not be run."""
    if not command.words:
        return
    program = PurePosixPath(command.words[0]).name
    if command.words[0] in PACKAGE_MANAGERS:
        if not assume_system_packages:
            raise RunLineError(
                f"{program} installs system packages, which only a container engine can",
                "use wheels that bring their libraries, or pass --assume-system-packages if this machine has them",
            )
        return
    if command.words[0] in FILE_COMMANDS | USER_COMMANDS | SHELL_COMMANDS:
        return
    if read_python(command.words) is None:
        remedy = _REMEDIES.get(program, "do it in a management command, or before the build and COPY the result")
        raise RunLineError(f"{program} cannot be run without a container engine", remedy)


def read_python(words: Sequence[str]) -> PythonCommand | None:
    """What a command of Python, pip, uv or Django means; None for any other. Raises RunLineError."""
    program, rest = PurePosixPath(words[0]).name, tuple(words[1:])
    folder = words[0].removesuffix(f"/bin/{program}") if "/bin/" in words[0] else None
    if program in ("uv", "uvx"):
        return _uv(program, rest)
    if _PIP.fullmatch(program):
        return _pip(rest, folder)
    if _PYTHON.fullmatch(program):
        if rest[:2] == ("-m", "pip"):
            return _pip(rest[2:], folder)
        if rest[:2] == ("-m", "uv"):
            return _uv("uv", rest[2:])
        if rest[:2] in (("-m", "venv"), ("-m", "virtualenv")):
            return _venv("python -m venv", rest[2:], ".")
        return Execute(tuple(words))
    if program == "virtualenv":
        return _venv(program, rest, ".")
    if program in ("django-admin", "compilemessages") or program.endswith(".py"):
        return Execute(tuple(words))
    return None


def _pip(words: tuple[str, ...], folder: str | None) -> PythonCommand:
    verb, rest = _verb(words)
    if verb == "install":
        return _install("install", rest, folder, by_uv=False)
    if verb in ("cache", "check", "list", "freeze", "config", "--version"):
        return Nothing(f"pip {verb} leaves nothing in an image")
    raise RunLineError(f"pip {verb} cannot be run here", "use pip install -r into an environment that is copied whole")


def _verb(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The subcommand, which options may precede (`pip --no-cache-dir install`)."""
    leading = [word for word in words[:1] if word in _DROPPED and not _DROPPED[word]]
    if leading:
        return _verb(words[1:])
    return (words[0], words[1:]) if words else ("(nothing)", ())


def _uv(program: str, words: tuple[str, ...]) -> PythonCommand:
    verb, rest = _verb(words)
    if verb == "pip" and rest and rest[0] in ("install", "sync"):
        return _install(rest[0], rest[1:], None, by_uv=True)
    if verb == "sync":
        options, others, _ = _options("uv sync", rest, {**_SYNC_OPTIONS, **_DROPPED, **_PLACED})
        if others:
            raise RunLineError(f"uv sync takes no {others[0]!r}", "remove it")
        return Sync(tuple(word for pair in options if pair[0] in _SYNC_OPTIONS for word in pair if word))
    if verb == "venv":
        return _venv("uv venv", rest, ".venv")
    if verb == "run":
        count = next((number for number, word in enumerate(rest) if not word.startswith("-")), len(rest))
        _options("uv run", rest[:count], {**_RUN_OPTIONS, **_DROPPED})
        if count < len(rest):
            return Execute(rest[count:], in_project=True)
    if verb in ("cache", "--version", "python") and program == "uv":
        return Nothing(f"uv {verb} leaves nothing in an image")
    raise RunLineError(f"{program} {verb} cannot be run here", "use uv sync, uv venv, uv pip install or uv run")


def _venv(tool: str, words: tuple[str, ...], default: str) -> MakeEnvironment:
    _, others, _ = _options(tool, words, {**_VENV_OPTIONS, **_DROPPED})
    if len(others) > 1:
        raise RunLineError(f"{tool} makes one environment at a time", "write one line for each")
    return MakeEnvironment(others[0] if others else default)


def _install(verb: str, words: tuple[str, ...], folder: str | None, *, by_uv: bool) -> Install:
    tool = f"uv pip {verb}" if by_uv else "pip install"
    options, others, placed = _options(tool, words, _OPTIONS)
    passed = [pair for pair in options if pair[0] in _PASSED]
    names = {"-e": "--editable", "-r": "--requirement", "-c": "--constraint"}
    files = [value for name, value in passed if names.get(name, name) in ("--requirement", "--constraint")]
    editables = [value for name, value in passed if names.get(name, name) == "--editable"]
    # An editable install would point into the build's folder: the project is installed as it is now.
    kept = [word for pair in passed if names.get(pair[0], pair[0]) != "--editable" for word in pair if word]
    local = [word for word in others if _is_path(word)]
    if verb == "sync":
        files, local, others = [*files, *others], [], others
    if not (files or others or editables or any(name in ("--group",) for name, _ in passed)):
        raise RunLineError(f"{tool} has nothing to install", "name packages or -r requirements.txt")
    return Install(
        verb,
        (*kept, *editables, *others),
        placed.get("--prefix"),
        placed.get("--python") or placed.get("-p") or (folder and f"{folder}/bin/python"),
        "--system" in placed,
        by_uv,
        tuple(files),
        (*local, *editables),
        len(editables),
    )


def _is_path(word: str) -> bool:
    name = word.partition("[")[0]
    return name.startswith((".", "/")) or name.endswith((".whl", ".tar.gz"))


def _options(
    tool: str, words: tuple[str, ...], known: Mapping[str, bool]
) -> tuple[list[tuple[str, str]], list[str], dict[str, str]]:
    """Options as (name, value or ""), the other words, and those options that say where."""
    options: list[tuple[str, str]] = []
    others: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            others.append(word)
            continue
        if not word.startswith("--") and len(word) > 2 and word[:2] in known and word not in known:
            name, equals, value = word[:2], "=", word[2:]  # -rrequirements.txt
        if name not in known:
            raise RunLineError(f"{tool} {name} is not supported here", "write the line without it")
        if known[name] and not equals:
            if not remaining:
                raise RunLineError(f"{tool} {name} has no value", "give it one")
            value = remaining.pop(0)
        options.append((name, value))
    placed = {name: value for name, value in options if name in _PLACED}
    return options, others, placed
