"""What goes when an app goes, what stays, and what an app of the same name takes back."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from e2e_accounts import superuser_password
from e2e_leftovers import OWN, left, rows, with_data
from e2e_openings import an_open_bucket, an_open_instance
from e2e_release import Deployment, condition, eventually, shared_instance
from e2e_site import Site
from e2e_world import World, open_world
from google.api_core.exceptions import Conflict, NotFound
from google.cloud.run_v2 import JobsAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.sqladmin_v1 import (
    SqlInstancesServiceAsyncClient,
)
from google.cloud.storage import Client as StorageClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("deletion")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"del-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


async def comes_back(app: Deployment, password: str) -> None:
    """The same object once more: rows, files, password and an event for what was taken back."""
    await app.release()
    assert await rows(app)
    bucket = f"{app.world.site.project}-{app.world.google_id(app.name, 'media')}"
    assert "pictures/kettle.png" in await app.world.objects(bucket)
    assert await superuser_password(app.world, app.name) == password
    page = await (await app.browser()).log_in("/admin/login/?next=/admin/", "admin", password)
    assert "Site administration" in page.text
    await app.world.told(app.name, "TakenBack", "Bucket")
    await app.world.told(app.name, "TakenBack", "secret-key")


async def test_retained_on_a_shared_instance_and_taken_back(place: World) -> None:
    """By default data stays: database, bucket, secrets; the app of the same name goes on with them."""
    app = await with_data(place, "kept")
    password = await superuser_password(place, "kept")
    await place.delete("DjangoApp", "kept")
    there = await left(place, place.google_id("kept"))
    assert set(there) == {"secrets", "buckets"}
    await place.told("kept", "Retained", "Bucket")
    await comes_back(app, password)


async def test_deleted_on_a_shared_instance_nothing_is_left(place: World, local: Any) -> None:
    """Neither in Google Cloud nor in the instance, which stays, with its other databases."""
    app = await with_data(place, "gone", deletionPolicy="Delete")
    host = (await app.environment())["DB_HOST"].value.removeprefix("/cloudsql/")
    name = (await app.environment())["DB_NAME"].value
    server = local.cloud.runtime.databases.find(host)
    assert name in {item.name for item in await local.call(server.list_databases())}
    asked = len(local.requests(place.namespace, "gone"))
    await place.delete("DjangoApp", "gone")
    assert await left(place, place.google_id("gone")) == {}
    went_in_reverse_order(place, [r for r in local.requests(place.namespace, "gone")[asked:] if local.is_write(r)])
    assert name not in {item.name for item in await local.call(server.list_databases())}
    again = Deployment(place, "gone")
    await again.release(**app.spec)
    assert not await rows(again)


def went_in_reverse_order(world: World, writes: list[Any]) -> None:
    """What runs, then the database, then each grant before what it is of and before whom it is for."""
    deletes = [r for r in writes if "Delete" in r.method or "/DELETE " in r.method]
    policies = [r for r in writes if "SetIamPolicy" in r.method or r.method.endswith("/iam")]
    gone = {r.resource.rpartition("/")[2]: writes.index(r) for r in deletes}
    closed = {r.resource.rpartition("/")[2]: writes.index(r) for r in policies}  # each one's last grant
    app, project = world.google_id("gone"), world.site.project
    account, password = f"{app}@{project}.iam.gserviceaccount.com", f"{app}-db-password-a"
    drops = [writes.index(r) for r in writes if r.resource.endswith("-db-init") and r not in deletes]
    assert list(gone)[:3] == [app, f"{app}-migrate", f"{app}-superuser"]
    assert [at for at in drops if not gone[f"{app}-superuser"] < at < min(closed.values())] == []
    assert drops, [f"{r.method} {r.resource}" for r in writes]
    for target in (f"{app}-secret-key", f"{app}-database-url", password, f"{project}-{app}-media", account):
        assert closed.get(target, len(writes)) < gone[target], target
    assert min(writes.index(r) for r in policies if r.resource == f"projects/{project}") < gone[account]
    assert gone[f"{app}-database-url"] < gone[password]  # which it is made of


async def databases(app: Deployment, local: Any) -> Callable[[], Awaitable[bool]]:
    """Asks whether the app's database is on its instance, also once the app has gone."""
    environment = await app.environment()
    server = local.cloud.runtime.databases.find(environment["DB_HOST"].value.removeprefix("/cloudsql/"))
    name = environment["DB_NAME"].value

    async def is_there() -> bool:
        return name in {item.name for item in await local.call(server.list_databases())}

    return is_there


