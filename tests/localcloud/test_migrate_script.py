"""The migrate job's script in a real project's image, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from child_support import output

from localcloud.runtime.builder import build
from localcloud.runtime.images import Image, ImageStore
from localcloud.runtime.postgres import PostgresServer
from localcloud.runtime.processes import Processes
from nuages.blueprint.web import script

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLES = Path(__file__).parents[2] / "samples"
SHOP = "europe-west1-docker.pkg.dev/demo/apps/shop"
SCRIPT = script("migrate")
LOCK = next(line for line in SCRIPT.splitlines() if line.startswith("LOCK = ")).split()[2].replace("_", "")
USER, PASSWORD = "shop-a", "a-password-for-tests"
VERSIONS = {"v1": ("shop",), "v2": ("shop", "shop-v2"), "v3": ("shop", "shop-v2", "shop-v3")}
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Run:
    """How a job ended: its exit code, the verdict (its last line, where that is one), and all that it wrote."""

    code: int | None
    verdict: dict[str, Any]
    log: str

    @property
    def applied(self) -> list[str]:
        return list(self.verdict["applied"])


@dataclass(frozen=True)
class Shop:
    """A database of its own, and the images that migrate it."""

    server: PostgresServer
    database: str
    images: dict[str, Image]

    def environment(self, **extra: str) -> dict[str, str]:
        place = {"DB_HOST": str(self.server.socket_dir), "DB_PORT": "5432", "DB_NAME": self.database}
        return {"SECRET_KEY": "x" * 50, **place, "DB_USER": USER, "DB_PASSWORD": PASSWORD, **extra}

    async def migrate(self, version: str, *, cwd: str = "", **extra: str) -> Run:
        """As Cloud Run does: the script as python's argument."""
        image = self.images[version]
        argv, env, home = image.command(self.environment(**extra), command=["python"], args=["-c", SCRIPT])
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=env,
            cwd=image.rootfs / cwd if cwd else home,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await output(child, DEADLINE_S)
        lines = out.decode().splitlines()
        assert PASSWORD not in out.decode()
        last = lines[-1] if lines else ""
        return Run(child.returncode, json.loads(last) if last.startswith("{") else {}, out.decode())

    async def connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            host=str(self.server.socket_dir), user=USER, password=PASSWORD, dbname=self.database, autocommit=True
        )

    async def ask(self, statement: str) -> list[Any]:
        async with await self.connect() as connection:
            cursor = await connection.execute(statement.encode())
            return [row[0] for row in await cursor.fetchall()]

    async def until(self, statement: str, is_as_wanted: Callable[[Any], bool]) -> None:
        """Polls the database until its only value is as wanted."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_as_wanted((await self.ask(statement))[0]):
            assert time.monotonic() < deadline, statement
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    processes = Processes()
    instance = PostgresServer(tmp_path_factory.mktemp("migrate") / "pg", processes, version=15)
    await instance.start()
    await instance.create_user(USER, PASSWORD)
    yield instance
    await instance.delete()
    await processes.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    folder = tmp_path_factory.mktemp("images")
    store, made = ImageStore(folder / "store"), {}
    for tag, overlays in VERSIONS.items():
        for overlay in overlays:
            shutil.copytree(SAMPLES / overlay, folder / tag, dirs_exist_ok=True)
        made[tag] = await build(folder / tag, f"{SHOP}:{tag}", store)
    return made


@pytest_asyncio.fixture(loop_scope="module")
async def shop(server: PostgresServer, images: dict[str, Image], request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    name = request.node.name.removeprefix("test_")[:40]
    await server.create_database(name)
    yield Shop(server, name, images)


@contextlib.asynccontextmanager
async def holding(shop: Shop, *statements: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Another session that holds a lock until it is told to let go."""
    connection = await shop.connect()
    try:
        for statement in statements:
            await connection.execute(statement.encode())
        yield connection.close
    finally:
        await connection.close()


async def test_pending_migrations_are_applied_and_named(shop: Shop) -> None:
    """In Django's own order; a second run says that there was nothing to do, and a new image applies the rest."""
    first = await shop.migrate("v1")
    assert (first.code, first.verdict["reason"], first.verdict["severity"]) == (0, "Migrated", "INFO")
    assert first.verdict["nuages"] == "migrate"
    assert first.applied[0] == "contenttypes.0001_initial"
    assert first.applied.index("catalogue.0001_initial") < first.applied.index("catalogue.0002_first_products")
    again = await shop.migrate("v1")
    assert (again.code, again.verdict["reason"], again.applied) == (0, "NothingToMigrate", [])
    assert (await shop.migrate("v2")).applied == ["catalogue.0003_product_stock"]


