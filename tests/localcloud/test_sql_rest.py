"""SQL Admin over REST as gcloud, Terraform and KCC speak it, without processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from localcloud.localcloud import LocalCloud

PG = {
    "name": "pg",
    "region": "europe-west1",
    "databaseVersion": "POSTGRES_15",
    "settings": {"tier": "db-custom-1-3840", "edition": "ENTERPRISE"},
}
MYSQL = {"name": "my", "region": "europe-west1", "databaseVersion": "MYSQL_8_0", "settings": {"tier": "db-f1-micro"}}


class Rest:
    """One project's SQL Admin."""

    def __init__(self, http: aiohttp.ClientSession, root: str) -> None:
        self._http, self._root = http, root

    async def call(self, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        """HTTP status and JSON."""
        answer = await self._http.request(verb, f"{self._root}/{path}", json=body)
        return answer.status, await answer.json()

    async def get(self, path: str) -> Any:
        status, shown = await self.call("GET", path)
        assert status == 200, shown
        return shown

    async def done(self, verb: str, path: str, body: Any = None) -> Any:
        """The operation that the call starts, once it is DONE."""
        status, operation = await self.call(verb, path, body)
        assert status == 200, operation
        deadline = time.monotonic() + 10
        while operation["status"] != "DONE":
            assert time.monotonic() < deadline, operation
            await asyncio.sleep(0.01)
            operation = await self.get(f"operations/{operation['name']}")
        assert "error" not in operation, operation
        return operation

    async def refused(self, verb: str, path: str, body: Any = None) -> tuple[int, str, str]:
        """Code, reason and message of the error."""
        status, answer = await self.call(verb, path, body)
        assert status >= 400, answer
        return status, answer["error"]["errors"][0]["reason"], answer["error"]["message"]


@pytest.fixture
async def sql(simulated: LocalCloud) -> AsyncIterator[Rest]:
    headers = {"Host": "sqladmin.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as http:
        yield Rest(http, f"{simulated.rest}/sql/v1beta4/projects/demo")


FULL = {
    "databaseFlags": [{"name": "work_mem", "value": "8192"}],
    "ipConfiguration": {"authorizedNetworks": [{"value": "10.0.0.0/8", "name": "office"}]},
    "insightsConfig": {"queryInsightsEnabled": True, "recordClientAddress": True},
    "userLabels": {"a": "1", "b": "2"},
    "maintenanceWindow": {"day": 7, "hour": 3},
}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"databaseFlags": []}, {"databaseFlags": None}),
        ({"databaseFlags": None}, {"databaseFlags": None}),
        ({"ipConfiguration": {"authorizedNetworks": []}}, {"ipConfiguration.authorizedNetworks": []}),
        (
            {"insightsConfig": {"queryInsightsEnabled": False}},
            {"insightsConfig.queryInsightsEnabled": None, "insightsConfig.recordClientAddress": True},
        ),
        ({"userLabels": {"a": None}}, {"userLabels": {"b": "2"}}),
        ({"userLabels": None}, {"userLabels": None}),
        ({"maintenanceWindow": None}, {"maintenanceWindow": None, "userLabels": {"a": "1", "b": "2"}}),
        ({"user_labels": {"c": "3"}}, {"userLabels": {"a": "1", "b": "2", "c": "3"}}),
    ],
)
async def test_a_patch_clears_what_it_names(sql: Rest, change: dict[str, Any], kept: dict[str, Any]) -> None:
    """Present keys win: null deletes, lists replace, false stands; the rest stays."""
    await sql.done("POST", "instances", {**PG, "settings": {**PG["settings"], **FULL}})
    await sql.done("PATCH", "instances/pg", {"settings": change})
    settings = (await sql.get("instances/pg"))["settings"]
    for path, wanted in kept.items():
        found: Any = settings
        for part in path.split("."):
            found = found.get(part)
        assert found == wanted or (wanted is None and found is False), (path, settings)
    assert settings["settingsVersion"] == "2"


async def test_a_patch_on_a_used_connection_merges_its_own_body(sql: Rest) -> None:
    """The body of an earlier call on the same connection has no say."""
    await sql.done("POST", "instances", {**PG, "settings": {**PG["settings"], "userLabels": {"a": "1"}}})
    await sql.done("PATCH", "instances/pg", {"settings": {"userLabels": None}})
    await sql.done("PATCH", "instances/pg", {})
    settings = (await sql.get("instances/pg"))["settings"]
    assert settings["tier"] == "db-custom-1-3840"
    assert "userLabels" not in settings


