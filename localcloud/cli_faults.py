"""`localcloud faults`: make any call fail, hang, lose its answer or kill its caller; set quotas and delays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from localcloud.cli_client import request, running

app = typer.Typer(help="Make any call fail, hang, or lose its answer.", no_args_is_help=True)
DEFAULT_DIR = Path(".localcloud")
DirOption = Annotated[Path, typer.Option("--dir", envvar="LOCALCLOUD_DIR")]


@app.command()
def add(
    method: Annotated[str, typer.Argument(help='Glob: "run.googleapis.com/Services.*"')],
    folder: DirOption = DEFAULT_DIR,
    kind: Annotated[str, typer.Option(help="fail, delay, lose (done, answer lost), stale or kill.")] = "fail",
    code: Annotated[str, typer.Option(help="Of fail: UNAVAILABLE, PERMISSION_DENIED, ABORTED, ...")] = "UNAVAILABLE",
    message: Annotated[str, typer.Option(help="Of fail: the error's text; without it, the code's usual one.")] = "",
    seconds: Annotated[float, typer.Option(help="Of delay.")] = 1.0,
    times: Annotated[int, typer.Option(help="How many calls; -1: all.")] = 1,
    skip: Annotated[int, typer.Option(help="How many calls to let pass first.")] = 0,
    resource: Annotated[str, typer.Option(help="Glob over the resource's name.")] = "*",
    retry_after: Annotated[float | None, typer.Option(help="Of fail: seconds told to the caller.")] = None,
    pid: Annotated[int, typer.Option(help="Of kill: the caller's process.")] = 0,
    after: Annotated[bool, typer.Option("--after", help="Of kill: once the work is done.")] = False,
) -> None:
    """Disturb the next calls of a method."""
    asked = {
        "retry_after_s": retry_after,
        "pid": pid,
        "after": after,
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
        told = "".join(f"  {detail}" for detail in _details(fault))
        typer.echo(
            f"{fault['kind']:<6} {fault['method']}{told}  left: {left}  skip: {fault['skip']}  on: {fault['resource']}"
        )


@app.command()
def clear(folder: DirOption = DEFAULT_DIR) -> None:
    """Take all of them away."""
    request(running(folder), "DELETE", "faults")
    typer.echo("No faults.")


@app.command()
def limits(
    folder: DirOption = DEFAULT_DIR,
    accounts: Annotated[int | None, typer.Option(help="Service accounts of a project; Google's default: 100.")] = None,
    account_delay: Annotated[float | None, typer.Option(help="Seconds until a new account is known.")] = None,
    grant_delay: Annotated[float | None, typer.Option(help="Seconds until a new IAM grant counts.")] = None,
    writes: Annotated[
        list[str] | None, typer.Option(help="run.googleapis.com=60: writes a minute and project; =none: no limit.")
    ] = None,
) -> None:
    """Set what is named, and show all. Seconds and minutes are Google's: they pass as fast as operations do."""
    asked: dict[str, Any] = {"accounts": accounts, "account_delay_s": account_delay, "grant_delay_s": grant_delay}
    asked = {name: value for name, value in asked.items() if value is not None}
    asked["writes_per_minute"] = dict(_rate(text) for text in writes or ())
    shown = request(running(folder), "POST", "limits", asked)
    typer.echo(f"service accounts of a project: {shown['accounts']}")
    typer.echo(f"a new account is known after:  {shown['account_delay_s']:g} s")
    typer.echo(f"a new grant counts after:      {shown['grant_delay_s']:g} s")
    for host, rate in shown["writes_per_minute"].items():
        typer.echo(f"writes a minute to {host}: {rate}")


def _details(fault: dict[str, Any]) -> list[str]:
    """What only faults of this kind have."""
    if fault["kind"] == "fail":
        wait = fault["retry_after_s"]
        return [fault["code"], *([] if wait is None else [f"retry after: {wait:g} s"])]
    if fault["kind"] == "delay":
        return [f"{fault['seconds']:g} s"]
    return ["after the work" if fault["after"] else "before the work"] if fault["kind"] == "kill" else []


def _rate(text: str) -> tuple[str, int | None]:
    host, _, rate = text.partition("=")
    if not host or not (rate == "none" or rate.isdigit()):
        raise typer.BadParameter(f"{text}: not HOST=NUMBER or HOST=none.", param_hint="--writes")
    return host, None if rate == "none" else int(rate)
