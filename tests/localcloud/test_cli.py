"""The command: start, look, end; several side by side; nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from cli_support import DEADLINE_S, UP, Shell


async def _secrets(address: dict[str, str], method: str = "GET", query: str = "") -> str:
    url = f"{address['rest']}/v1/projects/demo/secrets{query}"
    body = '{"replication": {"automatic": {}}}' if method == "POST" else None
    headers = {"Authorization": "Bearer any"}
    async with aiohttp.request(method, url, data=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.text()


async def test_up_status_down_and_up_again(shell: Shell) -> None:
    """The state and the addresses survive."""
    assert "localcloud is ready after" in await shell(*UP)
    first = shell.address()
    await _secrets(first, "POST", "?secretId=kept")
    assert first["rest"] in await shell("status")
    assert await shell("down") == "Stopped.\n"
    assert "no localcloud runs here" in await shell("status", status=1)
    await shell(*UP)
    assert shell.address()["rest"] == first["rest"]
    assert "secrets/kept" in await _secrets(first)


async def test_env_is_all_that_a_client_needs(shell: Shell) -> None:
    """google.auth.default() finds credentials and the project, and a client with neither options nor endpoint works."""
    await shell(*UP)
    exports = await shell("env")
    script = (
        "import google.auth, google.auth.transport.requests as t\n"
        "credentials, project = google.auth.default(scopes=['https://www.googleapis.com/auth/cloud-platform'])\n"
        "session = t.AuthorizedSession(credentials)\n"
        "print(project, session.get('https://secretmanager.googleapis.com/v1/projects/demo/secrets').status_code)\n"
    )
    process = await asyncio.create_subprocess_shell(
        f"{exports}\n{shlex.quote(sys.executable)} -c {shlex.quote(script)}",
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(shell.folder)},
    )
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert output.decode() == "demo 200\n"


async def test_up_simulated_and_without_the_operator(shell: Shell) -> None:
    """Kubernetes is there and knows nothing of Nuages; a service becomes ready whose image nobody built."""
    await shell("up", "-d", "--simulate", "--no-operator", "--speed", "1000")
    assert "(simulated)" in await shell("status")
    process = await asyncio.create_subprocess_shell(
        f"{await shell('env')}\nkubectl get namespaces,crds -o name",
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "HOME": str(shell.folder)},
    )
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    names = output.decode().split()
    assert "namespace/default" in names
    assert [name for name in names if "nuages" in name] == []
    service = {"template": {"containers": [{"image": "europe-west1-docker.pkg.dev/demo/apps/absent:v1"}]}}
    headers = {"Authorization": "Bearer any", "Host": "run.googleapis.com"}
    async with aiohttp.ClientSession(shell.address()["rest"], headers=headers) as session:
        services = "/v2/projects/demo/locations/europe-west1/services"
        async with session.post(f"{services}?serviceId=shop", json=service) as answer:
            assert answer.status == 200, await answer.text()
        deadline = time.monotonic() + DEADLINE_S
        while True:
            async with session.get(f"{services}/shop") as answer:
                found = await answer.json()
            if found.get("terminalCondition", {}).get("state") == "CONDITION_SUCCEEDED":
                return
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)


async def test_two_run_side_by_side(shell: Shell, tmp_path: Path) -> None:
    """Each in its folder, with its own state."""
    await shell(*UP)
    other = Shell(tmp_path / "other")
    other.folder.mkdir()
    await other(*UP)
    await _secrets(shell.address(), "POST", "?secretId=mine")
    assert "mine" not in await _secrets(other.address())
    await other("down")


async def test_a_folder_in_use_is_refused(shell: Shell) -> None:
    """One sentence, for up and for reset."""
    await shell(*UP)
    assert "a localcloud runs here already" in await shell("up", "--no-control-plane", status=1)
    assert "Run 'localcloud down' first" in await shell("reset", status=1)


async def test_reset_forgets_and_only_what_localcloud_made(shell: Shell) -> None:
    """A folder of something else is left alone."""
    await shell(*UP)
    await shell("down")
    assert await shell("reset") == f"Forgotten: {shell.folder / '.localcloud'} is removed.\n"
    assert not (shell.folder / ".localcloud").exists()
    (shell.folder / "mine").mkdir()
    assert "nothing was removed" in await shell("reset", "--dir", "mine", status=1)


async def test_a_folder_with_files_of_others_is_not_taken(shell: Shell) -> None:
    """`reset` would remove them with the rest."""
    mine = shell.folder / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for detached in ((), ("--detach",)):
        assert "has files that are not a localcloud's" in await shell("up", *detached, "--dir", "mine", status=1)
    assert "nothing was removed" in await shell("reset", "--dir", "mine", status=1)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dir", "a-file"), "localcloud cannot start in "),
        (("--project", "Bad_P"), "--project: Bad_P is no id of a project."),
        (("--region", "mars"), "--region: mars is no region of Google's."),
    ],
)
async def test_what_cannot_be_is_said_in_one_line(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    """Before anything is started; no traceback."""
    (shell.folder / "a-file").write_text("")
    for detached in ((), ("--detach",)):
        output = await shell("up", "--no-control-plane", *detached, *arguments, status=1)
        assert said in output
        assert output.count("\n") == 1


async def test_the_lines_to_paste_work_anywhere(shell: Shell) -> None:
    """In any folder and with any PATH; where no local cloud runs, what evaluates them fails too."""
    shell.folder = shell.folder / "a folder with spaces"
    shell.folder.mkdir()
    said = await shell(*UP)
    line = next(line.partition(":")[2].strip() for line in said.splitlines() if "in a shell" in line)
    env = {"PATH": os.defpath, "HOME": "/"}
    script = f'{line} && echo "$LOCALCLOUD_DIR"'
    for status, output in ((0, f"{shell.folder / '.localcloud'}\n"), (1, "")):
        process = await asyncio.create_subprocess_shell(
            script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=env, cwd="/"
        )
        found, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert (process.returncode, found.decode()) == (status, output)
        await shell.run("down")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_foreground_in_order(shell: Shell, number: signal.Signals) -> None:
    """Status 0, no traceback, the folder free again."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "localcloud", "up", "--no-control-plane"),
        cwd=shell.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readuntil(b"is ready"), DEADLINE_S)
    process.send_signal(number)
    rest = await asyncio.wait_for(process.stdout.read(), DEADLINE_S)
    assert await process.wait() == 0
    assert b"Traceback" not in rest
    assert "no localcloud runs here" in await shell("status", status=1)


