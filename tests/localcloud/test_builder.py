"""Images built for real from Dockerfiles: the samples, and the idioms that Django projects use."""

import asyncio
import os
import platform
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from localcloud.runtime import loopback
from localcloud.runtime.builder import BuildError, build
from localcloud.runtime.environments import run
from localcloud.runtime.images import Image, ImageStore, StandIn
from localcloud.runtime.instructions import DockerfileError
from localcloud.runtime.sandbox import Sandbox

SAMPLES = Path(__file__).parents[2] / "samples"
APPS = "europe-west1-docker.pkg.dev/demo/apps"
SETTINGS = {
    "SECRET_KEY": "a-key-for-tests-" * 4,
    "ALLOWED_HOSTS": "shop.example",
    "CSRF_TRUSTED_ORIGINS": "https://shop.example",
}

Project = Callable[..., Path]  # Dockerfile and files → build context


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Writes a build context."""

    def write(dockerfile: str, **files: str) -> Path:
        folder = tmp_path / "project"
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in {"Dockerfile": dockerfile, **files}.items():
            place = folder / name.replace("__", "/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
        return folder

    return write


def version_of_shop(folder: Path, *overlays: str) -> Path:
    """A build context of the shop, with overlays laid over it."""
    for overlay in ("shop", *overlays):
        shutil.copytree(SAMPLES / overlay, folder, dirs_exist_ok=True)
    return folder


@asynccontextmanager
async def serving(image: Image, **extra_env: str) -> AsyncIterator[str]:
    """Runs an image's own command, gunicorn, and yields its address once it listens."""
    argv, env, cwd = image.command({"PORT": "0", "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:0", **extra_env})
    server = await asyncio.create_subprocess_exec(*argv, env=env, cwd=cwd, stderr=asyncio.subprocess.PIPE)
    assert server.stderr is not None
    try:
        async with asyncio.timeout(30):
            while listening := await server.stderr.readline():
                if b"Listening at: http://" in listening:
                    break
        url = re.search(rb"(http://\S+:\d+) \(", listening)
        assert url, "the server ended before it listened"
        drain = asyncio.create_task(server.stderr.read())
        yield url[1].decode()
        server.terminate()
        await drain
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body of one request."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    deadline = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=deadline) as session,
        session.get(url, headers=headers, allow_redirects=False) as response,
    ):
        return response.status, await response.text()


async def manage(image: Image, *words: str, **extra_env: str) -> str:
    argv, env, cwd = image.command(extra_env, command=["python", "manage.py", *words])
    return await run(argv, cwd=cwd, env=env)


async def test_shop_builds_and_serves(store: ImageStore) -> None:
    """The sample's own Dockerfile makes an image whose command answers probes and pages."""
    image = await build(SAMPLES / "shop", f"{APPS}/shop:v1", store)
    assert (image.config.user, image.config.uid, image.config.exposed_ports) == ("shop", 2000, ("8080/tcp",))
    assert "no issues" in await manage(image, "check", "--deploy", **SETTINGS)
    assert "OK" in await manage(image, "test", "--verbosity", "0", **SETTINGS)
    environment = {**SETTINGS, "DATABASE_URL": f"sqlite:///{store.directory}/shop.sqlite3"}
    await manage(image, "migrate", **environment)
    async with serving(image, **environment) as url:
        assert await get(f"{url}/health/", Host="169.254.8.129") == (200, "ok")
        page = {"Host": "shop.example", "X_Forwarded_Proto": "https"}
        status, body = await get(f"{url}/", **page)
        assert status == 200
        assert all(name in body for name in ("Teapot", "Tin of Assam", "Tea strainer"))
        stylesheet = next(word for word in body.split('"') if word.startswith("/static/catalogue/shop."))
        assert stylesheet != "/static/catalogue/shop.css"  # collectstatic ran in the build: names carry hashes
        assert (await get(f"{url}{stylesheet}", **page))[0] == 200
    assert list(image.rootfs.glob("app/config/__pycache__/settings.*.pyc"))
    assert not (image.rootfs / "app" / "Dockerfile").exists()  # .dockerignore


async def test_digest_follows_the_content_alone(store: ImageStore, tmp_path: Path) -> None:
    """Another store, folder and time give the same digest; a changed file another."""
    first = await build(SAMPLES / "shop", f"{APPS}/shop:v1", store)
    copied = version_of_shop(tmp_path / "copied")
    second = await build(copied, f"{APPS}/shop:v1", ImageStore(tmp_path / "other"))
    assert second.digest == first.digest
    (copied / "catalogue" / "apps.py").write_text((copied / "catalogue" / "apps.py").read_text() + "\n# changed\n")
    assert (await build(copied, f"{APPS}/shop:v2", store)).digest != first.digest
    assert store.resolve(f"{APPS}/shop:v1") == first


