"""The app's view of the file system, in both ways."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localcloud.runtime.postgres import PostgresServer
from localcloud.runtime.processes import Child, Processes
from localcloud.runtime.sandbox import Rewriting, Sandbox, SandboxError, Way

INSTANCE = "/cloudsql/acme:europe-west1:pg"
ENVIRONMENT = Path(sys.prefix)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image, a bucket, and somebody else's secret."""
    (tmp_path / "rootfs" / "app").mkdir(parents=True)
    (tmp_path / "rootfs" / "app" / "manage.py").write_text("print('managed')")
    (tmp_path / "bucket").mkdir()
    (tmp_path / "secret").write_text("another app's")
    return tmp_path


@pytest.fixture(params=["namespace", "rewrite"])
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    sandbox = Sandbox(tmp_path / "sandbox", force=request.param)
    try:
        await sandbox.probe()
    except SandboxError as error:
        pytest.skip(str(error))
    return sandbox


@pytest.fixture
async def namespace(tmp_path: Path) -> Sandbox:
    sandbox = Sandbox(tmp_path / "sandbox", force="namespace")
    try:
        await sandbox.probe()
    except SandboxError as error:
        pytest.skip(str(error))
    return sandbox


async def start(
    sandbox: Sandbox, processes: Processes, layout: Path, argv: list[str], env=None, mounts=None, **options
) -> tuple[Child, list[str]]:
    lines: list[str] = []
    environment = {"PATH": f"{ENVIRONMENT}/bin:/usr/bin:/bin"} | (env or {})
    places = {"/app": layout / "rootfs" / "app", "/app/media": layout / "bucket"} | (mounts or {})
    options = {"image": {"/app"}, "visible": [ENVIRONMENT], "cwd": "/app"} | options
    launch = sandbox.command(argv, environment, options.pop("cwd"), places, **options)
    child = await processes.start(
        "app", launch.argv, env=launch.env, cwd=launch.cwd, on_line=lambda _stream, line: lines.append(line)
    )
    return child, lines


async def first_line(lines: list[str]) -> str:
    deadline = time.monotonic() + 10
    while not lines:
        assert time.monotonic() < deadline, "the app said nothing"
        await asyncio.sleep(0.01)
    return lines[0]


async def run(*arguments, **options) -> tuple[int, list[str]]:
    child, lines = await start(*arguments, **options)
    return await child.wait(), lines


@pytest.mark.parametrize("code", [0, 7, 255])
async def test_exit_code_is_the_apps(sandbox, processes, layout, code):
    """Whatever stands between does not change it."""
    assert (await run(sandbox, processes, layout, ["sh", "-c", f"exit {code}"]))[0] == code


async def test_sigterm_reaches_the_app(sandbox, processes, layout):
    """The app's own handler runs, and its exit code comes back."""
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    child, lines = await start(sandbox, processes, layout, ["sh", "-c", script])
    await first_line(lines)
    child.signal(signal.SIGTERM)
    assert await asyncio.wait_for(child.wait(), 10) == 3
    assert lines == ["ready", "bye"]


async def test_an_unhandled_signal_is_seen_as_one(sandbox, processes, layout):
    """A crash looks like a crash."""
    code, _ = await run(sandbox, processes, layout, [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])
    assert code == -signal.SIGSEGV


async def test_the_images_files_and_the_bucket(sandbox, processes, layout):
    """The working directory, its files, and the mounted bucket under its true name in the environment."""
    write = "import os; open(os.environ['MEDIA_ROOT'] + '/picture', 'w').write('pixels')"
    assert await run(sandbox, processes, layout, ["python", "manage.py"]) == (0, ["managed"])
    code, lines = await run(sandbox, processes, layout, ["python", "-c", write], {"MEDIA_ROOT": "/app/media"})
    assert (code, lines) == (0, [])
    assert (layout / "bucket" / "picture").read_text() == "pixels"


async def test_the_database_answers_on_its_socket(sandbox, processes, layout):
    """As a host name, and URL-encoded in DATABASE_URL, as Django projects write it."""
    server = PostgresServer(layout / "pg", processes, version=18)
    await server.start()
    try:
        await server.create_user("app", "pa:ss")
        script = (
            "import os, psycopg; print(psycopg.connect(os.environ['URL']).execute('SELECT current_user').fetchone()[0])"
        )
        for url in (
            f"postgresql://app:pa%3Ass@{INSTANCE.replace('/', '%2F').replace(':', '%3A')}/postgres",
            f"host={INSTANCE} user=app password=pa:ss dbname=postgres",
        ):
            mounts = {INSTANCE: server.socket_dir}
            answer = await run(sandbox, processes, layout, ["python", "-c", script], {"URL": url}, mounts)
            assert answer == (0, ["app"])
    finally:
        await server.delete()


