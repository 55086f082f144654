"""From app, tenant and facts to the blueprint. The same input gives the same graph, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from graphlib import TopologicalSorter

from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant, instance_of
from nuages.blueprint import names
from nuages.blueprint.access import database_grants, invokers, secret_grants, superuser_grant
from nuages.blueprint.blueprint import Blueprint, Capability
from nuages.blueprint.database import database, db_init, db_init_grants
from nuages.blueprint.environment import contract, merged
from nuages.blueprint.facts import Facts
from nuages.blueprint.identity import identity
from nuages.blueprint.scope import Scope
from nuages.blueprint.secrets import secrets, superuser_password
from nuages.blueprint.services import services
from nuages.blueprint.storage import storage
from nuages.blueprint.web import JOBS, migrate, superuser, web
from nuages.desired.iam import IamMember, ProjectService, ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.run import Environment
from nuages.desired.secretmanager import Composed, Secret
from nuages.desired.sql import SqlUser


def compose(app: DjangoApp, tenant: DjangoTenant, facts: Facts) -> Blueprint:
    """Without an image in the facts there is no service and there are no jobs yet; all else is complete."""
    scope = Scope(app, tenant, facts)
    capabilities = [
        services(scope),
        identity(scope),
        secrets(scope),
        database(scope),
        storage(scope),
        contract(scope),
    ]
    environment = merged(scope, capabilities)
    capabilities.append(_grants(scope, environment))
    resources = _ordered([item for capability in capabilities for item in capability.resources])
    image = facts.image
    grant = superuser_grant(scope)
    is_for_job = app.spec.superuser is not None and grant not in resources  # else a variable of the app names it
    own_instance = instance_of(app, tenant).create is not None
    return Blueprint(
        resources=resources,
        conditions=tuple(
            (item.name, part.condition) for part in capabilities for item in part.resources if part.condition
        ),
        service_name=names.service_name(app, tenant),
        service_url=f"https://{scope.host}",
        candidate_url=f"https://{scope.candidate_host}",
        hash_host=scope.hash_host,
        job_names=tuple(names.job_name(app, tenant, part) for part in JOBS),
        service=web(scope, image, environment) if image else None,
        db_init=db_init(scope),
        db_leave=None if own_instance else db_init(scope, "retain" if app.spec.deletion_policy == "Retain" else "drop"),
        migrate=migrate(scope, image, environment) if image else None,
        superuser=superuser(scope, image, environment) if image else None,
        superuser_password=superuser_password(scope) if is_for_job else None,
        superuser_grant=grant if is_for_job else None,
        access=invokers(scope),
        rotates=facts.rotates,
        problems=tuple(problem for capability in capabilities for problem in capability.problems),
    )


def _grants(scope: Scope, environment: Environment) -> Capability:
    """Every grant that stays, and the superuser's password where the app itself refers to it."""
    runtime = f"serviceAccount:{scope.runtime_account}"
    resources: list[Resource] = [*secret_grants(scope, [environment])]
    if superuser_grant(scope) in resources:
        resources.append(superuser_password(scope))
    if scope.app.spec.database.enabled:
        db_init_member = f"serviceAccount:{scope.db_init_account.rsplit('/', 1)[-1]}"
        resources += db_init_grants(scope)
        resources += database_grants(scope, [runtime, db_init_member])
    return Capability(resources=tuple(resources), condition="IdentityReady")


def _ordered(resources: list[Resource]) -> tuple[Resource, ...]:
    """Each after what it needs; edges follow from the references that its fields hold."""
    by_name = {item.name: item for item in resources}
    apis = frozenset(item.name for item in resources if isinstance(item, ProjectService))
    linked = {name: replace(item, needs=_needs(item, by_name, apis)) for name, item in by_name.items()}
    graph = {name: sorted(item.needs) for name, item in linked.items()}
    return tuple(linked[name] for name in TopologicalSorter(graph).static_order())


def _needs(resource: Resource, by_name: dict[str, Resource], apis: frozenset[str]) -> frozenset[str]:
    if isinstance(resource, ProjectService):
        return frozenset()
    return apis | {name for name in _references(resource, by_name.values()) if name in by_name}


def _references(resource: Resource, among: Iterable[Resource]) -> list[str]:
    """The full names that a resource's own fields mention."""
    match resource:
        case IamMember():
            accounts = [
                item.name for item in among if isinstance(item, ServiceAccount) and item.member == resource.member
            ]
            return [resource.target, *accounts]
        case Secret(payload=Composed(parts=parts)):
            return [name for _, name in parts]
        case SqlUser():
            return [resource.instance, resource.password]
        case _:
            return []


__all__ = ["compose"]