async def test_a_database_goes_though_its_job_was_deleted_by_hand(place: World, local: Any) -> None:
    """The job of db-init is made again: its absence is no proof that there is no database."""
    app = Deployment(place, "jobless")
    await app.release(image=await app.image("v1"), deletionPolicy="Delete")
    is_there = await databases(app, local)
    await place.google(JobsAsyncClient).delete_job(name=app.job_name("db-init"))
    assert await is_there()
    await place.delete("DjangoApp", "jobless")
    assert not await is_there()
    assert await left(place, place.google_id("jobless")) == {}


async def test_a_database_that_cannot_be_opened_stops_the_deletion(place: World, local: Any) -> None:
    """Not skipped without a word: it goes once the administrator's password can be read again."""
    secrets = place.google(SecretManagerServiceAsyncClient)
    app = Deployment(place, "locked")
    await app.release(image=await app.image("v1"), deletionPolicy="Delete")
    is_there = await databases(app, local)
    version = f"projects/{place.site.project}/secrets/nuages-admin-{place.namespace}-pg/versions/1"
    await secrets.disable_secret_version(name=version)
    place.kubectl("delete", "djangoapp", "locked", "--wait=false")
    found = condition(await place.wait("locked", "Stalled", reason="SecretVersionDisabled"), "Stalled")
    assert f"Secret nuages-admin-{place.namespace}-pg" in found["message"]
    assert await is_there()
    await secrets.enable_secret_version(name=version)
    await place.annotate("locked", "nuages.dev/reconcile-at", "now")
    await place.delete("DjangoApp", "locked")
    assert not await is_there()
    assert await left(place, place.google_id("locked")) == {}


async def test_paused_holds_the_deletion(place: World, local: Any) -> None:
    """Nothing is written at Google, and the app stays; it goes once the pause is over."""
    app = Deployment(place, "held")
    await app.release(image=await app.image("v1"), deletionPolicy="Delete")
    await app.apply(paused=True)
    await place.wait("held", status="False", reason="Paused")
    asked = len(local.requests(place.namespace, "held"))
    place.kubectl("delete", "djangoapp", "held", "--wait=false")
    message = "spec.paused: the deletion waits until it is false."
    found = await place.until(lambda app: condition(app, "Ready")["message"] == message, "held")
    assert "deletionTimestamp" in found["metadata"]
    assert found["status"]["phase"] == "Paused"
    assert [r.method for r in local.requests(place.namespace, "held")[asked:] if local.is_write(r)] == []
    await place.patch("DjangoApp", "held", {"spec": {"paused": False}})
    await place.delete("DjangoApp", "held")
    assert await left(place, place.google_id("held")) == {}


