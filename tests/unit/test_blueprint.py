"""Properties of every blueprint, and the problems that it finds."""

from __future__ import annotations

from typing import Any

import pytest
from blueprint_yaml import dump
from hypothesis import given
from hypothesis import strategies as st
from unit_support import DIGEST, REGISTRY, TENANT, a_tenant, an_app, some_facts

from nuages.blueprint.blueprint import Blueprint, Problem
from nuages.blueprint.compose import compose
from nuages.blueprint.facts import ExistingInstance, ImageFacts
from nuages.blueprint.rotation import Pair
from nuages.blueprint.web import python_of
from nuages.dbinit.spec import DbInitSpec
from nuages.desired.iam import IamMember, ProjectService
from nuages.desired.resource import Resource
from nuages.desired.run import RunJob, RunService, Template
from nuages.desired.secretmanager import Composed, Secret, SecretRef
from nuages.desired.sql import ExistingSqlInstance, SqlUser

ACCESSOR = "roles/secretmanager.secretAccessor"
EXISTING_ACCOUNT = "shop@acme-prod.iam.gserviceaccount.com"
COPIED: dict[str, Any] = {"name": "TOKEN", "kubernetesSecret": {"name": "openai", "key": "token"}}
NAMED: dict[str, Any] = {"name": "STRIPE_KEY", "secret": {"name": "stripe-key", "version": "3"}}
PLAIN: dict[str, Any] = {"name": "LANGUAGE", "value": "fr"}


PAIRS = st.sampled_from([Pair(), Pair().rotated("one"), Pair().rotated("one").rotated("two")])


@st.composite
def blueprints(draw: st.DrawFn) -> Blueprint:
    """Of apps with any combination of what adds or removes resources."""
    has_database = draw(st.booleans())
    spec: dict[str, Any] = {
        "env": draw(st.lists(st.sampled_from([COPIED, NAMED, PLAIN]), unique_by=lambda entry: entry["name"])),
        "deletionPolicy": draw(st.sampled_from(["Retain", "Snapshot", "Delete"])),
        "serviceAccount": draw(st.sampled_from([{}, {"existing": EXISTING_ACCOUNT}])),
        "storage": {"media": {"mountPath": draw(st.sampled_from(["", "/app/media"]))}},
        "django": {"envNames": draw(st.sampled_from([{}, {"SECRET_KEY": "KEY", "DB_PASSWORD": "PASSWORD"}]))},
    }
    if not has_database:
        spec["database"] = {"engine": "None"}
    elif draw(st.booleans()):
        spec["superuser"] = {"username": "admin", "email": "admin@acme.example"}
    shared = has_database and draw(st.booleans())
    tenant = {**TENANT, "enableServices": draw(st.booleans()), **({"database": {"existing": "pg"}} if shared else {})}
    facts = some_facts(
        image=draw(st.sampled_from([None, ImageFacts(f"{REGISTRY}/shop@{DIGEST}", DIGEST)])),
        existing_instance=ExistingInstance("europe-west1", "POSTGRES_15") if shared else None,
        logins=draw(PAIRS),
        keys=draw(PAIRS),
    )
    return compose(an_app(spec), a_tenant(tenant), facts)


def _workloads(blueprint: Blueprint) -> list[RunService | RunJob]:
    found = (
        blueprint.service,
        blueprint.db_init,
        blueprint.db_leave,
        blueprint.migrate,
        blueprint.superuser,
    )
    return [item for item in found if item is not None]


def _read_by(template: Template) -> set[tuple[str, str]]:
    member = f"serviceAccount:{template.service_account}"
    return {(member, value.secret) for _, value in template.environment if isinstance(value, SecretRef)}


@given(blueprints())
def test_an_identity_may_read_exactly_what_it_uses(blueprint: Blueprint) -> None:
    """Each secret in an environment has a grant for the identity that runs there, and there is no grant besides."""
    for_a_while = [blueprint.superuser_grant] if blueprint.superuser_grant is not None else []
    used = set().union(*(_read_by(item.template) for item in _workloads(blueprint)))
    granted = {
        (item.member, item.target)
        for item in (*blueprint.resources, *for_a_while)
        if isinstance(item, IamMember) and item.role == ACCESSOR
    }
    if blueprint.service is not None:
        assert granted == used
    else:  # the app's image is unknown: its own workloads are not described
        assert used <= granted