async def test_what_follows_the_migrations_is_made_up_for(shop: Shop) -> None:
    """A run that ended before the handlers of post_migrate left no permissions: the next one makes them."""
    await shop.migrate("v1")
    await shop.ask("WITH gone AS (DELETE FROM auth_permission RETURNING id) SELECT count(*) FROM gone")
    again = await shop.migrate("v1")
    assert (again.code, again.verdict["reason"]) == (0, "NothingToMigrate")
    assert (await shop.ask("SELECT count(*) FROM auth_permission WHERE codename = 'add_product'")) == [1]


async def test_two_at_once_take_turns(shop: Shop) -> None:
    """Neither begins while another holds the lock; then one migrates, and the other finds nothing to do."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%try_advisory_lock%' "
        "AND pid <> pg_backend_pid()"
    )
    async with holding(shop, f"SELECT pg_advisory_lock({LOCK}) AS held") as let_go:
        runs = [asyncio.create_task(shop.migrate("v1")) for _ in range(2)]
        await shop.until(waiting, lambda sessions: sessions == 2)
        assert await shop.ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [0]
        await let_go()
        ended = await asyncio.gather(*runs)
    assert [run.code for run in ended] == [0, 0]
    assert sorted(run.verdict["reason"] for run in ended) == ["Migrated", "NothingToMigrate"]


async def test_a_tables_lock_is_not_waited_for(shop: Shop) -> None:
    """lock_timeout ends the statement before everybody waits behind it; it is tried again once the table is free."""
    await shop.migrate("v1")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'catalogue_product'::regclass"
    async with holding(shop, "BEGIN", "LOCK TABLE catalogue_product IN ACCESS EXCLUSIVE MODE") as let_go:
        run = asyncio.create_task(shop.migrate("v2", NUAGES_LOCK_TIMEOUT="1"))
        await shop.until(waiting, lambda sessions: sessions == 1)
        await shop.until(waiting, lambda sessions: sessions == 0)
        assert not run.done()
        await let_go()
        ended = await run
    assert (ended.code, ended.applied) == (0, ["catalogue.0003_product_stock"])


async def test_a_statement_that_takes_too_long_is_ended(shop: Shop) -> None:
    """By statement_timeout, for good: it would take as long again."""
    await shop.migrate("v1")
    async with holding(shop, "BEGIN", "LOCK TABLE catalogue_product IN ACCESS EXCLUSIVE MODE"):
        ended = await shop.migrate("v2", NUAGES_LOCK_TIMEOUT="0", NUAGES_STATEMENT_TIMEOUT="1")
    assert ended.code == 1
    assert "canceling statement due to statement timeout" in ended.log


async def test_a_failing_migration_ends_with_its_traceback(shop: Shop) -> None:
    """Exit code 1, the database's words in the log, what stood before it applied, and no verdict of success."""
    await shop.migrate("v1")
    failed = await shop.migrate("v3")
    assert (failed.code, failed.verdict) == (1, {})
    assert "Traceback (most recent call last)" in failed.log
    assert "product_price_from_100" in failed.log
    applied = "SELECT name FROM django_migrations WHERE app = 'catalogue' ORDER BY id"
    assert await shop.ask(applied) == ["0001_initial", "0002_first_products", "0003_product_stock"]
    assert (await shop.migrate("v2")).verdict["reason"] == "NothingToMigrate"  # the lock went with the process


async def test_settings_are_found_as_manage_py_finds_them(shop: Shop) -> None:
    """From a manage.py elsewhere, whose folder is where imports begin; the environment's own come first."""
    assert (await shop.migrate("v1", cwd=".", NUAGES_MANAGE="app/manage.py")).code == 0
    named = await shop.migrate("v1", DJANGO_SETTINGS_MODULE="nowhere.settings")
    assert named.code == 1
    assert "No module named 'nowhere'" in named.log


async def test_settings_that_nobody_names_are_asked_for(shop: Shop) -> None:
    """Field, cause and remedy; an exit code of its own."""
    ended = await shop.migrate("v1", NUAGES_MANAGE="django-admin")
    assert ended.code == 14
    assert ended.verdict == {
        "nuages": "migrate",
        "severity": "ERROR",
        "reason": "SettingsModuleMissing",
        "message": "spec.django.settingsModule: migrate found no settings named in django-admin. Set it.",
    }


async def test_a_manage_py_that_is_not_there_is_looked_for_by_name(shop: Shop) -> None:
    """As in an image of something else than this project: nobody is asked for settings that a file would name."""
    ended = await shop.migrate("v1", NUAGES_MANAGE="src/manage.py")
    assert (ended.code, ended.verdict["reason"]) == (14, "SettingsModuleMissing")
    told = ended.verdict["message"]
    assert told.startswith("spec.django.manage: migrate found no src/manage.py in /")
    assert told.endswith("Correct the path, or set spec.django.settingsModule.")


async def test_a_database_out_of_reach_is_a_failure(shop: Shop, tmp_path: Path) -> None:
    """With the driver's words, and no password among them."""
    ended = await shop.migrate("v1", DB_HOST=str(tmp_path))
    assert ended.code == 1
    assert "OperationalError" in ended.log
