"""What is there: one frozen snapshot of the catalogues, so that the plan is pure and verification is a second look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from nuages.dbinit.spec import DbInitSpec, Marker

Connection = psycopg.Connection[tuple[Any, ...]]
SET_OPTION_SINCE = 16  # until then, membership alone lets a role become another


@dataclass(frozen=True)
class Role:
    """A role of the app, as it is."""

    name: str
    can_login: bool
    may_create: bool  # databases or roles
    is_administrator: bool  # superuser, or a member of cloudsqlsuperuser
    comment: str | None
    becomes: str | None  # the role that its sessions take
    is_read_only: bool
    is_ours_to_be: bool  # the administrator may become it and has its privileges
    is_of_owner: bool  # may become the owner


@dataclass(frozen=True)
class Database:
    """The app's database, as the instance's catalogue shows it."""

    owner: str
    comment: str | None
    connectors: frozenset[str]  # who was granted CONNECT; "" is everybody


@dataclass(frozen=True)
class Instance:
    """What is seen from outside of the app's database."""

    major: int
    administrator: str
    roles: dict[str, Role]  # those named, and all members of the owner
    database: Database | None
    available: tuple[str, ...]  # extensions

    def marker(self, role: str) -> Marker | None:
        """The marker of a role that is there."""
        return Marker.parse(self.roles[role].comment) if role in self.roles else None


@dataclass(frozen=True)
class Owned:
    """An object inside the database that belongs to somebody else than the owner."""

    kind: LiteralString  # as ALTER names it
    name: str  # quoted by the server
    owner: str


@dataclass(frozen=True)
class Inside:
    """What is seen from inside of the app's database."""

    extensions: frozenset[str]
    public_owner: str | None
    strays: tuple[Owned, ...]
    reader_sees_schema: bool
    reader_lacks: int  # tables and sequences that the read-only role cannot read
    reader_defaults: frozenset[str]  # r: tables, S: sequences


ROLES = """
SELECT r.rolname, r.rolcanlogin, r.rolcreatedb OR r.rolcreaterole,
  r.rolsuper OR EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                        WHERE m.member = r.oid AND g.rolname = 'cloudsqlsuperuser'),
  shobj_description(r.oid, 'pg_authid'),
  (SELECT substr(s, 6) FROM unnest(r.rolconfig) s WHERE s LIKE 'role=%%'),
  'default_transaction_read_only=on' = ANY(coalesce(r.rolconfig, '{}')),
  pg_has_role(current_user, r.oid, '{become}') AND pg_has_role(current_user, r.oid, 'USAGE'),
  coalesce(pg_has_role(r.oid, (SELECT oid FROM pg_roles WHERE rolname = %(owner)s), '{become}'), false)
FROM pg_roles r WHERE r.rolname = ANY(%(roles)s) OR r.oid IN (
  SELECT m.member FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid WHERE o.rolname = %(owner)s)
"""

DATABASE = """
SELECT pg_get_userbyid(d.datdba), shobj_description(d.oid, 'pg_database'),
  ARRAY(SELECT coalesce(g.rolname, '')::text
        FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a LEFT JOIN pg_roles g ON g.oid = a.grantee
        WHERE a.privilege_type = 'CONNECT')
FROM pg_database d WHERE d.datname = %s
"""

# Of those that the administrator may give away: what another user of the instance made (a DBA, an import) stays theirs.
# Of relations: not the sequences that belong to columns, nor the row types and indexes that follow their tables
STRAYS = """
WITH objects(class, kind, oid, name, owner) AS (
  SELECT 'pg_class'::regclass, 'TABLE', c.oid, format('%%I.%%I', n.nspname, c.relname), c.relowner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
    AND c.relkind = 'S')
  UNION ALL SELECT 'pg_proc'::regclass, 'ROUTINE', p.oid, p.oid::regprocedure::text, p.proowner FROM pg_proc p
  UNION ALL SELECT 'pg_type'::regclass, 'TYPE', t.oid, format('%%I.%%I', n.nspname, t.typname), t.typowner
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c'
  UNION ALL SELECT 'pg_namespace'::regclass, 'SCHEMA', n.oid, quote_ident(n.nspname), n.nspowner
  FROM pg_namespace n WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname NOT IN ('public', 'information_schema'))
SELECT o.kind, o.name, r.rolname FROM objects o JOIN pg_roles r ON r.oid = o.owner
WHERE r.rolname <> %(owner)s AND NOT r.rolsuper AND r.rolname NOT LIKE 'pg\\_%%'
  AND (%(adopt)s OR r.rolname = ANY(%(roles)s)) AND pg_has_role(r.oid, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
ORDER BY o.kind, o.name
"""

READER = """
SELECT coalesce(bool_or(has_schema_privilege(r.oid, n.oid, 'USAGE')), false),
  (SELECT count(*) FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
   WHERE s.nspname = 'public' AND pg_get_userbyid(c.relowner) = %(owner)s
   AND CASE WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN NOT has_table_privilege(r.oid, c.oid, 'SELECT')
            WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(r.oid, c.oid, 'SELECT') ELSE false END)
FROM pg_roles r, pg_namespace n WHERE r.rolname = %(reader)s AND n.nspname = 'public' GROUP BY r.oid
"""

READER_DEFAULTS = """
SELECT DISTINCT d.defaclobjtype::text FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace,
  aclexplode(d.defaclacl) a
WHERE n.nspname = 'public' AND pg_get_userbyid(d.defaclrole) = %(owner)s
  AND pg_get_userbyid(a.grantee) = %(reader)s AND a.privilege_type = 'SELECT'
"""


def instance(connection: Connection, spec: DbInitSpec) -> Instance:
    """Reads only."""
    major = connection.info.server_version // 10000
    become: LiteralString = "SET" if major >= SET_OPTION_SINCE else "MEMBER"
    names = {"owner": spec.owner, "roles": list(spec.roles)}
    roles = [Role(*row) for row in connection.execute(ROLES.replace("{become}", become), names)]
    found = connection.execute(DATABASE, [spec.database]).fetchone()
    database = Database(found[0], found[1], frozenset(found[2])) if found else None
    available = connection.execute("SELECT name FROM pg_available_extensions ORDER BY name")
    return Instance(
        major=major,
        administrator=_one(connection, "SELECT current_user"),
        roles={role.name: role for role in roles},
        database=database,
        available=tuple(name for (name,) in available),
    )


def inside(connection: Connection, spec: DbInitSpec) -> Inside:
    """Reads only; the connection is to the app's database."""
    names = {"owner": spec.owner, "roles": list(spec.roles), "adopt": spec.adopt}
    reader = {"owner": spec.owner, "reader": spec.read_only.role if spec.read_only else ""}
    sees, lacks = connection.execute(READER, reader).fetchone() or (False, 0)
    public = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'"
    return Inside(
        extensions=frozenset(name for (name,) in connection.execute("SELECT extname FROM pg_extension")),
        public_owner=_one(connection, public),
        strays=tuple(Owned(*row) for row in connection.execute(STRAYS, names)),
        reader_sees_schema=sees,
        reader_lacks=lacks,
        reader_defaults=frozenset(kind for (kind,) in connection.execute(READER_DEFAULTS, reader)),
    )


def _one(connection: Connection, query: LiteralString) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