async def test_a_killed_one_leaves_a_folder_that_can_be_used(shell: Shell) -> None:
    """kill -9 keeps the state and blocks nothing."""
    await shell(*UP)
    await _secrets(shell.address(), "POST", "?secretId=kept")
    os.kill(int(shell.address()["pid"]), signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while (await shell.run("status"))[0] == 0:
        assert time.monotonic() < deadline
    await shell(*UP)
    assert "kept" in await _secrets(shell.address())


async def test_faults_are_added_listed_and_cleared(shell: Shell) -> None:
    """They strike calls of the running cloud."""
    await shell(*UP)
    await shell("faults", "add", "secretmanager.googleapis.com/*", "--code", "RESOURCE_EXHAUSTED", "--message", "Slow.")
    assert "secretmanager.googleapis.com/*" in await shell("faults", "list")
    url = f"{shell.address()['rest']}/v1/projects/demo/secrets"
    async with aiohttp.request("GET", url, headers={"Authorization": "Bearer any"}) as response:
        assert response.status == 429
    await shell("faults", "clear")
    assert await shell("faults", "list") == ""
    assert "Not a fault" in await shell("faults", "add", "x", "--kind", "explode", status=1)
    refused = await shell("faults", "add", "*", "--code", "BOGUS", status=1)
    assert "BOGUS is no code; there are INVALID_ARGUMENT, " in refused


ASKED = {
    ("--code", "ABORTED", "--retry-after", "7", "--times", "3"): "fail   {}  ABORTED  retry after: 7 s  left: 3",
    ("--kind", "delay", "--seconds", "2.5", "--skip", "1"): "delay  {}  2.5 s  left: 1  skip: 1  on: *",
    ("--kind", "lose", "--times", "-1", "--resource", "*/key"): "lose   {}  left: all  skip: 0  on: */key",
    ("--kind", "stale"): "stale  {}  left: 1",
    ("--kind", "kill", "--pid", "4194999"): "kill   {}  before the work  left: 1",
    ("--kind", "kill", "--pid", "4194999", "--after"): "kill   {}  after the work  left: 1",
}


async def test_each_kind_of_fault_is_listed_as_it_was_asked_for(shell: Shell) -> None:
    """In the order in which they are tried."""
    await shell(*UP)
    method = "secretmanager.googleapis.com/SecretManagerService.GetSecret"
    for options in ASKED:
        await shell("faults", "add", method, *options)
    listed = (await shell("faults", "list")).splitlines()
    assert len(listed) == len(ASKED)
    for line, expected in zip(listed, ASKED.values(), strict=True):
        assert line.startswith(expected.format(method)), line


async def test_limits_are_set_shown_and_taken_away(shell: Shell) -> None:
    """What is not named stays; the running cloud keeps them."""
    await shell(*UP)
    host = "secretmanager.googleapis.com"
    shown = await shell("faults", "limits", "--accounts", "500", "--grant-delay", "7", "--writes", f"{host}=1")
    for line in ("project: 500", "grant counts after:      7 s", "is known after:  0 s", f"to {host}: 1"):
        assert line in shown
    await _secrets(shell.address(), "POST", "?secretId=first")
    url = f"{shell.address()['rest']}/v1/projects/demo/secrets?secretId=second"
    body, headers = '{"replication": {"automatic": {}}}', {"Authorization": "Bearer any"}
    async with aiohttp.request("POST", url, data=body, headers=headers) as response:
        assert response.status == 429
    shown = await shell("faults", "limits", "--writes", f"{host}=none")
    assert host not in shown
    assert "project: 500" in shown
    await _secrets(shell.address(), "POST", "?secretId=second")
    assert "x: not HOST=NUMBER or HOST=none" in await shell("faults", "limits", "--writes", "x", status=2)


async def test_a_fault_says_what_its_code_says(shell: Shell) -> None:
    """Unless another message is asked for."""
    await shell(*UP)
    url = f"{shell.address()['rest']}/v1/projects/demo/secrets"
    for asked, message in (((), "The caller does not have permission"), (("--message", "Not today."), "Not today.")):
        await shell("faults", "add", "*.ListSecrets", "--code", "PERMISSION_DENIED", *asked)
        async with aiohttp.request("GET", url, headers={"Authorization": "Bearer any"}) as response:
            assert (await response.json())["error"]["message"] == message


async def test_a_fault_that_could_never_strike_is_refused(shell: Shell) -> None:
    """With the method that is near."""
    await shell(*UP)
    near = "secretmanager.googleapis.com/SecretManagerService.CreateSecret"
    for asked in (near.replace("CreateSecret", "CreateSecrets"), "*.CreateSecrt"):
        assert f"no method here fits {asked}; is {near} meant" in await shell("faults", "add", asked, status=1)
    await shell("faults", "add", "storage.googleapis.com/POST *")
    assert await shell("faults", "list") != ""


async def test_logs_of_a_name_without_any_say_so(shell: Shell) -> None:
    """A misspelt name is no empty log."""
    await shell(*UP)
    said = await shell("logs", "--service", "shpo", status=1)
    assert said.startswith("There are no log entries of the service shpo.")
    assert await shell("logs") == ""


async def test_logs_are_of_one_kind_of_thing(shell: Shell) -> None:
    """Entries of a service and of a job are different ones: together they would be none."""
    said = await shell("logs", "--service", "shop", "--job", "shop-migrate", status=2)
    assert "exclude each other" in said


async def _write_log(address: dict[str, str], service: str, text: str) -> None:
    labels = {"service_name": service, "revision_name": f"{service}-00001"}
    resource = {"type": "cloud_run_revision", "labels": labels}
    log = "projects/demo/logs/run.googleapis.com%2Fstdout"
    entry = {"logName": log, "resource": resource, "severity": "WARNING", "textPayload": text}
    url, headers = f"{address['rest']}/v2/entries:write", {"Authorization": "Bearer any"}
    async with aiohttp.request("POST", url, json={"entries": [entry]}, headers=headers) as response:
        assert response.status == 200, await response.text()


async def test_logs_are_printed_chosen_and_followed(shell: Shell) -> None:
    """One line an entry: when, who, how bad, what."""
    await shell(*UP)
    address = shell.address()
    await _write_log(address, "shop", "first of the shop")
    await _write_log(address, "blog", "first of the blog")
    shop, blog = (await shell("logs")).splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} shop-00001 WARNING: first of the shop", shop)
    assert blog.endswith("blog-00001 WARNING: first of the blog")
    assert await shell("logs", "--service", "shop") == f"{shop}\n"
    assert await shell("logs", "--tail", "1") == f"{blog}\n"
    assert await shell("logs", "--tail", "3") == f"{shop}\n{blog}\n"
    command = (sys.executable, "-m", "localcloud", "logs", "--service", "shop", "--follow")
    follower = await asyncio.create_subprocess_exec(*command, cwd=shell.folder, stdout=asyncio.subprocess.PIPE)
    assert follower.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        assert (await follower.stdout.readline()).decode() == f"{shop}\n"
        await _write_log(address, "blog", "second of the blog")
        await _write_log(address, "shop", "second of the shop")
        assert (await follower.stdout.readline()).endswith(b"second of the shop\n")
        follower.send_signal(signal.SIGINT)
        assert await follower.wait() == 0


