"""deletionPolicy Snapshot: what goes comes back from a last backup."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from e2e_accounts import superuser_password
from e2e_backups import restore
from e2e_leftovers import OWN, left, rows, with_data
from e2e_release import Deployment, shared_instance
from e2e_site import Site
from e2e_world import World, open_world
from google.cloud.sqladmin_v1 import SqlBackupRunsServiceAsyncClient, SqlBackupsServiceAsyncClient

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("last-backup")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"end-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


async def is_in_instance(local: LocalSite, app: Deployment) -> Callable[[], Awaitable[bool]]:
    """Asks whether the app's database is on the tenant's instance, also when the app has gone."""
    environment = await app.environment()
    name = environment["DB_NAME"].value
    server = local.cloud.runtime.databases.find(environment["DB_HOST"].value.removeprefix("/cloudsql/"))
    assert server is not None

    async def asked() -> bool:
        found: list[Any] = await local.call(server.list_databases())
        return name in {item.name for item in found}

    return asked


async def test_snapshot_on_a_shared_instance(place: World, local: LocalSite) -> None:
    """A backup run of the whole instance comes before the app's database goes; the next app begins anew."""
    app = await with_data(place, "shown", deletionPolicy="Snapshot")
    there = await is_in_instance(local, app)
    assert await there()
    await place.delete("DjangoApp", "shown")
    assert not await there()
    assert set(await left(place, place.google_id("shown"))) == {"secrets", "buckets"}
    backups, instance = place.google(SqlBackupRunsServiceAsyncClient), f"{place.namespace}-pg"
    listed = await backups.list(request={"project": place.site.project, "instance": instance})
    (mine,) = (item for item in listed.items if f"{place.namespace}/shown " in item.description)
    assert mine.status.name == "SUCCESSFUL"
    await place.told("shown", "Retained", f"backup run {mine.id}")
    again = Deployment(place, "shown")
    await again.release(**app.spec)
    assert not await rows(again)


@contextmanager
def backups_fail(local: LocalSite, world: World) -> Iterator[None]:
    """A file is where the instance's backups would go."""
    in_the_way = local.cloud.runtime.databases.backups(f"{world.site.project}:{world.site.region}:{world.namespace}-pg")
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    aside = in_the_way.rename(in_the_way.with_suffix(".aside")) if in_the_way.exists() else None
    in_the_way.touch()
    try:
        yield
    finally:
        in_the_way.unlink()
        if aside is not None:
            aside.rename(in_the_way)


async def test_a_backup_that_fails_keeps_the_database(place: World, local: LocalSite) -> None:
    """Nothing is deleted from the instance until another try, asked for by annotation, succeeds."""
    app = await with_data(place, "held", deletionPolicy="Snapshot")
    there = await is_in_instance(local, app)
    with backups_fail(local, place):
        place.kubectl("delete", "djangoapp", "held", "--wait=false")
        found = await app.stalled("BackupFailed")
    assert "and nothing was deleted" in found["message"]
    assert await there()
    await place.annotate("held", "nuages.dev/reconcile-at", "again")
    await place.delete("DjangoApp", "held")
    await place.told("held", "Retained", "backup run")


async def test_snapshot_of_an_own_instance_brings_the_data_back(place: World) -> None:
    """The instance goes, a final backup stays; restored into an existing instance, another app life goes on with it."""
    app = await with_data(place, "shot", database=OWN, deletionPolicy="Snapshot")
    password = await superuser_password(place, "shot")
    await place.delete("DjangoApp", "shot")
    assert set(await left(place, place.google_id("shot"))) == {"secrets", "buckets"}
    told = await place.told("shot", "Retained", "final backup")
    backup = next(word.rstrip(",") for word in told.split() if "/backups/" in word)
    found: Any = await place.google(SqlBackupsServiceAsyncClient).get_backup(request={"name": backup})
    assert found.state.name == "SUCCESSFUL"
    assert found.expiry_time.timestamp() - found.instance_deletion_time.timestamp() == 365 * 86_400

    instance = f"{place.namespace}-pg-new"
    await shared_instance(place, instance)
    await restore(place, instance, {"backup": backup})
    found_there = await app.stalled("NameConflict", database={"instance": {"existing": instance}})
    assert "nuages.dev/adopt" in found_there["message"]
    await place.annotate("shot", "nuages.dev/adopt", "true")
    await place.wait("shot")
    assert await rows(app)
    page = await (await app.browser()).log_in("/admin/login/?next=/admin/", "admin", password)
    assert "Site administration" in page.text
