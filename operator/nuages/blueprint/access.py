"""Who may read which secret, connect to the database and call the service: one member of one role at a time."""

from __future__ import annotations

from collections.abc import Iterable

from nuages.blueprint import names
from nuages.blueprint.scope import Scope
from nuages.blueprint.secrets import superuser_password
from nuages.desired.iam import Condition, IamMember
from nuages.desired.run import Environment
from nuages.desired.secretmanager import SecretRef


def secret_grants(scope: Scope, environments: Iterable[Environment]) -> tuple[IamMember, ...]:
    """The runtime identity reads each secret that a variable refers to, and no other."""
    used = {value.secret for found in environments for _, value in found if isinstance(value, SecretRef)}
    return tuple(reader(name, scope.runtime_account) for name in sorted(used))


def reader(secret: str, account: str) -> IamMember:
    """Whoever runs as the account, by its email, reads the secret."""
    return IamMember.of(secret, "roles/secretmanager.secretAccessor", f"serviceAccount:{account}")


def superuser_grant(scope: Scope) -> IamMember | None:
    """The runtime identity reads the superuser's password too, but not for good: the release makes this grant."""
    if scope.app.spec.superuser is None:
        return None
    return reader(superuser_password(scope).name, scope.runtime_account)


def database_grants(scope: Scope, members: Iterable[str]) -> tuple[IamMember, ...]:
    """Google offers cloudsql.client on a project only: the condition narrows it to the instance."""
    instance = scope.instance
    condition = Condition(
        title=names.connection_title(instance),
        expression=f'resource.name == "{instance}" && resource.service == "sqladmin.googleapis.com"',
    )
    project = names.project(scope.tenant)
    return tuple(IamMember.of(project, "roles/cloudsql.client", member, condition) for member in members)


def invokers(scope: Scope) -> tuple[IamMember, ...]:
    """spec.web.invokers, on this one service: once each, though they may be written in more than one way."""
    name = names.service_name(scope.app, scope.tenant)
    members = (IamMember.of(name, "roles/run.invoker", member) for member in scope.app.spec.web.invokers)
    return tuple(dict.fromkeys(members))
