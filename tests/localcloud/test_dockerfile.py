"""Which Dockerfiles can be built without a container engine, and how they read."""

import pytest

from localcloud.runtime import shellwords
from localcloud.runtime.dockerfile import parse
from localcloud.runtime.instructions import Arg, Command, Copy, DockerfileError, Env, Mount, Note, Run
from localcloud.runtime.runlines import Install, MakeEnvironment, Nothing, Sync, read_python

ACCEPTED_RUN_LINES = [
    "pip install --no-cache-dir -r requirements.txt",
    "pip install --upgrade pip && pip install -rrequirements.txt",
    "python -m pip install --require-hashes --no-deps -r requirements.txt",
    "python -m venv /opt/venv",
    "/opt/venv/bin/pip install gunicorn==23.0.0 'celery[redis]'",
    "pip install --prefix=/install -r requirements.txt",
    "pip install --no-deps .",
    "uv venv /opt/venv && uv pip install -r requirements.txt",
    "uv pip install --system --compile-bytecode -r requirements.txt",
    "uv sync --frozen --no-dev --no-install-project",
    "uv run --no-sync python manage.py collectstatic --noinput",
    "SECRET_KEY=build DEBUG=False python manage.py collectstatic --noinput",
    "DJANGO_SETTINGS_MODULE=config.settings django-admin compilemessages",
    "./manage.py collectstatic --no-input",
    "set -eux; mkdir -p /app/media && chown -R app:app /app && chmod +x /app/start.sh",
    "groupadd --gid 2000 app && useradd --uid 2000 --gid app --create-home app",
    "adduser --system --group --uid 1000 app",
    "rm -rf /var/lib/apt/lists/* /root/.cache",
    ". /opt/venv/bin/activate && pip install gunicorn",
    "export PIP_NO_INPUT=1 && cd /app && python -m compileall -q .",
    '["pip", "install", "-r", "requirements.txt"]',
    "--mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt",
]

REFUSED_RUN_LINES = {
    "apt-get update && apt-get install -y libpq-dev": "--assume-system-packages",
    "apk add --no-cache gcc": "--assume-system-packages",
    "npm ci": "build the assets before",
    "curl -sSL https://example.com/install.sh | sh": "a pipe",
    "echo 1 > /app/version": "a redirection",
    "test -f x || true": "an alternative",
    "pip install -r $(ls requirements*.txt)": "a command substitution",
    "pip install `cat packages`": "a command substitution",
    "(cd /app; python manage.py check)": "a subshell",
    "python manage.py runserver &": "a background process",
    "poetry install": "export a requirements file",
    "pip install --target /libs django": "pip install --target is not supported",
    "pip download django": "pip download cannot be run",
    "pip install": "nothing to install",
    "uv tool install ruff": "uv tool cannot be run",
    "sed -i s/a/b/ config.py": "sed cannot be run",
    "echo 'never closed": "a quote",
    "--mount=type=secret,id=token pip install -r requirements.txt": "a secret mount",
    "--device=gpu pip install torch": "the flag --device",
}


@pytest.mark.parametrize("line", ACCEPTED_RUN_LINES)
def test_run_line_is_accepted(line: str) -> None:
    """The usual lines of Django projects can be run."""
    stage = parse(f"FROM python:3.12-slim\nRUN {line}\n").stages["0"]
    assert isinstance(stage.instructions[0], Run)


