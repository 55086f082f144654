# ruff: noqa: E501 - sentences are tested whole, each on its line
"""Two tenants of one project: what one's apps try on the other, and who says no to it: admission, operator or Google.

Acme runs a shop and a blog on an instance of its own; Mallory's tenant runs a shop on another one, and is allowed
nothing else. Every test is one attempt of Mallory's.
"""

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
from e2e_accounts import access_token, id_token
from e2e_belongings import belongings
from e2e_release import GROUP_VERSION, Deployment, served, shared_instance
from e2e_site import Site
from e2e_world import Refused, World, open_world
from google.api_core.exceptions import Forbidden, PermissionDenied
from google.cloud.iam_credentials_v1 import IAMCredentialsAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.sqladmin_v1 import SqlDatabasesServiceAsyncClient
from google.cloud.storage import Client as StorageClient
from google.oauth2.credentials import Credentials

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("tenants")]

ELSEWHERE = "Name another, or add it to DjangoTenant spec.allow"


@dataclass(frozen=True)
class Tenants:
    """All Ready."""

    acme_shop: Deployment
    acme_blog: Deployment
    mallory_shop: Deployment

    @property
    def acme(self) -> World:
        return self.acme_shop.world

    @property
    def mallory(self) -> World:
        return self.mallory_shop.world

    @property
    def project(self) -> str:
        return self.acme.site.project

    def resolve(self, text: str) -> str:
        """With the names of this run."""
        site = self.acme.site
        registry = f"{site.region}-docker.pkg.dev/{site.project}/apps"
        return text.format(acme=self.acme.namespace, project=site.project, region=site.region, registry=registry)


def tenant(world: World, **spec: Any) -> dict[str, Any]:
    place = {"project": world.site.project, "region": world.site.region}
    return {"apiVersion": GROUP_VERSION, "kind": "DjangoTenant", "metadata": {"name": "default"}, "spec": place | spec}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenants(site: Site, google_environment: None) -> AsyncIterator[Tenants]:
    """Three apps; the blog may be called by nobody but its own account."""
    async with AsyncExitStack() as stack:
        acme, mallory = [
            await stack.enter_async_context(open_world(site, f"{name}-{uuid.uuid4().hex[:4]}"))
            for name in ("acme", "mallory")
        ]
        await asyncio.gather(*(shared_instance(world, f"{world.namespace}-pg") for world in (acme, mallory)))
        image = await site.image("shop", "v1")
        allow = {"images": [f"{image.rpartition(':')[0]}:*"]}
        await mallory.apply(tenant(mallory, database={"existing": f"{mallory.namespace}-pg"}, allow=allow))
        made = Tenants(Deployment(acme, "shop"), Deployment(acme, "blog"), Deployment(mallory, "shop"))
        closed = {"access": "Authenticated"}
        await asyncio.gather(
            made.acme_shop.release(image=image),
            made.acme_blog.release(image=image, web=closed),
            made.mallory_shop.release(image=image),
        )
        yield made


async def account(deployed: Deployment) -> str:
    """What the app runs as."""
    return str((await deployed.service()).template.service_account)


async def credentials(deployed: Deployment) -> Credentials:
    """Those that the app's containers have."""
    token = await access_token(deployed.world, await account(deployed))
    return Credentials(token)  # type: ignore[no-untyped-call]


