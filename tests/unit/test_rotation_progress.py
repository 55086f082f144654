"""How far a rotation has come, read from the secrets and the service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from unit_support import a_tenant, an_app, some_facts

from nuages.blueprint.facts import Facts
from nuages.blueprint.names import key_part, login_part, secret_name
from nuages.blueprint.rotation import request_of
from nuages.cloud.driver import Observed, Readiness
from nuages.desired.run import TrafficTarget
from nuages.desired.secretmanager import Random, Secret, SecretRef
from nuages.reconcile.rotation import ROTATE, with_rotation

APP, TENANT = an_app(annotations={ROTATE: "one"}), a_tenant()
MADE = f"random-1-{request_of('one')}"


def secret(part: str, source: str) -> tuple[str, Observed[Secret]]:
    """One that is there, of a first version."""
    name = secret_name(APP, TENANT, part)
    outputs = {"version": "1"} if source else {}
    return name, Observed(Secret(name=name, payload=Random(), source=source), outputs=outputs)


def facts(key_b: str, traffic: tuple[TrafficTarget, ...] = (), revision: str = "", **environment: Any) -> Facts:
    """The login roles have changed already, both pairs are there, and the service runs with that environment."""
    seen = dict(
        [
            secret(key_part("a"), "random"),
            secret(key_part("b"), key_b),
            secret(login_part("a"), "random"),
            secret(login_part("b"), MADE),
        ]
    )
    template = SimpleNamespace(environment=tuple(environment.items()))
    state = SimpleNamespace(template=template, traffic=traffic, revision=revision)
    live = cast(Any, SimpleNamespace(state=state, readiness=Readiness.READY))
    return with_rotation(some_facts(), cast(Any, SimpleNamespace(app=APP, tenant=TENANT)), seen, live)


def key(letter: str) -> SecretRef:
    return SecretRef(secret_name(APP, TENANT, key_part(letter)), "1")


def test_a_pair_that_was_left_behind_follows_the_other_at_once() -> None:
    """The logins have answered, the new key was left half-made: it is made for that request, not for another later."""
    found = facts("", SECRET_KEY=key("a"), DB_USER="acme_shop_a")
    assert found.keys.sources == {"a": "random", "b": MADE}
    assert (found.keys.newest, found.logins.newest, found.signing) == ("b", "b", "a")


@pytest.mark.parametrize(
    ("accepts", "percents", "signing"),
    [
        ({}, {"new": 100}, "a"),
        ({"SECRET_KEY_FALLBACKS": key("b")}, {"old": 100, "new": 0}, "a"),
        ({"SECRET_KEY_FALLBACKS": key("b")}, {"old": 50, "new": 50}, "a"),
        ({"SECRET_KEY_FALLBACKS": key("b")}, {"new": 100}, "b"),
    ],
    ids=["nobody accepts it", "only the candidate accepts it", "half of the traffic accepts it", "everybody does"],
)
def test_a_new_key_signs_once_every_instance_accepts_it(
    accepts: dict[str, SecretRef], percents: dict[str, int], signing: str
) -> None:
    """Whoever it signed in before would be thrown out by an instance that does not know it."""
    traffic = tuple(TrafficTarget(revision, percent) for revision, percent in percents.items())
    found = facts(MADE, traffic, "new", SECRET_KEY=key("a"), DB_USER="acme_shop_b", **accepts)
    assert (found.keys.newest, found.signing, found.rotates) == ("b", signing, signing != "b")