@given(blueprints())
def test_the_superusers_password_is_granted_to_nobody_for_good(blueprint: Blueprint) -> None:
    """The release makes that one grant, and takes it back."""
    targets = {item.target for item in blueprint.resources if isinstance(item, IamMember)}
    assert not any(target.endswith("-superuser-password") for target in targets)
    assert (blueprint.superuser is None) or (blueprint.superuser_grant is not None)


@given(blueprints())
def test_the_superusers_password_is_its_steps_alone(blueprint: Blueprint) -> None:
    """Wanted for good it would be made anew when it is deleted, as a password that Django does not know."""
    assert not [item.name for item in blueprint.resources if item.name.endswith("-superuser-password")]
    password = blueprint.superuser_password
    assert (password is None) == (blueprint.superuser_grant is None)
    assert password is None or password in [item.resource for item in blueprint.own]


@given(blueprints())
def test_the_app_cannot_read_the_administrators_password(blueprint: Blueprint) -> None:
    """Nor run as the identity that can."""
    readers = {
        item.member
        for item in blueprint.resources
        if isinstance(item, IamMember) and "/secrets/nuages-admin-" in item.target
    }
    accounts = {item.template.service_account for item in (blueprint.db_init, blueprint.db_leave) if item}
    assert readers == {f"serviceAccount:{account}" for account in accounts}
    own = (blueprint.service, blueprint.migrate, blueprint.superuser)
    assert not accounts & {item.template.service_account for item in own if item}


@given(blueprints())
def test_every_resource_stands_after_what_it_needs(blueprint: Blueprint) -> None:
    """All needs are in the graph, which has no cycle and no name twice; APIs come first."""
    before: set[str] = set()
    apis = {item.name for item in blueprint.resources if isinstance(item, ProjectService)}
    for item in blueprint.resources:
        assert item.needs <= before
        assert isinstance(item, ProjectService) or item.needs >= apis
        assert item.name not in before
        before.add(item.name)


@given(blueprints())
def test_what_a_workload_uses_is_in_the_graph(blueprint: Blueprint) -> None:
    """Its secrets (but those that the spec pins), the parts of composed ones, its bucket and its instance."""
    there = {item.name for item in (*blueprint.resources, blueprint.superuser_password) if item is not None}
    ids = {item.id for item in blueprint.resources}
    for item in _workloads(blueprint):
        for _, value in item.template.environment:
            assert not isinstance(value, SecretRef) or value.version or value.secret in there
        assert {mount.bucket for mount in item.template.buckets} <= ids
        assert {name.rsplit(":", 1)[-1] for name in item.template.cloud_sql} <= ids
    for resource in blueprint.resources:
        if isinstance(resource, Secret) and isinstance(resource.payload, Composed):
            assert {name for _, name in resource.payload.parts} <= resource.needs


@given(blueprints())
def test_conditions_speak_of_resources_in_the_graph(blueprint: Blueprint) -> None:
    """Each resource but the project's APIs is spoken of, once."""
    spoken = [name for name, _ in blueprint.conditions]
    assert len(spoken) == len(set(spoken))
    assert set(spoken) == {item.name for item in blueprint.resources if not isinstance(item, ProjectService)}


@given(blueprints())
def test_environments_are_sorted_and_hold_no_secret_in_the_clear(blueprint: Blueprint) -> None:
    """Sorted, or the same app would make another revision; what is secret is a reference."""
    for item in _workloads(blueprint):
        names = [name for name, _ in item.template.environment]
        assert names == sorted(set(names))
        for name, value in item.template.environment:
            if name in ("SECRET_KEY", "KEY", "DB_PASSWORD", "PASSWORD", "DATABASE_URL", "PGPASSWORD"):
                assert isinstance(value, SecretRef)


