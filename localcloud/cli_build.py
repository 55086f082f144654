"""`localcloud build`: an image from a Dockerfile, without a container engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from localcloud.cli_client import fail, lines, running

DEFAULT_DIR = Path(".localcloud")


def build(
    path: Annotated[Path, typer.Argument(help="The build context.", exists=True, file_okay=False)],
    tag: Annotated[str, typer.Option("--tag", "-t", help="REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG")],
    folder: Annotated[Path, typer.Option("--dir", envvar="LOCALCLOUD_DIR")] = DEFAULT_DIR,
    dockerfile: Annotated[str, typer.Option("--file", "-f", help="The Dockerfile, within the context.")] = "Dockerfile",
    build_arg: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for an ARG.")] = None,
    assume_system_packages: Annotated[
        bool, typer.Option(help="Take apt-get lines as done: this system has the packages.")
    ] = False,
) -> None:
    """Build an image and push it to the local registry."""
    address = running(folder)
    arguments = {}
    for pair in build_arg or []:
        name, equals, value = pair.partition("=")
        if not equals:
            fail(f"--build-arg {pair}: write NAME=VALUE.")
        arguments[name] = value
    asked = {
        "path": str(path.absolute()),
        "tag": tag,
        "dockerfile": dockerfile,
        "arguments": arguments,
        "assume_system_packages": assume_system_packages,
    }
    last: dict[str, str] = {}
    for line in lines(address, "POST", "build", asked):
        last = json.loads(line)
        if "progress" in last:
            typer.echo(last["progress"])
    if "digest" not in last:
        fail(last.get("error", "The build ended without an answer."))
    typer.echo(f"{tag}@{last['digest']}")
