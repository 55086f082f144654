"""From what is there to what is done, without a database."""

import dataclasses

import pytest

from nuages.dbinit import plan
from nuages.dbinit.observe import Database, Inside, Instance, Owned, Role
from nuages.dbinit.spec import DbInitSpec, Login, Marker
from nuages.dbinit.verdict import Reason, StoppedError

MARKER = Marker("acme/shop", "u-1")
SPEC = DbInitSpec(
    database="shop",
    owner="owner",
    marker=MARKER,
    logins=(Login("a", "A"), Login("b", "B")),
    read_only=Login("ro", "RO"),
    extensions=("citext",),
)
HASHES = {"a": "hash-a", "b": "hash-b", "ro": "hash-ro"}


def role(name: str, **changes) -> Role:
    is_login, is_reader = name != "owner", name == "ro"
    right = Role(
        name=name,
        can_login=is_login,
        may_create=False,
        is_administrator=False,
        comment=str(MARKER),
        becomes="owner" if is_login and not is_reader else None,
        is_read_only=is_reader,
        is_ours_to_be=True,
        is_of_owner=True,
    )
    return dataclasses.replace(right, **changes)


def instance(*, major: int = 18, database: Database | None = None, **roles: Role) -> Instance:
    right = {name: role(name) for name in ("owner", "a", "b", "ro")}
    found = database or Database("owner", str(MARKER), frozenset({"owner", "a", "b", "ro"}))
    return Instance(major, "admin", right | roles, found, ("citext", "hstore"))


INSIDE = Inside(frozenset({"citext"}), "owner", (), True, 0, frozenset({"r", "S"}))
EMPTY = Instance(18, "admin", {}, None, ("citext",))


def statements(changes) -> list[str]:
    return [statement.as_string(None) for change in changes for statement in change.statements]


def ensure(there: Instance, inside: Inside = INSIDE, spec: DbInitSpec = SPEC) -> list[str]:
    plan.check(spec, there)
    return [
        change.what
        for changes in (
            plan.roles_to_be(spec, there, HASHES),
            plan.database_to_be(spec, there),
            plan.inside_to_be(spec, inside),
        )
        for change in changes
    ]


def test_nothing_to_do_is_an_empty_plan():
    """At rest nothing is written."""
    assert ensure(instance()) == []


@pytest.mark.parametrize(
    ("major", "clause"), [(15, ""), (16, " WITH SET TRUE, INHERIT TRUE"), (18, " WITH SET TRUE, INHERIT TRUE")]
)
def test_the_administrator_may_become_the_owner(major, clause):
    """16 knows a clause that 15 does not."""
    there = dataclasses.replace(EMPTY, major=major)
    assert f'GRANT "owner" TO CURRENT_USER{clause}' in statements(plan.roles_to_be(SPEC, there, HASHES))


def test_logins_are_made_whole_in_one_transaction():
    """A run that ends in the middle leaves no unmarked role, and none that keeps its own objects."""
    change = next(change for change in plan.roles_to_be(SPEC, EMPTY, HASHES) if change.what == "role a: created")
    assert change.atomic
    assert [statement.as_string(None) for statement in change.statements] == [
        """CREATE ROLE "a" LOGIN NOCREATEDB NOCREATEROLE PASSWORD 'hash-a'""",
        """COMMENT ON ROLE "a" IS 'managed-by=nuages app=acme/shop uid=u-1'""",
        'GRANT "owner" TO "a"',
        """ALTER ROLE "a" SET role = 'owner'""",
    ]


def test_names_are_quoted():
    """Whatever a user called the app."""
    spec = dataclasses.replace(SPEC, database='x"; DROP DATABASE y; --')
    assert 'CREATE DATABASE "x""; DROP DATABASE y; --"' in statements(plan.database_to_be(spec, EMPTY))[0]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"can_login": False}, "role a: attributes corrected"),
        ({"may_create": True}, "role a: attributes corrected"),
        ({"becomes": None}, "role a: its sessions corrected"),
        ({"is_of_owner": False}, "role a: its sessions corrected"),
        ({"is_ours_to_be": False}, "role a: granted to admin"),
    ],
)
def test_drift_of_a_role_is_corrected(changes, what):
    """One change for each, and only it."""
    assert ensure(instance(a=role("a", **changes))) == [what]


def test_an_owner_that_logs_in_is_corrected():
    """It has no password, and needs none."""
    there = instance(owner=role("owner", can_login=True))
    assert statements(plan.roles_to_be(SPEC, there, HASHES)) == ['ALTER ROLE "owner" NOLOGIN NOCREATEDB NOCREATEROLE']


@pytest.mark.parametrize(
    ("database", "what"),
    [
        (Database("owner", str(MARKER), frozenset({"", "a", "b", "ro"})), "database shop: closed to others"),
        (Database("owner", str(MARKER), frozenset({"a", "ro"})), "database shop: opened to b"),
        (Database("postgres", str(MARKER), frozenset({"a", "b", "ro"})), "database shop: owner was postgres"),
        (Database("owner", None, frozenset({"a", "b", "ro"})), "database shop: marked"),
    ],
)
def test_drift_of_the_database_is_corrected(database, what):
    """Who owns it, whose it is, who may enter."""
    assert ensure(instance(database=database)) == [what]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"public_owner": "pg_database_owner"}, "schema public: owner was pg_database_owner"),
        ({"public_owner": None}, "schema public: created"),
        ({"extensions": frozenset()}, "extension citext: created"),
        ({"strays": (Owned("TABLE", "public.t", "a"),)}, "table public.t: owner was a"),
        ({"reader_sees_schema": False}, "role ro: schema opened"),
        ({"reader_lacks": 2}, "role ro: may read what is there"),
        ({"reader_defaults": frozenset({"r"})}, "role ro: may read what comes"),
    ],
)
def test_drift_inside_is_corrected(changes, what):
    """Schema, extensions, ownership, the reader's rights."""
    assert ensure(instance(), dataclasses.replace(INSIDE, **changes)) == [what]


