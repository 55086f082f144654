"""SQL Admin's rules, through Google's client and over REST, without processes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import sqladmin_v1 as sql

from localcloud.localcloud import LocalCloud, Options

BASE = "https://sqladmin.googleapis.com"
OWNER = "any"  # a bearer that localcloud did not issue
TIER = "db-custom-1-3840"


def _instance(name: str = "pg", version: str = "POSTGRES_15", **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "region": "europe-west1",
        "database_version": version,
        "settings": {"tier": TIER, "edition": "ENTERPRISE", **settings},
    }


class Sql:
    """Google's clients for one instance, and a wait for operations."""

    def __init__(self, clients: Any, token: str = OWNER) -> None:
        self.instances = clients(sql.SqlInstancesServiceAsyncClient, token=token)
        self.users = clients(sql.SqlUsersServiceAsyncClient, token=token)
        self.databases = clients(sql.SqlDatabasesServiceAsyncClient, token=token)
        self.backups = clients(sql.SqlBackupRunsServiceAsyncClient, token=token)
        self.operations = clients(sql.SqlOperationsServiceAsyncClient, token=token)

    async def insert(self, body: dict[str, Any]) -> Any:
        return await self.instances.insert(request={"project": "demo", "body": body})

    async def done(self, operation: Any) -> Any:
        deadline = time.monotonic() + 10
        while operation.status.name != "DONE":
            assert time.monotonic() < deadline, operation
            await asyncio.sleep(0.01)
            operation = await self.operations.get(request={"project": "demo", "operation": operation.name})
        return operation

    async def made(self, body: dict[str, Any] | None = None) -> Any:
        body = body or _instance()
        operation = await self.done(await self.insert(body))
        assert not operation.error.errors, operation.error
        return await self.instances.get(request={"project": "demo", "instance": body["name"]})

    async def patch(self, body: dict[str, Any], name: str = "pg") -> Any:
        return await self.instances.patch(request={"project": "demo", "instance": name, "body": body})


@pytest.fixture
def admin(simulated: LocalCloud, clients: Any) -> Sql:
    return Sql(clients)


def _slower(cloud: LocalCloud) -> None:
    """So that an operation can be caught while it is under way."""
    cloud.core.clock.speed = 60.0


async def test_creation_takes_its_time_and_shows_it(simulated: LocalCloud, admin: Sql) -> None:
    """PENDING, RUNNING, DONE; meanwhile the instance is PENDING_CREATE and has no address."""
    _slower(simulated)
    operation = await admin.insert(_instance())
    assert (operation.status.name, operation.operation_type.name, operation.target_id) == ("PENDING", "CREATE", "pg")
    early = await admin.instances.get(request={"project": "demo", "instance": "pg"})
    assert (early.state.name, list(early.ip_addresses)) == ("PENDING_CREATE", [])
    seen = set()
    while operation.status.name != "DONE":
        operation = await admin.operations.get(request={"project": "demo", "operation": operation.name})
        seen.add(operation.status.name)
        await asyncio.sleep(0.05)
    assert seen >= {"RUNNING", "DONE"}
    assert operation.insert_time <= operation.start_time < operation.end_time
    made = await admin.instances.get(request={"project": "demo", "instance": "pg"})
    assert made.state.name == "RUNNABLE"
    assert [address.type_.name for address in made.ip_addresses] == ["PRIMARY", "OUTGOING"]
    assert made.connection_name == "demo:europe-west1:pg"


async def test_one_operation_at_a_time_for_each_instance(simulated: LocalCloud, admin: Sql) -> None:
    """Others are told so, users included; another instance goes on."""
    await admin.made()
    _slower(simulated)
    operation = await admin.patch({"settings": {"user_labels": {"a": "b"}}})
    text = "Operation failed because another operation was already in progress"
    with pytest.raises(exceptions.Aborted, match=text):
        await admin.patch({"settings": {"user_labels": {"a": "c"}}})
    user = {"project": "demo", "instance": "pg", "body": {"name": "app", "password": "x"}}
    with pytest.raises(exceptions.Aborted, match=text):
        await admin.users.insert(request=user)
    await admin.insert(_instance("other"))
    await admin.done(operation)
    assert (await admin.users.insert(request=user)).status.name == "DONE"


