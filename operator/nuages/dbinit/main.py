"""The run: connect, look, lock, change, look again, tell. Whatever happens, one line is written, without a secret."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg import sql

from nuages.dbinit import observe, plan
from nuages.dbinit.observe import Connection
from nuages.dbinit.spec import DOCUMENT, DbInitSpec, Login, bad_input
from nuages.dbinit.verdict import Reason, StoppedError, Verdict

ADMINISTRATORS_DATABASE = "postgres"
ATTEMPT_SECONDS = 10
SHORTEST_REDACTED = 4  # shorter ones would blot out ordinary words
WRONG_PASSWORD = "password authentication failed"  # noqa: S105 - the server's words
HASH = re.compile(r"SCRAM-SHA-256\$[^\s']+")
REASONS: tuple[tuple[type[psycopg.Error], Reason], ...] = (
    (psycopg.errors.InsufficientPrivilege, Reason.PERMISSION_DENIED),
    (psycopg.errors.LockNotAvailable, Reason.BUSY),
    (psycopg.errors.DependentObjectsStillExist, Reason.STILL_IN_USE),
    (psycopg.errors.ObjectInUse, Reason.STILL_IN_USE),
    (psycopg.OperationalError, Reason.UNREACHABLE),
)


def main(arguments: list[str], environment: Mapping[str, str] = os.environ) -> int:
    """Runs the document given as the argument or in NUAGES_DBINIT; returns the exit code."""
    changed: list[str] = []
    secrets = {environment.get("PGPASSWORD", "")}
    try:
        spec = _spec(arguments, environment)
        passwords = _passwords(spec, environment)
        secrets |= set(passwords.values())
        Run(spec, passwords, changed).run()
        verdict = Verdict(Reason.OK, _summary(spec, changed), tuple(changed))
    except StoppedError as stopped:
        verdict = Verdict(stopped.reason, stopped.message, tuple(changed))
    except psycopg.Error as error:
        verdict = Verdict(_reason(error), f"db-init: {_words(error)}", tuple(changed))
    except Exception as error:  # the last word: a traceback could show what the line must not
        verdict = Verdict(Reason.FAILED, f"db-init: {type(error).__name__}: {error}", tuple(changed))
    sys.stdout.write(_redacted(verdict, secrets).line() + "\n")
    sys.stdout.flush()
    return int(verdict.reason)


def _spec(arguments: list[str], environment: Mapping[str, str]) -> DbInitSpec:
    if len(arguments) > 1:
        raise bad_input("one argument is expected, the JSON document")
    text = arguments[0] if arguments else environment.get(DOCUMENT, "")
    if not text:
        raise bad_input(f"no document: give it as the argument or in {DOCUMENT}")
    return DbInitSpec.from_json(text)


def _passwords(spec: DbInitSpec, environment: Mapping[str, str]) -> dict[str, str]:
    """By role. Every variable is needed only where passwords are set."""
    for name in ("PGHOST", "PGUSER", "PGPASSWORD"):
        if not environment.get(name):
            raise bad_input(f"environment variable {name} is empty or missing")
    if spec.action != "ensure":
        return {}
    for login in spec.all_logins:
        if not environment.get(login.password_env):
            raise bad_input(f"environment variable {login.password_env}, the password of {login.role}, is missing")
    return {login.role: environment[login.password_env] for login in spec.all_logins}


class Run:
    """One run on one instance; `changed` is filled as changes are made."""

    def __init__(self, spec: DbInitSpec, passwords: dict[str, str], changed: list[str]) -> None:
        self._spec = spec
        self._passwords = passwords
        self._changed = changed
        self._deadline = time.monotonic() + spec.connect_seconds

    def run(self) -> None:
        """Raises StoppedError, or the database's own error."""
        with self._administrator(ADMINISTRATORS_DATABASE) as outside:
            lock = "SELECT pg_advisory_lock(hashtextextended('nuages dbinit ' || %s, 0))"
            outside.execute(lock, [self._spec.database])  # for all of the session; advisory locks are per database
            if self._spec.action == "retain":
                self._apply(outside, plan.to_retain(self._spec, observe.instance(outside, self._spec)))
            elif self._spec.action == "drop":
                self._apply(outside, plan.to_drop(self._spec, observe.instance(outside, self._spec)))
            else:
                self._ensure(outside)

    def _ensure(self, outside: Connection) -> None:
        there = observe.instance(outside, self._spec)
        plan.check(self._spec, there)
        hashes = {role: _hash(outside, role, password) for role, password in self._passwords.items()}
        self._apply(outside, plan.roles_to_be(self._spec, there, hashes))
        self._apply(outside, plan.database_to_be(self._spec, there))
        with self._administrator(self._spec.database) as inside:
            self._apply(inside, plan.inside_to_be(self._spec, observe.inside(inside, self._spec)))
            self._set_passwords(outside, hashes)
            self._verify(outside, inside, hashes)

    def _apply(self, connection: Connection, changes: Iterable[plan.Change]) -> None:
        for change in changes:
            with ExitStack() as scope:
                if change.atomic:
                    scope.enter_context(connection.transaction())
                try:
                    for statement in change.statements:
                        connection.execute(statement)
                except psycopg.Error as error:
                    if change.extension is None or isinstance(error, psycopg.errors.LockNotAvailable):
                        raise
                    raise plan.extension_refused(change.extension, _words(error)) from error
            self._changed.append(change.what)

    def _set_passwords(self, outside: Connection, hashes: dict[str, str]) -> None:
        """Only where the given one does not open the door: at rest nothing is written."""
        for login in self._spec.all_logins:
            if not self._opens(login):
                statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
                role = sql.Identifier(login.role)
                outside.execute(statement.format(role, sql.Literal(hashes[login.role])))
                self._changed.append(f"role {login.role}: password set")

    def _opens(self, login: Login) -> bool:
        try:
            self._session(login).close()
        except psycopg.OperationalError as error:
            if WRONG_PASSWORD in str(error):
                return False
            raise
        return True

    def _verify(self, outside: Connection, inside: Connection, hashes: dict[str, str]) -> None:
        """A second look at everything, and a session of each login. Raises StoppedError naming the differences."""
        there = observe.instance(outside, self._spec)
        left = [
            *plan.roles_to_be(self._spec, there, hashes),
            *plan.database_to_be(self._spec, there),
            *plan.inside_to_be(self._spec, observe.inside(inside, self._spec)),
        ]
        differences = [change.what for change in left]
        differences += [found for login in self._spec.all_logins if (found := self._difference(login))]
        if differences:
            message = f"db-init: not as asked after all statements: {'; '.join(differences)}. See what else sets it."
            raise StoppedError(Reason.NOT_AS_ASKED, message)

    def _difference(self, login: Login) -> str:
        """How a session of the login is not what it should be, or ""."""
        wanted = login.role if login == self._spec.read_only else self._spec.owner
        try:
            with self._session(login) as session:
                row = session.execute("SELECT current_user").fetchone()
        except psycopg.OperationalError as error:
            if WRONG_PASSWORD not in str(error):
                raise
            return f"role {login.role}: its password opens no session"  # though it was set: the role has expired
        return "" if row and row[0] == wanted else f"role {login.role}: its sessions are not {wanted}'s"

    @contextmanager
    def _administrator(self, database: str) -> Iterator[Connection]:
        """Waits for a database that comes late. Raises StoppedError (Unreachable, LoginRefused, PermissionDenied)."""
        nap = 0.2
        while True:
            try:
                connection = _connect(database)
                break
            except psycopg.OperationalError as error:
                if is_refusal(error):
                    wrong = WRONG_PASSWORD in str(error)
                    reason = Reason.LOGIN_REFUSED if wrong else Reason.PERMISSION_DENIED
                    raise StoppedError(reason, f"db-init: {_words(error)}") from error
                if time.monotonic() + nap > self._deadline:
                    waited = f"no connection within {self._spec.connect_seconds} s"
                    raise StoppedError(Reason.UNREACHABLE, f"db-init: {waited}: {_words(error)}") from error
            time.sleep(nap)
            nap = min(nap * 1.5, 2.0)
        with connection:
            # By its full name: the app's owner role may set its database's search_path, and what it put there under
            # the name of a function would run as the administrator of everybody's databases.
            connection.execute("SELECT pg_catalog.set_config('search_path', '', false)")
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{self._spec.wait_seconds}s"])
            yield connection

    def _session(self, login: Login) -> Connection:
        return _connect(self._spec.database, login.role, self._passwords[login.role])


