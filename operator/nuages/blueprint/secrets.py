"""What must not be in the spec: generated, copied or named secrets, each pinned by version where it is used."""

from __future__ import annotations

from nuages.blueprint import names
from nuages.blueprint.blueprint import Capability
from nuages.blueprint.scope import Scope
from nuages.desired.run import Environment
from nuages.desired.secretmanager import Copied, Random, Secret, SecretRef

SECRET_KEY_LENGTH = 64


def secrets(scope: Scope) -> Capability:
    """SECRET_KEY, and the secrets that spec.env names."""
    pair, signing = scope.facts.keys, scope.facts.signing
    keys = {letter: _secret_key(scope, letter) for letter in pair.letters}
    # The other one is accepted: before it signs the new one, afterwards the old one, for sessions that it signed.
    accepted = tuple(("SECRET_KEY_FALLBACKS", SecretRef(key.name)) for letter, key in keys.items() if letter != signing)
    copies, references = _from_env(scope)
    environment: Environment = (("SECRET_KEY", SecretRef(keys[signing].name)), *accepted, *references)
    return Capability(resources=(*keys.values(), *copies), environment=environment, condition="SecretsReady")


def _secret_key(scope: Scope, letter: str) -> Secret:
    return Secret(
        name=scope.secret(names.key_part(letter)),
        owner=scope.owner,
        payload=Random(SECRET_KEY_LENGTH),
        source=scope.facts.keys.sources[letter],
        labels=scope.labels,
    )


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