# What the API server does not take, and why: no field could even name it.
UNSAYABLE: dict[str, tuple[dict[str, Any], str]] = {
    "secret-of-a-namespace": (
        {"env": [{"name": "A", "kubernetesSecret": {"name": "stripe", "key": "key", "namespace": "{acme}"}}]},
        'unknown field "spec.env[0].kubernetesSecret.namespace"',
    ),
    "secret-by-path": (
        {"env": [{"name": "A", "kubernetesSecret": {"name": "{acme}/stripe", "key": "key"}}]},
        "Is no Kubernetes name. Use small letters, digits, - and . between them.",
    ),
    "google-secret-by-full-name": (
        {
            "env": [
                {"name": "A", "secret": {"name": "projects/{project}/secrets/{acme}-shop-secret-key", "version": "1"}}
            ]
        },
        "Is no secret of the tenant's project. Give its short name: letters, digits, - and _ only.",
    ),
    "instance-of-a-project": (
        {"database": {"instance": {"existing": "{project}:{region}:{acme}-pg"}}},
        "spec.database.instance.existing",
    ),
    "config-map-of-a-namespace": (
        {"envFrom": [{"configMap": {"name": "shop-env", "namespace": "{acme}"}}]},
        'unknown field "spec.envFrom[0].configMap.namespace"',
    ),
    "project": ({"project": "{project}"}, 'unknown field "spec.project"'),
}

# What Mallory's tenant does not allow, or no tenant can, in the operator's words.
NOT_ALLOWED: dict[str, tuple[dict[str, Any], str]] = {
    "secret": (
        {"env": [{"name": "A", "secret": {"name": "{acme}-shop-secret-key", "version": "1"}}]},
        f"spec.env[0].secret.name: The tenant does not allow secret {{acme}}-shop-secret-key. {ELSEWHERE}.secrets.",
    ),
    "administrators-password": (
        {"env": [{"name": "A", "secret": {"name": "nuages-admin-{acme}-pg", "version": "1"}}]},
        "spec.env[0].secret.name: Secret nuages-admin-{acme}-pg opens every database of an instance: for db-init only. Name another.",
    ),
    "instance": (
        {"database": {"instance": {"existing": "{acme}-pg"}}},
        f"spec.database.instance.existing: The tenant does not allow instance {{acme}}-pg. {ELSEWHERE}.instances.",
    ),
    "service-account": (
        {"serviceAccount": {"existing": "{acme}-shop@{project}.iam.gserviceaccount.com"}},
        f"spec.serviceAccount.existing: The tenant does not allow service account {{acme}}-shop@{{project}}.iam.gserviceaccount.com. {ELSEWHERE}.serviceAccounts.",
    ),
    "image": (
        {"image": "{registry}/private:v1"},
        f"spec.image: The tenant does not allow image {{registry}}/private:v1. {ELSEWHERE}.images.",
    ),
    "network": (
        {"network": {"egress": "AllTraffic"}},
        "spec.network.egress: AllTraffic is wider than the tenant's PrivateRangesOnly. Remove it, or set DjangoTenant spec.network.egress: AllTraffic.",
    ),
}