async def test_digest_does_not_follow_localcloud(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another loopback.py, which is localcloud's own, gives the same digest; what is installed then has the new one."""
    folder = project("FROM python:3\nRUN pip install sqlparse==0.5.3\nCMD python -c 'import sqlparse'\n")
    newer = _newer_hook(tmp_path)
    first = await build(folder, f"{APPS}/x:v1", ImageStore(tmp_path / "one"), cache=tmp_path / "cache")
    monkeypatch.setattr(loopback, "__file__", str(newer))
    second = await build(folder, f"{APPS}/x:v1", ImageStore(tmp_path / "two"), cache=tmp_path / "cache")
    assert second.digest == first.digest
    assert [_hook(image).endswith("# another release\n") for image in (first, second)] == [False, True]


def _newer_hook(folder: Path) -> Path:
    newer = folder / "loopback.py"
    newer.write_text(f"{Path(loopback.__file__).read_text()}# another release\n")
    return newer


def _hook(image: Image) -> str:
    (found,) = image.python.parent.glob(f"lib/python*/site-packages/{loopback.MODULE}.py")
    return found.read_text()


async def test_unchanged_project_builds_at_once(store: ImageStore, tmp_path: Path) -> None:
    """Within a second, without running a command; within three when a source file changed."""
    folder = version_of_shop(tmp_path / "shop")
    first = await build(folder, f"{APPS}/shop:v1", store)
    lines: list[str] = []
    began = time.monotonic()
    assert (await build(folder, f"{APPS}/shop:v2", store, progress=lines.append)).digest == first.digest
    assert time.monotonic() - began < 1
    lines = [line for line in lines if not line.startswith("warning: Dockerfile:")]  # where 3.12 is missing
    assert lines == ["unchanged since its last build"]
    assert store.tags(f"{APPS}/shop") == ["v1", "v2"]
    lines.clear()
    (folder / "catalogue" / "apps.py").write_text((folder / "catalogue" / "apps.py").read_text() + "\n# changed\n")
    await build(folder, f"{APPS}/shop:v3", store, progress=lines.append)
    assert not [line for line in lines if line.startswith("installing")]


async def test_blog_builds_with_its_own_conventions(store: ImageStore) -> None:
    """One stage, uv, a command in shell form, other names of everything."""
    image = await build(SAMPLES / "blog", f"{APPS}/blog:v1", store)
    assert (image.config.workdir, image.config.user) == ("/srv/blog", "blog")
    assert (image.rootfs / "srv/blog/static-root/posts/blog.css").exists()
    extra = {"DJANGO_SECRET_KEY": "x", "DJANGO_ALLOWED_HOSTS": "blog.example"}
    assert "no issues" in await manage(image, "check", **extra)
    async with serving(image, **extra) as url:
        assert (await get(f"{url}/ping/", Host="blog.example"))[1] == "pong"


@pytest.mark.parametrize("overlay", ["shop-v2", "shop-v3", "shop-v4", "shop-v5", "shop-v6"])
async def test_versions_of_the_shop_build(store: ImageStore, tmp_path: Path, overlay: str) -> None:
    """Each is an image of its own whose management commands work and whose models match its migrations."""
    folder = version_of_shop(tmp_path / overlay, *dict.fromkeys(("shop-v2", overlay)))
    image = await build(folder, f"{APPS}/shop:{overlay}", store)
    assert "No changes" in await manage(image, "makemigrations", "--check", **SETTINGS)


async def test_project_and_hashed_requirements_install(store: ImageStore, project: Project) -> None:
    """The shape of an operator's image: two stages, hashes, the project itself, an entrypoint from its scripts."""
    pyproject = (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "hello"\n'
        'version = "1"\n[project.scripts]\nhello = "hello:main"\n'
    )
    dockerfile = (
        "FROM python:3 AS build\nRUN python -m venv /opt/venv\nENV PATH=/opt/venv/bin:$PATH\nWORKDIR /src\n"
        "COPY requirements.txt .\nRUN pip install --require-hashes -r requirements.txt\n"
        "COPY pyproject.toml ./\nCOPY hello hello\nRUN pip install --no-deps .\n"
        "FROM python:3\nCOPY --from=build /opt/venv /opt/venv\nENV PATH=/opt/venv/bin:$PATH\n"
        'USER 10001:10001\nENTRYPOINT ["hello"]\nCMD ["world"]\n'
    )
    requirements = (SAMPLES / "shop" / "requirements.txt").read_text()
    pinned = "sqlparse" + requirements.partition("\nsqlparse")[2].partition("    # via")[0]
    code = "import sys, sqlparse\ndef main():\n    print('hello', sys.argv[1])\n"
    files = {"pyproject.toml": pyproject, "requirements.txt": pinned, "hello__init.py": code}
    folder = project(dockerfile, **files)
    (folder / "hello" / "init.py").rename(folder / "hello" / "__init__.py")
    image = await build(folder, f"{APPS}/hello:v1", store)
    argv, env, cwd = image.command({})
    assert await run(argv, cwd=cwd, env=env) == "hello world"
    assert image.config.uid == 10001
    assert not (image.rootfs / "src").exists()


@pytest.mark.parametrize(
    "lines",
    [
        "RUN pip install sqlparse==0.5.3\nFROM base",
        "RUN pip install --prefix=/install sqlparse==0.5.3\nFROM python:3\nCOPY --from=base /install /usr/local",
        "RUN pip install sqlparse==0.5.3\nFROM python:3\n"
        "COPY --from=base /usr/local/lib/python3.12/site-packages /usr/local/lib/python3.12/site-packages\n"
        "COPY --from=base /usr/local/bin /usr/local/bin",
        "RUN uv venv /opt/v && VIRTUAL_ENV=/opt/v uv pip install sqlparse==0.5.3\nFROM python:3\n"
        "COPY --from=base /opt /opt\nENV PATH=/opt/v/bin:$PATH",
        "RUN virtualenv /app/.venv && . /app/.venv/bin/activate && pip install sqlparse==0.5.3\nFROM python:3\n"
        "WORKDIR /app\nCOPY --from=base /app /app\nENV PATH=/app/.venv/bin:$PATH",
    ],
    ids=["base stage", "prefix", "site-packages", "uv", "activate"],
)
async def test_environments_travel_between_stages(store: ImageStore, project: Project, lines: str) -> None:
    """The usual ways to bring what one stage installed into the next."""
    folder = project(
        f"FROM python:3 AS base\nWORKDIR /app\n{lines}\nCMD python -c 'import sqlparse; print(sqlparse.__version__)'\n"
    )
    image = await build(folder, f"{APPS}/x:v1", store)
    argv, env, cwd = image.command({})
    assert await run(argv, cwd=cwd, env=env) == "0.5.3"


async def test_uv_project_syncs_with_its_files_mounted(store: ImageStore, project: Project) -> None:
    """uv's documented Dockerfile: dependencies from mounted files first, then the project."""
    pyproject = (
        '[project]\nname = "site"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["sqlparse==0.5.3"]\n'
    )
    dockerfile = (
        "FROM python:3\nCOPY --from=ghcr.io/astral-sh/uv:latest /uv /bin/\nENV UV_LINK_MODE=copy\nWORKDIR /app\n"
        "RUN --mount=type=cache,target=/root/.cache/uv \\\n"
        "    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\\n"
        "    uv sync --no-install-project --no-dev\n"
        'COPY . /app\nRUN uv sync --no-dev\nENV PATH="/app/.venv/bin:$PATH"\n'
        'CMD ["python", "main.py"]\n'
    )
    folder = project(
        dockerfile, **{"pyproject.toml": pyproject, "main.py": "import sqlparse; print(sqlparse.__version__)"}
    )
    image = await build(folder, f"{APPS}/site:v1", store)
    argv, env, cwd = image.command({})
    assert await run(argv, cwd=cwd, env=env) == "0.5.3"


async def test_files_are_placed_as_docker_places_them(store: ImageStore, project: Project) -> None:
    """COPY of files, folders, patterns and modes; mkdir, ln, rm, chmod on the image's tree; ARG and ENV."""
    dockerfile = (
        "FROM python:3\nARG WHERE=app\nENV HOME_DIR=/srv/$WHERE\nWORKDIR $HOME_DIR\n"
        "COPY *.txt texts/\nCOPY folder/ .\nCOPY --chmod=755 start.sh /usr/local/bin/\n"
        "RUN mkdir -p media/a && rm -rf texts/b.txt && ln -s $HOME_DIR/inner.py link.py && cp -r texts copied\n"
    )
    files = {"a.txt": "a", "b.txt": "b", "folder__inner.py": "1", "folder__deep__x.log": "", "start.sh": "#!/bin/sh\n"}
    folder = project(dockerfile, **files, **{".dockerignore": "**/*.log\n"})
    image = await build(folder, f"{APPS}/files:v1", store)
    found = sorted(str(path.relative_to(image.rootfs)) for path in image.rootfs.rglob("*") if not path.is_dir())
    assert [name for name in found if not name.endswith(".pyc")] == [
        "srv/app/copied/a.txt",
        "srv/app/inner.py",
        "srv/app/link.py",
        "srv/app/texts/a.txt",
        "usr/local/bin/start.sh",
    ]
    assert (image.rootfs / "srv/app/media/a").is_dir()
    assert os.access(image.rootfs / "usr/local/bin/start.sh", os.X_OK)
    assert (image.rootfs / "srv/app/link.py").read_text() == "1"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("COPY missing.txt /app/", "missing.txt is not in the build context"),
        ("COPY ../secret /app/", "outside the build context"),
        ("COPY secret.env /app/", ".dockerignore excludes it"),
        ("COPY --from=nowhere /x /x", "nowhere is no stage"),
        ("COPY evil /evil\nCOPY a.txt /evil/a.txt", "leads out of the image"),
        ("USER nobody-made", "does not exist in the image"),
        ("RUN pip install -r missing.txt", "missing.txt is not in the image"),
        ("RUN uv pip install django", "no virtual environment"),
    ],
)
async def test_what_cannot_be_done_names_its_line(
    store: ImageStore, project: Project, tmp_path: Path, line: str, reason: str
) -> None:
    """The Dockerfile's line, the cause and the remedy; nothing is tagged."""
    folder = project(f"FROM python:3\n{line}\n", **{"a.txt": "", "secret.env": "", ".dockerignore": "*.env"})
    (folder / "evil").symlink_to(tmp_path)
    with pytest.raises(DockerfileError, match=r"Dockerfile line \d: ") as refused:
        await build(folder, f"{APPS}/x:v1", store)
    assert reason in str(refused.value)
    assert store.resolve(f"{APPS}/x:v1") is None
    assert not list((store.directory / "work").glob("*"))
    assert not (tmp_path / "a.txt").exists()