async def test_loopback_is_shared(sandbox, processes, layout):
    """Instances listen where their proxy finds them."""
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); s.accept()"
    )
    child, lines = await start(sandbox, processes, layout, ["python", "-c", script])
    _, writer = await asyncio.open_connection("127.0.0.1", int(await first_line(lines)))
    writer.close()
    assert await asyncio.wait_for(child.wait(), 10) == 0


async def test_standard_input_is_inherited(sandbox, processes, layout):
    """What the caller writes is what the app reads."""
    launch = sandbox.command(["cat"], {"PATH": "/usr/bin:/bin"}, "/app", {"/app": layout / "rootfs" / "app"})
    command = {"args": launch.argv, "env": launch.env, "cwd": launch.cwd, "input": b"hello", "capture_output": True}
    answer = await asyncio.to_thread(lambda: subprocess.run(**command, check=True))
    assert answer.stdout == b"hello"


async def test_environment_is_exactly_the_given_one(sandbox, processes, layout):
    """Nothing is added, in no locale."""
    code, lines = await run(sandbox, processes, layout, ["/usr/bin/env"], {"ONE": "1"})
    assert code == 0
    assert {line.partition("=")[0] for line in lines} == {"PATH", "ONE"}


async def test_nothing_else_of_the_host_is_visible(namespace, processes, layout):
    """Neither another app's files, nor the user's home, nor the host's own secrets."""
    for place in (layout / "secret", Path(__file__), Path("/etc/shadow"), Path.home() / ".bashrc"):
        code, _ = await run(namespace, processes, layout, ["cat", str(place)])
        assert code != 0, place


async def test_other_processes_keep_their_secrets(namespace, processes, layout):
    """Neither the environment nor the files of localcloud itself can be read through /proc, nor the kernel changed."""
    here = Path("/proc") / str(os.getpid())
    for attempt in (f"cat {here}/environ", f"ls {here}/root/", "echo 0 > /proc/sys/kernel/randomize_va_space"):
        code, lines = await run(namespace, processes, layout, ["sh", "-c", attempt])
        assert code != 0, lines


async def test_the_host_and_the_image_stay_as_they_are(namespace, processes, layout):
    """System files are read-only; what is written over the image is the process's own."""
    assert (await run(namespace, processes, layout, ["touch", "/usr/share/new"]))[0] != 0
    code, lines = await run(namespace, processes, layout, ["sh", "-c", "echo changed > manage.py; cat manage.py"])
    if (await namespace.probe()).overlay:
        assert (code, lines) == (0, ["changed"])
    assert (layout / "rootfs" / "app" / "manage.py").read_text() == "print('managed')"
    assert sorted(path.name for path in (layout / "rootfs" / "app").iterdir()) == ["manage.py"]


async def test_without_overlay_the_image_is_read_only(namespace, processes, layout):
    """Older kernels: mounts inside of the image's folders still find their place, and nothing of it changes."""
    namespace._way = Way("namespace", "no overlay", overlay=False)
    (layout / "rootfs" / "app" / "shop").mkdir()
    code, lines = await run(namespace, processes, layout, ["sh", "-c", "ls; touch shop/x || echo no"], cwd="/app")
    assert (code, lines[:3], lines[-1]) == (0, ["manage.py", "media", "shop"], "no")
    assert not list((layout / "rootfs" / "app" / "shop").iterdir())


@pytest.mark.parametrize("overlay", [True, False])
async def test_an_image_below_usr(namespace, processes, layout, overlay):
    """The usual /usr/src/app finds its place, though the host has none."""
    if overlay and not (await namespace.probe()).overlay:
        pytest.skip("no overlay here")
    namespace._way = Way("namespace", None, overlay)
    mounts = {"/usr/src/app": layout / "rootfs" / "app"}
    where = {"cwd": "/usr/src/app", "image": {"/usr/src/app", "/app"}}
    code, lines = await run(namespace, processes, layout, ["python", "manage.py"], None, mounts, **where)
    assert (code, lines) == (0, ["managed"])