async def test_an_app_of_the_longest_name_leaves_at_the_second_attempt(place: World, local: Any) -> None:
    """What starts its jobs fits Google's limits, also where a person has asked for another try."""
    name = "longest-".ljust(40, "x")
    app = Deployment(place, name)
    await app.release(image=await app.image("v1"), deletionPolicy="Delete")
    host = f"{place.site.project}:{place.site.region}:{place.namespace}-pg"
    secret = f"projects/{place.site.project}/secrets/nuages-admin-{place.namespace}-pg/versions/latest"
    read = await place.google(SecretManagerServiceAsyncClient).access_secret_version(name=secret)
    async with await psycopg.AsyncConnection.connect(
        host=str(local.cloud.runtime.databases.socket_dir(host)),
        user="nuages-admin",
        dbname="postgres",
        password=read.payload.data.decode(),
        autocommit=True,
    ) as administrator:
        await administrator.execute(f'CREATE SCHEMA elsewhere AUTHORIZATION "{name}-owner"'.encode())
        place.kubectl("delete", "djangoapp", name, "--wait=false")
        await place.wait(name, "Stalled", reason="StillInUse")
        await administrator.execute(b"DROP SCHEMA elsewhere")
    await place.annotate(name, "nuages.dev/reconcile-at", "now")
    await place.delete("DjangoApp", name)
    server = local.cloud.runtime.databases.find(host)
    assert name not in {item.name for item in await local.call(server.list_databases())}
    assert await left(place, place.google_id("longest")) == {}


async def test_own_instance_is_retained_and_taken_back(place: World) -> None:
    """Found by its label, for its name has its first app's uid; what was opened meanwhile is closed, not refused."""
    app = await with_data(place, "own", database=OWN)
    instance = (await app.status())["database"]["instance"]
    password = await superuser_password(place, "own")
    await place.delete("DjangoApp", "own")
    assert instance in (await left(place, place.google_id("own")))["instances"]
    bucket = f"{place.site.project}-{place.google_id('own', 'media')}"
    opened = (an_open_bucket(bucket), an_open_instance(instance))
    for opening in opened:
        await opening.do(place)
    await comes_back(app, password)
    assert (await app.status())["database"]["instance"] == instance
    for opening in opened:
        assert await opening.is_closed(place)
    await app.release(deletionPolicy="Delete")
    await place.delete("DjangoApp", "own")
    assert await left(place, place.google_id("own")) == {}


async def test_a_bucket_with_many_files_is_emptied_at_once(place: World) -> None:
    """A thousand a pass, one pass after the other: work that goes on is no failure, and has no pause."""
    app = Deployment(place, "files")
    await app.release(image=await app.image("v1"), deletionPolicy="Delete")
    storage = StorageClient(project=place.site.project, credentials=place.site.credentials())
    bucket = storage.bucket(f"{place.site.project}-{place.google_id('files', 'media')}")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: bucket.blob(f"{number}.txt").upload_from_string(b"a"), range(1001)))
    await place.delete("DjangoApp", "files")
    assert await left(place, place.google_id("files")) == {}
    await place.told("files", "EmptyingBucket", f"Bucket {bucket.name}: is being emptied")


async def test_a_clone_of_an_own_instance_outlives_the_app(place: World) -> None:
    """It has the labels of its origin, and nobody asked for its end; the app goes on with the origin while it lives."""
    app = Deployment(place, "twin")
    await app.release(image=await app.image("v1"), database=OWN, deletionPolicy="Delete")
    instances, project = place.google(SqlInstancesServiceAsyncClient), place.site.project
    origin = await instances.get(request={"project": project, "instance": (await app.status())["database"]["instance"]})
    settings = {name: getattr(origin.settings, name) for name in ("tier", "edition", "user_labels")}
    body = {"name": f"a-{place.google_id('twin')}", "database_version": origin.database_version, "settings": settings}
    settings["deletion_protection_enabled"] = True
    await instances.insert(request={"project": project, "body": {**body, "region": origin.region}})
    clone = {"project": project, "instance": body["name"]}

    async def runs() -> bool:
        return bool((await instances.get(request=clone)).state.name == "RUNNABLE")

    await eventually(runs, "the clone")
    await app.release(env=[{"name": "COLOUR", "value": "red"}])
    assert (await app.environment())["DB_HOST"].value.endswith(f":{origin.name}")
    await place.delete("DjangoApp", "twin")
    assert await left(place, place.google_id("twin")) == {"instances": {body["name"]}}
    assert (await instances.get(request=clone)).settings.deletion_protection_enabled
    await place.told("twin", "LeftAlone", f"Instance {body['name']}")


