"""How far a rotation has come, read from the secrets and the service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from unit_support import a_tenant, an_app, some_facts

from nuages.blueprint.names import key_part, login_part, secret_name
from nuages.blueprint.rotation import request_of
from nuages.cloud.driver import Observed, Readiness
from nuages.desired.secretmanager import Random, Secret, SecretRef
from nuages.reconcile.rotation import ROTATE, with_rotation


def test_a_pair_that_was_left_behind_follows_the_other_at_once() -> None:
    """The logins have answered, the new key was left half-made: it is made for that request, not for another later."""
    app, tenant, request = an_app(annotations={ROTATE: "one"}), a_tenant(), request_of("one")

    def secret(part: str, source: str) -> tuple[str, Observed[Secret]]:
        name = secret_name(app, tenant, part)
        return name, Observed(Secret(name=name, payload=Random(), source=source))

    seen = dict(
        [
            secret(key_part("a"), "random"),
            secret(key_part("b"), ""),
            secret(login_part("a"), "random"),
            secret(login_part("b"), f"random-1-{request}"),
        ]
    )
    signs = SecretRef(secret_name(app, tenant, key_part("a")), "1")
    template = SimpleNamespace(environment=(("SECRET_KEY", signs), ("DB_USER", "acme_shop_a")))
    state = SimpleNamespace(template=template, traffic=(), revision="")
    live = cast(Any, SimpleNamespace(state=state, readiness=Readiness.READY))
    facts = with_rotation(some_facts(), cast(Any, SimpleNamespace(app=app, tenant=tenant)), seen, live)
    assert facts.keys.sources == {"a": "random", "b": f"random-1-{request}"}
    assert (facts.keys.newest, facts.logins.newest, facts.signing) == ("b", "b", "a")
