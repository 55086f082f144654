"""Where an app's data is: what app or tenant may say of it later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from reports import serving
from unit_support import API, a_tenant, an_app

from nuages.api.status import DatabaseStatus
from nuages.api.tenant import instance_of
from nuages.blueprint import names
from nuages.cloud.access import Clouds
from nuages.desired.resource import Owner
from nuages.reconcile.cluster import Cluster
from nuages.reconcile.moves import as_deployed, check_database, check_tenant, known_database
from nuages.reconcile.settings import Settings
from nuages.reconcile.tenancy import FINALIZER, let_go, look_at_tenant
from nuages.reconcile.trouble import Trouble

OWN = names.instance_name(an_app(), a_tenant()).rsplit("/", 1)[-1]
CREATE: dict[str, Any] = {"database": {"instance": {"create": {}}}}
A: dict[str, Any] = {"database": {"existing": "pg-a"}}
B: dict[str, Any] = {"database": {"existing": "pg-b"}}


def existing(name: str) -> dict[str, Any]:
    return {"database": {"instance": {"existing": name}}}


def on(instance: str, name: str = "shop", own: bool | None = None) -> DatabaseStatus | None:
    return DatabaseStatus(instance=instance, name=name, own=own) if instance else None


@pytest.mark.parametrize(
    ("app", "tenant", "known"),
    [
        ({}, {}, ""),
        ({}, {}, OWN),
        ({}, A, "pg-a"),
        (CREATE, B, OWN),
        (existing("pg-a"), B, "pg-a"),
        ({"database": {"engine": "None"}}, B, "pg-a"),
    ],
)
def test_what_says_the_same_is_followed(app: dict[str, Any], tenant: dict[str, Any], known: str) -> None:
    """An app may keep its own by its own words, and may give its database up."""
    check_database(an_app(app), a_tenant(tenant), on(known), "")


@pytest.mark.parametrize(
    ("app", "tenant", "known", "field", "way"),
    [
        ({}, B, "pg-a", "DjangoTenant spec.database", "existing: pg-a"),
        ({}, {}, "pg-a", "DjangoTenant spec.database", "existing: pg-a"),
        ({}, A, OWN, "DjangoTenant spec.database", "create: {}"),
        (existing("pg-b"), {}, "pg-a", "spec.database.instance", "existing: pg-a"),
        (CREATE, A, "pg-a", "spec.database.instance", "existing: pg-a"),
    ],
)
def test_another_instance_is_not_followed(
    app: dict[str, Any], tenant: dict[str, Any], known: str, field: str, way: str
) -> None:
    """Whoever names it: the app would begin with an empty database."""
    with pytest.raises(Trouble) as caught:
        check_database(an_app(app), a_tenant(tenant), on(known), "")
    said = (
        f"{field}: the data is on {known}, and another instance would begin empty. Set it as it was, or "
        f"spec.database.instance.{way} in the app."
    )
    assert (caught.value.reason, caught.value.message, caught.value.stalled) == ("DatabaseMoved", said, True)


def test_an_own_instance_is_none_that_is_shared() -> None:
    """Its administrator's secret is the app's."""
    with pytest.raises(Trouble, match=f"{OWN} is the app's own instance, which none can share. Say create: {{}}"):
        check_database(an_app(existing(OWN)), a_tenant(), on(OWN), "")


def test_an_own_instance_may_have_any_name() -> None:
    """One that was kept and is known by its label: by its marker, or by the status once it is there."""
    with pytest.raises(Trouble):
        check_database(an_app(), a_tenant(), on("a-clone"), "")
    check_database(an_app(), a_tenant(), on("a-clone"), "projects/acme-prod/instances/a-clone")
    check_database(an_app(), a_tenant(), on("a-clone", own=True), "")
    with pytest.raises(Trouble, match=r"create: \{\} in the app"):
        check_database(an_app(), a_tenant(A), on("a-clone", own=True), "")
    assert instance_of(as_deployed(an_app(), a_tenant(A), on("a-clone", own=True)), a_tenant(A)).create is not None


def test_another_database_is_not_followed() -> None:
    """Where the status was lost, and admission could not see it."""
    with pytest.raises(Trouble, match=r"spec\.database\.name: the data is in old on pg-a, and shop would begin empty"):
        check_database(an_app(), a_tenant(A), on("pg-a", "old"), "")


def test_the_service_tells_where_the_status_was_wiped() -> None:
    """The app's own: one that is to be adopted may be on any."""
    live = serving().live
    assert live is not None
    assert known_database(an_app(), {}, live) == on(OWN)
    assert known_database(an_app(), {"database": {"instance": "pg-a", "name": "old"}}, live) == on("pg-a", "old")
    assert known_database(an_app(), {}, None) is None
    for owner in (None, Owner("acme", "blog", "u-2")):
        assert known_database(an_app(), {}, replace(live, state=replace(live.state, owner=owner))) is None


def test_a_tenant_that_says_another_place_is_not_followed() -> None:
    """The operator's default was another, say."""
    app, tenant = an_app(), a_tenant()
    there = [{"kind": "run.googleapis.com/Service", "name": names.service_name(app, tenant)}]
    check_tenant(app, tenant, [])
    check_tenant(app, tenant, there)
    for moved in ({"project": "acme-new"}, {"region": "us-east1"}, {"deploymentId": "other"}):
        with pytest.raises(Trouble) as caught:
            check_tenant(app, a_tenant(moved), there)
        assert caught.value.reason == "TenantMoved"
        assert there[0]["name"] in caught.value.message