async def test_an_instance_of_any_name_is_taken_back_by_its_label(place: World) -> None:
    """As the sentence of a conflict says: what was kept is of another name, say because a backup was restored there."""
    app = Deployment(place, "odd")
    await app.release(image=await app.image("v1"), database=OWN)
    instances, project = place.google(SqlInstancesServiceAsyncClient), place.site.project
    old = {"project": project, "instance": (await app.status())["database"]["instance"]}
    await place.delete("DjangoApp", "odd")
    kept = await instances.get(request=old)
    settings = {name: getattr(kept.settings, name) for name in ("tier", "edition", "user_labels")}
    new = {"project": project, "instance": f"{place.namespace}-kept"}
    body = {"name": new["instance"], "database_version": kept.database_version, "region": kept.region}
    await instances.insert(request={"project": project, "body": {**body, "settings": settings}})

    async def runs() -> bool:
        return bool((await instances.get(request=new)).state.name == "RUNNABLE")

    await eventually(runs, "the new instance")
    await instances.patch(request={**old, "body": {"settings": {"deletion_protection_enabled": False}}})

    async def is_gone() -> bool:
        with suppress(Conflict, NotFound):  # while another operation is under way, and once it is through
            await instances.delete(request=old)
        return old["instance"] not in {item.name for item in (await instances.list(request={"project": project})).items}

    await eventually(is_gone, "the end of the old instance")
    await app.release()
    assert (await app.status())["database"]["instance"] == new["instance"]
    await app.release(deletionPolicy="Delete")
    await place.delete("DjangoApp", "odd")
    assert new["instance"] not in {item.name for item in (await instances.list(request={"project": project})).items}


async def test_parents_that_are_gone_are_no_hindrance(place: World) -> None:
    """Instance and bucket deleted by hand: the deletion ends all the same, and leaves nothing."""
    app = Deployment(place, "orphan")
    await app.release(image=await app.image("v1"), database=OWN, deletionPolicy="Delete")
    instances, project = place.google(SqlInstancesServiceAsyncClient), place.site.project
    instance = (await app.status())["database"]["instance"]
    await instances.delete(request={"project": project, "instance": instance})

    async def is_gone() -> bool:
        try:
            await instances.get(request={"project": project, "instance": instance})
        except NotFound:
            return True
        return False

    await eventually(is_gone, "the instance's end")
    storage = StorageClient(project=project, credentials=place.site.credentials())
    storage.bucket(f"{project}-{place.google_id('orphan', 'media')}").delete(force=True)
    await place.delete("DjangoApp", "orphan")
    assert await left(place, place.google_id("orphan")) == {}


async def test_a_deleted_namespace_ends_and_leaves_nothing(site: Site, google_environment: None) -> None:
    """Tenant and ConfigMap are deleted at the same time: the app's resources are found all the same."""
    deployment = f"d{uuid.uuid4().hex[:6]}"
    async with open_world(site, f"end-{uuid.uuid4().hex[:4]}") as world:
        tenant = {"project": site.project, "region": site.region, "deploymentId": deployment}
        await world.apply(
            {
                "apiVersion": "nuages.dev/v1alpha1",
                "kind": "DjangoTenant",
                "metadata": {"name": "default"},
                "spec": tenant,
            }
        )
        await world.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"FLAG": "one"}}
        )
        app = Deployment(world, "shop")
        flags = [{"configMap": {"name": "flags"}}]
        await app.release(image=await app.image("v1"), database=OWN, deletionPolicy="Delete", envFrom=flags)
        assert "services" in await left(world, deployment)
        await world.delete_namespace()
        assert await left(world, deployment) == {}
