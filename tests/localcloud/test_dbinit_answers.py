"""What db-init waits for, and what it answers where it cannot do as asked."""

import asyncio
import sys

import pytest
from dbinit_support import SECRETS, admin, connect, run, spec_of, sql

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