def test_secret_key_tells_where_there_is_no_service() -> None:
    """Not yet, or no more: a deletion begins with it."""
    app, tenant = an_app(), a_tenant()
    key = {"kind": "secretmanager.googleapis.com/Secret", "name": names.secret_name(app, tenant, "secret-key")}
    other = {**key, "name": "projects/acme-prod/secrets/nuages-admin-pg-a"}
    check_tenant(app, tenant, [other, key])
    check_tenant(app, a_tenant({"project": "acme-new"}), [other])
    for moved in ({"project": "acme-new"}, {"deploymentId": "other"}):
        with pytest.raises(Trouble, match=f"the app is {key['name']}, and by its tenant it would be"):
            check_tenant(app, a_tenant(moved), [other, key])


class Namespace:
    """A tenant that is being deleted, and apps that have something."""

    def __init__(self, *apps: dict[str, Any]) -> None:
        self.apps_there, self.finalizers = apps, [FINALIZER]
        self.message = ""

    async def tenant(self, namespace: str) -> dict[str, Any]:
        metadata = {"name": "default", "namespace": namespace, "uid": "t-1", "finalizers": self.finalizers}
        spec = {"project": "acme-new", "region": "europe-west1"}
        deleting = {**metadata, "deletionTimestamp": "2026-11-21T10:00:00Z"}
        return {"apiVersion": API, "kind": "DjangoTenant", "metadata": deleting, "spec": spec}

    async def apps(self, namespace: str) -> list[dict[str, Any]]:
        return list(self.apps_there)

    async def write_finalizers(self, body: Any, finalizers: list[str]) -> None:
        self.finalizers = finalizers

    async def write_status(self, body: Any, status: Mapping[str, Any]) -> None:
        self.message = status["conditions"][0]["message"]


def held(project: str, name: str = "shop") -> dict[str, Any]:
    """An app with a service in that project."""
    service = names.service_name(an_app(), a_tenant({"project": project})).removesuffix("shop") + name
    metadata = {"name": name, "namespace": "acme", "uid": "u-1", "generation": 1, "finalizers": [FINALIZER]}
    status = {"resources": [{"kind": "run.googleapis.com/Service", "name": service, "state": "Ready"}]}
    spec = {"image": an_app().spec.image}
    return {"apiVersion": API, "kind": "DjangoApp", "metadata": metadata, "spec": spec, "status": status}


@pytest.mark.parametrize(("project", "left"), [("acme-new", [FINALIZER]), ("acme-prod", [])])
async def test_a_tenant_is_not_held_by_apps_that_are_elsewhere(project: str, left: list[str]) -> None:
    """They are Stalled until it has gone."""
    namespace = Namespace(held(project))
    await let_go("acme", cast(Cluster, namespace))
    assert namespace.finalizers == left


@pytest.mark.parametrize(
    ("apps", "others", "message"),
    [
        (("shop", "blog"), [], r".* any more: blog, shop\. To have it back, run: kubectl patch .* at once\. .*"),
        (tuple("gfedcba"), [], r".* any more: a, b, c, d, e and 2 more\. .*"),
        ((), ["example.com/theirs"], r"It goes once its finalizers are taken away: example\.com/theirs\."),
    ],
    ids=["two", "many", "none"],
)
async def test_a_tenant_says_what_it_waits_for(apps: tuple[str, ...], others: list[str], message: str) -> None:
    """The apps that hold it, some of them where they are many; else the finalizers of others."""
    namespace = Namespace(*(held("acme-new", name) for name in apps))
    namespace.finalizers += others
    settings = Settings("europe-docker.pkg.dev/acme/nuages/nuages:1")
    await look_at_tenant("acme", cast(Cluster, namespace), cast(Clouds, None), settings)
    assert re.fullmatch(message, namespace.message), namespace.message


async def test_what_nuages_no_longer_holds_is_applied_again_once_it_is_gone() -> None:
    """No command is told for others' finalizers: they are not ours to take away."""
    namespace = Namespace(held("acme-new"))
    namespace.finalizers = ["example.com/theirs"]
    settings = Settings("europe-docker.pkg.dev/acme/nuages/nuages:1")
    await look_at_tenant("acme", cast(Cluster, namespace), cast(Clouds, None), settings)
    assert namespace.message.endswith(": shop. To have it back, apply it again once it is gone.")


@pytest.mark.parametrize(
    ("app", "tenant", "known", "chosen"),
    [
        ({}, {}, "pg-a", "pg-a"),
        ({"database": {"engine": "None"}}, A, "pg-a", "pg-a"),
        ({}, B, "pg-a", "pg-a"),
        ({}, A, OWN, None),
        ({"database": {"engine": "None"}}, {}, OWN, None),
    ],
)
def test_a_deletion_goes_by_what_was_deployed(
    app: dict[str, Any], tenant: dict[str, Any], known: str, chosen: str | None
) -> None:
    """Whatever app and tenant say by now; None stands for an instance of its own."""
    made = as_deployed(an_app(app), a_tenant(tenant), on(known))
    assert made.spec.database.enabled
    assert made.database_name == "shop"
    assert instance_of(made, a_tenant(tenant)).existing == chosen
    assert (instance_of(made, a_tenant(tenant)).create is not None) == (chosen is None)


def test_without_a_database_a_deletion_needs_none() -> None:
    """Or before it was prepared."""
    app = an_app()
    assert as_deployed(app, a_tenant(), None) is app
