"""`localcloud faults`: make any call fail, hang, or lose its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localcloud.cli_client import request, running

app = typer.Typer(help="Make any call fail, hang, or lose its answer.", no_args_is_help=True)
DEFAULT_DIR = Path(".localcloud")
DirOption = Annotated[Path, typer.Option("--dir", envvar="LOCALCLOUD_DIR")]


@app.command()
def add(
    method: Annotated[str, typer.Argument(help='Glob: "run.googleapis.com/Services.*"')],
    folder: DirOption = DEFAULT_DIR,
    kind: Annotated[str, typer.Option(help="fail, delay, lose (done, answer lost) or stale.")] = "fail",
    code: Annotated[str, typer.Option(help="Of fail: UNAVAILABLE, PERMISSION_DENIED, ABORTED, ...")] = "UNAVAILABLE",
    message: Annotated[str, typer.Option(help="Of fail: the error's text.")] = "The service is currently unavailable.",
    seconds: Annotated[float, typer.Option(help="Of delay.")] = 1.0,
    times: Annotated[int, typer.Option(help="How many calls; -1: all.")] = 1,
    skip: Annotated[int, typer.Option(help="How many calls to let pass first.")] = 0,
    resource: Annotated[str, typer.Option(help="Glob over the resource's name.")] = "*",
) -> None:
    """Disturb the next calls of a method."""
    asked = {
        "method": method,
        "kind": kind,
        "code": code,
        "message": message,
        "seconds": seconds,
        "times": times,
        "skip": skip,
        "resource": resource,
    }
    request(running(folder), "POST", "faults", asked)
    typer.echo(f"{kind} on {method}: {'all calls' if times < 0 else f'{times} call(s)'}.")


@app.command("list")
def list_(folder: DirOption = DEFAULT_DIR) -> None:
    """The faults in force."""
    for fault in request(running(folder), "GET", "faults"):
        left = "all" if fault["times"] < 0 else fault["times"]
        typer.echo(
            f"{fault['kind']:<6} {fault['method']}  left: {left}  skip: {fault['skip']}  on: {fault['resource']}"
        )


@app.command()
def clear(folder: DirOption = DEFAULT_DIR) -> None:
    """Take all of them away."""
    request(running(folder), "DELETE", "faults")
    typer.echo("No faults.")
