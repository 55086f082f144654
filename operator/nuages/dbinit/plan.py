"""From what is there to what is to be done: pure. An empty plan means that all is as asked."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from nuages.dbinit.observe import SET_OPTION_SINCE, Inside, Instance, Role
from nuages.dbinit.spec import DbInitSpec, Login, Marker
from nuages.dbinit.verdict import Reason, StoppedError

Statement = sql.SQL | sql.Composed
SUPPORTED_EXTENSIONS = "https://cloud.google.com/sql/docs/postgres/extensions"
SLIP = 0.8  # of difflib's likeness: pg_trigram is a slip of pg_trgm (0.82), postgis none of postgis_raster (0.67)


@dataclass(frozen=True)
class Change:
    """Statements that belong together; `what` is told to people. `password_of` is a login whose hash they need."""

    what: str
    statements: tuple[Statement, ...]
    atomic: bool = True  # CREATE DATABASE and DROP DATABASE run outside of transactions
    extension: str | None = None


def check(spec: DbInitSpec, there: Instance) -> None:
    """Before anything is written: names that are another's, extensions that are not there. Raises StoppedError."""
    for role in spec.roles:
        if role in there.roles:
            _check_role(spec, there.roles[role], there)
    if (
        there.database is not None
        and not database_is_ours(spec, there)
        and not _may_adopt(spec, there.database.comment)
    ):
        raise _conflict(spec, f"database {spec.database}", there.database.comment)
    if missing := [extension for extension in spec.extensions if extension not in there.available]:
        raise extensions_missing(missing, there.available)


def _may_adopt(spec: DbInitSpec, comment: str | None) -> bool:
    """What bears no marker, and what is nobody's any more; never what another app may be using."""
    marker = Marker.parse(comment)
    return spec.adopt_unmarked if marker is None else spec.adopt and _is_takable(spec, marker)


def _is_takable(spec: DbInitSpec, marker: Marker) -> bool:
    """Of another life of the app (its uid changes with the cluster), or left behind by one of its namespace."""
    is_of_namespace = marker.app.split("/")[0] == spec.marker.app.split("/")[0]
    return marker.app == spec.marker.app or (is_of_namespace and marker.retained)


def is_ours(marker: Marker | None, wanted: Marker) -> bool:
    """The same object's, or what an app of the same namespace and name left when it was deleted."""
    return marker is not None and marker.app == wanted.app and (marker.uid == wanted.uid or marker.retained)


def database_is_ours(spec: DbInitSpec, there: Instance) -> bool:
    """By its comment; a run that ended between CREATE DATABASE and COMMENT left the owner role's marker."""
    if there.database is None:
        return False
    if there.database.comment is None and there.database.owner == spec.owner:
        return is_ours(there.marker(spec.owner), spec.marker)
    return is_ours(Marker.parse(there.database.comment), spec.marker)


def roles_to_be(spec: DbInitSpec, there: Instance, hashes: dict[str, str]) -> Iterator[Change]:
    """The owner, its membership, the logins. `hashes` holds the password hash of each login."""
    comment = sql.Literal(str(spec.marker))
    owner = sql.Identifier(spec.owner)
    if spec.owner not in there.roles:
        yield Change(
            f"role {spec.owner}: created",
            (sql.SQL("CREATE ROLE {} NOLOGIN NOCREATEDB NOCREATEROLE").format(owner), _comment("ROLE", owner, comment)),
        )
    for login in spec.all_logins:
        if login.role not in there.roles:
            role = sql.Identifier(login.role)
            create = "CREATE ROLE {} LOGIN NOCREATEDB NOCREATEROLE PASSWORD {}"
            statements = [
                sql.SQL(create).format(role, sql.Literal(hashes[login.role])),
                _comment("ROLE", role, comment),
            ]
            yield Change(f"role {login.role}: created", (*statements, *_manner(spec, login)))
    for name in spec.roles:
        if name in there.roles:
            yield from _role_corrections(spec, there.roles[name])
        if name not in there.roles or not there.roles[name].is_ours_to_be:
            yield Change(
                f"role {name}: granted to {there.administrator}", (_grant_to_administrator(name, there.major),)
            )


def _manner(spec: DbInitSpec, login: Login) -> list[Statement]:
    """What sessions of a login are: the owner's, or the reader's."""
    role, owner = sql.Identifier(login.role), sql.Identifier(spec.owner)
    if login == spec.read_only:
        return [sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(role)]
    return [
        sql.SQL("GRANT {} TO {}").format(owner, role),
        sql.SQL("ALTER ROLE {} SET role = {}").format(role, sql.Literal(spec.owner)),
    ]