async def test_the_images_user(namespace, processes, layout):
    """The process has the user id that its image names, and no power over the mounts."""
    script = "id -u; id -un; umount /app/media 2>&1 || echo kept"  # one stream: two are not in order
    _, lines = await run(namespace, processes, layout, ["sh", "-c", script], uid=2000)
    assert (lines[:2], lines[-1]) == (["2000", "app"], "kept")


MISSING, BIN = "no such file or directory", {"PATH": "/usr/local/nowhere:/usr/bin"}
IN_PATH = 'failed to resolve binary path: error finding executable "{}" in PATH [/usr/local/nowhere /usr/bin]: {}'


@pytest.mark.parametrize(
    ("program", "text", "mode", "said"),
    [
        ("gunicron", None, 0, IN_PATH.format("gunicron", MISSING)),
        ("/app/nowhere", None, 0, f"failed to load /app/nowhere: {MISSING}"),
        ("/app/start", "#!/bin/sh\n", 0o644, "failed to load /app/start: permission denied"),
        ("/app/start", "#!/bin/nowhere\n", 0o755, f"failed to load /app/start: {MISSING}"),
        ("./start", "exit 0\n", 0o755, "failed to load ./start: exec format error"),
        ("/app", None, 0, "failed to load /app: permission denied"),
    ],
    ids=["not in PATH", "no file", "not executable", "no interpreter", "no format", "a folder"],
)
async def test_a_program_that_cannot_be_run_is_reported(namespace, processes, layout, program, text, mode, said):
    """By the kernel's own verdict, in the words of Cloud Run's log; none of them are the app's."""
    if text is not None:
        start = layout / "rootfs" / "app" / "start"
        start.write_text(text)
        start.chmod(mode)
    report = layout / "report"
    assert await run(namespace, processes, layout, [program], BIN, report=report) == (127, [])
    assert report.read_text() == f"{said}\n"
    assert await run(namespace, processes, layout, [program], BIN) == (127, [said])


async def test_an_app_that_says_the_same_code_was_run(namespace, processes, layout):
    """A shell's 127 is the app's own, and so are its words."""
    report = layout / "report"
    code, lines = await run(namespace, processes, layout, ["sh", "-c", "gunicron"], BIN, report=report)
    assert (code, len(lines), report.read_text()) == (127, 1, "")


async def test_the_rewriting_way_says_why(tmp_path):
    """The status of localcloud shows it."""
    assert await Sandbox(tmp_path, force="rewrite").probe() == Way("rewrite", "asked for")


async def test_command_wants_the_probe(tmp_path):
    """No way is guessed."""
    with pytest.raises(SandboxError, match="not awaited"):
        Sandbox(tmp_path).command(["true"], {}, "/", {})


@pytest.mark.parametrize(
    ("value", "rewritten"),
    [
        ("/cloudsql/p:r:i", "/tmp/lc-1"),
        ("/cloudsql/p:r:i/.s.PGSQL.5432", "/tmp/lc-1/.s.PGSQL.5432"),
        ("/cloudsql/p:r:i2", "/cloudsql/p:r:i2"),
        ("postgres://u:p@%2Fcloudsql%2Fp%3Ar%3Ai/shop", "postgres://u:p@%2Ftmp%2Flc-1/shop"),
        ("postgres://u:p@%2fcloudsql%2fp:r:i/shop", "postgres://u:p@%2Ftmp%2Flc-1/shop"),
        ("postgres://u:p@//cloudsql/p:r:i/shop", "postgres://u:p@//tmp/lc-1/shop"),
        ("postgres:///shop?host=/cloudsql/p:r:i&x=1", "postgres:///shop?host=/tmp/lc-1&x=1"),
        ("/opt/venv/bin:/usr/bin", "/envs/1/bin:/usr/bin"),
        ("/usr/bin:/opt/venv/bin", "/usr/bin:/envs/1/bin"),
        ("--chdir=/app", "--chdir=/images/1/app"),
        ("/app/media/x", "/buckets/1/x"),
        ("/application", "/application"),
        ("https://shop.example/app/media/", "https://shop.example/app/media/"),
        ("/srv/app", "/srv/app"),
    ],
)
def test_rewriting(value, rewritten):
    """Where a path begins, the longest known one, plain or encoded; never in the middle of another."""
    rewriting = Rewriting(
        {
            "/cloudsql/p:r:i": Path("/tmp/lc-1"),
            "/opt/venv": Path("/envs/1"),
            "/app": Path("/images/1/app"),
            "/app/media": Path("/buckets/1"),
        }
    )
    assert rewriting(value) == rewritten
