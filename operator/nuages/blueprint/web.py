"""The Cloud Run service, and the jobs that run in the app's own image."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from nuages.api.web import Probe as ProbeSpec
from nuages.blueprint import names
from nuages.blueprint.facts import ImageFacts
from nuages.blueprint.network import network_access
from nuages.blueprint.scope import Scope
from nuages.blueprint.secrets import superuser_password
from nuages.blueprint.storage import media_mount
from nuages.desired.run import Environment, Probe, RunJob, RunService, Template
from nuages.desired.secretmanager import SecretRef

INGRESS = {"All": "ALL", "Internal": "INTERNAL_ONLY", "InternalAndLoadBalancer": "INTERNAL_LOAD_BALANCER"}
JOBS = ("migrate", "superuser")


def web(scope: Scope, image: ImageFacts, environment: Environment) -> RunService:
    spec = scope.app.spec.web
    return RunService(
        name=names.service_name(scope.app, scope.tenant),
        owner=scope.owner,
        template=_template(
            scope,
            image,
            environment,
            command=spec.command,
            args=spec.args,
            cpu=spec.cpu,
            memory=spec.memory,
            timeout=spec.timeout_seconds,
        ),
        port=spec.port,
        concurrency=spec.concurrency,
        min_instances=spec.min_instances,
        max_instances=spec.max_instances,
        cpu_idle=not spec.cpu_always_allocated,
        startup_cpu_boost=spec.startup_cpu_boost,
        startup_probe=_probe(scope, spec.startup_probe),
        liveness_probe=_probe(scope, spec.liveness_probe),
        ingress=INGRESS[spec.ingress],
        open_access=spec.access == "Public",
    )


def migrate(scope: Scope, image: ImageFacts, environment: Environment) -> RunJob:
    """A script of ours as the argument of `python -c`: the image knows nothing of Nuages."""
    spec = scope.app.spec
    settings = {
        "NUAGES_LOCK_TIMEOUT": str(spec.migrations.lock_timeout_seconds),
        "NUAGES_STATEMENT_TIMEOUT": str(spec.migrations.statement_timeout_seconds),
        "NUAGES_MANAGE": spec.django.manage[-1],
    }
    merged = tuple(sorted({**dict(environment), **settings}.items()))
    return _job(scope, image, "migrate", merged, python_of(spec.django.manage), ("-c", script("migrate")))


@cache
def script(name: str) -> str:
    """One program: what all scripts share, then the script itself. Read once: every pass composes it again."""
    folder = resources.files("nuages.blueprint") / "scripts"
    return (folder / "prelude.py").read_text() + "\n\n" + (folder / f"{name}.py").read_text()


def python_of(manage: tuple[str, ...]) -> tuple[str, ...]:
    """The interpreter that a project's manage command runs: `python`, `uv run python`, `/venv/bin/python3`."""
    for index, word in enumerate(manage):
        if word.rsplit("/", 1)[-1].startswith("python"):
            return manage[: index + 1]
    return (*manage[:-1], "python")


def superuser(scope: Scope, image: ImageFacts, environment: Environment) -> RunJob | None:
    wanted = scope.app.spec.superuser
    if wanted is None:
        return None
    django = scope.app.spec.django
    added: dict[str, str | SecretRef] = {
        "DJANGO_SUPERUSER_USERNAME": wanted.username,
        "DJANGO_SUPERUSER_EMAIL": wanted.email,
        "DJANGO_SUPERUSER_PASSWORD": SecretRef(superuser_password(scope).name),
        "NUAGES_SUPERUSER_COMMAND": json.dumps(wanted.command),
        "NUAGES_MANAGE": django.manage[-1],
    }
    merged = tuple(sorted({**dict(environment), **added}.items()))
    return _job(scope, image, "superuser", merged, python_of(django.manage), ("-c", script("superuser")))


def _job(
    scope: Scope,
    image: ImageFacts,
    part: str,
    environment: Environment,
    command: tuple[str, ...],
    args: tuple[str, ...],
) -> RunJob:
    spec = scope.app.spec.jobs
    return RunJob(
        name=names.job_name(scope.app, scope.tenant, part),
        owner=scope.owner,
        template=_template(
            scope,
            image,
            environment,
            command=command,
            args=args,
            cpu=spec.cpu,
            memory=spec.memory,
            timeout=spec.timeout_seconds,
        ),
    )


def _template(
    scope: Scope,
    image: ImageFacts,
    environment: Environment,
    *,
    command: tuple[str, ...],
    args: tuple[str, ...],
    cpu: str,
    memory: str,
    timeout: int,
) -> Template:
    return Template(
        image=image.reference,
        command=command,
        args=args,
        environment=environment,
        cpu=cpu,
        memory=memory,
        service_account=scope.runtime_account,
        timeout=timeout,
        cloud_sql=(scope.connection_name,) if scope.app.spec.database.enabled else (),
        buckets=media_mount(scope),
        network=network_access(scope),
        labels=scope.template_labels,
    )


def _probe(scope: Scope, probe: ProbeSpec) -> Probe:
    """With the service's host, or Django refuses the request (lessons.md, row 60)."""
    return Probe(
        path=scope.app.spec.django.health_path,
        host=scope.host,
        initial_delay=probe.initial_delay_seconds,
        period=probe.period_seconds,
        timeout=probe.timeout,
        failure_threshold=probe.failure_threshold,
    )