def _role_corrections(spec: DbInitSpec, role: Role) -> Iterator[Change]:
    name = sql.Identifier(role.name)
    login = next((login for login in spec.all_logins if login.role == role.name), None)
    if role.comment != str(spec.marker):
        yield Change(f"role {role.name}: {_taking(role.comment)}", (_comment("ROLE", name, _marker(spec)),))
    if role.can_login != (login is not None) or role.may_create:
        attributes = sql.SQL("ALTER ROLE {} {} NOCREATEDB NOCREATEROLE")
        kind = sql.SQL("LOGIN" if login else "NOLOGIN")
        yield Change(f"role {role.name}: attributes corrected", (attributes.format(name, kind),))
    if login is None:
        return
    is_reader = login == spec.read_only
    is_right = role.is_read_only if is_reader else (role.becomes == spec.owner and role.is_of_owner)
    if not is_right:
        yield Change(f"role {role.name}: its sessions corrected", tuple(_manner(spec, login)))


def _grant_to_administrator(role: str, major: int) -> Statement:
    """Who creates a role administers it since 16, but may not become it; 15 does not know the clause."""
    clause = " WITH SET TRUE, INHERIT TRUE" if major >= SET_OPTION_SINCE else ""
    return sql.SQL("GRANT {} TO CURRENT_USER" + clause).format(sql.Identifier(role))


def database_to_be(spec: DbInitSpec, there: Instance) -> Iterator[Change]:
    """The database, its owner, its marker, and who may connect."""
    name, owner = sql.Identifier(spec.database), sql.Identifier(spec.owner)
    found = there.database
    if found is None:  # template0: nobody can be connected to it, and nobody has added to it
        create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(name, owner)
        yield Change(f"database {spec.database}: created", (create,), atomic=False)
    elif found.owner != spec.owner:
        change = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, owner)
        yield Change(f"database {spec.database}: owner was {found.owner}", (change,))
    if found is None or found.comment != str(spec.marker):
        what = "marked" if found is None else _taking(found.comment)
        yield Change(f"database {spec.database}: {what}", (_comment("DATABASE", name, _marker(spec)),))
    if found is None or "" in found.connectors:
        revoke = sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name)
        yield Change(f"database {spec.database}: closed to others", (revoke,))
    for login in spec.all_logins:
        if found is None or login.role not in found.connectors:
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(login.role))
            yield Change(f"database {spec.database}: opened to {login.role}", (grant,))


def inside_to_be(spec: DbInitSpec, there: Inside) -> Iterator[Change]:
    """Schema, ownership, extensions, and what the read-only role sees."""
    owner = sql.Identifier(spec.owner)
    if there.public_owner is None:
        yield Change("schema public: created", (sql.SQL("CREATE SCHEMA public AUTHORIZATION {}").format(owner),))
    elif there.public_owner != spec.owner:
        change = sql.SQL("ALTER SCHEMA public OWNER TO {}").format(owner)
        yield Change(f"schema public: owner was {there.public_owner}", (change,))
    for stray in there.strays:
        change = sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(stray.kind), _quoted(stray.name), owner)
        yield Change(f"{stray.kind.lower()} {stray.name}: owner was {stray.owner}", (change,))
    for extension in spec.extensions:
        if extension not in there.extensions:
            statements = (
                sql.SQL("SET LOCAL search_path = public"),  # unless its own control file names a schema
                sql.SQL("CREATE EXTENSION {} CASCADE").format(sql.Identifier(extension)),
            )
            yield Change(f"extension {extension}: created", statements, extension=extension)
    if spec.read_only:
        yield from _reader(spec, spec.read_only, there)


def _reader(spec: DbInitSpec, login: Login, there: Inside) -> Iterator[Change]:
    role, owner = sql.Identifier(login.role), sql.Identifier(spec.owner)
    if not there.reader_sees_schema:
        grant = sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role)
        yield Change(f"role {login.role}: schema opened", (grant,))
    if there.reader_lacks:
        grants = [
            sql.SQL("GRANT SELECT ON ALL {} IN SCHEMA public TO {}").format(kind, role)
            for kind in (sql.SQL("TABLES"), sql.SQL("SEQUENCES"))
        ]
        yield Change(f"role {login.role}: may read what is there", tuple(grants))
    if not {"r", "S"} <= there.reader_defaults:
        defaults = "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA public GRANT SELECT ON {} TO {}"
        grants = [sql.SQL(defaults).format(owner, kind, role) for kind in (sql.SQL("TABLES"), sql.SQL("SEQUENCES"))]
        yield Change(f"role {login.role}: may read what comes", tuple(grants))


