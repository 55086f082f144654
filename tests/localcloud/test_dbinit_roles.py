"""What db-init makes of roles, logins and grants, and that it comes back: on real servers, as no superuser."""

import psycopg
import pytest
from dbinit_support import EXTENSIONS, SECRETS, Answer, admin, connect, run, spec_of, sql

from localcloud.runtime.postgres import PostgresRefusedError
from nuages.dbinit.spec import Login

pytestmark = pytest.mark.asyncio(loop_scope="module")
MAJOR = "SELECT current_setting('server_version_num')::int / 10000"


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


async def test_the_administrator_of_an_app_is_not_to_be_deleted(server):
    """In Google's words: for what it made inside, and since 16 for the memberships that it granted."""
    assert (await run(server, spec_of("held"))).code == 0
    cause = "privileges for membership of role" if (await admin(server, MAJOR))[0][0] >= 16 else "objects in database"
    refused = rf'role "nuages-admin" cannot be dropped because some objects depend on it Details: .*{cause}'
    with pytest.raises(PostgresRefusedError, match=f"(?s){refused}"):
        await server.drop_user("nuages-admin")
