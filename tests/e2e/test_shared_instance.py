"""Two teams, a namespace each, on one Cloud SQL instance that a platform team made: what they share, and what not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import pytest_asyncio
from e2e_accounts import access_token
from e2e_release import (
    ADMINISTRATOR,
    GROUP_VERSION,
    Deployment,
    condition,
    eventually,
    polling,
    served,
    shared_instance,
)
from e2e_site import Site
from e2e_world import World, open_world
from google.api_core.exceptions import PermissionDenied
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.sqladmin_v1 import SqlUsersServiceAsyncClient
from google.oauth2.credentials import Credentials

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("shared_instance")]

ACCESSOR = "roles/secretmanager.secretAccessor"


@dataclass(frozen=True)
class Teams:
    """Red's shop has the database that bears its name, Blue's shop another one. Both Ready."""

    red: Deployment
    blue: Deployment
    instance: str

    @property
    def project(self) -> str:
        return self.red.world.site.project

    @property
    def administrator(self) -> str:
        """Full name of the secret with the administrator's password."""
        return f"projects/{self.project}/secrets/nuages-admin-{self.instance}"

    @property
    def secrets(self) -> SecretManagerServiceAsyncClient:
        return self.red.world.google(SecretManagerServiceAsyncClient)

    def db_init(self, team: Deployment) -> str:
        """The identity that prepares a team's databases."""
        return f"{team.world.namespace}--dbinit@{self.project}.iam.gserviceaccount.com"

    async def readers(self) -> set[str]:
        """Who may read the administrator's password."""
        policy = await self.secrets.get_iam_policy(request={"resource": self.administrator})
        return {member for item in policy.bindings if item.role == ACCESSOR for member in item.members}

    async def versions(self) -> list[str]:
        found = await self.secrets.list_secret_versions(parent=self.administrator)
        return [item.name.rpartition("/")[2] async for item in found]

    async def labels(self) -> dict[str, str]:
        return dict((await self.secrets.get_secret(name=self.administrator)).labels)

    async def users(self) -> set[str]:
        """Of the instance."""
        users = self.red.world.google(SqlUsersServiceAsyncClient)
        listed = await users.list(request={"project": self.project, "instance": self.instance})
        return {item.name for item in listed.items}

    async def traces(self, team: Deployment) -> set[str]:
        """Where the identity of a team's db-init is still to be found."""
        email, world, found = self.db_init(team), team.world, set[str]()
        listed = await world.google(IAMAsyncClient).list_service_accounts(name=f"projects/{self.project}")
        if email in {item.email async for item in listed}:
            found.add("account")
        policy = await world.google(ProjectsAsyncClient).get_iam_policy(resource=f"projects/{self.project}")
        if any(email in member for item in policy.bindings for member in item.members):
            found.add("project")
        return found | ({"secret"} if any(email in member for member in await self.readers()) else set())


def tenant(world: World, instance: str) -> dict[str, Any]:
    spec = {"project": world.site.project, "region": world.site.region, "database": {"existing": instance}}
    labels = {"team": world.namespace}  # what both share bears neither
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "DjangoTenant",
        "metadata": {"name": "default"},
        "spec": spec | {"labels": labels},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def teams(site: Site, google_environment: None) -> AsyncIterator[Teams]:
    """Both came at the same moment."""
    async with AsyncExitStack() as stack:
        red, blue = [
            await stack.enter_async_context(open_world(site, f"{name}-{uuid.uuid4().hex[:4]}"))
            for name in ("red", "blue")
        ]
        instance = f"{red.namespace}-pg"
        await shared_instance(red, instance)
        for world in (red, blue):
            await world.apply(tenant(world, instance))
        made = Teams(Deployment(red, "shop"), Deployment(blue, "shop"), instance)
        common = {"image": await site.image("shop", "v1"), "deletionPolicy": "Delete"}
        await asyncio.gather(made.red.release(**common), made.blue.release(**common, database={"name": "blue-shop"}))
        yield made


async def test_both_serve_with_one_administrator(teams: Teams) -> None:
    """One secret, one version, marked as the instance's; each team's db-init reads it, and nobody else does."""
    for team in (teams.red, teams.blue):
        assert (await team.status())["database"]["instance"] == teams.instance
        assert (await (await team.browser()).get("/")).status == 200
    assert await teams.versions() == ["1"]
    assert await teams.labels() == {"managed-by": "nuages", "nuages-instance": teams.instance}
    assert await teams.readers() == {f"serviceAccount:{teams.db_init(team)}" for team in (teams.red, teams.blue)}


async def test_neither_app_reads_the_administrators_password(teams: Teams) -> None:
    """By Google's own word: the runtime identities have no part in it."""
    for team in (teams.red, teams.blue):
        account = str((await team.service()).template.service_account)
        credentials = Credentials(await access_token(team.world, account))  # type: ignore[no-untyped-call]
        client = SecretManagerServiceAsyncClient(credentials=credentials)
        with pytest.raises(PermissionDenied):
            await client.access_secret_version(name=f"{teams.administrator}/versions/1")
        await client.transport.close()  # type: ignore[no-untyped-call]


async def test_neither_login_reaches_the_other_database(teams: Teams, local: LocalSite) -> None:
    """On the one server, by PostgreSQL itself."""
    for own, other in ((teams.red, teams.blue), (teams.blue, teams.red)):
        mine, theirs = await own.environment(), await other.environment()
        name = theirs["DB_NAME"].value
        with pytest.raises(psycopg.OperationalError, match=f'permission denied for database "{name}"'):
            await psycopg.AsyncConnection.connect(
                host=await own.socket(local),
                user=mine["DB_USER"].value,
                password=await own.secret("db-password-a"),
                dbname=name,
            )


