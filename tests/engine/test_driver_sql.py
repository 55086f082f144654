"""The drivers of Cloud SQL, against an Admin API that speaks Google's protocol."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from google.cloud import sqladmin_v1 as sql
from google.oauth2.credentials import Credentials

from localcloud.api.sql_queue import Queue, Work
from localcloud.api.sql_state import Instances
from localcloud.core.errors import ApiError, Code
from nuages.cloud.driver import Readiness, differences
from nuages.cloud.errors import Conflict, Invalid, NameReserved, PermissionDenied, PolicyViolated, Transient
from nuages.cloud.sql import as_operation
from nuages.desired.resource import Owner
from nuages.desired.secretmanager import Random, Secret
from nuages.desired.sql import Backups, ExistingSqlInstance, SqlInstance, SqlUser

OWNER = Owner("shop", "web", "uid-1")
INSTANCE = SqlInstance(
    name="projects/demo/instances/shop-pg",
    owner=OWNER,
    region="europe-west1",
    database_version="POSTGRES_16",
    tier="db-custom-1-3840",
    edition="ENTERPRISE",
    availability="ZONAL",
    disk_gb=10,
    disk_limit_gb=100,
    backups=Backups(retained=7, start_time="03:00", log_days=5),
    maintenance_day=7,
    maintenance_hour=3,
    query_insights=True,
    flags=(("max_connections", "200"),),
    deletion_protection=True,
    labels=(("cost", "shop"),),
)
SECRET = Secret(name="projects/demo/secrets/shop-admin", owner=OWNER, payload=Random(40))
USER = SqlUser(name=f"{INSTANCE.name}/users/nuages-admin", password=SECRET.name)


@pytest.fixture
def instances(scene):
    return scene.access.drivers.of(SqlInstance)


@pytest.fixture
def users(scene):
    return scene.access.drivers.of(SqlUser)


@pytest.fixture
async def google(scene):
    """What people do with gcloud or the console."""
    client = sql.SqlInstancesServiceAsyncClient(credentials=Credentials("any"))
    yield client
    await client.transport.close()


async def made(scene, instances, instance: SqlInstance = INSTANCE):
    await scene.done(await instances.create(instance))
    return await instances.observe(instance.name)


async def test_what_was_created_is_what_was_wanted(scene, instances):
    """No field differs; the outputs are what others need to know of it."""
    found = await made(scene, instances)
    assert found.state == INSTANCE
    assert differences(INSTANCE, found, instances.owned) == ()
    assert found.outputs["connection_name"] == "demo:europe-west1:shop-pg"
    assert (found.outputs["max_connections"], found.outputs["region"]) == ("200", "europe-west1")
    assert [item.state for item in await instances.observe_all("projects/demo")] == [INSTANCE]


async def test_when_it_was_made_is_an_output(scene, instances):
    """The same from a list and from a look: whoever has an instance's name may be another one."""
    found = await made(scene, instances)
    began = dt.datetime.fromisoformat(found.outputs["created"])
    assert abs((scene.cloud.core.clock.now() - began).total_seconds()) < 3600
    listed = await instances.observe_all("projects/demo")
    existing = await scene.access.drivers.of(ExistingSqlInstance).observe(INSTANCE.name)
    assert [item.outputs["created"] for item in (*listed, existing)] == [found.outputs["created"]] * 2


async def test_a_name_is_reserved_after_a_deletion(scene, instances):
    """Told apart from an instance that somebody else has just made, which is there to be looked at."""
    unprotected = replace(INSTANCE, deletion_protection=False)
    await made(scene, instances, unprotected)
    with pytest.raises(Conflict):
        await instances.create(unprotected)
    await scene.done(await instances.delete(INSTANCE.name))
    with pytest.raises(NameReserved, match="until one week from the deletion date"):
        await instances.create(unprotected)


async def test_a_public_address_lets_in_connectors_alone(scene, instances, google):
    """Nobody else's network is authorized, and an identity is needed."""
    await made(scene, instances)
    settings = (await google.get(request={"project": "demo", "instance": "shop-pg"})).settings
    assert settings.connector_enforcement.name == "REQUIRED"
    assert list(settings.ip_configuration.authorized_networks) == []


