"""db-init, the program itself, on real servers, as an administrator who is no superuser."""

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from localcloud.runtime.postgres import PostgresRefusedError, PostgresServer
from localcloud.runtime.processes import Processes
from nuages.dbinit.spec import DbInitSpec, Login, Marker

pytestmark = pytest.mark.asyncio(loop_scope="module")
HAS_15 = Path("/usr/lib/postgresql/15/bin/postgres").exists()
VERSIONS = [
    18,
    pytest.param(15, marks=pytest.mark.skipif(not HAS_15, reason="PostgreSQL 15 is not installed")),
]
SECRETS = {
    "PGPASSWORD": "administrators-secret",
    "PASSWORD_A": "secret-of-a",
    "PASSWORD_B": "secret-of-b",
    "PASSWORD_RO": "secret-of-ro",
}
MAJOR = "SELECT current_setting('server_version_num')::int / 10000"
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


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=VERSIONS)
async def server(request, tmp_path_factory) -> AsyncIterator[PostgresServer]:
    processes = Processes()
    logged: list[str] = []
    instance = PostgresServer(
        tmp_path_factory.mktemp("dbinit") / "pg",
        processes,
        version=request.param,
        on_line=lambda _stream, line: logged.append(line),
    )
    await instance.start()
    await instance.create_user("nuages-admin", SECRETS["PGPASSWORD"])
    yield instance
    await instance.delete()
    await processes.close()
    assert not [line for line in logged if any(secret in line for secret in SECRETS.values())]


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


async def test_a_second_run_changes_nothing(server):
    """Everything is made by the first, and found by the second."""
    spec = spec_of("twice", read_only=Login("twice-ro", "PASSWORD_RO"))
    first = await run(server, spec)
    assert (first.code, first.reason) == (0, "Ok")
    assert "database twice: created" in first.changed
    assert await run(server, spec) == Answer(0, "Ok", "database twice is as asked; no changes", [])
    extensions = await sql(server, "twice-a", SECRETS["PASSWORD_A"], "twice", "SELECT extname FROM pg_extension")
    assert {name for (name,) in extensions} >= set(EXTENSIONS)


async def test_what_either_login_makes_is_the_owners(server):
    """So that a password changes by switching from one login to the other."""
    assert (await run(server, spec_of("shared"))).code == 0
    await sql(server, "shared-a", SECRETS["PASSWORD_A"], "shared", "CREATE TABLE made (by text)")
    await sql(server, "shared-b", SECRETS["PASSWORD_B"], "shared", "ALTER TABLE made ADD COLUMN too text")
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'made'"
    assert await sql(server, "shared-b", SECRETS["PASSWORD_B"], "shared", owner) == [("shared-owner",)]