async def test_the_background_is_not_ended_by_a_key(shell: Shell) -> None:
    """Nobody's terminal is there to press Ctrl-C in."""
    said = await shell(*UP)
    assert "localcloud down" in said
    assert "Ctrl-C" not in said


async def test_an_image_of_a_project_that_is_not_there_is_refused(shell: Shell) -> None:
    """As Google's registry refuses it; nothing is built first."""
    await shell(*UP)
    (shell.folder / "app").mkdir()
    tag = "europe-west1-docker.pkg.dev/dmeo/apps/hello:v1"
    said = await shell("build", "app", "--tag", tag, status=1)
    assert said.strip() == f"--tag {tag}: there is no project dmeo here. Name one of demo."


async def test_build_pushes_an_image_and_names_its_digest(shell: Shell) -> None:
    """What cannot be built is refused with its line."""
    await shell(*UP)
    context = shell.folder / "app"
    context.mkdir()
    (context / "main.py").write_text("print('hello')\n")
    (context / "Dockerfile").write_text('FROM python:3.11-slim\nWORKDIR /app\nCOPY . .\nCMD ["python", "main.py"]\n')
    tag = "europe-west1-docker.pkg.dev/demo/apps/hello:v1"
    assert f"{tag}@sha256:" in await shell("build", "app", "--tag", tag)
    (context / "Dockerfile").write_text("FROM golang:1.22\n")
    assert "line 1" in await shell("build", "app", "--tag", tag, status=1)


async def test_commands_without_a_cloud_say_how_to_start_one(shell: Shell) -> None:
    """One line each; what a shell would evaluate fails there."""
    for command in (["env"], ["status"], ["logs"], ["down"], ["faults", "list"]):
        output = await shell(*command, status=1)
        if command == ["env"]:
            output = output.replace("false\n", "", 1)
        assert output.count("\n") == 1
        assert "localcloud up" in output