OPEN = {
    "connector_enforcement": "NOT_REQUIRED",
    "ip_configuration": {"authorized_networks": [{"value": "0.0.0.0/0", "name": "all"}, {"value": "10.0.0.0/8"}]},
}


@pytest.mark.parametrize("path", ["authorized_networks", "connectors_only"])
async def test_an_instance_that_was_opened_is_closed_again(scene, instances, google, path):
    """Each way in is a difference of its own, in a list as in a look, and is closed alone."""
    await made(scene, instances)
    theirs = await google.patch(request={"project": "demo", "instance": "shop-pg", "body": {"settings": OPEN}})
    await scene.done(as_operation(theirs, INSTANCE.name))
    found = await instances.observe(INSTANCE.name)
    assert (found.state.authorized_networks, found.state.connectors_only) == (("0.0.0.0/0", "10.0.0.0/8"), False)
    (listed,) = await instances.observe_all("projects/demo")
    both = {"authorized_networks", "connectors_only"}
    for seen in (found, listed):
        assert set(differences(INSTANCE, seen, instances.owned)) == both
    await scene.done(await instances.update(INSTANCE, found, (path,)))
    found = await instances.observe(INSTANCE.name)
    assert set(differences(INSTANCE, found, instances.owned)) == both - {path}


async def test_connectors_alone_are_never_let_go(scene, instances):
    """Where the network may come in too, somebody's turning it away is no drift, and outlives our changes."""
    found = await made(scene, instances)
    assert found.state.connectors_only
    wanted = replace(INSTANCE, connectors_only=False, query_insights=False)
    assert differences(wanted, found, instances.owned) == ("query_insights",)
    await scene.done(await instances.update(wanted, found, ("query_insights",)))
    assert (await instances.observe(INSTANCE.name)).state.connectors_only


async def test_a_policy_of_the_organisation_is_named(scene, instances):
    """Google answers 400, as to a wrong tier."""
    words = (
        "Invalid request: Organization Policy check failure: the external IP of this instance violates the "
        "constraints/sql.restrictPublicIp enforced at the 1234 project."
    )
    scene.fail("SqlInstancesService.Insert", Code.INVALID_ARGUMENT, words)
    with pytest.raises(PolicyViolated, match="Organization Policy") as refused:
        await instances.create(INSTANCE)
    assert refused.value.constraint == "sql.restrictPublicIp"


async def test_it_is_busy_while_it_is_made(scene, instances):
    """PENDING_CREATE; the operation is found by its name."""
    scene.cloud.core.clock.speed = 20.0
    operation = await instances.create(INSTANCE)
    assert operation.name.startswith("projects/demo/operations/")
    found = await instances.observe(INSTANCE.name)
    assert (found.readiness, found.reason) == (Readiness.BUSY, "PENDING_CREATE")
    scene.cloud.core.clock.speed = 1000.0
    await scene.done(operation)
    assert (await instances.observe(INSTANCE.name)).readiness is Readiness.READY