async def test_run_lines_see_the_image_in_its_place(store: ImageStore, project: Project, tmp_path: Path) -> None:
    """A path that the project's code spells out is the image's, where this machine has namespaces."""
    sandbox = Sandbox(tmp_path / "sandbox")
    if (await sandbox.probe()).kind == "rewrite":
        pytest.skip("no mount namespaces on this machine")
    code = "import pathlib; pathlib.Path('/vol/web/made.txt').write_text(pathlib.Path('/app/make.py').name)"
    dockerfile = "FROM python:3\nWORKDIR /app\nRUN mkdir -p /vol/web\nCOPY make.py .\nRUN python make.py\n"
    image = await build(project(dockerfile, **{"make.py": code}), f"{APPS}/x:v1", store, sandbox=sandbox)
    assert (image.rootfs / "vol/web/made.txt").read_text() == "make.py"


async def test_run_lines_work_by_rewriting(store: ImageStore, tmp_path: Path) -> None:
    """Without namespaces (macOS, hardened kernels) the shop becomes the same image."""
    rewriting = Sandbox(tmp_path / "sandbox", force="rewrite")
    image = await build(SAMPLES / "shop", f"{APPS}/shop:v1", store, sandbox=rewriting)
    assert (image.rootfs / "app/staticfiles/staticfiles.json").exists()
    other = await build(SAMPLES / "shop", f"{APPS}/shop:v1", ImageStore(tmp_path / "other"))
    assert other.digest == image.digest


