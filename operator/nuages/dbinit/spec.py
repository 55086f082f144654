"""What the job is asked for: one JSON document, made by the blueprint, read by the job. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar, get_args

from nuages.dbinit.verdict import Reason, StoppedError

DOCUMENT = "NUAGES_DBINIT"  # the environment variable that holds it
Action = Literal["ensure", "retain", "drop"]
LONGEST_NAME_BYTES = 63  # PostgreSQL cuts longer ones silently, and two could become one
RESERVED = ("pg_", "cloudsql")
RESERVED_DATABASES = ("postgres", "template0", "template1")
MARKER = re.compile(r"managed-by=nuages app=(?P<app>[^ /]+/[^ /]+) uid=(?P<uid>[^ ]+)(?P<retained> retained)?")


@dataclass(frozen=True)
class Marker:
    """Whose a database or role is, written as its comment, for neither has labels."""

    app: str  # namespace/name
    uid: str
    retained: bool = False

    def __str__(self) -> str:
        return f"managed-by=nuages app={self.app} uid={self.uid}{' retained' if self.retained else ''}"

    @staticmethod
    def parse(comment: str | None) -> Marker | None:
        """The marker in a comment; None where it is not one of ours."""
        match = MARKER.fullmatch(comment or "")
        return Marker(match["app"], match["uid"], bool(match["retained"])) if match else None


@dataclass(frozen=True)
class Login:
    """A role that logs in. Its password stands in the environment variable named here, never in the document."""

    role: str
    password_env: str


@dataclass(frozen=True)
class DbInitSpec:
    """Everything of one app inside one instance."""

    database: str
    owner: str  # a role without login, which owns all that either login creates
    marker: Marker
    logins: tuple[Login, ...] = ()
    read_only: Login | None = None
    extensions: tuple[str, ...] = ()
    action: Action = "ensure"
    adopt: bool = False  # take over what another life of the app has, or an app of the namespace left behind
    adopt_unmarked: bool = False  # and what bears none
    connect_seconds: int = 60  # how long the database may be out of reach: sockets and grants come late
    wait_seconds: int = 120  # how long another run on the same database may take

    def to_json(self) -> str:
        """The same document for the same spec, byte for byte."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> DbInitSpec:
        """Raises StoppedError (BadInput) naming the field."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise bad_input(f"the document is no JSON: {error}") from error
        spec = _build(DbInitSpec, document, "document")
        spec.check()
        return spec

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles of the app, the owner first."""
        return (self.owner, *(login.role for login in self.all_logins))

    @property
    def all_logins(self) -> tuple[Login, ...]:
        """Those of the app, then the read-only one."""
        return (*self.logins, self.read_only) if self.read_only else self.logins

    def check(self) -> None:
        """What the types do not say. Raises StoppedError (BadInput)."""
        if self.action not in get_args(Action):
            raise bad_input(f"action: {self.action!r} is none of {', '.join(get_args(Action))}")
        for field, name in [("database", self.database), *(("role", role) for role in self.roles)]:
            _check_name(field, name)
        if self.database in RESERVED_DATABASES:
            raise bad_input(f"database: {self.database} belongs to the instance. Use another name")
        if len(set(self.roles)) < len(self.roles):
            raise bad_input("logins: owner and logins are different roles. Give each a name of its own")
        if self.action == "ensure" and not self.logins:
            raise bad_input("logins: at least one is needed")
        if Marker.parse(str(self.marker)) != self.marker:
            raise bad_input("marker: app is <namespace>/<name>, uid is not empty, neither holds spaces")


def bad_input(message: str) -> StoppedError:
    """The document or the environment is wrong."""
    return StoppedError(Reason.BAD_INPUT, f"db-init: {message}.")


def _check_name(field: str, name: str) -> None:
    if not name or len(name.encode()) > LONGEST_NAME_BYTES or "\0" in name:
        raise bad_input(f"{field}: {name!r} is not between 1 and {LONGEST_NAME_BYTES} bytes long")
    if name.startswith(RESERVED):
        raise bad_input(f"{field}: {name} is reserved by PostgreSQL or Cloud SQL. Use another name")


SCALARS: dict[str, type] = {
    "adopt": bool,
    "adopt_unmarked": bool,
    "retained": bool,
    "connect_seconds": int,
    "wait_seconds": int,
}


T = TypeVar("T", DbInitSpec, Marker, Login)


def _build(kind: type[T], document: Any, place: str) -> T:
    if not isinstance(document, dict):
        raise bad_input(f"{place}: an object is expected")
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(document) - known):
        raise bad_input(f"{place}: unknown field {unknown[0]}")
    values = {name: _value(name, value) for name, value in document.items()}
    try:
        return kind(**values)
    except TypeError as error:
        missing = str(error).rpartition(":")[2].strip() or error
        raise bad_input(f"{place}: missing {missing}") from error


def _value(name: str, value: Any) -> Any:
    if name == "logins":
        return tuple(_build(Login, entry, name) for entry in _list(name, value))
    if name == "marker":
        return _build(Marker, value, name)
    if name == "read_only":
        return None if value is None else _build(Login, value, name)
    if name == "extensions":
        return tuple(_scalar(name, entry, str) for entry in _list(name, value))
    return _scalar(name, value, SCALARS.get(name, str))


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise bad_input(f"{name}: a list is expected")
    return value


def _scalar(name: str, value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise bad_input(f"{name}: {kind.__name__} is expected")
    return value