@pytest.mark.parametrize(("line", "reason"), REFUSED_RUN_LINES.items())
def test_run_line_is_refused(line: str, reason: str) -> None:
    """What needs a shell or system packages is refused, naming line, text and remedy."""
    with pytest.raises(DockerfileError) as refused:
        parse(f"FROM python:3.12-slim\n\n# a comment\nRUN {line}\n")
    assert refused.value.line == 4
    assert str(refused.value).startswith("Dockerfile line 4: ")
    assert reason in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("FROM node:22\n", 1, "the base image node:22"),
        ("FROM debian:12 AS base\nFROM base\n", 1, "the base image debian:12"),
        ("RUN true\nFROM python\n", 1, "only ARG may stand before"),
        ("ENV A=1\n", 1, "there is no FROM"),
        ("FROM python\nADD https://example.com/a.txt /a.txt\n", 2, "ADD from the network"),
        ("FROM python\nADD source.tar.gz /src\n", 2, "ADD would unpack"),
        ("FROM python\nRUN <<EOF\npip install django\nEOF\n", 2, "here-documents"),
        ("FROM python\nRUN python3 <<'EOF'\nprint(1)\nEOF\n", 2, "here-documents"),
        ("FROM python\nCOPY <<EOF /app/x\nhello\nEOF\n", 2, "here-documents cannot be read here; keep the file in"),
        ('FROM python\nCOPY <<-"EOF" /app/x\nhello\nEOF\n', 2, "here-documents"),
        ("FROM python\nCOPY --parents a/b /app/\n", 2, "the flag --parents"),
        ("FROM python\nCOPY requirements.txt\n", 2, "sources and a destination"),
        ("FROM python\nCOPY --chmod=u+x a b\n", 2, "is not octal"),
        ('FROM python\nSHELL ["/bin/bash", "-c"]\n', 2, "SHELL cannot be built"),
        ("FROM python\nONBUILD RUN true\n", 2, "ONBUILD cannot be built"),
        ("FROM python\nFORM python\n", 2, "FORM is no instruction of a Dockerfile; correct its spelling"),
        ("FROM python\nENV A=1 B\n", 2, "B has no value"),
        ("FROM python\nWORKDIR\n", 2, "has no argument"),
        ("# escape=`\nFROM python\n", 1, "only \\ continues"),
    ],
)
def test_dockerfile_is_refused_by_line(text: str, line: int, reason: str) -> None:
    """An instruction that cannot be built is refused where it stands."""
    with pytest.raises(DockerfileError) as refused:
        parse(text)
    assert (refused.value.line, reason in str(refused.value)) == (line, True)


def test_what_a_pipe_brings_is_to_be_kept() -> None:
    """To split it into plain commands is not possible."""
    with pytest.raises(DockerfileError) as refused:
        parse("FROM python\nRUN curl -sSL https://example.com/install.sh | sh\n")
    assert refused.value.remedy == "write plain commands, and COPY what it would bring from the project"


def test_system_packages_may_be_assumed() -> None:
    """With the flag, apt-get's lines are taken as done."""
    text = "FROM python:3.12\nRUN apt-get update && apt-get install -y libpq5 && rm -rf /var/lib/apt/lists/*\n"
    assert parse(text, assume_system_packages=True).stages["0"].instructions


def test_continuations_and_comments_join_to_one_line() -> None:
    """A command over several lines, with comments between them, starts at its first line."""
    text = "FROM python\nENV A=1 \\\n    # said here\n\n    B='two words' \\\n    C=\"$A\"\n"
    [env] = parse(text).stages["0"].instructions
    assert isinstance(env, Env)
    assert env.line == 2
    assert env.pairs == (("A", "1"), ("B", "'two words'"), ("C", '"$A"'))


def test_old_form_of_env_takes_the_rest_of_the_line() -> None:
    """ENV name value, as older Dockerfiles write it."""
    [env] = parse("FROM python\nENV GREETING hello there\n").stages["0"].instructions
    assert isinstance(env, Env)
    assert env.pairs == (("GREETING", "hello there"),)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("python", ""),
        ("python:3.12-slim-bookworm", "3.12"),
        ("python:3.13.1", "3.13.1"),
        ("python:slim", ""),
        ("docker.io/library/python:3.11", "3.11"),
        ("python:3.12-slim@sha256:" + "0" * 64, "3.12"),
        ("--platform=linux/amd64 python:3.12", "3.12"),
    ],
)
def test_tag_of_the_base_image_says_the_python(image: str, version: str) -> None:
    """The version is read from the tag of an official python image."""
    assert parse(f"FROM {image}\n").stages["0"].python == version


def test_arguments_before_from_choose_the_base() -> None:
    """ARG before FROM has its default, or what --build-arg gives."""
    text = "ARG PYTHON_VERSION=3.12\nFROM python:${PYTHON_VERSION}-slim\nARG PYTHON_VERSION\n"
    assert parse(text).stages["0"].python == "3.12"
    given = parse(text, arguments={"PYTHON_VERSION": "3.13"})
    assert given.stages["0"].python == "3.13"
    assert given.stages["0"].instructions == (Arg(3, "ARG PYTHON_VERSION", "PYTHON_VERSION", None),)


def test_stages_that_the_last_does_not_need_are_not_read() -> None:
    """As in BuildKit, an unused stage may hold what cannot be built."""
    text = (
        "FROM python AS build\nRUN pip install django\nFROM node AS assets\nRUN npm ci\n"
        "FROM build AS test\nRUN apt-get update\nFROM python\nCOPY --from=build /opt/venv /opt/venv\n"
    )
    assert list(parse(text).stages) == ["build", "3"]
    with pytest.raises(DockerfileError, match="node"):
        parse(f"{text}COPY --from=assets /dist /app/static\n")