async def test_another_teams_database_is_not_to_be_had(teams: Teams) -> None:
    """Refused by its name, adoption or not, also for a deletion; its owner serves on."""
    revision = (await teams.red.status())["revision"]
    thief = Deployment(teams.blue.world, "thief")
    spec = {**teams.blue.spec, "database": {"name": "shop"}}
    said = f"database shop belongs to {teams.red.world.namespace}/shop"
    stalled = await thief.stalled("NameConflict", **spec)
    assert said in stalled["message"] or "role shop-owner belongs to" in stalled["message"]
    assert "adopt" not in stalled["message"]
    await thief.world.annotate("thief", "nuages.dev/adopt", "true")
    await thief.world.annotate("thief", "nuages.dev/reconcile-at", "1")
    await thief.world.until(lambda app: app["status"].get("release", {}).get("reconcileAt") == "1", "thief")
    adopting = await thief.world.until(lambda app: bool(condition(app, "Stalled")), "thief")
    assert "belongs to" in condition(adopting, "Stalled")["message"]
    await thief.world.delete("DjangoApp", "thief")
    assert await teams.traces(teams.blue) == {"account", "project", "secret"}  # Blue's shop is there
    assert served(await teams.red.status()) == {revision: 100}
    assert (await (await teams.red.browser()).get("/")).status == 200


async def test_what_an_older_operator_left_is_taken_over(teams: Teams) -> None:
    """A secret with the marker of the first namespace is marked as the instance's again, with the version it has."""
    theirs = {"managed-by": "nuages", "nuages-namespace": teams.red.world.namespace, "team": "red"}
    secret = {"name": teams.administrator, "labels": theirs}
    await teams.secrets.update_secret(request={"secret": secret, "update_mask": {"paths": ["labels"]}})
    await teams.blue.world.annotate("shop", "nuages.dev/reconcile-at", "2")

    async def is_taken_over() -> bool:
        return "nuages-namespace" not in await teams.labels()

    await eventually(is_taken_over, "the instance's marker")
    assert await teams.labels() == {"managed-by": "nuages", "nuages-instance": teams.instance, "team": "red"}
    assert await teams.versions() == ["1"]


async def test_an_administrator_that_somebody_deleted_is_made_again(teams: Teams, local: LocalSite) -> None:
    """Told as drift, with the password that it had; both teams' db-init can do what it could.

    PostgreSQL 16 and later keep who granted a membership, so there Google refuses to delete it.
    """
    answer = await teams.secrets.access_secret_version(name=f"{teams.administrator}/versions/1")
    for team in (teams.red, teams.blue):  # as a DBA does whom Google told of what depends on it
        async with team.database(local, answer.payload.data.decode()) as connection:
            if connection.info.server_version >= 160000:
                pytest.skip("PostgreSQL 15 is not installed")
            await connection.execute(f'REASSIGN OWNED BY "{ADMINISTRATOR}" TO cloudsqlsuperuser'.encode())
    users = teams.red.world.google(SqlUsersServiceAsyncClient)
    await users.delete(request={"project": teams.project, "instance": teams.instance, "name": ADMINISTRATOR})
    assert ADMINISTRATOR not in await teams.users()
    await teams.red.world.annotate("shop", "nuages.dev/reconcile-at", "deleted")
    await teams.red.world.told("shop", "DriftCorrected", f"User {ADMINISTRATOR}: deleted")
    app = await teams.red.world.wait("shop")
    assert f"User {ADMINISTRATOR}: deleted" in app["status"]["drift"]["fields"]
    assert ADMINISTRATOR in await teams.users()
    assert await teams.versions() == ["1"]
    for team in (teams.red, teams.blue):
        database = team.spec.get("database", {})
        await team.release(database={**database, "extensions": ["pg_trgm", "fuzzystrmatch"]})
        assert (await (await team.browser()).get("/")).status == 200


async def test_one_team_leaves_and_the_other_goes_on(teams: Teams) -> None:
    """Blue's identity and grants go with its last app; Red serves meanwhile, and is released again."""
    async with polling(teams.red, a_second=10) as answers:
        await teams.blue.world.delete("DjangoApp", "shop")
    assert answers.count > 0
    assert answers.bad == []
    assert await teams.traces(teams.blue) == set()
    assert await teams.traces(teams.red) == {"account", "project", "secret"}
    assert await teams.versions() == ["1"]
    assert ADMINISTRATOR in await teams.users()
    await teams.red.release(image=await teams.red.image("v2"))
    assert (await (await teams.red.browser()).get("/")).status == 200


async def test_the_last_team_leaves_the_administrator_to_the_instance(teams: Teams) -> None:
    """Nobody may read its password any more."""
    await teams.red.world.delete("DjangoApp", "shop")
    assert await teams.traces(teams.red) == set()
    assert await teams.readers() == set()
    assert await teams.versions() == ["1"]
    assert ADMINISTRATOR in await teams.users()


async def test_whoever_comes_next_goes_on_with_the_same_password(teams: Teams) -> None:
    """Two apps of one namespace, which is then deleted with both at once: one of them is the last."""
    blog = Deployment(teams.blue.world, "blog", dict(teams.blue.spec))
    await asyncio.gather(teams.blue.release(), blog.release(database={"name": "blue-blog"}))
    assert await teams.versions() == ["1"]
    assert await teams.readers() == {f"serviceAccount:{teams.db_init(teams.blue)}"}
    await teams.blue.world.delete_namespace()
    assert await teams.traces(teams.blue) == set()
