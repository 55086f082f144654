"""Reads a project's own Dockerfile, as far as it can be run without a container engine. Pure.

A strict subset of the Dockerfile reference (docs.docker.com/reference/dockerfile): `FROM python`, files, Python
packages, Django's commands. Whatever else a needed stage asks for raises `DockerfileError`, which names line,
text and remedy; nothing is skipped in silence. Stages that the last one does not need are not read, as in BuildKit.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from localcloud.runtime import shellwords
from localcloud.runtime.instructions import (
    Arg,
    Command,
    Copy,
    Dockerfile,
    DockerfileError,
    Env,
    Expose,
    Instruction,
    Label,
    Mount,
    Note,
    Run,
    Stage,
    User,
    Workdir,
)
from localcloud.runtime.runlines import RunLineError, check_command

UV_IMAGE = re.compile(r"(ghcr\.io/astral-sh|docker\.io/astral|astral)/uv(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")
_PYTHON_IMAGE = re.compile(
    r"((docker\.io/)?(library/)?|public\.ecr\.aws/docker/library/|mirror\.gcr\.io/(library/)?)"
    r"python(:(?P<tag>[\w.-]+))?(@sha256:[0-9a-f]{64})?"
)
_FLAG = re.compile(r"--(?P<name>[a-z-]+)(=(?P<value>\S*))?\s*")
_HEREDOC = re.compile(r"'[^']*'|\"[^\"]*\"|(?P<found><<-?\s*[\"']?[A-Za-z_])")  # not within quotes
_ARCHIVE = re.compile(r"\.(tar|tar\.\w+|tgz|tbz2|txz)$")
_REFUSED = {
    "ONBUILD": "put what it would run into the Dockerfile that uses it",
    "SHELL": "write the commands as RUN lines of /bin/sh",
    "ADD": "use COPY",
}
_IGNORED = {
    "HEALTHCHECK": "Cloud Run has probes of its own",
    "VOLUME": "Cloud Run knows no image volumes",
    "STOPSIGNAL": "Cloud Run sends SIGTERM",
    "MAINTAINER": "it is a comment",
}


@dataclass(frozen=True)
class _Line:
    number: int
    keyword: str
    rest: str
    flags: tuple[tuple[str, str], ...]
    text: str

    def error(self, cause: str, remedy: str) -> DockerfileError:
        return DockerfileError(self.number, self.text, cause, remedy)

    def flag(self, name: str) -> str | None:
        return next((value for key, value in self.flags if key == name), None)

    def allow(self, *names: str) -> None:
        for name, _ in self.flags:
            if name not in names:
                raise self.error(f"the flag --{name} is not supported here", f"write {self.keyword} without it")


def parse(text: str, *, assume_system_packages: bool = False, arguments: Mapping[str, str] | None = None) -> Dockerfile:
    """Reads a Dockerfile. `arguments` are --build-arg's. Raises DockerfileError."""
    lines = _lines(text)
    groups = _stages(lines)
    global_arguments = _global_arguments(lines, arguments or {})
    heads = [_head(group[0], global_arguments) for group in groups]
    keys = [name or str(number) for number, (name, _) in enumerate(heads)]
    stages: dict[str, Stage] = {}
    for number in sorted(_needed(groups, heads, keys, global_arguments)):
        base, python = _base(groups[number][0], heads[number][1], keys[:number])
        body = tuple(_instruction(line, assume_system_packages) for line in groups[number][1:])
        line = groups[number][0]
        stages[keys[number]] = Stage(heads[number][0], line.number, line.text, base, python, body)
    return Dockerfile(stages, global_arguments)


def _lines(text: str) -> list[_Line]:
    """Logical lines: continuations joined, comments dropped (also inside continuations), as Docker does."""
    found: list[_Line] = []
    parts: list[str] = []
    start, in_directives = 0, True
    for number, raw in enumerate(text.splitlines(), start=1):
        stripped = raw.strip()
        if stripped.startswith("#"):
            directive = re.fullmatch(r"#\s*escape\s*=\s*(\S+)", stripped) if in_directives else None
            if directive and directive[1] != "\\":
                raise DockerfileError(number, stripped, "only \\ continues a line here", "drop the directive")
            continue
        if not stripped:
            continue
        in_directives = False
        start = start if parts else number
        continued = raw.rstrip().endswith("\\")
        parts.append(raw.rstrip()[:-1] if continued else raw)
        if not continued:
            found.append(_line(start, "".join(parts).strip()))
            parts = []
    if parts:
        found.append(_line(start, "".join(parts).strip()))
    if not any(line.keyword == "FROM" for line in found):
        raise DockerfileError(1, text[:40], "there is no FROM", "begin with FROM python:<version>-slim")
    return found


