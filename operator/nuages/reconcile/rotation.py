"""How far a rotation has come: read from the secrets and from what the service runs with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nuages.blueprint.facts import Facts
from nuages.blueprint.names import key_part, login_part, role, secret_name
from nuages.blueprint.rotation import Pair, pair, request_of
from nuages.cloud.driver import Observed, Readiness
from nuages.desired.run import RunService
from nuages.desired.secretmanager import Random, Secret, SecretRef
from nuages.reconcile.plan import Sight

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

ROTATE = "nuages.dev/rotate"
LETTERS = ("a", "b")


def rotating_secrets(work: Pass) -> tuple[Secret, ...]:
    """Both of each pair, by name: what to look at."""
    parts = [*map(key_part, LETTERS), *map(login_part, LETTERS)]
    return tuple(Secret(name=secret_name(work.app, work.tenant, part), payload=Random()) for part in parts)


def with_rotation(facts: Facts, work: Pass, seen: Sight, live: Observed[RunService] | None) -> Facts:
    """The facts with the pairs, and the letter of the SECRET_KEY that signs.

    A new one is made only while the service runs with the newest of both: a request that comes earlier waits. Where one
    pair has answered the request already, that was so, and the other was left behind by an interrupted pass.
    """
    request = request_of(work.app.metadata.annotations.get(ROTATE, ""))

    def source(part: str) -> str | None:
        found = seen[secret_name(work.app, work.tenant, part)]
        return None if found is None else found.state.source

    keys = pair({letter: source(key_part(letter)) for letter in LETTERS}, request)
    logins = pair({letter: source(login_part(letter)) for letter in LETTERS}, request)
    has_begun = bool(request) and (keys.answers(request) or logins.answers(request))
    if live is None or has_begun or _runs_with(keys, logins, live, work):
        keys = keys if keys.answers(request) else keys.rotated(request)
        logins = logins if logins.answers(request) else logins.rotated(request)
    signing = _signing(keys, seen, live, work)
    pending = signing != keys.newest or not (keys.answers(request) and logins.answers(request))
    return replace(facts, keys=keys, logins=logins, signing=signing, rotates=pending)


def _signing(keys: Pair, seen: Sight, live: Observed[RunService] | None, work: Pass) -> str:
    """The newest one once every instance accepts it; the older one until then."""
    if live is None or not keys.older:
        return keys.newest
    name = secret_name(work.app, work.tenant, key_part(keys.newest))
    found = seen[name]
    newest = SecretRef(name, found.outputs.get("version") if found is not None else None)
    if newest.version is None or (found is not None and found.state.source != keys.sources[keys.newest]):
        return keys.older  # it is about to be made
    environment = dict(live.state.template.environment)
    signs, accepts = (environment.get(_variable(work, name)) for name in ("SECRET_KEY", "SECRET_KEY_FALLBACKS"))
    return keys.newest if signs == newest or (accepts == newest and _is_settled(live)) else keys.older


def _runs_with(keys: Pair, logins: Pair, live: Observed[RunService], work: Pass) -> bool:
    environment = dict(live.state.template.environment)
    key = environment.get(_variable(work, "SECRET_KEY"))
    signs = isinstance(key, SecretRef) and key.secret == secret_name(work.app, work.tenant, key_part(keys.newest))
    login = role(work.app.database_name, logins.newest)
    has_login = not work.app.spec.database.enabled or environment.get(_variable(work, "DB_USER")) == login
    return signs and has_login and _is_settled(live)


def _is_settled(live: Observed[RunService]) -> bool:
    """Whether all traffic is on the newest revision."""
    serving = {target.revision for target in live.state.traffic if target.percent}
    return live.readiness is Readiness.READY and serving == {live.state.revision}


def _variable(work: Pass, name: str) -> str:
    return work.app.spec.django.env_names.get(name, name)
