"""`nuages plan`: what a manifest would do, without doing it. The same plan that the operator carries out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
import yaml
from kubernetes.aio import client

from nuages.api.validate import InvalidSpec, parse_app, parse_tenant
from nuages.blueprint.compose import compose
from nuages.cloud.access import Clouds
from nuages.desired.resource import Resource
from nuages.kube.objects import KubernetesCluster
from nuages.kube.operator import load_config
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Body, Cluster
from nuages.reconcile.gather import copies, gather, project_number
from nuages.reconcile.plan import Action, Plan, Verb, make_plan, versions_of
from nuages.reconcile.provision import image_of, look_at_service, see
from nuages.reconcile.reconciler import Pass
from nuages.reconcile.release.release import bind, identity
from nuages.reconcile.rotation import rotating_secrets, with_rotation
from nuages.reconcile.settings import Settings
from nuages.reconcile.trouble import Trouble, of_refusal

NOTHING, TROUBLE, CHANGES = (
    0,
    1,
    2,
)  # exit statuses, as `terraform plan -detailed-exitcode` and `kubectl diff` have them
MARKS = {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.ADOPT: "!", Verb.DELETE: "-", Verb.WAIT: "…"}


async def plan_file(file: Path, settings: Settings, namespace: str) -> int:
    """Print the plan of every DjangoApp in the file; the exit status says whether there is one."""
    try:
        documents = [item for item in yaml.safe_load_all(_text(file)) if isinstance(item, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        typer.echo(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}.", err=True)
        return TROUBLE
    tenants = {_namespace(item, namespace): item for item in documents if item.get("kind") == "DjangoTenant"}
    apps = [item for item in documents if item.get("kind") == "DjangoApp"]
    if not apps:
        typer.echo(f"{file}: holds no DjangoApp. Name a file that does.", err=True)
        return TROUBLE
    status = NOTHING
    try:
        await load_config()
    except Exception as error:
        typer.echo(f"No cluster to plan against: {error} Set KUBECONFIG.", err=True)
        return TROUBLE
    async with client.ApiClient() as api:
        cluster = Given(KubernetesCluster(api, "nuages-plan"), tenants)
        clouds = Clouds(copies(cluster))
        try:
            for document in apps:
                try:
                    status = max(
                        status, await _plan_one(document, _namespace(document, namespace), cluster, clouds, settings)
                    )
                except (InvalidSpec, Trouble) as error:
                    typer.echo(f"{document['metadata']['name']}: {error}", err=True)
                    return TROUBLE
        finally:
            await clouds.close()
    return status


class Given:
    """The cluster, with the tenants that the file brings."""

    def __init__(self, cluster: KubernetesCluster, tenants: Mapping[str, Body]) -> None:
        self._cluster, self._tenants = cluster, tenants

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def tenant(self, namespace: str) -> Body | None:
        return self._tenants.get(namespace) or await self._cluster.tenant(namespace)


async def _plan_one(
    document: Mapping[str, Any], namespace: str, cluster: Any, clouds: Clouds, settings: Settings
) -> int:
    there = await cluster.app(namespace, document["metadata"]["name"])
    known = {} if there is None else there["metadata"]
    metadata = {**known, **document["metadata"], "namespace": namespace}
    body = {**document, "metadata": {"uid": "new", **metadata}, "status": (there or {}).get("status") or {}}
    app = parse_app(body)
    tenant_body = await cluster.tenant(namespace)
    if tenant_body is None and settings.default_tenant is None:
        raise Trouble(
            reasons.TENANT_MISSING,
            f"namespace {namespace} has no DjangoTenant. Put one into the file, or give --project.",
        )
    tenant = parse_tenant(tenant_body) if tenant_body is not None else settings.default_tenant(namespace)  # type: ignore[misc]
    cloud = await clouds.for_tenant(tenant.spec.impersonate_service_account or "")
    work = Pass(body, app, tenant, cluster, cloud, settings, (), lambda: False)
    plan = await whole_plan(work)
    _show(app.key, plan)
    if plan.refusals:
        return TROUBLE
    return CHANGES if plan.changes else NOTHING


async def whole_plan(work: Pass) -> Plan:
    """What provision would do, and what the release would."""
    await project_number(work.tenant, work.cloud)
    live = await look_at_service(work)
    image = await image_of(work, live)
    facts = await gather(work.app, work.tenant, work.cluster, work.cloud, work.settings.operator_image, image, 0.0)
    facts = replace(facts, hash_url=live.outputs.get("uri", "") if live is not None else "")
    facts = with_rotation(facts, work, await see(work, rotating_secrets(work)), live)
    blueprint = compose(work.app, work.tenant, facts)
    if blueprint.problems:
        raise Trouble(blueprint.problems[0].reason, blueprint.problems[0].message)
    seen = await see(work, blueprint.resources)
    plan = make_plan(blueprint.resources, seen, lambda kind: work.cloud.drivers.of(kind).owned)
    parts = bind(blueprint, versions_of(seen))
    released: list[Action] = []
    if blueprint.service is not None and live is None:
        jobs: Iterable[Resource | None] = (blueprint.db_init, blueprint.migrate, blueprint.superuser, blueprint.service)
        released = [Action(Verb.CREATE, item) for item in jobs if item is not None]
    elif parts is not None and live is not None:
        host = blueprint.hash_host
        same = identity(live.state, host) == identity(parts.service, host)
        paths: tuple[str, ...] = () if same else ("template",)
        paths += tuple(n for n in ("open_access", "ingress") if getattr(live.state, n) != getattr(parts.service, n))
        verb = Verb.UPDATE if paths else Verb.KEEP
        released = [Action(verb, parts.service, live, paths)]
    return Plan((*plan.actions, *released))


def _show(key: str, plan: Plan) -> None:
    for action in plan.actions:
        if action in plan.refusals:
            typer.echo(f"x {of_refusal(action).message}")
        elif action.verb in MARKS:
            paths = f" ({', '.join(action.paths)})" if action.paths else ""
            typer.echo(f"{MARKS[action.verb]} {action.verb.value} {action.resource.shown}{paths}")
    count = len(plan.changes)
    typer.echo(f"{key}: {count or 'no'} change{'' if count == 1 else 's'}")


def _namespace(document: Mapping[str, Any], default: str) -> str:
    return str(document.get("metadata", {}).get("namespace") or default or "default")


def _text(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text()


__all__ = ["Cluster", "plan_file", "whole_plan"]
