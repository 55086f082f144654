# ruff: noqa: E501 - one case a line
"""Names in Google Cloud: Google's limits and forms, for whatever Kubernetes allows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit_support import a_tenant, an_app, some_facts

from nuages.api import DjangoApp, DjangoTenant
from nuages.blueprint import names
from nuages.blueprint.scope import Scope

LABEL = r"[a-z](?:[-a-z0-9]*[a-z0-9])?"
APPS = st.from_regex(LABEL, fullmatch=True).filter(lambda name: len(name) <= 40)
PREFIXES = st.from_regex(LABEL, fullmatch=True).filter(lambda name: len(name) <= 30)
PROJECTS = st.from_regex(r"[a-z][-a-z0-9]{4,28}[a-z0-9]", fullmatch=True)
REGIONS = st.sampled_from(["europe-west1", "us-east1", "northamerica-northeast1"])
SECRET_PARTS = (
    "secret-key",
    "db-password-a",
    "db-password-b",
    "database-url",
    "superuser-password",
    "env-A",
    "env-a_b",
)
JOB_PARTS = ("migrate", "superuser", "db-init")
LONGEST = {"app": "a" * 40, "prefix": "b" * 30, "project": "p" * 30, "region": "northamerica-northeast1"}


def pair(
    app: str, prefix: str, project: str = "acme-prod", region: str = "europe-west1"
) -> tuple[DjangoApp, DjangoTenant]:
    fields = {"project": project, "region": region, "deploymentId": prefix}
    return an_app({"database": {"name": "data"}}, name=app), a_tenant(fields)


def last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


@given(app=APPS, prefix=PREFIXES, project=PROJECTS, region=REGIONS)
@example(**LONGEST)
@example(app="a", prefix="b", project="p12345", region="us-east1")
def test_names_keep_googles_limits_and_forms(app: str, prefix: str, project: str, region: str) -> None:
    """Every name is one that its service takes, however long or short the app's and the tenant's are."""
    where = pair(app, prefix, project, region)
    scope = Scope(*where, some_facts())
    service = names.service_id(*where)
    assert re.fullmatch(LABEL, service)
    assert len(service) <= 37
    assert len(f"candidate---{service}-187635794409") <= 63  # a label of DNS
    for part in JOB_PARTS:
        job = last(names.job_name(*where, part))
        assert re.fullmatch(LABEL, job)
        assert len(f"{job}-123456-c1234567-12345-12") < 63  # an execution started by the longest token
    for part in SECRET_PARTS:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", last(names.secret_name(*where, part)))
    for email in (scope.runtime_account, last(scope.db_init_account)):
        assert re.fullmatch(r"[a-z][-a-z0-9]{4,28}[a-z0-9]", email.split("@")[0])
    bucket = last(names.bucket_name(*where, "media"))
    assert re.fullmatch(r"[a-z0-9][-a-z0-9]{1,61}[a-z0-9]", bucket)
    assert bucket.startswith(project)
    instance = last(names.instance_name(*where))
    assert re.fullmatch(LABEL, instance)
    assert len(f"{project}:{instance}") <= 98


@given(app=APPS, prefix=PREFIXES, project=PROJECTS, region=REGIONS)
@example(**LONGEST)
def test_the_socket_of_an_own_instance_can_be_opened(app: str, prefix: str, project: str, region: str) -> None:
    """Its path has at most the 107 bytes that Linux takes."""
    scope = Scope(*pair(app, prefix, project, region), some_facts())
    assert len(f"/cloudsql/{scope.connection_name}/.s.PGSQL.5432") <= 107


def _all(app: DjangoApp, tenant: DjangoTenant) -> set[str]:
    accounts = {names.account_name(tenant, names.prefix(app, tenant))}
    jobs = {names.job_name(app, tenant, part) for part in JOB_PARTS}
    secrets = {names.secret_name(app, tenant, part) for part in SECRET_PARTS}
    one = {names.service_name(app, tenant), names.instance_name(app, tenant), names.bucket_name(app, tenant, "media")}
    return accounts | jobs | secrets | one


@given(one=APPS, other=APPS, prefix=PREFIXES)
@example(one="b", other="b-django", prefix="a")
@example(one="shop", other="shop-env", prefix="acme")
@example(one="shop", other="shop-migrate", prefix="acme")
@example(one="a" * 40, other="a" * 39 + "b", prefix="b" * 30)
def test_apps_of_a_tenant_share_no_name(one: str, other: str, prefix: str) -> None:
    """Neither as they are nor shortened."""
    shared = _all(*pair(one, prefix)) & _all(*pair(other, prefix))
    assert not shared or one == other


def test_tenants_collide_only_where_prefix_and_name_do() -> None:
    """By design: the owner's marker then tells the two apart."""
    assert names.service_id(*pair("b-shop", "acme")) == names.service_id(*pair("shop", "acme-b"))


