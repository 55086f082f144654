"""Surplus: what a revision that may still start refers to is held back, and what holds data is none."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from unit_support import a_tenant, an_app, some_facts

from nuages.blueprint import names
from nuages.blueprint.compose import compose
from nuages.cloud.driver import Observed
from nuages.cloud.revisions import Revision
from nuages.desired.iam import Condition, IamMember, ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.run import RunJob
from nuages.desired.secretmanager import Random, Secret
from nuages.reconcile.plan import removal
from nuages.reconcile.surplus import Surplus, held_by, wanted_names

EMAIL = "acme-shop@p.iam.gserviceaccount.com"
SECRET = Secret(name="projects/p/secrets/acme-shop-env-KEY", payload=Random())
ACCOUNT = ServiceAccount(name=f"projects/p/serviceAccounts/{EMAIL}", display_name="")
TO_PG = Condition("nuages-pg", 'resource.name == "projects/p/instances/pg"')
CLIENT = IamMember.of("projects/p", "roles/cloudsql.client", ACCOUNT.member, TO_PG)
OWNER_OF_FILES = IamMember.of("projects/p/buckets/media", "roles/storage.objectAdmin", ACCOUNT.member)
INVOKER = IamMember.of("projects/p/locations/r/services/shop", "roles/run.invoker", ACCOUNT.member)


def revision(**refers_to: Any) -> Revision:
    return Revision("shop-1", True, "", "", "image", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), **refers_to)


READS = revision(secret_versions=((SECRET.name, "1"),))
RUNS = revision(service_account=EMAIL)
CONNECTS = revision(service_account=EMAIL, cloud_sql=("p:r:pg",))
CONNECTS_ELSEWHERE = revision(service_account=EMAIL, cloud_sql=("p:r:pg-2",))
NOBODYS = revision()


@pytest.mark.parametrize(
    ("resource", "holds", "leaves"),
    [
        (SECRET, READS, RUNS),
        (ACCOUNT, RUNS, READS),
        (CLIENT, CONNECTS, CONNECTS_ELSEWHERE),
        (CLIENT, CONNECTS, revision(cloud_sql=("p:r:pg",))),  # as somebody else
        (OWNER_OF_FILES, RUNS, NOBODYS),
    ],
)
def test_what_a_revision_needs_is_held(resource: Resource, holds: Revision, leaves: Revision) -> None:
    """By that revision alone: another one does not need it."""
    assert held_by([Observed(resource)], [NOBODYS, holds]) == {resource.name}
    assert held_by([Observed(resource)], [NOBODYS, leaves]) == set()


def test_a_caller_is_never_held() -> None:
    """No revision needs to be called by anybody."""
    assert held_by([Observed(INVOKER)], [CONNECTS, READS]) == set()


def test_what_is_held_is_not_due() -> None:
    """It is surplus all the same, and told apart."""
    surplus = Surplus((Observed(SECRET), Observed(ACCOUNT)), frozenset({SECRET.name}))
    assert [item.state for item in surplus.due] == [ACCOUNT]


def test_each_kind_goes_after_the_one_before() -> None:
    """Grants before the identity that has them."""
    actions = removal([Observed(CLIENT), Observed(OWNER_OF_FILES), Observed(SECRET), Observed(ACCOUNT)])
    assert [action.resource.needs for action in actions] == [
        set(),
        set(),
        {CLIENT.name, OWNER_OF_FILES.name},
        {SECRET.name},
    ]


@pytest.mark.parametrize(
    ("part", "is_remade"),
    [
        ("env-STRIPE_KEY", True),
        ("superuser-password", True),
        ("database-url", True),
        ("secret-key", False),
        ("secret-key-b", False),
        ("db-password-a", False),
        ("db-password-b", False),
    ],
)
def test_a_secret_goes_that_can_be_made_again(part: str, is_remade: bool) -> None:
    """Keys and passwords that data or sessions depend on never do."""
    app, tenant = an_app({}), a_tenant()
    id_ = names.secret_name(app, tenant, part).rpartition("/")[2]
    assert names.is_remade(app, tenant, id_) is is_remade
    assert not names.is_remade(app, tenant, f"other-{id_}")


def test_everything_that_a_spec_makes_is_wanted() -> None:
    """What the release makes, too: a job or a grant is not removed by the pass that made it."""
    app = an_app(
        {
            "superuser": {"username": "admin", "email": "admin@acme.example"},
            "web": {"access": "Authenticated", "invokers": ["user:jo@acme.example"]},
        }
    )
    blueprint = compose(app, a_tenant(), some_facts())
    wanted = wanted_names(blueprint)
    jobs = [item for item in (blueprint.db_init, blueprint.migrate, blueprint.superuser) if isinstance(item, RunJob)]
    assert len(jobs) == 3
    assert {item.name for item in (*blueprint.resources, *blueprint.access, *jobs)} < wanted
    assert blueprint.service_name in wanted
    assert blueprint.superuser_grant is not None
    assert blueprint.superuser_grant.name in wanted
