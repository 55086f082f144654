"""Whose a database is to db-init: refused, adopted, taken back, marked as retained, dropped."""

import dataclasses

import psycopg
import pytest
from dbinit_support import SECRETS, admin, connect, run, spec_of, sql

from nuages.dbinit.spec import Login, Marker

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