def test_copy_reads_its_flags() -> None:
    """--from, --chown, --chmod and --link; sources may be a JSON array."""
    text = 'FROM python AS build\nFROM python\nCOPY --from=build --chown=app --chmod=755 --link ["a b", "/app/"]\n'
    [copy] = parse(text).stages["1"].instructions
    assert isinstance(copy, Copy)
    assert (copy.sources, copy.destination, copy.stage, copy.mode) == (("a b",), "/app/", "build", "755")


def test_bind_mounts_are_kept_and_cache_mounts_dropped() -> None:
    """uv's own documentation mounts lock files this way."""
    flags = "--mount=type=cache,target=/root/.cache/uv --mount=type=bind,source=uv.lock,target=uv.lock"
    [run] = parse(f"FROM python\nRUN {flags} uv sync --frozen\n").stages["0"].instructions
    assert isinstance(run, Run)
    assert run.mounts == (Mount("uv.lock", "uv.lock", None),)


def test_command_in_shell_form_runs_by_a_shell() -> None:
    """CMD text is /bin/sh -c text; CMD [..] is its words."""
    text = 'FROM python\nENTRYPOINT ["gunicorn"]\nCMD exec gunicorn --bind :$PORT\n'
    entrypoint, cmd = parse(text).stages["0"].instructions
    assert isinstance(entrypoint, Command)
    assert isinstance(cmd, Command)
    assert entrypoint.argv == ("gunicorn",)
    assert cmd.argv == ("/bin/sh", "-c", "exec gunicorn --bind :$PORT")


@pytest.mark.parametrize("line", ["HEALTHCHECK NONE", "HEALTHCHECK CMD curl localhost", "VOLUME /data", "STOPSIGNAL 9"])
def test_what_cloud_run_ignores_is_noted(line: str) -> None:
    """An instruction without effect on Cloud Run is said to be ignored, and why."""
    [note] = parse(f"FROM python\n{line}\n").stages["0"].instructions
    assert isinstance(note, Note)
    assert note.message.startswith(f"{line.split()[0]} is ignored: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A ${A} '$A' \\$A", "1 1 $A $A"),
        ("${MISSING:-d}${A:-d}${EMPTY:-d}${EMPTY-d}", "d1d"),
        ("${A:+set}${MISSING:+set}", "set"),
        ('"a \\"b\\" $A"', 'a "b" 1'),
        ("$", "$"),
        ("/opt/venv/bin:$PATH", "/opt/venv/bin:/bin"),
    ],
)
def test_variables_expand_as_in_docker(text: str, expected: str) -> None:
    """Quotes, escapes, defaults."""
    assert shellwords.expand(text, {"A": "1", "EMPTY": "", "PATH": "/bin"}) == expected


def test_commands_have_words_and_assignments() -> None:
    """Assignments before a command are its own; quotes keep blanks together."""
    [first, second] = shellwords.commands("A='x y' B=$C run --to \"$C d\" && next", {"C": "c"})
    assert first == shellwords.ShellCommand(("run", "--to", "c d"), (("A", "x y"), ("B", "c")))
    assert second.words == ("next",)


def test_pip_reads_as_uv() -> None:
    """Options of pip's cache and output go; what is installed, and where, stays."""
    [command] = shellwords.commands("/v/bin/pip install --no-cache-dir -q -r a.txt -c b.txt -e .[prod] x==1", {})
    read = read_python(command.words)
    assert isinstance(read, Install)
    assert read.arguments == ("-r", "a.txt", "-c", "b.txt", ".[prod]", "x==1")
    assert (read.files, read.projects, read.python) == (
        ("a.txt", "b.txt"),
        (".[prod]",),
        "/v/bin/python",
    )


def test_other_python_commands_read() -> None:
    """Environments, syncs and what leaves nothing behind."""
    assert read_python(["uv", "venv"]) == MakeEnvironment(".venv")
    assert read_python(["virtualenv", "/venv"]) == MakeEnvironment("/venv")
    sync = read_python(["uv", "sync", "--locked", "--extra", "prod"])
    assert sync == Sync(("--locked", "--extra", "prod"))
    assert isinstance(read_python(["pip", "--no-cache-dir", "check"]), Nothing)
    assert read_python(["ls"]) is None