async def test_settings_version_guards_changes(admin: Sql) -> None:
    """It grows by one with each change, not with an empty one; a stale one is refused."""
    first = await admin.made()
    await admin.done(await admin.patch({}))
    await admin.done(await admin.patch({"settings": {"user_labels": {"a": "b"}, "settings_version": 1}}))
    second = await admin.instances.get(request={"project": "demo", "instance": "pg"})
    assert (first.settings.settings_version, second.settings.settings_version) == (1, 2)
    with pytest.raises(exceptions.FailedPrecondition, match=r"Condition does not match\."):
        await admin.patch({"settings": {"tier": "db-custom-2-7680", "settings_version": 1}})


async def test_patch_merges_and_update_replaces(admin: Sql) -> None:
    """A patch keeps what it does not name; an update resets it to the default, but never the disk."""
    await admin.made(_instance(data_disk_size_gb=50, availability_type="REGIONAL", user_labels={"a": "b"}))
    await admin.done(await admin.patch({"settings": {"user_labels": {"c": "d"}}}))
    merged = (await admin.instances.get(request={"project": "demo", "instance": "pg"})).settings
    assert (dict(merged.user_labels), merged.availability_type.name) == ({"a": "b", "c": "d"}, "REGIONAL")
    body = {"settings": {"tier": TIER, "edition": "ENTERPRISE"}}
    await admin.done(await admin.instances.update(request={"project": "demo", "instance": "pg", "body": body}))
    replaced = (await admin.instances.get(request={"project": "demo", "instance": "pg"})).settings
    assert (dict(replaced.user_labels), replaced.availability_type.name) == ({}, "ZONAL")
    assert replaced.data_disk_size_gb == 50
    with pytest.raises(exceptions.InvalidArgument, match="Disk size cannot be decreased"):
        await admin.patch({"settings": {"data_disk_size_gb": 20}})


async def test_names_are_not_free_soon_after_deletion(admin: Sql) -> None:
    """Neither that of a living instance nor that of one just deleted."""
    await admin.made()
    text = "you can't reuse the name of the deleted instance until one week from the deletion date"
    with pytest.raises(exceptions.AlreadyExists, match=text):
        await admin.insert(_instance())
    await admin.done(await admin.instances.delete(request={"project": "demo", "instance": "pg"}))
    with pytest.raises(exceptions.NotFound, match=r"The Cloud SQL instance does not exist\."):
        await admin.instances.get(request={"project": "demo", "instance": "pg"})
    with pytest.raises(exceptions.AlreadyExists, match=text):
        await admin.insert(_instance())


async def test_deletion_protection_protects(admin: Sql) -> None:
    """Until it is taken away."""
    await admin.made(_instance(deletion_protection_enabled=True))
    with pytest.raises(exceptions.InvalidArgument, match=r"The instance is protected\."):
        await admin.instances.delete(request={"project": "demo", "instance": "pg"})
    await admin.done(await admin.patch({"settings": {"deletion_protection_enabled": False}}))
    await admin.done(await admin.instances.delete(request={"project": "demo", "instance": "pg"}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"settings": {"tier": "db-custom-3-3840", "edition": "ENTERPRISE"}}, r"Invalid Tier \(db-custom-3-3840\)"),
        ({"database_version": "POSTGRES_16", "settings": {"tier": TIER}}, r"for \(ENTERPRISE_PLUS\) Edition"),
        ({"settings": {}}, r"Missing parameter: settings\.tier"),
        ({"name": "No_Good"}, 'Invalid instance name "No_Good"'),
        ({"maintenance_version": "x"}, r"Maintenance version \(x\) must not be set"),
        (_instance(ip_configuration={"ipv4_enabled": False}), "At least one of Public IP or Private IP"),
        (_instance(database_flags=[{"name": "no_such", "value": "1"}]), "Invalid flag name: no_such"),
        (_instance(database_flags=[{"name": "max_connections", "value": "1"}]), "Invalid flag value: 1"),
    ],
)
async def test_bad_instances_are_refused(admin: Sql, change: dict[str, Any], text: str) -> None:
    """Before any operation starts."""
    with pytest.raises(exceptions.InvalidArgument, match=text):
        await admin.insert({**_instance(), **change})