@given(blueprints())
def test_what_others_share_does_not_go_with_the_app(blueprint: Blueprint) -> None:
    """Instance, administrator and identity of db-init stay, with what makes them work for the tenant's other apps."""
    own = _with_grants(blueprint)
    stays = [item for item in blueprint.resources if item not in own]
    by_name = {item.name: item for item in blueprint.resources}
    for item in own:
        assert item.owner is None or item.owner.app == "shop"
        assert not isinstance(item, SqlUser | ProjectService | ExistingSqlInstance)
        if isinstance(item, IamMember) and item.member.startswith("serviceAccount:acme--dbinit"):
            target = by_name.get(item.target)
            is_own_secret = target is not None and target.owner is not None and target.owner.app == "shop"
            assert is_own_secret or "instances/acme-shop-" in item.name or "instances/acme-shop-" in str(item.condition)
    assert all(item.owner is None or not item.owner.app for item in stays)


def test_two_apps_on_one_instance_part_without_harm() -> None:
    """What one takes along is nothing that the other has in its own blueprint."""
    tenant = a_tenant({"database": {"existing": "pg"}, "allow": {"secrets": ["*"], "serviceAccounts": ["*"]}})
    facts = some_facts(existing_instance=ExistingInstance("europe-west1", "POSTGRES_15"))
    spec = {"serviceAccount": {"existing": EXISTING_ACCOUNT}, "env": [NAMED]}
    one, other = (compose(an_app(spec, name=name, uid=name), tenant, facts) for name in ("one", "other"))
    assert not {item.name for item in _with_grants(one)} & {item.name for item in other.resources}


@given(blueprints())
def test_what_goes_goes_before_what_it_needs(blueprint: Blueprint) -> None:
    """Each grant before its target and its member, what is composed before its parts; and each once."""
    order = [item.name for item in _with_grants(blueprint)]
    assert len(order) == len(set(order))
    for item in _with_grants(blueprint):
        assert all(order.index(item.name) < order.index(need) for need in item.needs & set(order))


def _with_grants(blueprint: Blueprint) -> list[Resource]:
    """What goes with the app, in that order."""
    return [each for item in blueprint.own for each in (*item.grants, item.resource)]


@pytest.mark.parametrize(
    ("annotations", "databases", "adopts"),
    [
        ({}, ["shop"], (False, False)),
        ({"nuages.dev/adopt": "true"}, [], (True, False)),
        ({"nuages.dev/adopt": "true"}, ["legacy-*"], (True, False)),
        ({"nuages.dev/adopt": "true"}, ["sho*"], (True, True)),
    ],
)
def test_a_database_of_nobodys_is_adopted_where_app_and_tenant_say_so(
    annotations: dict[str, str], databases: list[str], adopts: tuple[bool, bool]
) -> None:
    """On an existing instance, which may be many teams'; on one of the app's own all is the app's."""
    facts = some_facts(existing_instance=ExistingInstance("europe-west1", "POSTGRES_15"))
    allow = {"allow": {"databases": databases}}

    def adoption(tenant: dict[str, Any]) -> tuple[bool, bool]:
        job = compose(an_app({}, annotations=annotations), a_tenant(tenant), facts).db_init
        assert job is not None
        document = DbInitSpec.from_json(str(dict(job.template.environment)["NUAGES_DBINIT"]))
        return document.adopt, document.adopt_unmarked

    assert adoption({**allow, "database": {"existing": "pg"}}) == adopts
    assert adoption(allow) == (True, True)


def test_bytes_do_not_depend_on_the_order_of_maps() -> None:
    """The same document with its keys in another order is the same blueprint."""
    facts = some_facts(config_maps={"one": {"A": "1", "B": "2"}})
    turned = some_facts(config_maps={"one": {"B": "2", "A": "1"}})
    names = {"SECRET_KEY": "KEY", "DEBUG": "DEV"}
    app = {"envFrom": [{"configMap": {"name": "one"}}], "django": {"envNames": names}}
    other = {**app, "django": {"envNames": dict(reversed(names.items()))}}
    labels, reversed_labels = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    one = compose(an_app(app), a_tenant({"labels": labels}), facts)
    two = compose(an_app(other), a_tenant({"labels": reversed_labels}), turned)
    assert dump(one) == dump(two)