def resolved(tenants: Tenants, value: Any) -> Any:
    """A spec with the names of this run."""
    if isinstance(value, dict):
        return {key: resolved(tenants, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(tenants, inner) for inner in value]
    return tenants.resolve(value) if isinstance(value, str) else value


@pytest.mark.parametrize("attempt", UNSAYABLE)
async def test_admission_refuses(tenants: Tenants, attempt: str) -> None:
    """No spec can name what is in another namespace or project."""
    spec, said = UNSAYABLE[attempt]
    body = {"apiVersion": GROUP_VERSION, "kind": "DjangoApp", "metadata": {"name": "thief"}}
    with pytest.raises(Refused) as refused:
        await tenants.mallory.create({**body, "spec": {**tenants.mallory_shop.spec, **resolved(tenants, spec)}})
    assert said in str(refused.value)


@pytest.mark.parametrize("attempt", NOT_ALLOWED)
async def test_the_tenant_does_not_allow(tenants: Tenants, attempt: str) -> None:
    """Stalled with the whole sentence, and nothing is made."""
    spec, said = NOT_ALLOWED[attempt]
    thief = Deployment(tenants.mallory, f"thief-{attempt}", dict(tenants.mallory_shop.spec))
    stalled = await thief.stalled("NotAllowed", **resolved(tenants, spec))
    assert stalled["message"] == tenants.resolve(said)
    assert not (await thief.status()).get("resources")
    await tenants.mallory.delete("DjangoApp", thief.name)


# By a tenant that allows every name; the operator alone can tell whose they are.
WIDE = {"secrets": ["*"], "serviceAccounts": ["*@{project}.iam.gserviceaccount.com"]}
NOT_THEIRS: dict[str, tuple[dict[str, Any], str]] = {
    "key": (
        {"env": [{"name": "A", "secret": {"name": "{acme}-shop-secret-key", "version": "1"}}]},
        "spec.env[0].secret: Secret {acme}-shop-secret-key was made by Nuages, and it belongs to {acme}/shop. Name one that Nuages did not make.",
    ),
    "account": (
        {"serviceAccount": {"existing": "{acme}-shop@{project}.iam.gserviceaccount.com"}},
        "spec.serviceAccount.existing: ServiceAccount {acme}-shop@{project}.iam.gserviceaccount.com was made by Nuages, and it belongs to {acme}/shop. Name one that Nuages did not make.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attempt", NOT_THEIRS)
async def test_a_wide_tenant_opens_nothing_of_another_app(tenants: Tenants, site: Site, attempt: str) -> None:
    """Neither its secrets nor its identity; nothing is made, nor granted on them."""
    secrets = tenants.acme.google(SecretManagerServiceAsyncClient)
    key = f"projects/{tenants.project}/secrets/{tenants.acme.namespace}-shop-secret-key"
    before = await secrets.get_iam_policy(request={"resource": key})
    spec, said = NOT_THEIRS[attempt]
    async with open_world(site, f"wide-{uuid.uuid4().hex[:4]}") as world:
        await world.apply(tenant(world, allow=resolved(tenants, WIDE)))
        thief = Deployment(
            world, "thief", {"image": tenants.mallory_shop.spec["image"], "database": {"engine": "None"}}
        )
        stalled = await thief.stalled("NotAllowed", **resolved(tenants, spec))
        assert stalled["message"] == tenants.resolve(said)
        assert not (await thief.status()).get("resources")
    assert await secrets.get_iam_policy(request={"resource": key}) == before


async def test_a_running_app_is_held_to_it_too(tenants: Tenants) -> None:
    """What was deployed serves on, and reaches nothing new."""
    shop = tenants.mallory_shop
    before, revision = dict(shop.spec), (await shop.status())["revision"]
    theirs = {"name": "KEY", "secret": {"name": f"{tenants.acme.namespace}-shop-secret-key", "version": "1"}}
    await shop.stalled("NotAllowed", env=[theirs])
    assert served(await shop.status()) == {revision: 100}
    assert "KEY" not in await shop.environment()
    shop.spec = before
    await shop.release()


async def test_the_same_names_are_a_conflict(tenants: Tenants, site: Site) -> None:
    """A tenant with Acme's deployment id wants Acme's names: refused, adoption or not, and all of Acme's is as it was."""
    revision, before = (await tenants.acme_shop.status())["revision"], await belongings(tenants.acme_shop)
    assert {name.rpartition("/")[2].removeprefix(f"{tenants.acme.namespace}-shop-") for name in before} >= {
        "secret-key", "db-password-a", f"{tenants.project}-{tenants.acme.namespace}-shop-media",
    }  # fmt: skip
    async with open_world(site, f"twin-{uuid.uuid4().hex[:4]}") as twin:
        await twin.apply(tenant(twin, deploymentId=tenants.acme.namespace))
        thief = Deployment(twin, "shop")
        spec = {"image": await site.image("shop", "v1"), "database": {"engine": "None"}}
        said = (await thief.stalled("NameConflict", **spec))["message"]
        owner = f"it belongs to {tenants.acme.namespace}/shop"
        assert owner in said
        assert said.endswith("Rename this app, or delete the other one.")
        adopting = await adopts(thief)
        assert adopting["reason"] == "NameConflict"
        assert owner in adopting["message"]
        await twin.delete("DjangoApp", "shop")
    assert served(await tenants.acme_shop.status()) == {revision: 100}
    assert await belongings(tenants.acme_shop) == before


async def adopts(thief: Deployment) -> dict[str, str]:
    """Has a stalled app adopt whatever it finds; the condition of a pass that knew of it: its spec came after."""
    await thief.world.annotate(thief.name, "nuages.dev/adopt", "true")
    return await thief.stalled(env=[{"name": "TAKES", "value": "over"}])


async def test_a_guest_on_an_instance_gets_no_database_of_anothers(tenants: Tenants, site: Site) -> None:
    """A tenant on Acme's instance shares its administrator, sets no password for it, and takes nothing of Acme's."""
    secrets = tenants.acme.google(SecretManagerServiceAsyncClient)
    name = f"projects/{tenants.project}/secrets/nuages-admin-{tenants.acme.namespace}-pg"
    before = await secrets.get_secret(name=name)
    async with open_world(site, f"guest-{uuid.uuid4().hex[:4]}") as guest:
        await guest.apply(tenant(guest, database={"existing": f"{tenants.acme.namespace}-pg"}))
        said = await Deployment(guest, "shop").stalled("NameConflict", image=await site.image("shop", "v1"))
        assert f"belongs to {tenants.acme.namespace}/shop" in said["message"]
        assert "Choose another name." in said["message"]  # no adoption is offered
        await guest.delete("DjangoApp", "shop")
    assert await secrets.get_secret(name=name) == before


async def test_a_database_that_nobody_allows_is_not_adopted(tenants: Tenants, local: LocalSite) -> None:
    """A platform team's own, on the tenant's instance but not in allow.databases: left as it is, adoption or not."""
    databases = tenants.mallory.google(SqlDatabasesServiceAsyncClient)
    instance = {"project": tenants.project, "instance": f"{tenants.mallory.namespace}-pg"}
    await databases.insert(request={**instance, "body": {"name": "ledger"}})
    look = "SELECT pg_get_userbyid(datdba), datacl::text, shobj_description(oid, 'pg_database') FROM pg_database"
    roles = "SELECT rolname FROM pg_roles ORDER BY 1"

    async def inside() -> list[Any]:
        async with tenants.mallory_shop.database(local) as session:
            asked = [await session.execute(f"{look} WHERE datname = 'ledger'"), await session.execute(roles)]
            return [await cursor.fetchall() for cursor in asked]

    before = await inside()
    assert before[0] == [("cloudsqlsuperuser", None, None)]
    thief = Deployment(tenants.mallory, "thief", {**tenants.mallory_shop.spec, "database": {"name": "ledger"}})
    said = 'spec.database.name: database ledger was not made by Nuages. Choose another name, or add it to DjangoTenant spec.allow.databases and annotate nuages.dev/adopt: "true".'
    for stalled in (await thief.stalled(), await adopts(thief)):
        assert (stalled["reason"], stalled["message"].partition(" Log: ")[0]) == ("NameConflict", said)
    assert await inside() == before
    await tenants.mallory.delete("DjangoApp", "thief")
    assert await inside() == before


async def test_a_tenant_does_not_move(tenants: Tenants) -> None:
    """Neither to other names nor to another project, which could be Acme's."""
    for field, value in (("deploymentId", tenants.acme.namespace), ("project", "acme-prod"), ("region", "us-east1")):
        with pytest.raises(Refused, match="What exists would stay behind under the old value"):
            await tenants.mallory.patch("DjangoTenant", "default", {"spec": {field: value}})


@pytest.mark.parametrize("secret", ["shop-secret-key", "shop-db-password-a", "shop-database-url", "pg"])
async def test_google_shows_another_tenants_account_no_payload(tenants: Tenants, secret: str) -> None:
    """IAM decides by the secret's own policy."""
    owner, prefix = tenants.acme.namespace, "nuages-admin-" if secret == "pg" else ""
    name = f"projects/{tenants.project}/secrets/{prefix}{owner}-{secret}/versions/1"
    client = SecretManagerServiceAsyncClient(credentials=await credentials(tenants.mallory_shop))
    with pytest.raises(PermissionDenied, match=r"secretmanager\.versions\.access"):
        await client.access_secret_version(name=name)
    await client.transport.close()  # type: ignore[no-untyped-call]


async def test_google_shows_an_app_no_secret_of_its_neighbour(tenants: Tenants) -> None:
    """Not even within one tenant, and its own it may read."""
    client = SecretManagerServiceAsyncClient(credentials=await credentials(tenants.acme_blog))
    own, neighbours = (
        f"projects/{tenants.project}/secrets/{tenants.acme.namespace}-{app}-secret-key/versions/1"
        for app in ("blog", "shop")
    )
    assert (await client.access_secret_version(name=own)).payload.data
    with pytest.raises(PermissionDenied):
        await client.access_secret_version(name=neighbours)
    await client.transport.close()  # type: ignore[no-untyped-call]


async def test_google_shows_another_tenants_account_no_file(tenants: Tenants) -> None:
    """The bucket's policy names its own app alone."""
    opened = StorageClient(project=tenants.project, credentials=await credentials(tenants.mallory_shop))
    theirs, own = (f"{tenants.project}-{world.namespace}-shop-media" for world in (tenants.acme, tenants.mallory))
    assert await asyncio.to_thread(lambda: list(opened.list_blobs(own))) == []
    with pytest.raises(Forbidden):
        await asyncio.to_thread(lambda: list(opened.list_blobs(theirs)))
    with pytest.raises(Forbidden):
        await asyncio.to_thread(opened.bucket(theirs).blob("note.txt").upload_from_string, "mallory was here")


async def test_google_lets_no_account_become_another(tenants: Tenants) -> None:
    """An app signs for itself, and for nobody else."""
    own = await account(tenants.mallory_shop)
    theirs = {"name": f"projects/-/serviceAccounts/{await account(tenants.acme_shop)}"}
    client = IAMCredentialsAsyncClient(credentials=await credentials(tenants.mallory_shop))
    assert (await client.sign_blob(name=f"projects/-/serviceAccounts/{own}", payload=b"x")).signed_blob
    scope = ["https://www.googleapis.com/auth/cloud-platform"]
    for refused in (
        client.sign_blob(request={**theirs, "payload": b"x"}),
        client.generate_access_token(request={**theirs, "scope": scope}),
        client.generate_id_token(request={**theirs, "audience": "https://acme.example"}),
    ):
        with pytest.raises(PermissionDenied):
            await refused
    await client.transport.close()  # type: ignore[no-untyped-call]


async def test_a_closed_service_stays_closed_to_another_tenants_account(tenants: Tenants) -> None:
    """A valid token of a wrong caller."""
    url = (await tenants.acme_blog.status())["url"]
    token = await id_token(tenants.mallory, await account(tenants.mallory_shop), url)
    assert await tenants.mallory.fetch_status(url, token) == 403


async def test_a_login_reaches_its_own_database_alone(tenants: Tenants, local: LocalSite) -> None:
    """On the instance that both share, by PostgreSQL itself."""
    environment = await tenants.acme_blog.environment()
    host = await tenants.acme_blog.socket(local)
    user, password = environment["DB_USER"].value, await tenants.acme_blog.secret("db-password-a")
    own, theirs = (f"host={host} user={user} password={password} dbname={name}" for name in ("blog", "shop"))
    async with await psycopg.AsyncConnection.connect(own):
        pass
    with pytest.raises(psycopg.OperationalError, match='permission denied for database "shop"'):
        await psycopg.AsyncConnection.connect(theirs)


async def test_a_login_of_one_instance_is_nobody_on_another(tenants: Tenants, local: LocalSite) -> None:
    """Mallory's password is right, the instance is not."""
    own, password = await tenants.mallory_shop.environment(), await tenants.mallory_shop.secret("db-password-a")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(
            host=await tenants.acme_shop.socket(local), dbname="shop", user=own["DB_USER"].value, password=password
        )