def to_retain(spec: DbInitSpec, there: Instance) -> Iterator[Change]:
    """Marks what is ours as left behind on purpose."""
    mark = sql.Literal(str(Marker(spec.marker.app, spec.marker.uid, retained=True)))
    if there.database and database_is_ours(spec, there) and not _is_retained(there.database.comment):
        comment = _comment("DATABASE", sql.Identifier(spec.database), mark)
        yield Change(f"database {spec.database}: marked as retained", (comment,))
    for name in _our_roles(spec, there):
        if not _is_retained(there.roles[name].comment):
            yield Change(f"role {name}: marked as retained", (_comment("ROLE", sql.Identifier(name), mark),))


def to_drop(spec: DbInitSpec, there: Instance) -> Iterator[Change]:
    """The database, then the roles that owned it; what is another's stays."""
    ours = _our_roles(spec, there)
    for name in ours:
        if not there.roles[name].is_ours_to_be:  # to end its sessions
            yield Change(
                f"role {name}: granted to {there.administrator}", (_grant_to_administrator(name, there.major),)
            )
        if there.roles[name].can_login:
            yield Change(f"role {name}: closed", (sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(name)),))
    if database_is_ours(spec, there):
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(spec.database))
        yield Change(f"database {spec.database}: dropped", (drop,), atomic=False)
    for name in reversed(ours):
        yield Change(f"role {name}: dropped", (sql.SQL("DROP ROLE {}").format(sql.Identifier(name)),))


def _our_roles(spec: DbInitSpec, there: Instance) -> list[str]:
    """The owner first; also logins that the document does not name any more."""
    names = [*spec.roles, *sorted(set(there.roles) - set(spec.roles))]
    return [name for name in names if is_ours(there.marker(name), spec.marker)]


def extensions_missing(names: Sequence[str], available: Sequence[str]) -> StoppedError:
    """All of them at once, each with the name that was meant where one is near enough to be a slip."""
    near = {name: difflib.get_close_matches(name, available, n=1, cutoff=SLIP) for name in names}
    advice = []
    if slips := [f"{meant} for {name}" for name, close in near.items() for meant in close]:
        advice.append(f"Use {', '.join(slips)}.")
    if unknown := [name for name, close in near.items() if not close]:
        them = "it" if len(unknown) == 1 else "them"
        version = f"choose a version of PostgreSQL that has {them}: {SUPPORTED_EXTENSIONS}"
        advice.append(f"Remove {', '.join(unknown)}, or {version}.")
    cause = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not available on this instance"
    message = f"spec.database.extensions: {cause}. {' '.join(advice)}"
    return StoppedError(Reason.EXTENSION_NOT_AVAILABLE, message)


def extension_refused(name: str, said: str) -> StoppedError:
    """The instance has it; `said` is PostgreSQL's reason not to create it here."""
    remedy = f"Remove it, or see what it needs: {SUPPORTED_EXTENSIONS}."
    message = f'spec.database.extensions: {name} cannot be created. {remedy} PostgreSQL says: "{said}".'
    return StoppedError(Reason.EXTENSION_NOT_AVAILABLE, message)


def _check_role(spec: DbInitSpec, role: Role, there: Instance) -> None:
    if role.is_administrator or role.name == there.administrator:
        message = f"spec.database.name: role {role.name} is an administrator of the instance. Choose another name."
        raise StoppedError(Reason.NAME_CONFLICT, message)
    if not is_ours(Marker.parse(role.comment), spec.marker) and not _may_adopt(spec, role.comment):
        raise _conflict(spec, f"role {role.name}", role.comment)


def _conflict(spec: DbInitSpec, what: str, comment: str | None) -> StoppedError:
    marker = Marker.parse(comment)
    whose = f"belongs to {marker.app} (uid {marker.uid})" if marker else "was not made by Nuages"
    adopting = 'annotate nuages.dev/adopt: "true"'
    if marker is None:
        remedy = f"Choose another name, or add it to DjangoTenant spec.allow.databases and {adopting}."
    elif _is_takable(spec, marker):
        remedy = f"Choose another name, or {adopting}."
    else:
        remedy = "Choose another name."
    return StoppedError(Reason.NAME_CONFLICT, f"spec.database.name: {what} {whose}. {remedy}")


def _is_retained(comment: str | None) -> bool:
    marker = Marker.parse(comment)
    return marker is not None and marker.retained


def _taking(comment: str | None) -> str:
    if comment is None:
        return "marked"
    return "taken back" if _is_retained(comment) else "taken over"


def _marker(spec: DbInitSpec) -> sql.Literal:
    return sql.Literal(str(spec.marker))


def _comment(kind: str, name: sql.Identifier, text: sql.Literal) -> Statement:
    return sql.SQL("COMMENT ON DATABASE {} IS {}" if kind == "DATABASE" else "COMMENT ON ROLE {} IS {}").format(
        name, text
    )


def _quoted(name: str) -> Statement:
    """A name that the server has quoted itself (format %I, regprocedure)."""
    return sql.SQL(name)