async def test_logins_have_no_power_beyond_their_database(server):
    """No role, no database, no other app's database; and nobody logs in as the owner."""
    assert (await run(server, spec_of("left"))).code == 0
    assert (await run(server, spec_of("right"))).code == 0
    for statement in ("CREATE ROLE x", "CREATE DATABASE x", 'SET ROLE "right-owner"', "SET ROLE cloudsqlsuperuser"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await sql(server, "left-a", SECRETS["PASSWORD_A"], "left", statement)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        await connect(server, "left-a", SECRETS["PASSWORD_A"], "right")
    with pytest.raises(psycopg.OperationalError, match=r"not permitted to log in|password authentication failed"):
        await connect(server, "left-owner", SECRETS["PASSWORD_A"], "left")


async def test_the_reader_reads_all_and_writes_nothing(server):
    """Also what is made later."""
    spec = spec_of("books", read_only=Login("books-ro", "PASSWORD_RO"))
    assert (await run(server, spec)).code == 0
    await sql(
        server, "books-a", SECRETS["PASSWORD_A"], "books", "CREATE TABLE later (n int)", "INSERT INTO later VALUES (1)"
    )
    reader = ("books-ro", SECRETS["PASSWORD_RO"], "books")
    assert await sql(server, *reader, "SELECT n FROM later") == [(1,)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await sql(server, *reader, "INSERT INTO later VALUES (2)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await sql(server, *reader, "SET default_transaction_read_only = off", "INSERT INTO later VALUES (2)")
    assert (await run(server, spec)).changed == []


async def test_passwords_are_set_only_when_they_changed(server):
    """The other login keeps its own, and its sessions."""
    assert (await run(server, spec_of("pw"))).code == 0
    changed = await run(server, spec_of("pw"), PASSWORD_B="a-newer-secret")
    assert (changed.code, changed.changed) == (0, ["role pw-b: password set"])
    assert await sql(server, "pw-b", "a-newer-secret", "pw", "SELECT 1") == [(1,)]
    assert await sql(server, "pw-a", SECRETS["PASSWORD_A"], "pw", "SELECT 1") == [(1,)]


async def test_drift_is_corrected(server):
    """Roles, grants and ownership altered by hand come back."""
    assert (await run(server, spec_of("drift"))).code == 0
    await admin(
        server,
        'ALTER ROLE "drift-a" NOLOGIN',
        'ALTER ROLE "drift-b" RESET role',
        "GRANT CONNECT ON DATABASE drift TO PUBLIC",
    )
    await sql(server, "drift-b", SECRETS["PASSWORD_B"], "drift", "CREATE SCHEMA mine", "CREATE TABLE mine.t (n int)")
    answer = await run(server, spec_of("drift"))
    assert (answer.code, answer.changed) == (
        0,
        [
            "role drift-a: attributes corrected",
            "role drift-b: its sessions corrected",
            "database drift: closed to others",
            "schema mine: owner was drift-b",
            "table mine.t: owner was drift-b",
        ],
    )


async def test_a_login_that_took_another_role_is_not_as_asked(server):
    """In a manner that no statement of ours undoes: a session of each login is what proves it."""
    assert (await run(server, spec_of("self"))).code == 0
    itself = "ALTER ROLE \"self-a\" IN DATABASE self SET role = 'self-a'"
    await sql(server, "self-a", SECRETS["PASSWORD_A"], "self", "SET ROLE NONE", itself)
    answer = await run(server, spec_of("self"))
    assert (answer.code, answer.reason, answer.changed) == (17, "NotAsAsked", [])
    assert "not as asked after all statements: role self-a: its sessions are not self-owner's." in answer.message


async def test_a_login_that_has_expired_is_not_as_asked(server):
    """No new password opens it, and the server is not out of reach."""
    assert (await run(server, spec_of("past"))).code == 0
    await admin(server, "ALTER ROLE \"past-b\" VALID UNTIL '2020-01-01'")
    answer = await run(server, spec_of("past"))
    assert (answer.code, answer.reason) == (17, "NotAsAsked")
    assert "not as asked after all statements: role past-b: its password opens no session." in answer.message


async def test_a_missing_extension_leaves_nothing_half_made(server):
    """It is found out before anything is written."""
    answer = await run(server, spec_of("typo", extensions=("pg_trgn",)))
    assert (answer.code, answer.reason, answer.changed) == (11, "ExtensionNotAvailable", [])
    assert "pg_trgn is not available on this instance. Use pg_trgm" in answer.message
    assert await admin(server, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'typo%'") == []


async def test_an_extension_that_is_refused_is_not_called_missing(server):
    """It is there, and PostgreSQL says what is in its way."""
    assert (await run(server, spec_of("clash", extensions=()))).code == 0
    await sql(server, "clash-a", SECRETS["PASSWORD_A"], "clash", "CREATE TYPE public.citext AS (mine int)")
    answer = await run(server, spec_of("clash", extensions=("citext",)))
    assert (answer.code, answer.reason, answer.changed) == (11, "ExtensionNotAvailable", [])
    assert answer.message == (
        "spec.database.extensions: citext cannot be created. Remove it, or see what it needs: "
        'https://cloud.google.com/sql/docs/postgres/extensions. PostgreSQL says: "type "citext" already exists".'
    )


async def test_an_apps_own_functions_never_run_as_the_administrator(server):
    """An owner may set its database's search_path, and put a function of PostgreSQL's name first."""
    spec = spec_of("sly")
    assert (await run(server, spec)).code == 0
    statements = (
        "CREATE SCHEMA sly",
        "CREATE TABLE sly.caught (who text)",
        "GRANT ALL ON SCHEMA sly TO PUBLIC",
        "GRANT ALL ON sly.caught TO PUBLIC",
        "CREATE FUNCTION sly.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS "
        "$$ INSERT INTO sly.caught VALUES (session_user) RETURNING who $$",
        "ALTER DATABASE sly SET search_path = sly, public, pg_catalog",
    )
    await sql(server, "sly-a", SECRETS["PASSWORD_A"], "sly", *statements)
    assert (await run(server, spec)).code == 0
    caught = await sql(server, "sly-a", SECRETS["PASSWORD_A"], "sly", "SELECT who FROM sly.caught")
    assert caught == []


async def test_anothers_database_is_refused_until_adopted(server):
    """Neither one without a marker nor one of another app; adoption takes what the administrator may take."""
    await server.create_database("taken")
    await admin(server, "CREATE TABLE old (n int)", database="taken")
    refused = await run(server, spec_of("taken"))
    assert (refused.code, refused.reason, refused.changed) == (10, "NameConflict", [])
    assert "database taken was not made by Nuages" in refused.message
    assert (await run(server, spec_of("taken", adopt=True))).code == 10
    adopted = await run(server, spec_of("taken", adopt=True, adopt_unmarked=True))
    assert adopted.code == 0
    assert {"database taken: owner was cloudsqlsuperuser", "table public.old: owner was nuages-admin"} <= set(
        adopted.changed
    )
    await sql(server, "taken-a", SECRETS["PASSWORD_A"], "taken", "ALTER TABLE old ADD COLUMN m int")
    other = dataclasses.replace(spec_of("taken"), marker=Marker("rival/taken", "u-2"))
    assert "belongs to acme/taken (uid u-1)" in (await run(server, other)).message
    assert (await run(server, spec_of("taken", uid="u-2"))).code == 10


async def test_what_another_user_of_the_instance_made_stays_theirs(server):
    """The app's own instance has other people on it: their tables are no reason to stop."""
    spec = spec_of("guest", adopt=True, adopt_unmarked=True)
    assert (await run(server, spec)).code == 0
    await server.create_user("dba", "dba-password")
    await admin(server, "GRANT CREATE, CONNECT ON DATABASE guest TO dba", database="guest")
    await sql(server, "dba", "dba-password", "guest", "CREATE SCHEMA reports", "CREATE TABLE reports.daily (n int)")
    again = await run(server, spec)
    assert (again.code, again.changed) == (0, [])
    owners = await admin(server, "SELECT tableowner FROM pg_tables WHERE tablename = 'daily'", database="guest")
    assert owners == [("dba",)]


async def test_what_was_retained_is_taken_back(server):
    """By an app of the same namespace and name, with its data; by no other."""
    assert (await run(server, spec_of("kept"))).code == 0
    await sql(server, "kept-a", SECRETS["PASSWORD_A"], "kept", "CREATE TABLE facts (n int)")
    retained = await run(server, spec_of("kept", action="retain"))
    assert (retained.code, retained.changed[0]) == (0, "database kept: marked as retained")
    assert (await run(server, spec_of("kept", action="retain"))).changed == []
    rival = dataclasses.replace(spec_of("kept"), marker=Marker("rival/kept", "u-2"))
    assert (await run(server, rival)).code == 10
    back = await run(server, spec_of("kept", uid="u-2"))
    assert (back.code, "database kept: taken back" in back.changed) == (0, True)
    await sql(server, "kept-b", SECRETS["PASSWORD_B"], "kept", "SELECT n FROM facts")
    assert (await run(server, spec_of("kept", uid="u-2"))).changed == []


async def test_drop_ends_sessions_and_leaves_nothing(server):
    """Also while the app is connected; a second time there is nothing to do."""
    spec = spec_of("gone", read_only=Login("gone-ro", "PASSWORD_RO"))
    assert (await run(server, spec)).code == 0
    async with await connect(server, "gone-a", SECRETS["PASSWORD_A"], "gone") as connected:
        await connected.execute("CREATE TABLE t (n int)")
        assert (await run(server, dataclasses.replace(spec, action="drop"))).code == 0
        with pytest.raises(psycopg.OperationalError):
            await connected.execute("SELECT 1")
    assert await admin(server, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'gone%'") == []
    again = await run(server, dataclasses.replace(spec, action="drop"))
    assert (again.code, again.changed) == (0, [])


async def test_drop_takes_logins_that_are_not_named_any_more(server):
    """The document of a deletion may know fewer of them."""
    assert (await run(server, spec_of("fewer"))).code == 0
    assert (await run(server, spec_of("fewer", action="drop", logins=()))).code == 0
    assert await admin(server, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'fewer%'") == []


async def test_drop_leaves_anothers(server):
    """What bears no marker of ours is not ours to delete."""
    await server.create_database("stranger")
    answer = await run(server, spec_of("stranger", action="drop"))
    assert (answer.code, answer.changed) == (0, [])
    assert "stranger" in {database.name for database in await server.list_databases()}
    await server.drop_database("stranger")


async def test_a_role_that_owns_elsewhere_is_said(server):
    """StillInUse, with PostgreSQL's words; a later run ends it."""
    spec = spec_of("spread")
    assert (await run(server, spec)).code == 0
    await admin(server, 'CREATE SCHEMA elsewhere AUTHORIZATION "spread-owner"')
    answer = await run(server, dataclasses.replace(spec, action="drop"))
    assert (answer.code, answer.reason) == (16, "StillInUse")
    assert "spread-owner" in answer.message
    await admin(server, "DROP SCHEMA elsewhere")
    assert (await run(server, dataclasses.replace(spec, action="drop"))).code == 0


async def test_a_run_that_was_cut_off_is_finished(server):
    """The database without its marker is known by its owner's."""
    assert (await run(server, spec_of("cut"))).code == 0
    await admin(server, "COMMENT ON DATABASE cut IS NULL", 'DROP OWNED BY "cut-b"', 'DROP ROLE "cut-b"')
    answer = await run(server, spec_of("cut"))
    assert (answer.code, {"database cut: marked", "role cut-b: created"} <= set(answer.changed)) == (0, True)


async def test_two_at_once_are_one_after_the_other(server):
    """The lock makes the second find what the first made."""
    answers = await asyncio.gather(*(run(server, spec_of("race")) for _ in range(3)))
    assert [answer.code for answer in answers] == [0, 0, 0]
    assert sorted(bool(answer.changed) for answer in answers) == [False, False, True]


async def test_many_apps_at_once(server):
    """Apps of one instance do not disturb each other."""
    answers = await asyncio.gather(*(run(server, spec_of(f"many{number}")) for number in range(4)))
    assert [(answer.code, answer.message) for answer in answers if answer.code] == []


async def test_a_held_lock_is_busy(server):
    """After the time that the document allows."""
    async with await connect(server, "nuages-admin", SECRETS["PGPASSWORD"], "postgres") as other:
        await other.execute("SELECT pg_advisory_lock(hashtextextended('nuages dbinit held', 0))")
        answer = await run(server, spec_of("held", wait_seconds=1))
    assert (answer.code, answer.reason) == (15, "Busy")


async def test_a_wrong_administrator_password_is_said(server):
    """At once: waiting would not help."""
    answer = await run(server, spec_of("denied"), PGPASSWORD="a-wrong-password")
    assert (answer.code, answer.reason) == (18, "LoginRefused")
    assert "password authentication failed" in answer.message


async def test_an_administrator_without_rights_is_said(server):
    """The login of an app is none."""
    assert (await run(server, spec_of("small"))).code == 0
    answer = await run(server, spec_of("smaller"), PGUSER="small-a", PGPASSWORD=SECRETS["PASSWORD_A"])
    assert (answer.code, answer.reason) == (12, "PermissionDenied")


async def test_the_administrator_of_an_app_is_not_to_be_deleted(server):
    """In Google's words: for what it made inside, and since 16 for the memberships that it granted."""
    assert (await run(server, spec_of("held"))).code == 0
    cause = "privileges for membership of role" if (await admin(server, MAJOR))[0][0] >= 16 else "objects in database"
    refused = rf'role "nuages-admin" cannot be dropped because some objects depend on it Details: .*{cause}'
    with pytest.raises(PostgresRefusedError, match=f"(?s){refused}"):
        await server.drop_user("nuages-admin")


async def test_a_database_that_comes_late_is_awaited(server):
    """Sockets of Cloud SQL appear some time after the job began."""
    await server.stop()
    running = asyncio.create_task(run(server, spec_of("late", connect_seconds=30)))
    await server.start()
    assert (await running).code == 0


async def test_a_database_out_of_reach_is_said():
    """After the time that the document allows."""
    answer = await run(None, spec_of("away", connect_seconds=1))
    assert (answer.code, answer.reason) == (13, "Unreachable")
    assert answer.message.startswith("db-init: no connection within 1 s: ")


@pytest.mark.parametrize(
    ("document", "environment", "message"),
    [
        ("{", {}, "the document is no JSON"),
        (
            spec_of("x").to_json(),
            {"PASSWORD_A": ""},
            "environment variable PASSWORD_A, the password of x-a, is missing",
        ),
        (spec_of("x").to_json(), {"PGUSER": ""}, "environment variable PGUSER is empty or missing"),
    ],
)
async def test_bad_input_is_said(document, environment, message):
    """Before any connection."""
    answer = await run(None, document, **environment)
    assert (answer.code, answer.reason) == (14, "BadInput")
    assert message in answer.message


async def test_only_psycopg_is_imported():
    """The job starts fast, and the operator's clients stay out of the room with the administrator's secret."""
    script = "import sys, nuages.dbinit.main; print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    assert not set(out.decode().split()) & {"pydantic", "kopf", "google", "grpc", "kubernetes", "aiohttp", "yaml"}
