"""`localcloud logs`: what apps, jobs, databases and the platform wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from localcloud.cli_client import lines, running

DEFAULT_DIR = Path(".localcloud")
COLOURS = {"ERROR": typer.colors.RED, "CRITICAL": typer.colors.RED, "WARNING": typer.colors.YELLOW}


def logs(
    folder: Annotated[Path, typer.Option("--dir", envvar="LOCALCLOUD_DIR")] = DEFAULT_DIR,
    service: Annotated[str, typer.Option(help="Of this Cloud Run service only.")] = "",
    job: Annotated[str, typer.Option(help="Of this Cloud Run job only.")] = "",
    instance: Annotated[str, typer.Option(help="Of this Cloud SQL instance only.")] = "",
    tail: Annotated[int, typer.Option(help="How many entries of the past to show.", min=0)] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new entries.")] = False,
) -> None:
    """Print log entries, oldest first. Without --follow, a name of which there is none is refused."""
    chosen = {"service_name": service, "job_name": job, "database_id": instance}
    query = {name: value for name, value in chosen.items() if value}
    if len(query) > 1:
        raise typer.BadParameter("they exclude each other; name one.", param_hint="--service, --job, --instance")
    query |= {"tail": str(tail), "follow": "1" if follow else ""}
    try:
        for line in lines(running(folder), "GET", f"logs?{urlencode(query)}"):
            entry = json.loads(line)
            severity = entry.get("severity", "DEFAULT")
            typer.secho(_shown(entry), fg=COLOURS.get(severity))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _shown(entry: dict[str, Any]) -> str:
    labels = entry.get("resource", {}).get("labels", {})
    names = ("revision_name", "service_name", "job_name", "database_id")
    who = next((labels[name] for name in names if labels.get(name)), "cloud")
    payload = entry.get("textPayload")
    if payload is None and "jsonPayload" in entry:
        message = entry["jsonPayload"].get("message")
        payload = message if isinstance(message, str) else json.dumps(entry["jsonPayload"], ensure_ascii=False)
    if payload is None:
        request = entry.get("httpRequest", {})
        payload = " ".join(str(request[key]) for key in ("requestMethod", "requestUrl", "status") if key in request)
    time = entry.get("timestamp", "")[11:23]
    severity = "" if entry.get("severity", "DEFAULT") == "DEFAULT" else f" {entry['severity']}"
    return f"{time} {who}{severity}: {payload}"
