"""The instructions of a Dockerfile as `dockerfile.parse` reads them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


class DockerfileError(ValueError):
    """What cannot be built here, in one sentence: line, text, cause, remedy."""

    def __init__(self, line: int, text: str, cause: str, remedy: str) -> None:
        shown = " ".join(text.split())
        shown = shown if len(shown) <= 100 else f"{shown[:97]}..."
        super().__init__(f"Dockerfile line {line}: {shown!r}: {cause}; {remedy}.")
        self.line, self.text, self.cause, self.remedy = line, text, cause, remedy


@dataclass(frozen=True)
class Instruction:
    """One instruction, with the line on which it starts."""

    line: int
    text: str


@dataclass(frozen=True)
class Arg(Instruction):
    name: str
    default: str | None  # as written: expanded when it is reached


@dataclass(frozen=True)
class Env(Instruction):
    pairs: tuple[tuple[str, str], ...]  # values as written


@dataclass(frozen=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True)
class Copy(Instruction):
    sources: tuple[str, ...]
    destination: str
    stage: str | None  # of --from: a stage's name or number, or uv's own image
    mode: str | None  # of --chmod: octal


@dataclass(frozen=True)
class Mount:
    """A `--mount=type=bind` of a RUN line; cache mounts are not needed, for uv has a cache of its own."""

    source: str
    target: str
    stage: str | None


@dataclass(frozen=True)
class Run(Instruction):
    command: str  # the line for the shell; "" for the exec form
    argv: tuple[str, ...]  # of the exec form
    mounts: tuple[Mount, ...]


@dataclass(frozen=True)
class User(Instruction):
    user: str


@dataclass(frozen=True)
class Expose(Instruction):
    ports: tuple[str, ...]


@dataclass(frozen=True)
class Label(Instruction):
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Command(Instruction):
    """CMD or ENTRYPOINT; the shell form is ("/bin/sh", "-c", line), as Docker stores it."""

    argv: tuple[str, ...]
    is_entrypoint: bool


@dataclass(frozen=True)
class Note(Instruction):
    """An instruction without effect on Cloud Run, and why."""

    message: str


@dataclass(frozen=True)
class Stage:
    name: str  # of AS; "" without
    line: int
    text: str
    base: str  # an earlier stage's name, or ""
    python: str  # the version that the tag asks for: "3.12", or "" for any
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """The stages that the last one needs, in order, by key (name, or number as text)."""

    stages: Mapping[str, Stage]
    arguments: Mapping[str, str]  # ARG before the first FROM, with --build-arg applied

    @property
    def target(self) -> str:
        return list(self.stages)[-1]
