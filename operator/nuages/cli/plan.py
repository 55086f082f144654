"""`nuages plan`: what a manifest would do, without doing it. The same plan that the operator carries out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
import yaml
from kubernetes.aio import client

from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant
from nuages.api.validate import InvalidSpec, parse_app
from nuages.blueprint.names import job_name
from nuages.cloud import errors
from nuages.cloud.access import CloudAccess, Clouds
from nuages.desired.run import RunJob
from nuages.kube.objects import KubernetesCluster
from nuages.kube.operator import load_config
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Body, ClusterError
from nuages.reconcile.forecast import forecast
from nuages.reconcile.gather import copies
from nuages.reconcile.moves import check_tenant
from nuages.reconcile.plan import Plan, Verb
from nuages.reconcile.reconciler import Pass
from nuages.reconcile.report import Report
from nuages.reconcile.settings import Settings
from nuages.reconcile.tenancy import access, check_reach, parsed
from nuages.reconcile.trouble import Trouble, of_error, of_refusal

# Exit statuses, as `terraform plan -detailed-exitcode` and `kubectl diff` have them.
NOTHING, TROUBLE, CHANGES = range(3)
MARKS = {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.ADOPT: "!", Verb.DELETE: "-", Verb.WAIT: "…", Verb.RUN: ">"}


async def plan_file(file: Path, settings: Settings, namespace: str) -> int:
    """Print the plan of every DjangoApp in the file; the exit status says whether there is one."""
    try:
        documents = [item for item in yaml.load_all(_text(file), Plain) if isinstance(item, dict)]
    except OSError as error:
        return _refuse(file, f"cannot be read: {error.strerror}.")
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        return _refuse(file, f"cannot be read as YAML: {error}.")
    tenants = {_namespace(item, namespace): item for item in documents if item.get("kind") == "DjangoTenant"}
    apps = [item for item in documents if item.get("kind") == "DjangoApp"]
    if not apps:
        return _refuse(file, "holds no DjangoApp. Name a file that does.")
    for document in apps:
        try:
            parse_app(document)
        except InvalidSpec as error:
            return _refuse(_metadata(document).get("name") or file, error)
    logging.getLogger("kubernetes").setLevel(logging.ERROR)  # it warns of what is told here
    try:
        await load_config()
    except Exception as error:
        return _refuse("No cluster to plan against", f"{error} Set KUBECONFIG.")
    status = NOTHING
    async with client.ApiClient() as api:
        cluster = Given(KubernetesCluster(api, "nuages-plan"), tenants)
        clouds = Clouds(copies(cluster))
        try:
            for document in apps:
                coming = _plan_one(document, _namespace(document, namespace), cluster, clouds, settings)
                try:
                    status = max(status, await coming)
                except (InvalidSpec, Trouble, ClusterError) as error:
                    return _refuse(document["metadata"]["name"], error)
        finally:
            await clouds.close()
    return status


def _refuse(what: object, why: object) -> int:
    """One line, whatever a library's message looks like."""
    typer.echo(" ".join(f"{what}: {why}".split()), err=True)
    return TROUBLE


class Plain(yaml.SafeLoader):
    """As kubectl reads YAML: what looks like a date is a string."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own
        first: [(tag, form) for tag, form in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class Given:
    """The cluster, with the tenants that the file brings."""

    def __init__(self, cluster: KubernetesCluster, tenants: Mapping[str, Body]) -> None:
        self._cluster, self._tenants = cluster, tenants

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def tenant(self, namespace: str) -> Body | None:
        given = self._tenants.get(namespace)
        if given is None:
            return await self._cluster.tenant(namespace)
        return {**given, "metadata": {"uid": "new", **_metadata(given)}}  # an object once it is applied


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
    tenant = parsed(tenant_body) if tenant_body is not None else settings.default_tenant(namespace)  # type: ignore[misc]
    check_tenant(app, tenant, body["status"].get("resources") or ())
    check_reach(app, tenant)
    cloud = await access(tenant, clouds)
    if not settings.operator_image:
        settings = replace(settings, operator_image=await _operator_image(app, tenant, cloud))
    work = Pass(body, app, tenant, cluster, cloud, settings, (), lambda: False)
    try:
        plan = (await forecast(work, Report(app.metadata.generation))).forecast or Plan(())
    except errors.CloudError as error:
        raise of_error(error, "Google Cloud", cloud.identity.principal) from error
    _show(app.key, plan)
    if plan.refusals:
        return TROUBLE
    return CHANGES if plan.changes else NOTHING


async def _operator_image(app: DjangoApp, tenant: DjangoTenant, cloud: CloudAccess) -> str:
    """What the app's db-init runs, for this command may run anywhere; any name, where there is none yet."""
    try:
        there = await cloud.drivers.of(RunJob).observe(job_name(app, tenant, "db-init"))
    except errors.CloudError:  # the plan itself comes upon it again, and tells it
        there = None
    return there.state.template.image if there is not None else "nuages"


def _show(key: str, plan: Plan) -> None:
    for action in plan.actions:
        if action in plan.refusals:
            changes = f" Adopted, it would change: {', '.join(action.paths)}." if action.verb is Verb.CONFLICT else ""
            typer.echo(f"x {of_refusal(action).message}{changes if action.paths else ''}")
        elif action.verb in MARKS:
            paths = f" ({', '.join(action.paths)})" if action.paths else ""
            typer.echo(f"{MARKS[action.verb]} {action.verb.value} {action.resource.shown}{paths}")
    count = len(plan.changes)
    typer.echo(f"{key}: {count or 'no'} change{'' if count == 1 else 's'}")


def _namespace(document: Mapping[str, Any], default: str) -> str:
    return str(_metadata(document).get("namespace") or default or "default")


def _metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Empty where there is none."""
    found = document.get("metadata")
    return found if isinstance(found, dict) else {}


def _text(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text()