def _line(number: int, text: str) -> _Line:
    keyword, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    rest = rest.strip()
    flags: list[tuple[str, str]] = []
    while keyword.upper() in ("FROM", "COPY", "ADD", "RUN", "HEALTHCHECK") and (flag := _FLAG.match(rest)):
        flags.append((flag["name"], flag["value"] or ""))
        rest = rest[flag.end() :]
    line = _Line(number, keyword.upper(), rest, tuple(flags), text)
    if line.keyword in ("RUN", "COPY", "ADD") and any(piece["found"] for piece in _HEREDOC.finditer(rest)):
        if line.keyword == "RUN":
            raise line.error("here-documents cannot be run", "write the commands as RUN lines joined by &&")
        raise line.error("here-documents cannot be read here", "keep the file in the project and COPY it")
    return line


def _stages(lines: list[_Line]) -> list[list[_Line]]:
    groups: list[list[_Line]] = []
    for line in lines:
        if line.keyword == "FROM":
            groups.append([line])
        elif groups:
            groups[-1].append(line)
        elif line.keyword != "ARG":
            raise line.error("only ARG may stand before the first FROM", "move it below FROM")
    return groups


def _global_arguments(lines: list[_Line], given: Mapping[str, str]) -> dict[str, str]:
    values = {"TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/amd64", "TARGETARCH": "amd64"}
    for line in lines:
        if line.keyword == "FROM":
            break
        for name, default in _arguments(line):
            values[name] = expanded(line, default or "", values) if name not in given else given[name]
    return {**values, **given}


def expanded(line: "_Line | Instruction", text: str, variables: Mapping[str, str]) -> str:
    """`text` with variables filled in. Raises DockerfileError naming the instruction."""
    try:
        return shellwords.expand(text, variables)
    except shellwords.ShellSyntaxError as error:
        number = line.number if isinstance(line, _Line) else line.line
        raise DockerfileError(number, line.text, f"it holds {error}", "write the value out") from None


def _head(line: _Line, arguments: Mapping[str, str]) -> tuple[str, str]:
    line.allow("platform")
    words = line.rest.split()
    if len(words) == 3 and words[1].upper() == "AS":
        return words[2].lower(), expanded(line, words[0], arguments)
    if len(words) != 1:
        raise line.error("FROM takes an image and a name", "write FROM python:<version>-slim AS <name>")
    return "", expanded(line, words[0], arguments)


def _base(line: _Line, image: str, earlier: list[str]) -> tuple[str, str]:
    if image.lower() in earlier:
        return image.lower(), ""
    python = _PYTHON_IMAGE.fullmatch(image)
    if python is None:
        raise line.error(
            f"the base image {image or '(empty)'} cannot be unpacked without a container engine",
            "use FROM python:<version>-slim, or build this image with Cloud Build",
        )
    version = re.match(r"\d+(\.\d+)*", python["tag"] or "")
    return "", version[0] if version else ""


def _needed(
    groups: list[list[_Line]], heads: list[tuple[str, str]], keys: list[str], arguments: Mapping[str, str]
) -> set[int]:
    needed: set[int] = set()
    open_stages = [len(groups) - 1]
    while open_stages:
        number = open_stages.pop()
        if number in needed:
            continue
        needed.add(number)
        wanted = [heads[number][1].lower()]
        for line in groups[number][1:]:
            wanted += [expanded(line, value, arguments).lower() for name, value in line.flags if name == "from"]
            mounts = [value for name, value in line.flags if name == "mount"]
            wanted += [part[5:].lower() for value in mounts for part in value.split(",") if part[:5] == "from="]
        open_stages += [index for index in range(number) if keys[index] in wanted or str(index) in wanted]
    return needed


def _instruction(line: _Line, assume_system_packages: bool) -> Instruction:
    if line.keyword in _IGNORED:
        return Note(line.number, line.text, f"{line.keyword} is ignored: {_IGNORED[line.keyword]}")
    if line.keyword == "RUN":
        return _run(line, assume_system_packages)
    reader = _READERS.get(line.keyword)
    if reader is None:
        remedy = _REFUSED.get(line.keyword)
        if remedy is None:
            raise line.error(f"{line.keyword} is no instruction of a Dockerfile", "correct its spelling or remove it")
        raise line.error(f"{line.keyword} cannot be built without a container engine", remedy)
    if not line.rest:
        raise line.error(f"{line.keyword} has no argument", "give one")
    return reader(line)