def _connect(database: str, user: str | None = None, password: str | None = None) -> Connection:
    """To the instance that the environment names (PGHOST and its kin, which libpq reads)."""
    return psycopg.connect(
        dbname=database,
        user=user,
        password=password,
        autocommit=True,
        connect_timeout=ATTEMPT_SECONDS,
        application_name="nuages-dbinit",
    )


def is_refusal(error: psycopg.OperationalError) -> bool:
    """The server answered, and waiting will not change its mind. libpq gives no code for it."""
    refusals = (WRONG_PASSWORD, "no pg_hba.conf entry", "permission denied for database")
    return any(words in str(error) for words in refusals)


def _hash(connection: Connection, role: str, password: str) -> str:
    """Made here, so that no password stands in a statement or in the server's log."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _reason(error: psycopg.Error) -> Reason:
    return next((reason for kind, reason in REASONS if isinstance(error, kind)), Reason.FAILED)


def _words(error: psycopg.Error) -> str:
    """The server's own, without the statement that it may quote."""
    said = [word for word in (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint) if word]
    return " ".join(said) if said else " ".join(str(error).split())


def _summary(spec: DbInitSpec, changed: list[str]) -> str:
    done = {"ensure": "is as asked", "retain": "is retained", "drop": "is gone"}[spec.action]
    return f"database {spec.database} {done}; {len(changed) or 'no'} change{'' if len(changed) == 1 else 's'}"


def _redacted(verdict: Verdict, secrets: set[str]) -> Verdict:
    def clean(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_REDACTED:
                text = text.replace(secret, "***")
        return HASH.sub("***", text)

    return Verdict(verdict.reason, clean(verdict.message), tuple(clean(what) for what in verdict.changed))
