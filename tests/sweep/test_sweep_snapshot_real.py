"""What a snapshot shows of a running database: what was dropped and made anew, and what belongs to somebody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sweep_database import PRODUCT, add_product, connection, contents, of_apps, running_servers
from sweep_lives import live_all
from sweep_site import Site, site
from sweep_snapshot import snapshot

# In the app's database, and of what a difference is told then; each change comes on top of the ones before it.
CHANGES = {
    "UPDATE catalogue_product SET price = 1 WHERE price = 31.40": "the page",
    "DELETE FROM catalogue_product WHERE price = 1": "the page",
    "CREATE ROLE left_behind": "roles of",
    "ALTER ROLE left_behind LOGIN": "roles of",
    "ALTER ROLE left_behind CREATEROLE": "roles of",
    "ALTER ROLE left_behind CREATEDB": "roles of",
    "ALTER ROLE left_behind NOINHERIT": "roles of",
    "GRANT cloudsqlsuperuser TO left_behind": "memberships of",
    "GRANT cloudsqlsuperuser TO left_behind WITH ADMIN OPTION": "memberships of",
    "ALTER DATABASE postgres OWNER TO left_behind": "databases of",
    "CREATE SCHEMA left_behind": "schemas of",
    "ALTER SCHEMA left_behind OWNER TO left_behind": "schemas of",
    "CREATE TABLE left_behind.left_behind ()": "tables of",
    "ALTER TABLE django_admin_log OWNER TO left_behind": "tables of",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """With the app deployed, and a product of a customer's."""
    async with site(tmp_path_factory.mktemp("real"), real=True) as made:
        await live_all(made, "deploy")
        await add_product(made)
        yield made


@pytest.mark.xdist_group("sweep")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_customers_product_is_on_the_page(place: Site) -> None:
    """So a database that was made anew, and migrated, shows another page."""
    page = (await snapshot(place)).google["the page"]
    assert page["status"] == 200
    assert PRODUCT in page["text"]


@pytest.mark.xdist_group("sweep")
@pytest.mark.asyncio(loop_scope="module")
async def test_each_change_in_a_database_is_seen(place: Site) -> None:
    """Of rows, roles, memberships and owners; and nothing else is told."""
    [(_, server)] = running_servers(place)
    [database] = of_apps([name for name, *_ in (await contents(server))["databases"]])
    told = {}
    before = await snapshot(place)
    for statement in CHANGES:
        async with connection(server, database) as session:
            await session.execute(statement.encode())
        now = await snapshot(place)
        told[statement] = [difference.split(": ")[1] for difference in before.differences(now)]
        before = now
    assert {statement: [name[: len(CHANGES[statement])] for name in names] for statement, names in told.items()} == {
        statement: [name] for statement, name in CHANGES.items()
    }