def _environment(spec: dict[str, Any], **facts: Any) -> dict[str, Any]:
    service = compose(an_app(spec), a_tenant(), some_facts(**facts)).service
    assert service is not None
    return dict(service.template.environment)


def test_the_spec_wins_over_config_maps_and_the_contract_over_both() -> None:
    """A later ConfigMap wins over an earlier one; none reaches what Nuages sets."""
    maps = {"one": {"A": "1", "B": "1", "C": "1", "DEBUG": "True"}, "two": {"B": "2", "C": "2"}}
    names = [{"configMap": {"name": name}} for name in maps]
    made = _environment({"envFrom": names, "env": [{"name": "C", "value": "3"}]}, config_maps=maps)
    assert (made["A"], made["B"], made["C"], made["DEBUG"]) == ("1", "2", "3", "False")


def test_two_variables_that_differ_by_case_keep_their_own_secrets() -> None:
    """Each copies its own key."""
    origins = [{"name": "TOKEN", "key": "new"}, {"name": "token", "key": "old"}]
    env = [{"name": item["name"], "kubernetesSecret": {"name": "openai", "key": item["key"]}} for item in origins]
    made = _environment({"env": env})
    assert made["TOKEN"] != made["token"]


def test_a_password_is_no_part_of_a_composed_url() -> None:
    """The URL's template holds a placeholder; all else is quoted."""
    resources = compose(an_app({"database": {"name": "shop_data"}}), a_tenant(), some_facts()).resources
    url = next(item for item in resources if item.name.endswith("database-url"))
    assert isinstance(url, Secret)
    assert isinstance(url.payload, Composed)
    assert url.payload.template == (
        "postgresql://shop_data-a:{password}@/shop_data?host=%2Fcloudsql%2Facme-prod%3Aeurope-west1%3Aacme-shop-a24a7f"
    )


@pytest.mark.parametrize(
    ("manage", "python"),
    [
        (("python", "manage.py"), ("python",)),
        (("python3.12", "-W", "ignore", "src/manage.py"), ("python3.12",)),
        (("/venv/bin/python", "-m", "django"), ("/venv/bin/python",)),
        (("uv", "run", "manage.py"), ("uv", "run", "python")),
        (("poetry", "run", "python", "manage.py"), ("poetry", "run", "python")),
        (("./manage.py",), ("python",)),
        (("django-admin",), ("python",)),
    ],
)
def test_migrate_runs_in_the_projects_own_python(manage: tuple[str, ...], python: tuple[str, ...]) -> None:
    """Whatever command runs its manage.py."""
    assert python_of(manage) == python


@pytest.mark.parametrize(
    ("path", "working_dir", "hidden"),
    [
        ("/app", "/app", True),
        ("/srv/shop", "/srv/shop/web", True),
        ("/srv/shop", "/srv/shop/web/", True),
        ("/app/media", "/app", False),
        ("/application", "/app", False),
        ("/app", "/application", False),
        ("/app", "", False),
        ("", "/app", False),
    ],
)
def test_a_mount_over_the_working_directory_is_a_problem(path: str, working_dir: str, hidden: bool) -> None:
    """It would hide the project itself; a folder below it, or beside it, does not."""
    image = ImageFacts(f"{REGISTRY}/shop@{DIGEST}", DIGEST, working_dir)
    app = an_app({"storage": {"media": {"mountPath": path}}})
    found = compose(app, a_tenant(), some_facts(image=image)).problems
    root = working_dir.rstrip("/")
    expected = Problem(
        "spec.storage.media.mountPath",
        "MountHidesImage",
        f"spec.storage.media.mountPath: {path} would hide the image's working directory {working_dir}. Use a folder "
        f"below it, such as {root}/media.",
    )
    assert found == ((expected,) if hidden else ())
