"""db-init, the program itself, run on a server as an administrator who is no superuser."""

import asyncio
import dataclasses
import json
import os
import sys

import psycopg

from localcloud.runtime.postgres import PostgresServer
from nuages.dbinit.spec import DbInitSpec, Login, Marker

SECRETS = {
    "PGPASSWORD": "administrators-secret",
    "PASSWORD_A": "secret-of-a",
    "PASSWORD_B": "secret-of-b",
    "PASSWORD_RO": "secret-of-ro",
}
EXTENSIONS = ("pg_trgm", "unaccent", "hstore", "citext")


def spec_of(app: str, uid: str = "u-1", **changes) -> DbInitSpec:
    spec = DbInitSpec(
        database=app,
        owner=f"{app}-owner",
        marker=Marker(f"acme/{app}", uid),
        logins=(Login(f"{app}-a", "PASSWORD_A"), Login(f"{app}-b", "PASSWORD_B")),
        extensions=EXTENSIONS,
        connect_seconds=10,
        wait_seconds=20,
    )
    return dataclasses.replace(spec, **changes)


@dataclasses.dataclass(frozen=True)
class Answer:
    code: int
    reason: str
    message: str
    changed: list[str]


async def run(server: PostgresServer | None, spec: DbInitSpec | str, **environment: str) -> Answer:
    """The job's own command line; its output is one line without a secret."""
    place = {"PGHOST": str(server.socket_dir) if server else "/nowhere", "PGUSER": "nuages-admin"}
    document = spec if isinstance(spec, str) else spec.to_json()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nuages.dbinit"),
        env={"PATH": os.environ["PATH"], "NUAGES_DBINIT": document, **place, **SECRETS, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await child.communicate()
    text = out.decode()
    assert not [secret for secret in {**SECRETS, **environment}.values() if len(secret) > 8 and secret in text]
    told = json.loads(text)
    assert told.pop("nuages") == "dbinit"
    assert told.pop("severity") == ("INFO" if child.returncode == 0 else "ERROR")
    return Answer(child.returncode, **told)


async def connect(server, user: str, password: str, database: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(
        host=str(server.socket_dir), user=user, password=password, dbname=database, autocommit=True
    )


async def sql(server, user: str, password: str, database: str, *statements: str):
    async with await connect(server, user, password, database) as connection:
        for statement in statements:
            cursor = await connection.execute(statement)
        return await cursor.fetchall() if cursor.description else None


def admin(server, *statements: str, database: str = "postgres"):
    return sql(server, "nuages-admin", SECRETS["PGPASSWORD"], database, *statements)
