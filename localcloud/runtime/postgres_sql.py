"""What the SQL Admin API does inside a PostgreSQL instance, run as cloudsqladmin (gcp/behaviour.md §2, runtime §8)."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from localcloud.runtime.postgres_extensions import EXTENSIONS

Connection = psycopg.AsyncConnection
GROUP = "cloudsqlsuperuser"
DEFAULT_COLLATION = "en_US.UTF8"  # the cluster's own, whatever this system calls it
OWN_DATABASES = ("cloudsqladmin", "template0", "template1")


class PostgresRefusedError(Exception):
    """What was asked for is refused; the message is Google's, answered as 400 `invalid`."""


@dataclass(frozen=True)
class Database:
    """A database as the API shows it."""

    name: str
    charset: str = "UTF8"
    collation: str = DEFAULT_COLLATION


async def create_user(connection: Connection, name: str, password: str) -> None:
    """LOGIN, CREATEROLE, CREATEDB, member of cloudsqlsuperuser, no superuser."""
    _check_user(name, "create")
    statement = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB IN ROLE {} PASSWORD {}").format(
        sql.Identifier(name), sql.Identifier(GROUP), _verifier(connection, name, password)
    )
    try:
        await connection.execute(statement)
    except psycopg.Error as error:
        raise _refusal(f"failed to create user {name}: ", error) from error


async def set_password(connection: Connection, name: str, password: str) -> None:
    """Nothing but the password changes."""
    _check_user(name, "update")
    verifier = _verifier(connection, name, password)
    try:
        await connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), verifier))
    except psycopg.Error as error:
        raise _refusal(f"failed to update user {name}: ", error) from error


async def drop_user(connection: Connection, name: str) -> None:
    """Refused while anything depends on it."""
    _check_user(name, "delete")
    try:
        await connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    except psycopg.errors.DependentObjectsStillExist as error:
        details = error.diag.message_detail or ""
        message = f"failed to delete user {name}: . {error.diag.message_primary} Details: {details}."
        raise PostgresRefusedError(f"Invalid request: {message}") from error
    except psycopg.Error as error:
        raise _refusal(f"failed to delete user {name}: ", error) from error


async def list_users(connection: Connection) -> list[str]:
    """Every login but cloudsql's own and PostgreSQL's."""
    query = r"SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname NOT LIKE 'cloudsql%' ORDER BY rolname"
    cursor = await connection.execute(query)
    return [name for (name,) in await cursor.fetchall()]


async def create_database(connection: Connection, database: Database) -> None:
    """Owned by cloudsqlsuperuser, so that the API may delete it again."""
    statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {}").format(
        sql.Identifier(database.name), sql.Identifier(GROUP), sql.Literal(database.charset)
    )
    if database.collation != DEFAULT_COLLATION:
        collation = sql.Literal(database.collation)
        statement += sql.SQL(" LC_COLLATE {} LC_CTYPE {}").format(collation, collation)
    try:
        await connection.execute(statement)
    except psycopg.Error as error:
        raise _refusal(f'failed to create database "{database.name}". Detail: pq: ', error) from error


async def drop_database(connection: Connection, name: str) -> None:
    """Only what cloudsqlsuperuser owns, and nobody uses."""
    refused = f'failed to delete database "{name}". Detail: pq: '
    cursor = await connection.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [name])
    owner = await cursor.fetchone()
    if name in OWN_DATABASES or (owner is not None and owner[0] != GROUP):
        remedy = f'(Please use psql client to delete database that is not owned by "{GROUP}").'
        raise PostgresRefusedError(f"Invalid request: {refused}must be owner of database {name}. {remedy}")
    try:
        await connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise _refusal(refused, error) from error


async def list_databases(connection: Connection) -> list[Database]:
    """The cluster's own collation is shown under Cloud SQL's name for it."""
    cursor = await connection.execute(
        """SELECT d.datname, pg_encoding_to_char(d.encoding), d.datcollate, t.datcollate
           FROM pg_database d JOIN pg_database t ON t.datname = 'template0'
           WHERE d.datname <> ALL(%s) ORDER BY d.datname""",
        [list(OWN_DATABASES)],
    )
    return [
        Database(name, charset, DEFAULT_COLLATION if collation == usual else collation)
        for name, charset, collation, usual in await cursor.fetchall()
    ]


async def available_extensions(connection: Connection) -> list[str]:
    """Those of Cloud SQL that this server has, and that who is no superuser may create."""
    cursor = await connection.execute(
        "SELECT DISTINCT name FROM pg_available_extension_versions WHERE trusted AND name = ANY(%s) ORDER BY name",
        [sorted(EXTENSIONS)],
    )
    return [name for (name,) in await cursor.fetchall()]


def _check_user(name: str, doing: str) -> None:
    if name.startswith(("cloudsql", "pg_")):
        raise PostgresRefusedError(f"Invalid request: failed to {doing} user {name}: the name is reserved.")


def _verifier(connection: Connection, name: str, password: str) -> sql.Literal:
    """Hashed here, by libpq, so that no password stands in a statement or a log."""
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return sql.Literal(hashed.decode())


def _refusal(opening: str, error: psycopg.Error) -> PostgresRefusedError:
    words = ". ".join(word for word in (error.diag.message_primary, error.diag.message_detail) if word)
    return PostgresRefusedError(f"Invalid request: {opening}{words or error}")