async def test_what_is_not_modelled_is_refused_by_name(admin: Sql) -> None:
    """Never swallowed."""
    for change in ({"node_count": 2}, {"on_premises_configuration": {"host_port": "10.0.0.1:5432"}}):
        with pytest.raises(exceptions.MethodNotImplemented, match="localcloud does not model"):
            await admin.insert({**_instance(), **change})


async def test_a_replica_is_known_to_its_primary(admin: Sql) -> None:
    """Under simulation: of the primary's version and region, and named by it until it is deleted."""
    await admin.made()
    operation = await admin.insert({"name": "copy", "master_instance_name": "pg", "settings": _instance()["settings"]})
    assert operation.operation_type.name == "CREATE_REPLICA"
    await admin.done(operation)
    copy = await admin.instances.get(request={"project": "demo", "instance": "copy"})
    assert (copy.instance_type.name, copy.master_instance_name) == ("READ_REPLICA_INSTANCE", "demo:pg")
    assert (await admin.instances.get(request={"project": "demo", "instance": "pg"})).replica_names == ["copy"]
    await admin.done(await admin.instances.delete(request={"project": "demo", "instance": "copy"}))
    assert not (await admin.instances.get(request={"project": "demo", "instance": "pg"})).replica_names


async def test_a_stopped_instance_stays_runnable(admin: Sql) -> None:
    """Its users and databases cannot be reached."""
    await admin.made()
    await admin.done(await admin.patch({"settings": {"activation_policy": "NEVER"}}))
    assert (await admin.instances.get(request={"project": "demo", "instance": "pg"})).state.name == "RUNNABLE"
    text = r"Invalid request: Invalid request since instance is not running\."
    with pytest.raises(exceptions.InvalidArgument, match=text):
        await admin.users.list(request={"project": "demo", "instance": "pg"})


async def test_databases_have_their_own_operations(admin: Sql) -> None:
    """Created at once, deleted in an operation, missing ones Not Found."""
    await admin.made()
    place = {"project": "demo", "instance": "pg"}
    operation = await admin.databases.insert(request={**place, "body": {"name": "shop"}})
    assert (operation.operation_type.name, operation.status.name) == ("CREATE_DATABASE", "DONE")
    shop = await admin.databases.get(request={**place, "database": "shop"})
    assert (shop.charset, shop.collation) == ("UTF8", "en_US.UTF8")
    listed = await admin.databases.list(request=place)
    assert {database.name for database in listed.items} == {"postgres", "shop"}
    with pytest.raises(exceptions.InvalidArgument, match='database "shop" already exists'):
        await admin.databases.insert(request={**place, "body": {"name": "shop"}})
    await admin.done(await admin.databases.delete(request={**place, "database": "shop"}))
    with pytest.raises(exceptions.NotFound, match="Not Found"):
        await admin.databases.get(request={**place, "database": "shop"})


async def test_instances_are_listed_by_filter_and_page(admin: Sql) -> None:
    """By label, and in pages."""
    for name in ("one", "two"):
        await admin.made(_instance(name, user_labels={"app": name}))
    found = await admin.instances.list(request={"project": "demo", "filter": "settings.userLabels.app:two"})
    assert [item.name for item in found.items] == ["two"]
    first = await admin.instances.list(request={"project": "demo", "max_results": 1})
    rest = await admin.instances.list(request={"project": "demo", "page_token": first.next_page_token})
    assert [item.name for item in (*first.items, *rest.items)] == ["one", "two"]


async def test_operations_are_listed_newest_first(admin: Sql) -> None:
    """Of one instance."""
    await admin.made()
    await admin.made(_instance("other"))
    await admin.done(await admin.patch({"settings": {"user_labels": {"a": "b"}}}))
    listed = await admin.operations.list(request={"project": "demo", "instance": "pg"})
    assert [operation.operation_type.name for operation in listed.items] == ["UPDATE", "CREATE"]