def _arguments(line: _Line) -> list[tuple[str, str | None]]:
    pairs = [word.partition("=") for word in shellwords.split(line.rest)]
    return [(name, value if equals else None) for name, equals, value in pairs]


def _arg(line: _Line) -> Instruction:
    pairs = _arguments(line)
    if len(pairs) != 1:
        raise line.error("one ARG declares one variable here", "write one ARG line for each")
    return Arg(line.number, line.text, *pairs[0])


def _pairs(line: _Line) -> tuple[tuple[str, str], ...]:
    words = _words(line)
    if "=" not in words[0]:  # the old form: ENV name the rest is the value
        name, _, value = line.rest.partition(" ")
        return ((name, value.strip()),)
    found = [word.partition("=") for word in words]
    for name, equals, _ in found:
        if not equals:
            raise line.error(f"{name} has no value", "write name=value, with quotes round blanks")
    return tuple((expanded(line, name, {}), value) for name, _, value in found)


def _words(line: _Line) -> list[str]:
    try:
        return shellwords.split(line.rest)
    except shellwords.ShellSyntaxError as error:
        raise line.error(f"it holds {error}", "write the value out") from None


def _copy(line: _Line) -> Instruction:
    line.allow("from", "chown", "chmod", "link")
    words = list(exec_form(line.rest) or _words(line))
    if len(words) < 2:
        raise line.error(f"{line.keyword} takes sources and a destination", "name both")
    if line.keyword == "ADD":
        for source in words[:-1]:
            if "://" in source or source.startswith("git@"):
                raise line.error("ADD from the network cannot be built here", "keep the file in the project")
            if _ARCHIVE.search(source):
                raise line.error("ADD would unpack this archive", "keep the unpacked files and use COPY")
    mode = line.flag("chmod")
    if mode is not None and not re.fullmatch(r"[0-7]{3,4}", mode):
        raise line.error(f"--chmod={mode} is not octal", "write it as 755, say")
    return Copy(line.number, line.text, tuple(words[:-1]), words[-1], line.flag("from"), mode)


def _run(line: _Line, assume_system_packages: bool) -> Instruction:
    line.allow("mount", "network", "security")
    mounts = tuple(mount for name, value in line.flags if name == "mount" for mount in _mount(line, value))
    argv = tuple(exec_form(line.rest) or ())
    try:
        parsed = [shellwords.ShellCommand(argv)] if argv else shellwords.commands(line.rest, {})
        for command in parsed:
            check_command(command, assume_system_packages=assume_system_packages)
    except shellwords.ShellSyntaxError as error:
        remedy = "write plain commands, and COPY what it would bring from the project"
        raise line.error(f"it holds {error}, which needs a shell", remedy) from None
    except RunLineError as error:
        raise line.error(error.cause, error.remedy) from None
    return Run(line.number, line.text, "" if argv else line.rest, argv, mounts)


def _mount(line: _Line, value: str) -> list[Mount]:
    options = dict(part.partition("=")[::2] for part in value.split(","))
    kind = options.get("type", "bind")
    if kind in ("cache", "tmpfs"):
        return []
    target = options.get("target") or options.get("dst") or options.get("destination")
    if kind != "bind" or target is None:
        raise line.error(f"a {kind} mount cannot be made here", "pass what it brings by ARG or COPY")
    return [Mount(options.get("source") or options.get("src") or ".", target, options.get("from"))]


def _expose(line: _Line) -> Instruction:
    return Expose(line.number, line.text, tuple(line.rest.split()))


def _command(line: _Line) -> Instruction:
    argv = exec_form(line.rest)
    shell = ["/bin/sh", "-c", line.rest]
    return Command(line.number, line.text, tuple(shell if argv is None else argv), line.keyword == "ENTRYPOINT")


def exec_form(text: str) -> list[str] | None:
    """The words of a JSON array, or None where the text is none (then it is the shell form, as in Docker)."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


_READERS: Mapping[str, Callable[[_Line], Instruction]] = {
    "ARG": _arg,
    "ENV": lambda line: Env(line.number, line.text, _pairs(line)),
    "LABEL": lambda line: Label(line.number, line.text, _pairs(line)),
    "WORKDIR": lambda line: Workdir(line.number, line.text, line.rest),
    "USER": lambda line: User(line.number, line.text, line.rest),
    "COPY": _copy,
    "ADD": _copy,
    "EXPOSE": _expose,
    "CMD": _command,
    "ENTRYPOINT": _command,
}