@pytest.mark.parametrize(
    ("comment", "taken"),
    [
        (str(MARKER), True),
        (str(Marker("acme/shop", "u-0", retained=True)), True),
        (str(Marker("acme/shop", "u-0")), False),
        (str(Marker("acme/blog", "u-1", retained=True)), False),
        ("the sales team's", False),
        (None, False),
    ],
)
def test_only_what_is_ours_is_taken(comment, taken):
    """The same object's, or what an app of the same name left; adoption takes the rest."""
    there = instance(database=Database("sales", comment, frozenset()))
    if taken:
        plan.check(SPEC, there)
        return
    with pytest.raises(StoppedError) as stopped:
        plan.check(SPEC, there)
    assert stopped.value.reason is Reason.NAME_CONFLICT
    plan.check(dataclasses.replace(SPEC, adopt=True, adopt_unmarked=True), there)


@pytest.mark.parametrize("comment", [None, "the sales team's"])
def test_what_nuages_did_not_make_is_adopted_only_where_the_tenant_says_so(comment):
    """On an instance of many tenants it may be anybody's: an annotation alone does not open it."""
    for there in (
        instance(database=Database("sales", comment, frozenset())),
        instance(owner=role("owner", comment=comment)),
    ):
        with pytest.raises(StoppedError) as stopped:
            plan.check(dataclasses.replace(SPEC, adopt=True), there)
        assert stopped.value.message.endswith(
            "was not made by Nuages. Choose another name, or add it to DjangoTenant spec.allow.databases and annotate "
            'nuages.dev/adopt: "true".'
        )
        plan.check(dataclasses.replace(SPEC, adopt=True, adopt_unmarked=True), there)


@pytest.mark.parametrize(
    ("app", "retained"), [("other/shop", False), ("other/shop", True), ("acme/blog", False)], ids=str
)
def test_adoption_takes_nothing_that_another_app_may_use(app, retained):
    """Neither another tenant's database, nor that of an app beside, by an annotation."""
    there = instance(database=Database("sales", str(Marker(app, "u-1", retained=retained)), frozenset()))
    with pytest.raises(StoppedError) as stopped:
        plan.check(dataclasses.replace(SPEC, adopt=True, adopt_unmarked=True), there)
    assert stopped.value.reason is Reason.NAME_CONFLICT
    assert stopped.value.message == (
        f"spec.database.name: database shop belongs to {app} (uid u-1). Choose another name."
    )


def test_an_administrator_is_never_adopted():
    """Or an app could lock everybody out."""
    there = instance(owner=role("owner", is_administrator=True))
    with pytest.raises(StoppedError, match="administrator of the instance"):
        plan.check(dataclasses.replace(SPEC, adopt=True), there)


def test_the_message_of_a_conflict():
    """Field, cause, remedy."""
    there = instance(database=Database("x", str(Marker("acme/shop", "u-9")), frozenset()))
    with pytest.raises(StoppedError) as stopped:
        plan.check(SPEC, there)
    assert stopped.value.message == (
        "spec.database.name: database shop belongs to acme/shop (uid u-9). "
        'Choose another name, or annotate nuages.dev/adopt: "true".'
    )


SUPPORTED = "https://cloud.google.com/sql/docs/postgres/extensions"


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        (("hstroe", "citext"), "hstroe is not available on this instance. Use hstore for hstroe."),
        (
            ("pg_trgrm", "unacent"),
            "pg_trgrm, unacent are not available on this instance. Use pg_trgm for pg_trgrm, unaccent for unacent.",
        ),
        (
            ("postgis",),
            "postgis is not available on this instance. "
            f"Remove postgis, or choose a version of PostgreSQL that has it: {SUPPORTED}.",
        ),
        (
            ("unacent", "postgis", "timescaledb"),
            "unacent, postgis, timescaledb are not available on this instance. Use unaccent for unacent. "
            f"Remove postgis, timescaledb, or choose a version of PostgreSQL that has them: {SUPPORTED}.",
        ),
    ],
)
def test_missing_extensions_are_named_all_at_once(asked, advice):
    """With the name that was meant where it is a slip of the keyboard, and none that only sounds alike."""
    available = ("citext", "hstore", "pg_prewarm", "pg_trgm", "postgres_fdw", "unaccent")
    there = dataclasses.replace(instance(), available=available)
    with pytest.raises(StoppedError) as stopped:
        plan.check(dataclasses.replace(SPEC, extensions=asked), there)
    assert stopped.value.reason is Reason.EXTENSION_NOT_AVAILABLE
    assert stopped.value.message == f"spec.database.extensions: {advice}"


def test_dropping_leaves_what_is_anothers():
    """A database or a role without our marker stays."""
    stranger = Database("sales", "theirs", frozenset())
    there = instance(database=stranger, owner=role("owner", comment="theirs"))
    assert [change.what for change in plan.to_drop(SPEC, there)] == [
        "role a: closed",
        "role b: closed",
        "role ro: closed",
        "role ro: dropped",
        "role b: dropped",
        "role a: dropped",
    ]


def test_absent_is_dropped():
    """Deleting twice is deleting once."""
    assert list(plan.to_drop(SPEC, EMPTY)) == []
