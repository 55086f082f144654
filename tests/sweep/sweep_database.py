"""Inside of the PostgreSQL servers of a real cloud: what ends are compared by, and a row that only a customer makes.

The app's migrations fill its tables, so that a database that was dropped and made anew would show the same page. The
row that is added here is in no migration, and on the page.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import psycopg

from localcloud.api.messages import sql
from localcloud.runtime.postgres import PostgresServer
from localcloud.runtime.postgres_template import ADMINISTRATOR

if TYPE_CHECKING:
    from sweep_site import Site

PRODUCT = "Gaiwan of a customer"
INSERT = "INSERT INTO catalogue_product (name, price, picture, document) VALUES (%s, 31.40, '', '')"
ROLES = r"""SELECT rolname, rolcanlogin, rolcreaterole, rolcreatedb, rolinherit, rolsuper, rolreplication,
           rolbypassrls FROM pg_roles
           WHERE rolname NOT LIKE 'pg\_%' ORDER BY 1"""
# The options are of this server's version; a role may be granted twice, by two grantors.
MEMBERSHIPS = """SELECT DISTINCT pg_get_userbyid(roleid)::text, pg_get_userbyid(member)::text,
                 (to_jsonb(m) - '{oid,roleid,member,grantor}'::text[])::text
                 FROM pg_auth_members m ORDER BY 1, 2, 3"""
DATABASES = """SELECT datname, pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text, datcollate
               FROM pg_database ORDER BY 1"""
SCHEMAS = r"""SELECT nspname, pg_get_userbyid(nspowner)::text FROM pg_namespace
              WHERE nspname NOT LIKE 'pg\_%' ORDER BY 1"""
TABLES = r"""SELECT schemaname, tablename, tableowner FROM pg_tables
             WHERE schemaname NOT LIKE 'pg\_%' AND schemaname <> 'information_schema' ORDER BY 1, 2"""
OWN = (ADMINISTRATOR, "template0", "template1")


def running_servers(site: Site) -> Iterator[tuple[str, PostgresServer]]:
    """By the instance's name."""
    cloud = site.cloud
    for name in cloud.core.store.collection("sql.instances", sql.DatabaseInstance, KeyError):
        connection_name = name.replace("projects/", "").replace("/instances/", f":{cloud.options.region}:")
        server = cloud.runtime.databases.find(connection_name)
        if isinstance(server, PostgresServer) and server.is_running:
            yield name, server


async def contents(server: PostgresServer) -> dict[str, Any]:
    """Roles, memberships, databases, and of each its schemas and tables, with owners; no passwords, no OIDs."""
    async with connection(server) as session:
        found = {
            "roles": await _rows(session, ROLES),
            "memberships": await _rows(session, MEMBERSHIPS),
            "databases": await _rows(session, DATABASES),
        }
    for database in [name for name, *_ in found["databases"] if name not in OWN]:
        async with connection(server, database) as session:
            found[f"schemas of {database}"] = await _rows(session, SCHEMAS)
            found[f"tables of {database}"] = await _rows(session, TABLES)
    return found


async def add_product(site: Site) -> None:
    """As a customer does who uses the deployed shop; nothing where no database runs."""
    for _, server in running_servers(site):
        async with connection(server) as session:
            databases = await _rows(session, DATABASES)
        for database in of_apps([name for name, *_ in databases]):
            async with connection(server, database) as session:
                await session.execute(INSERT, [PRODUCT])


def of_apps(databases: list[str]) -> list[str]:
    """Those that no server has from its beginning."""
    return [name for name in databases if name not in (*OWN, "postgres")]


async def _rows(session: psycopg.AsyncConnection, query: str) -> list[list[Any]]:
    return [list(row) for row in await (await session.execute(query)).fetchall()]


@contextlib.asynccontextmanager
async def connection(server: PostgresServer, database: str = ADMINISTRATOR) -> AsyncIterator[psycopg.AsyncConnection]:
    """As the cloud's own superuser."""
    session = await psycopg.AsyncConnection.connect(
        host=str(server.socket_dir),
        port=server.port,
        user=ADMINISTRATOR,
        password=server._password_file.read_text(),  # of a server under test: nothing else may have it
        dbname=database,
        autocommit=True,
    )
    try:
        yield session
    finally:
        await session.close()
