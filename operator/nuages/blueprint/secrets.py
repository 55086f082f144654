"""What must not be in the spec: generated, copied or named secrets, each pinned by version where it is used."""

from __future__ import annotations

from nuages.blueprint.blueprint import Capability
from nuages.blueprint.scope import Scope
from nuages.desired.run import Environment
from nuages.desired.secretmanager import Copied, Random, Secret, SecretRef

SECRET_KEY_LENGTH = 64


def secrets(scope: Scope) -> Capability:
    """SECRET_KEY, and the secrets that spec.env names."""
    key = Secret(
        name=scope.secret("secret-key"), owner=scope.owner, payload=Random(SECRET_KEY_LENGTH), labels=scope.labels
    )
    copies, references = _from_env(scope)
    environment: Environment = (("SECRET_KEY", SecretRef(key.name)), *references)
    return Capability(resources=(key, *copies), environment=environment, condition="SecretsReady")


def superuser_password(scope: Scope) -> Secret:
    """Only the superuser job sees it."""
    return Secret(name=scope.secret("superuser-password"), owner=scope.owner, payload=Random(24), labels=scope.labels)


def _from_env(scope: Scope) -> tuple[tuple[Secret, ...], Environment]:
    copies: dict[str, Secret] = {}
    references: list[tuple[str, str | SecretRef]] = []
    for variable in scope.app.spec.env:
        if variable.secret is not None:
            named = f"projects/{scope.tenant.spec.project}/secrets/{variable.secret.name}"
            references.append((variable.name, SecretRef(named, variable.secret.version)))
        elif variable.kubernetes_secret is not None:
            origin = variable.kubernetes_secret
            name = scope.secret(f"env-{variable.name}")  # as it is: two variables may differ by case alone
            copies[name] = Secret(
                name=name,
                owner=scope.owner,
                payload=Copied(origin.name, origin.key),
                source=scope.facts.kubernetes_secrets.get((origin.name, origin.key), "unknown"),
                labels=scope.labels,
            )
            references.append((variable.name, SecretRef(name)))
    return tuple(copies.values()), tuple(references)
