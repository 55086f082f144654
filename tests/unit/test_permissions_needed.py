"""What the operator must be allowed to do, asked before the first resource is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from unit_support import a_tenant, an_app, some_facts

from nuages.blueprint.compose import compose
from nuages.reconcile.permissions import CREATION, PROJECT_GRANT, RELEASE, permissions_for
from nuages.reconcile.plan import Action, Plan, Verb
from nuages.reconcile.roles import role_for

GRANTED = re.findall(r"^(roles/\S+)", (Path(__file__).parents[2] / "deploy" / "roles.txt").read_text(), re.MULTILINE)
EVERY = sorted({*PROJECT_GRANT, *RELEASE, *(item for items in CREATION.values() for item in items)})


def test_a_first_release_needs_all_of_them() -> None:
    """Whatever its plan creates, and what the release will."""
    resources = compose(an_app(), a_tenant(), some_facts()).resources
    plan = Plan(tuple(Action(Verb.CREATE, item) for item in resources))
    assert permissions_for(plan, is_first=True) == frozenset(EVERY)
    assert permissions_for(plan, is_first=False) == frozenset(EVERY) - frozenset(RELEASE)


def test_an_app_at_rest_needs_none() -> None:
    """So that nothing is asked."""
    resources = compose(an_app(), a_tenant(), some_facts()).resources
    plan = Plan(tuple(Action(Verb.KEEP, item) for item in resources))
    assert permissions_for(plan, is_first=True) == frozenset()


@pytest.mark.parametrize("permission", EVERY)
def test_each_has_a_role_that_is_documented(permission: str) -> None:
    """The remedy names one of deploy/roles.txt, by the most specific rule."""
    assert role_for(permission) in GRANTED
    assert role_for("iam.serviceAccounts.actAs") == "roles/iam.serviceAccountUser"