@given(app=APPS, prefix=PREFIXES)
@example(app="dbinit", prefix="acme")
@example(app="dbinit", prefix="a" * 30)
def test_no_app_runs_as_the_db_init_identity(app: str, prefix: str) -> None:
    """Whatever its name: that identity alone may read the administrator's password."""
    scope = Scope(*pair(app, prefix), some_facts())
    assert scope.runtime_account != last(scope.db_init_account)


@given(app=APPS, prefix=PREFIXES)
def test_names_are_deterministic(app: str, prefix: str) -> None:
    """The same app gives the same names, so that a create whose answer was lost is found."""
    assert _all(*pair(app, prefix)) == _all(*pair(app, prefix))


@given(app=APPS, prefix=PREFIXES)
@example(app="a" * 40, prefix="b" * 30)
def test_an_app_knows_what_it_can_have_made(app: str, prefix: str) -> None:
    """Under whatever spec and without its status; the administrator's secret of an earlier life's instance too."""
    where = pair(app, prefix)
    stem = names.instance_name(*where).rpartition("/")[2].rpartition("-")[0]
    administrator = f"projects/acme-prod/secrets/nuages-admin-{stem}-0a1b2c"
    assert all(names.is_given(*where, name) for name in (*_all(*where), administrator))


@pytest.mark.parametrize(
    "name",
    [
        "projects/acme-prod/instances/acme-shop-a24a7f-clone",
        "projects/acme-prod/instances/acme-shop-251121",  # a date, in hexadecimal digits by chance
        "projects/acme-prod/instances/a-first-in-the-list",
        "projects/acme-prod/locations/europe-west1/jobs/acme-shop-migrate-copy",
        "projects/acme-prod/locations/europe-west1/services/acme-shop-2",
        "projects/acme-prod/secrets/acme-shop-precious",
        "projects/acme-prod/secrets/acme-shop-env-KEY-old",
        "projects/acme-prod/secrets/nuages-admin-other",
        "projects/acme-prod/buckets/acme-prod-acme-shop-media-copy",
        "projects/other/buckets/acme-prod-acme-shop-media",
    ],
)
def test_a_copy_has_no_name_that_the_app_gives(name: str) -> None:
    """However much of the original's is in it."""
    assert not names.is_given(an_app(), a_tenant(), name)


def test_an_instance_of_a_later_life_has_another_name() -> None:
    """Google keeps an instance's name for a while after its deletion."""
    tenant = a_tenant()
    first, second = an_app(uid="u-1"), an_app(uid="u-2")
    assert names.instance_name(first, tenant) != names.instance_name(second, tenant)
    assert names.service_name(first, tenant) == names.service_name(second, tenant)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (names.service_name, "projects/acme-prod/locations/europe-west1/services/acme-shop"),
        (lambda a, t: names.job_name(a, t, "migrate"), "projects/acme-prod/locations/europe-west1/jobs/acme-shop-migrate"),
        (lambda a, t: names.secret_name(a, t, "secret-key"), "projects/acme-prod/secrets/acme-shop-secret-key"),
        (lambda a, t: names.bucket_name(a, t, "media"), "projects/acme-prod/buckets/acme-prod-acme-shop-media"),
        (names.instance_name, "projects/acme-prod/instances/acme-shop-a24a7f"),
    ],
)  # fmt: skip
def test_ordinary_names_are_readable(made: Callable[[DjangoApp, DjangoTenant], str], expected: str) -> None:
    """Nothing is shortened that fits."""
    assert made(an_app(), a_tenant()) == expected


@given(st.text("abc-", min_size=1, max_size=80), st.integers(20, 63))
def test_shortened_names_stay_apart(name: str, limit: int) -> None:
    """A hash of the whole name stands for what was cut off."""
    cut = names.shorten(name, limit)
    assert len(cut) <= limit
    if len(name) > limit:
        assert cut != names.shorten(f"{name}x", limit)


@given(st.from_regex(r"[a-z_][a-z0-9_-]{0,62}", fullmatch=True))
def test_roles_fit_postgresql(database: str) -> None:
    """An identifier of 63 bytes at most, another for each part."""
    roles = [names.role(database, part) for part in ("owner", "a", "b")]
    assert len(set(roles)) == 3
    assert all(len(role.encode()) <= 63 for role in roles)
