"""The environment contract (DESIGN): what every app finds, under the names that the project uses."""

from __future__ import annotations

from collections.abc import Iterable

from nuages.blueprint.blueprint import Capability
from nuages.blueprint.scope import Scope
from nuages.desired.run import Environment
from nuages.desired.secretmanager import SecretRef


def contract(scope: Scope) -> Capability:
    """The settings that need no resource. All hosts are known before the first deploy, but the hash-based one."""
    django = scope.app.spec.django
    hosts = [scope.host, scope.candidate_host]
    if scope.hash_host:
        hosts += [scope.hash_host, f"candidate---{scope.hash_host}"]
    origins = [f"https://{host}" for host in hosts]
    urls = [f"https://{host}" for host in hosts if not host.startswith("candidate---")]
    environment: dict[str, str] = {
        "ALLOWED_HOSTS": _list([*hosts, *django.allowed_hosts]),
        "CLOUDRUN_SERVICE_URLS": _list(urls),
        "CORS_ALLOWED_ORIGINS": _list(django.cors_allowed_origins),
        "CSRF_TRUSTED_ORIGINS": _list([*origins, *django.csrf_trusted_origins]),
        "DEBUG": "False",
        "GOOGLE_CLOUD_PROJECT": scope.tenant.spec.project,
        "LOG_FORMAT": "json",
        "USE_REDIS": "false",
    }
    if django.settings_module:
        environment["DJANGO_SETTINGS_MODULE"] = django.settings_module
    return Capability(environment=tuple(environment.items()))


def merged(scope: Scope, capabilities: Iterable[Capability]) -> Environment:
    """Sorted by name: the ConfigMaps in their order, the user's entries over them, the contract over both.

    Admission and the API refuse an entry that the contract sets; one that came by a ConfigMap loses.
    """
    values: dict[str, str | SecretRef] = {}
    for source in scope.app.spec.env_from:
        values |= scope.facts.config_maps.get(source.config_map.name, {})
    values |= {variable.name: variable.value for variable in scope.app.spec.env if variable.value is not None}
    renamed = scope.app.spec.django.env_names
    for capability in capabilities:
        values |= {renamed.get(name, name): value for name, value in capability.environment}
    return tuple(sorted(values.items()))


def _list(items: Iterable[str]) -> str:
    """Comma-separated, as django-environ and most settings files read lists."""
    return ",".join(dict.fromkeys(items))