async def test_the_maintenance_version_moves_alone_and_forward(sql: Rest) -> None:
    """With other fields, backwards, of another version or unknown: 400; the one that stands may be echoed."""
    await sql.done("POST", "instances", PG)
    shown = await sql.get("instances/pg")
    later, own = "POSTGRES_15_14.R20990101.00_01", shown["maintenanceVersion"]
    alone = "Upgrading maintenance version and changing other fields at the same time is not allowed."
    label = {"settings": {"userLabels": {"a": "1"}}}
    assert await sql.refused("PATCH", "instances/pg", {"maintenanceVersion": later, **label}) == (
        400,
        "invalid",
        f"Invalid request: {alone}",
    )
    for wrong in ("x", "POSTGRES_16_9.R20990101.00_01", "POSTGRES_15_1.R20200101.00_01"):
        status, reason, text = await sql.refused("PATCH", "instances/pg", {"maintenanceVersion": wrong})
        assert (status, reason) == (400, "invalid")
        assert f"({wrong})" in text
    await sql.done("PATCH", "instances/pg", {"maintenanceVersion": own, **label})
    await sql.done("PATCH", "instances/pg", {"maintenanceVersion": None})
    assert (await sql.get("instances/pg"))["maintenanceVersion"] == own
    await sql.done("PATCH", "instances/pg", {"maintenanceVersion": later})
    moved = await sql.get("instances/pg")
    assert (moved["maintenanceVersion"], moved["databaseInstalledVersion"]) == (later, "POSTGRES_15_14")


async def test_mysql_users_are_told_apart_by_host(sql: Rest) -> None:
    """One name on two hosts is two users; the same one twice is refused in MySQL's words."""
    await sql.done("POST", "instances", MYSQL)
    users = "instances/my/users"
    for host in ("10.0.0.1", "%"):
        await sql.done("POST", users, {"name": "u", "host": host, "password": "x"})
    hosts = [(user["name"], user["host"]) for user in (await sql.get(users))["items"]]
    assert hosts == [("root", "%"), ("u", "10.0.0.1"), ("u", "%")]
    _, _, text = await sql.refused("POST", users, {"name": "u", "password": "x"})
    assert "Operation CREATE USER failed for 'u'@'%'" in text
    await sql.done("DELETE", f"{users}?name=u&host=%25")
    assert (await sql.refused("DELETE", f"{users}?name=u&host=10.0.0.2"))[0] == 404
    assert [user["host"] for user in (await sql.get(users))["items"]] == ["%", "10.0.0.1"]


async def test_a_user_who_is_not_there_cannot_be_updated(sql: Rest) -> None:
    """With a password or without."""
    await sql.done("POST", "instances", PG)
    for body in ({}, {"password": "x"}):
        found = await sql.refused("PUT", "instances/pg/users?name=ghost", body)
        assert found == (404, "userDoesNotExist", "The Cloud SQL user does not exist.")


async def test_roles_of_an_update_are_the_querys(sql: Rest) -> None:
    """They join those that are there, or replace them where asked; the body's are ignored."""
    await sql.done("POST", "instances", PG)
    users = "instances/pg/users"
    await sql.done("POST", users, {"name": "u", "password": "x", "databaseRoles": ["first"]})
    await sql.done("PUT", f"{users}?name=u&databaseRoles=second", {"databaseRoles": ["ignored"]})
    assert (await sql.get(f"{users}/u"))["databaseRoles"] == ["first", "second"]
    await sql.done("PUT", f"{users}?name=u&databaseRoles=third&revokeExistingRoles=true", {})
    assert (await sql.get(f"{users}/u"))["databaseRoles"] == ["third"]
    await sql.done("PUT", f"{users}?name=postgres&databaseRoles=foo", {})
    assert (await sql.get(f"{users}/postgres"))["databaseRoles"] == ["foo"]


FLAGS = {
    "cron.database_name": "app",
    "autovacuum_vacuum_threshold": "50",
    "autovacuum_freeze_max_age": "200000000",
    "password_encryption": "scram-sha-256",
    "geqo": "off",
    "pgaudit.log_parameter": "on",
    "vacuum_cost_page_hit": "1",
}


async def test_flags_that_cloud_sql_has_are_taken(sql: Rest) -> None:
    """Also those whose type is not known here; a name of no family and a value out of range stay refused."""
    await sql.done("POST", "instances", PG)
    wanted = [{"name": name, "value": value} for name, value in FLAGS.items()]
    await sql.done("PATCH", "instances/pg", {"settings": {"databaseFlags": wanted}})
    assert (await sql.get("instances/pg"))["settings"]["databaseFlags"] == wanted
    for name, value, reason in (("no_such", "1", "invalidFlagName"), ("geqo", "7", "invalidFlagValue")):
        change = {"settings": {"databaseFlags": [{"name": name, "value": value}]}}
        assert (await sql.refused("PATCH", "instances/pg", change))[:2] == (400, reason)


async def test_a_replica_is_stopped_started_and_promoted(sql: Rest) -> None:
    """Each by an operation of its own type; promoted, it follows no one, and an instance that does not is refused."""
    await sql.done("POST", "instances", PG)
    await sql.done("POST", "instances", {**PG, "name": "copy", "masterInstanceName": "pg"})
    for verb, kind in (("stopReplica", "STOP_REPLICA"), ("startReplica", "START_REPLICA")):
        assert (await sql.done("POST", f"instances/copy/{verb}"))["operationType"] == kind
    assert (await sql.done("POST", "instances/copy/promoteReplica"))["operationType"] == "PROMOTE_REPLICA"
    alone = await sql.get("instances/copy")
    assert (alone["instanceType"], alone.get("masterInstanceName")) == ("CLOUD_SQL_INSTANCE", None)
    assert "replicaNames" not in await sql.get("instances/pg")
    assert (await sql.refused("POST", "instances/pg/stopReplica"))[:2] == (400, "invalid")