async def test_failed_command_shows_its_output(store: ImageStore, project: Project) -> None:
    """The last lines of what the command printed, with the Dockerfile's line."""
    folder = project("FROM python:3\nRUN python -c \"raise SystemExit('no such table')\"\n")
    with pytest.raises(BuildError, match=r"line 2: .* exited with 1:\nno such table"):
        await build(folder, f"{APPS}/x:v1", store)


async def test_folder_without_dockerfile_is_said(store: ImageStore, tmp_path: Path) -> None:
    """One sentence with the remedy."""
    with pytest.raises(BuildError, match="there is no Dockerfile; write one"):
        await build(tmp_path, f"{APPS}/x:v1", store)


async def test_another_python_stands_in_and_the_last_line_says_so(store: ImageStore, project: Project) -> None:
    """Line, cause and remedy at the end, also where nothing had to be built; the image keeps what was asked for."""
    folder = project("FROM python:3 AS build\nFROM python:3.12.99-slim\n")
    for _ in range(2):
        lines: list[str] = []
        image = await build(folder, f"{APPS}/x:v1", store, progress=lines.append)
        assert lines[-1] == (
            f"warning: Dockerfile:2 asks for Python 3.12.99; built with {platform.python_version()}, for 3.12.99 is "
            "not installed and could not be downloaded. Install it here, and build again."
        )
        assert image.config.stand_in == StandIn("3.12.99", platform.python_version())
    assert lines[:-1] == ["unchanged since its last build"]


async def test_a_python_that_there_is_not_is_refused(store: ImageStore, project: Project) -> None:
    """No download was tried, and no other is taken."""
    lines: list[str] = []
    with pytest.raises(DockerfileError) as refused:
        await build(project("FROM python:3.99-slim\n"), f"{APPS}/x:v1", store, progress=lines.append)
    assert str(refused.value) == (
        "Dockerfile line 1: 'FROM python:3.99-slim': there is no Python 3.99 on this machine, and uv knows of none; "
        "name a version that there is, or install this one here."
    )
    assert lines == []
