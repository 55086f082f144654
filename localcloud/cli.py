"""The command `localcloud`: Google Cloud on this machine, from the shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

from localcloud import cli_build, cli_faults, cli_logs, lightimports
from localcloud.began import process_began
from localcloud.cli_client import end, fail, request, running
from localcloud.folder import Folder, InUse

app = typer.Typer(
    help="Google Cloud on this machine: its APIs, and what they run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("build")(cli_build.build)
app.command("logs")(cli_logs.logs)
app.add_typer(cli_faults.app, name="faults")

PROJECT = re.compile("[a-z][a-z0-9-]{2,28}[a-z0-9]")
REGION = re.compile("[a-z]+-[a-z]+[0-9]+")
DEFAULT_DIR = Path(".localcloud")
DirOption = Annotated[Path, typer.Option("--dir", help="The folder of the local cloud.", envvar="LOCALCLOUD_DIR")]


@app.command()
def up(
    folder: DirOption = DEFAULT_DIR,
    speed: Annotated[float, typer.Option(help="How many times faster than Google operations end.", min=0.1)] = 60.0,
    simulate: Annotated[bool, typer.Option("--simulate", help="Timers instead of processes; nothing is kept.")] = False,
    no_operator: Annotated[bool, typer.Option("--no-operator", help="Without the Nuages operator.")] = False,
    no_control_plane: Annotated[bool, typer.Option("--no-control-plane", help="Without Kubernetes.")] = False,
    project: Annotated[str, typer.Option(help="The project that is there from the start.")] = "demo",
    region: Annotated[str, typer.Option(help="The region that commands and metadata name.")] = "europe-west1",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is ready.")] = False,
    began: Annotated[float | None, typer.Option(hidden=True, help="When the command began that detached it.")] = None,
) -> None:
    """Start; Ctrl-C (or `localcloud down`) ends it and all that it runs. The state stays in the folder."""
    lightimports.install()
    from localcloud import cli_up
    from localcloud.localcloud import Options

    if Folder(folder).is_anothers():
        fail(f"{folder.absolute()} has files that are not a localcloud's. Name an empty folder, or one to be made.")
    if not PROJECT.fullmatch(project):
        fail(f"--project: {project} is no id of a project. Use 4 to 30 small letters, digits and -, a letter first.")
    if not REGION.fullmatch(region):
        fail(f"--region: {region} is no region of Google's. Write it as in europe-west1.")
    options = Options(
        dir=folder.absolute(),
        speed=speed,
        simulate=simulate,
        control_plane=not no_control_plane,
        project=project,
        region=region,
    )
    with_operator = not (no_operator or no_control_plane)
    start = cli_up.detached if detach else cli_up.foreground
    raise typer.Exit(start(options, with_operator, process_began() if began is None else began))


@app.command()
def down(folder: DirOption = DEFAULT_DIR) -> None:
    """End the local cloud of the folder; its state stays."""
    end(Folder(folder))
    typer.echo("Stopped.")


@app.command()
def status(folder: DirOption = DEFAULT_DIR) -> None:
    """Whether one runs, where it listens, what it serves."""
    address = running(folder)
    found = request(address, "GET", "status")
    mode = "simulated" if address.simulated else f"{address.speed:g} times Google's speed"
    rows = [
        ("process", f"{address.pid} ({mode})"),
        ("projects", ", ".join(found["projects"])),
        ("REST", address.rest),
        ("proxy", address.proxy),
        ("browsers", f"http://localhost:{address.front_port}/"),
        ("kubeconfig", address.kubeconfig or "no control plane"),
        *(("operator", f"its log is {log}") for log in [Folder(folder).operator_log] if log.exists()),
        ("requests", str(found["requests"])),
        ("faults", str(found["faults"])),
        *(("note", note) for note in found["notes"]),
    ]
    for name, value in rows:
        typer.echo(f"{name:<12}{value}")


@app.command()
def env(folder: DirOption = DEFAULT_DIR) -> None:
    """Shell exports: eval "$(localcloud env)" and gcloud, kubectl, curl and Google's clients use this cloud."""
    from localcloud.environment import developer_environment

    try:
        address = running(folder)
    except typer.Exit:
        typer.echo("false")  # what the shell evaluates fails, as this command did
        raise
    for name, value in developer_environment(address, Folder(folder).bundle, Folder(folder).path).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def reset(folder: DirOption = DEFAULT_DIR) -> None:
    """Forget everything: the folder is removed. Refused while the local cloud runs."""
    found = Folder(folder)
    if not found.path.exists():
        typer.echo("There is nothing to forget.")
        return
    if not found.is_local_cloud():
        fail(f"{found.path} is no folder of a local cloud: nothing was removed.")
    try:
        with found.used():
            _remove(found.path)
    except InUse:
        fail(f"{found.path}: a localcloud runs here. Run 'localcloud down' first.")
    typer.echo(f"Forgotten: {found.path} is removed.")


@app.command()
def demo(
    folder: DirOption = DEFAULT_DIR,
    check: Annotated[bool, typer.Option("--check", help="Unattended, elsewhere: check, tear down, exit.")] = False,
) -> None:
    """From nothing to a page served by Django: cloud, operator, image, DjangoApp."""
    from localcloud.demo import demo as run

    raise typer.Exit(run(folder, check))


def main() -> None:
    """The console script."""
    app()


def _remove(path: Path) -> None:
    """Also what an image made read-only."""
    for name, folders, _ in os.walk(path):
        for part in folders:
            inner = Path(name) / part
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(path)