CHANGES = {
    "tier": replace(INSTANCE, tier="db-custom-2-7680"),
    "availability": replace(INSTANCE, availability="REGIONAL"),
    "disk": replace(INSTANCE, disk_gb=20, disk_limit_gb=200),
    "backups": replace(INSTANCE, backups=Backups(retained=3, start_time="05:00", log_days=0)),
    "window": replace(INSTANCE, maintenance_day=1, maintenance_hour=0),
    "insights": replace(INSTANCE, query_insights=False),
    "flags": replace(INSTANCE, flags=(("log_min_duration_statement", "500"),)),
    "protection": replace(INSTANCE, deletion_protection=False),
    "labels": replace(INSTANCE, labels=(("cost", "other"),)),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_field_changes_alone(scene, instances, change):
    """One patch of the paths that differ, then no difference is left."""
    found = await made(scene, instances)
    wanted = CHANGES[change]
    paths = differences(wanted, found, instances.owned)
    assert paths
    await scene.done(await instances.update(wanted, found, paths))
    found = await instances.observe(INSTANCE.name)
    assert differences(wanted, found, instances.owned) == ()


async def test_the_disk_is_a_floor(scene, instances):
    """What grew by itself is no drift."""
    found = await made(scene, instances, replace(INSTANCE, disk_gb=50))
    assert differences(INSTANCE, found, instances.owned) == ()


async def test_what_others_set_is_no_drift_and_stays(scene, instances, google):
    """Labels, and settings that are not ours."""
    found = await made(scene, instances)
    body = {"settings": {"user_labels": {"team": "blue"}, "retain_backups_on_delete": True}}
    await google.patch(request={"project": "demo", "instance": "shop-pg", "body": body})
    deadline_operation = await instances.update(replace(INSTANCE, query_insights=False), found, ("query_insights",))
    await scene.done(deadline_operation)
    found = await instances.observe(INSTANCE.name)
    wanted = replace(INSTANCE, labels=(("cost", "x"),))
    await scene.done(await instances.update(wanted, found, ("labels",)))
    found = await instances.observe(INSTANCE.name)
    assert dict(found.state.labels) == {"team": "blue", "cost": "x"}
    raw = await google.get(request={"project": "demo", "instance": "shop-pg"})
    assert raw.settings.retain_backups_on_delete


async def test_another_operation_under_way_is_the_one_to_wait_for(scene, instances, google):
    """One at a time per instance: no error, and nothing is written."""
    found = await made(scene, instances)
    scene.cloud.core.clock.speed = 20.0
    body = {"settings": {"user_labels": {"team": "blue"}}}
    theirs = await google.patch(request={"project": "demo", "instance": "shop-pg", "body": body})
    operation = await instances.update(CHANGES["tier"], found, ("tier",))
    assert operation.name.endswith(theirs.name)
    scene.cloud.core.clock.speed = 1000.0
    await scene.done(operation)
    found = await instances.observe(INSTANCE.name)
    assert differences(CHANGES["tier"], found, instances.owned) == ("tier",)


async def test_a_stale_settings_version_is_a_conflict(scene, instances):
    """The version of the observation is sent."""
    found = await made(scene, instances)
    await scene.done(await instances.update(CHANGES["flags"], found, ("flags",)))
    with pytest.raises(Conflict):
        await instances.update(CHANGES["tier"], found, ("tier",))


async def test_create_with_lost_answer_is_found_not_repeated(scene, instances):
    """Looking again finds the one instance; another create is a conflict."""
    scene.lose_answer("SqlInstancesService.Insert")
    with pytest.raises(Transient):
        await instances.create(INSTANCE)
    assert (await instances.observe(INSTANCE.name)).state.id == "shop-pg"
    with pytest.raises(Conflict):
        await instances.create(INSTANCE)


async def test_deletion_waits_for_protection_and_is_repeatable(scene, instances):
    """Refused while protected; then gone, and gone again."""
    found = await made(scene, instances)
    with pytest.raises(Invalid, match="protected"):
        await instances.delete(INSTANCE.name)
    await scene.done(await instances.update(CHANGES["protection"], found, ("deletion_protection",)))
    await scene.done(await instances.delete(INSTANCE.name))
    assert await instances.observe(INSTANCE.name) is None
    assert await instances.delete(INSTANCE.name) is None


async def failing(scene, kind, words, then=None):
    """An operation of this type on the instance, until it has failed; `then` is what that does to the instance."""
    queue, broken = scene.cloud.core.shared(Queue), {} if then is None else {"undo": then}

    async def fail(_):
        raise ApiError(Code.INVALID_ARGUMENT, words, reason="ERROR_RDBMS")

    queue.register(kind, Work("sql.instances.update", fail, **broken))
    await scene.ended(as_operation(queue.start(kind, INSTANCE.name, kind), INSTANCE.name))


async def test_a_failed_instance_is_explained_by_what_made_or_changed_it_last(scene, instances):
    """Not by an export that failed since, nor by what was mended before."""
    await made(scene, instances)
    await failing(scene, "RESTART", "it did not come up in January")
    await failing(scene, "UPDATE", "its disk is broken", scene.cloud.core.shared(Instances).failed)
    await failing(scene, "EXPORT", "could not write to gs://reports/dump.sql: 403")
    found = await instances.observe(INSTANCE.name)
    assert (found.readiness, found.message) == (Readiness.FAILED, "its disk is broken")


async def test_a_stopped_instance_is_stopped_whatever_failed_before(scene, instances, google):
    """Somebody did that: no operation has to explain it."""
    await made(scene, instances)
    body = {"settings": {"activation_policy": "NEVER"}}
    stop = await google.patch(request={"project": "demo", "instance": "shop-pg", "body": body})
    await scene.done(as_operation(stop, INSTANCE.name))
    await failing(scene, "UPDATE", "its flags were wrong")
    found = await instances.observe(INSTANCE.name)
    assert (found.reason, found.message) == ("Stopped", "The instance is stopped (activationPolicy NEVER).")


async def test_an_existing_instance_is_only_looked_at(scene, instances):
    """The same outputs, no marker, no way to change it."""
    existing = scene.access.drivers.of(ExistingSqlInstance)
    assert await existing.observe(INSTANCE.name) is None
    await made(scene, instances)
    found = await existing.observe(INSTANCE.name)
    assert (found.outputs["tier"], found.outputs["database_version"]) == ("db-custom-1-3840", "POSTGRES_16")
    for refused in (existing.create(found.state), existing.delete(INSTANCE.name)):
        with pytest.raises(Invalid):
            await refused


async def test_a_denial_is_one(scene):
    """Google names no permission here."""
    access = await scene.as_nobody()
    with pytest.raises(PermissionDenied):
        await access.drivers.of(SqlInstance).observe(INSTANCE.name)


async def test_the_administrator_is_made_with_the_secret_s_password(scene, instances, users):
    """None before, one after; looking and deleting again are no errors."""
    assert await users.observe(USER.name) is None
    await made(scene, instances)
    await scene.access.drivers.of(Secret).create(SECRET)
    assert await users.observe(USER.name) is None
    await scene.done(await users.create(USER))
    found = await users.observe(USER.name)
    assert differences(USER, found, users.owned) == ()
    assert "password=''" in repr(found)
    await scene.done(await users.update(USER, found, ("password",)))
    await scene.done(await users.delete(USER.name))
    assert await users.observe(USER.name) is None
    assert await users.delete(USER.name) is None


async def test_a_user_with_lost_answer_is_found(scene, instances, users):
    """Not made again."""
    await made(scene, instances)
    await scene.access.drivers.of(Secret).create(SECRET)
    scene.lose_answer("SqlUsersService.Insert")
    with pytest.raises(Transient):
        await users.create(USER)
    assert await users.observe(USER.name) is not None


async def test_no_user_is_seen_on_an_instance_that_is_being_made(scene, instances, users):
    """Nor is it an error: there is something to wait for."""
    scene.cloud.core.clock.speed = 20.0
    operation = await instances.create(INSTANCE)
    assert await users.observe(USER.name) is None
    scene.cloud.core.clock.speed = 1000.0
    await scene.done(operation)


async def test_a_user_waits_for_the_operation_under_way(scene, instances, users, google):
    """The instance's operation, under the user's name."""
    await made(scene, instances)
    await scene.access.drivers.of(Secret).create(SECRET)
    scene.cloud.core.clock.speed = 20.0
    body = {"settings": {"user_labels": {"team": "blue"}}}
    await google.patch(request={"project": "demo", "instance": "shop-pg", "body": body})
    operation = await users.create(USER)
    assert (operation.resource, operation.done) == (USER.name, False)
    scene.cloud.core.clock.speed = 1000.0
    await scene.done(operation)
    await scene.done(await users.create(USER))


async def test_quota_and_outage_are_told_apart(scene, instances):
    """503 heals by itself."""
    scene.fail("SqlInstancesService.Get", Code.UNAVAILABLE, "The service is currently unavailable.")
    with pytest.raises(Transient):
        await instances.observe(INSTANCE.name)