async def test_without_permission_the_client_is_not_authorised(simulated: LocalCloud, clients: Any) -> None:
    """In the old family's words."""
    stranger = Sql(clients, token=simulated.core.tokens.issue("nobody@example.com"))
    with pytest.raises(exceptions.PermissionDenied, match=r"The client is not authorized to make this request\."):
        await stranger.insert(_instance())


async def test_rest_links_are_of_the_version_called(simulated: LocalCloud, admin: Sql) -> None:
    """v1, sql/v1beta4 and v1beta4 are one state; errors have `errors[]` and no status; empty lists are shown."""
    await admin.made()
    headers = {"Host": "sqladmin.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for root, link in (("v1", "v1"), ("sql/v1beta4", "sql/v1beta4"), ("v1beta4", "sql/v1beta4")):
            shown = await (await http.get(f"{simulated.rest}/{root}/projects/demo/instances/pg")).json()
            assert shown["selfLink"] == f"{BASE}/{link}/projects/demo/instances/pg"
        assert shown["settings"]["authorizedGaeApplications"] == []
        assert shown["settings"]["deletionProtectionEnabled"] is False
        assert shown["settings"]["dataDiskSizeGb"] == "10"
        users = await (await http.get(f"{simulated.rest}/v1/projects/demo/instances/pg/users")).json()
        assert [(user["name"], user["host"]) for user in users["items"]] == [("postgres", "")]
        missing = await (await http.get(f"{simulated.rest}/v1/projects/demo/instances/none")).json()
        message = "The Cloud SQL instance does not exist."
        errors = [{"domain": "global", "message": message, "reason": "instanceDoesNotExist"}]
        assert missing == {"error": {"code": 404, "message": message, "errors": errors}}
        tiers = await (await http.get(f"{simulated.rest}/v1/projects/demo/tiers")).json()
        assert {"tier": TIER.replace("custom-1-3840", "f1-micro"), "kind": "sql#tier"}.items() <= tiers["items"][
            0
        ].items()
        flags = await (await http.get(f"{simulated.rest}/v1/flags?databaseVersion=POSTGRES_15")).json()
        assert next(f for f in flags["items"] if f["name"] == "max_connections")["requiresRestart"] is True


async def test_mysql_has_its_own_shape(admin: Sql) -> None:
    """Under simulation only: root on any host, one address, password policies."""
    made = await admin.made({**_instance("my", "MYSQL_8_0"), "settings": {"tier": "db-f1-micro"}})
    assert [address.type_.name for address in made.ip_addresses] == ["PRIMARY"]
    place = {"project": "demo", "instance": "my"}
    users = (await admin.users.list(request=place)).items
    assert [(user.name, user.host) for user in users] == [("root", "%")]
    await admin.users.delete(request={**place, "name": "root", "host": "%"})
    assert not (await admin.users.list(request=place)).items


async def test_an_interrupted_creation_goes_on(tmp_path: Path, clients: Any, authority: Path) -> None:
    """After a stop in the middle, with the same operation."""
    del authority, clients
    options = Options(dir=tmp_path / "cloud", speed=30.0)
    headers = {"Host": "sqladmin.googleapis.com", "Authorization": "Bearer any"}
    body = {
        "name": "pg",
        "region": "europe-west1",
        "databaseVersion": "POSTGRES_15",
        "settings": {"tier": TIER, "activationPolicy": "ALWAYS"},
    }
    async with LocalCloud(options) as cloud, aiohttp.ClientSession(headers=headers) as http:
        answer = await http.post(f"{cloud.rest}/v1/projects/demo/instances", json=body)
        name = (await answer.json())["name"]
    async with (
        LocalCloud(Options(dir=options.dir, speed=1000.0)) as cloud,
        aiohttp.ClientSession(headers=headers) as http,
    ):
        deadline, status = time.monotonic() + 20, ""
        while status != "DONE" and time.monotonic() < deadline:
            found = await (await http.get(f"{cloud.rest}/v1/projects/demo/operations/{name}")).json()
            status = found["status"]
            await asyncio.sleep(0.02)
        assert status == "DONE"
        shown = await (await http.get(f"{cloud.rest}/v1/projects/demo/instances/pg")).json()
        assert shown["state"] == "RUNNABLE"
