"""The command line."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import structlog
import typer

from nuages.api.crd import write
from nuages.api.tenant import DjangoTenant
from nuages.api.validate import InvalidSpec, default_tenant
from nuages.reconcile.patience import PROPAGATION_S, Patience
from nuages.reconcile.settings import Settings

LEASE_NAMESPACE = "nuages-system"  # of deploy/kustomize: an operator beside the installed one waits for its Lease

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__, add_completion=False)

Project = Annotated[str, typer.Option(envvar="NUAGES_PROJECT", help="Project of namespaces without a DjangoTenant.")]
Region = Annotated[str, typer.Option(envvar="NUAGES_REGION", help="Region of namespaces without a DjangoTenant.")]
Image = Annotated[
    str,
    typer.Option(envvar="NUAGES_IMAGE", help="The operator's own image, which db-init runs in Google Cloud."),
]


@app.command()
def run(
    operator_image: Image,
    project: Project = "",
    region: Region = "europe-west1",
    namespace: Annotated[
        list[str] | None, typer.Option(envvar="NUAGES_NAMESPACES", help="Only these namespaces; default: all.")
    ] = None,
    lease_namespace: Annotated[
        str,
        typer.Option(
            envvar="NUAGES_LEASE_NAMESPACE",
            help='Where the Lease is, by which one operator works at a time; --lease-namespace "" for none.',
        ),
    ] = LEASE_NAMESPACE,
    identity: Annotated[
        str,
        typer.Option(
            envvar="POD_NAME", help="Holder of the Lease: the pod's name; default: the host's, and something random."
        ),
    ] = "",
    propagation_seconds: Annotated[
        float,
        typer.Option(
            envvar="NUAGES_PROPAGATION_SECONDS", help="How long a fresh grant may take at Google until it is missing."
        ),
    ] = PROPAGATION_S,
    workers: Annotated[int, typer.Option(envvar="NUAGES_WORKERS", help="Apps that are worked on at once.")] = 16,
    probe_port: Annotated[int, typer.Option(envvar="NUAGES_PROBE_PORT", help="/healthz, /readyz, /metrics.")] = 8080,
    probe_host: Annotated[str, typer.Option(envvar="NUAGES_PROBE_HOST", help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - the kubelet calls from outside
    call_timeout: Annotated[
        float,
        typer.Option(
            envvar="NUAGES_CALL_TIMEOUT",
            min=1.0,
            help="Seconds that one call of Google's, or getting its token, may take until it has failed.",
        ),
    ] = 60.0,
    log_format: Annotated[str, typer.Option(envvar="NUAGES_LOG_FORMAT", help="json or text.")] = "json",
) -> None:
    """Watch DjangoApps and keep Google Cloud as they say."""
    from nuages.kube.operator import Options, run  # the clients take a second to import: not for every command

    configure_logs(log_format)
    options = Options(
        settings=Settings(operator_image, tenant_of(project, region), Patience(propagation_seconds)),
        namespaces=namespace or [],
        identity=identity or f"{socket.gethostname()}_{uuid4()}",  # two of one machine are not one holder
        lease_namespace=lease_namespace,
        parallel=workers,
        probe_address=(probe_host, probe_port),
        call_timeout=call_timeout,
    )
    raise typer.Exit(asyncio.run(run(options)))


@app.command()
def crds(
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("crds"),
) -> None:
    """Write the custom resource definitions."""
    write(output)


@app.command()
def reference(
    output: Annotated[Path, typer.Option(help="File to write to.")] = Path("docs/reference.md"),
) -> None:
    """Write the reference of all fields, conditions and reasons."""
    from nuages.cli.reference import write as write_reference

    write_reference(output)


@app.command()
def plan(
    file: Annotated[Path, typer.Option("-f", "--file", help="DjangoApp manifest (and its DjangoTenant), or - .")],
    operator_image: Image = "",
    project: Project = "",
    region: Region = "europe-west1",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Where the manifest names none.")] = "",
) -> None:
    """Say what would be created, changed or deleted. Exit status 0: nothing, 2: something, 1: it cannot be told."""
    from nuages.cli.plan import plan_file

    configure_logs("text")
    code = asyncio.run(plan_file(file, Settings(operator_image, tenant_of(project, region)), namespace))
    raise typer.Exit(code)


def tenant_of(project: str, region: str) -> Any:
    """The operator-wide default tenant, or None where no project was given."""
    if not project:
        return None

    def tenant(namespace: str) -> DjangoTenant:
        return default_tenant(namespace, {"project": project, "region": region})

    try:
        tenant("default")
    except InvalidSpec as error:
        raise typer.BadParameter(f"{error.field.removeprefix('spec.')}: {error.message}") from error
    return tenant


def configure_logs(form: str) -> None:
    """Lines that Cloud Logging reads: severity, message, time."""
    renderer: Any = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", key="time"),
            _severity,
            structlog.processors.format_exc_info,
            *([structlog.processors.EventRenamer("message")] if form == "json" else []),
            renderer,
        ],
        cache_logger_on_first_use=True,
    )


def _severity(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["severity"] = {"warn": "WARNING", "exception": "ERROR"}.get(method, method.upper())
    return event


def main() -> None:
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    app()
