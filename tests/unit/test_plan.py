"""The plan: each verb from its cause."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nuages.cloud.driver import Observed, Owned, Readiness
from nuages.cloud.sql import ExistingSqlInstanceDriver, SqlInstanceDriver
from nuages.cloud.storage import BucketDriver
from nuages.desired.iam import IamMember
from nuages.desired.resource import Owner, Resource
from nuages.desired.secretmanager import Composed, Random, Secret
from nuages.desired.sql import Backups, ExistingSqlInstance, SqlInstance
from nuages.desired.storage import Bucket
from nuages.reconcile.plan import REFUSED, WRITES, Action, Plan, Verb, decide, make_plan, versions_of

OURS = Owner("acme", "shop", "u-1")
BUCKET = Bucket(name="projects/p/buckets/media", owner=OURS, location="EUROPE-WEST1", versioning=True)
INSTANCE = SqlInstance(
    name="projects/p/instances/pg",
    owner=OURS,
    region="europe-west1",
    database_version="POSTGRES_15",
    tier="db-custom-1-3840",
    edition="ENTERPRISE",
    availability="ZONAL",
    disk_gb=20,
    disk_limit_gb=100,
    backups=Backups(7, "03:00", 7),
    maintenance_day=7,
    maintenance_hour=4,
    query_insights=True,
    flags=(),
    deletion_protection=True,
)
PASSWORD = Secret(name="projects/p/secrets/password", owner=OURS, payload=Random())
URL = Secret(
    name="projects/p/secrets/url",
    owner=OURS,
    payload=Composed("x://{password}", (("password", PASSWORD.name),)),
    source="",
)
GRANT = IamMember.of("projects/p", "roles/cloudsql.client", "serviceAccount:a@p.iam.gserviceaccount.com")
OWNED: dict[type[Resource], Owned] = {
    Bucket: Owned(("versioning", "labels"), ("location",)),
    SqlInstance: Owned(("tier", "flags"), ("region",), ("disk_gb",), ("private_network",)),
    Secret: Owned(("source",)),
    IamMember: Owned(),
    ExistingSqlInstance: Owned(),
}


def _decide(resource: Resource, found: Observed[Any] | None, adopt: bool = False, **versions: str) -> Action:
    known = {f"projects/p/secrets/{name}": version for name, version in versions.items()}
    return decide(resource, found, known, OWNED[type(resource)], adopt)


def _marked(owner: Owner | None) -> Observed[Bucket]:
    return Observed(replace(BUCKET, owner=owner))


def test_what_is_not_there_is_created() -> None:
    """With everything bound that can be."""
    assert _decide(BUCKET, None) == Action(Verb.CREATE, BUCKET)


def test_what_is_as_it_should_be_is_kept() -> None:
    """Nothing is written."""
    found = Observed(BUCKET)
    assert _decide(BUCKET, found) == Action(Verb.KEEP, BUCKET, found)


def test_what_cannot_bear_a_marker_is_known_by_its_name() -> None:
    """A grant that is there is ours."""
    found = Observed(GRANT)
    assert _decide(GRANT, found) == Action(Verb.KEEP, GRANT, found)


def test_drift_is_updated_by_its_paths() -> None:
    """Only the fields that we set and that differ."""
    found = Observed(replace(BUCKET, versioning=False, labels=(("team", "web"),)))
    assert _decide(BUCKET, found) == Action(Verb.UPDATE, BUCKET, found, ("versioning", "labels"))


def test_a_field_that_is_not_ours_is_no_drift() -> None:
    """The driver says which are."""
    found = Observed(replace(INSTANCE, maintenance_hour=1))
    assert _decide(INSTANCE, found).verb is Verb.KEEP


OPENED: dict[str, tuple[Bucket | SqlInstance, dict[str, Any], tuple[str, ...]]] = {
    "uniform": (BUCKET, {"uniform_bucket_level_access": False}, ("uniform_bucket_level_access",)),
    "public": (BUCKET, {"public_access_prevention": "inherited"}, ("public_access_prevention",)),
    "networks": (INSTANCE, {"authorized_networks": ("0.0.0.0/0",)}, ("authorized_networks",)),
    "connectors": (INSTANCE, {"connectors_only": False}, ("connectors_only",)),
}
DRIVERS = {Bucket: BucketDriver.owned, SqlInstance: SqlInstanceDriver.owned}


@pytest.mark.parametrize(("closed", "change", "paths"), OPENED.values(), ids=OPENED)
def test_what_was_opened_by_hand_is_closed(
    closed: Bucket | SqlInstance, change: dict[str, Any], paths: tuple[str, ...]
) -> None:
    """Where it is ours, taken back or adopted; an adoption that nobody asked for names what it would close."""
    owned, open_one = DRIVERS[type(closed)], replace(closed, **change)
    kept = replace(open_one, owner=Owner("acme", "shop", "u-0", retained=True))
    foreign = replace(open_one, owner=None)
    for state, adopt, verb, changed in (
        (open_one, False, Verb.UPDATE, paths),
        (kept, False, Verb.UPDATE, ("owner", *paths)),
        (foreign, True, Verb.ADOPT, ("owner", *paths)),
        (foreign, False, Verb.CONFLICT, paths),
    ):
        action = decide(closed, Observed(state), {}, owned, adopt)
        assert (action.verb, action.paths) == (verb, changed)


def test_what_was_closed_by_hand_stays_closed() -> None:
    """An instance on a private network lets in more than connectors, but need not."""
    private = replace(INSTANCE, private_network="projects/p/global/networks/default", connectors_only=False)
    found = Observed(replace(private, connectors_only=True))
    assert decide(private, found, {}, SqlInstanceDriver.owned).verb is Verb.KEEP


def test_nothing_of_an_existing_instance_is_ours() -> None:
    """Whatever networks somebody else lets into it."""
    assert ExistingSqlInstanceDriver.owned == Owned()


@pytest.mark.parametrize(
    ("found_gb", "verb", "paths"), [(20, "keep", ()), (50, "keep", ()), (10, "update", ("disk_gb",))]
)
def test_a_floor_is_only_raised(found_gb: int, verb: str, paths: tuple[str, ...]) -> None:
    """A disk that grew by itself is no drift."""
    action = _decide(INSTANCE, Observed(replace(INSTANCE, disk_gb=found_gb)))
    assert (action.verb, action.paths) == (Verb(verb), paths)


def test_what_only_a_replacement_could_change_is_refused() -> None:
    """Naming the immutable fields alone; the mutable ones wait."""
    found = Observed(replace(BUCKET, location="US", versioning=False))
    assert _decide(BUCKET, found) == Action(Verb.IMMUTABLE, BUCKET, found, ("location",))


def test_what_is_busy_is_waited_for() -> None:
    """Whatever differs."""
    found = Observed(replace(BUCKET, versioning=False), Readiness.BUSY, "being created")
    assert _decide(BUCKET, found) == Action(Verb.WAIT, BUCKET, found, message="being created")


def test_what_failed_and_does_not_differ_is_reported() -> None:
    """In Google's words: writing it again would change nothing."""
    found = Observed(BUCKET, Readiness.FAILED, "The service account is disabled.")
    assert _decide(BUCKET, found) == Action(Verb.FAILED, BUCKET, found, message="The service account is disabled.")


def test_what_failed_and_differs_is_updated() -> None:
    """The change may mend it."""
    found = Observed(replace(BUCKET, versioning=False), Readiness.FAILED, "broken")
    assert _decide(BUCKET, found).verb is Verb.UPDATE


@pytest.mark.parametrize(
    ("owner", "whose"),
    [
        (None, "it bears no marker of ours"),
        (Owner("acme", "blog", "u-2"), "it belongs to acme/blog"),
        (Owner("other", "shop", "u-1"), "it belongs to other/shop"),
        (Owner("acme", "shop", "u-0"), "it belongs to acme/shop"),
        (Owner("acme"), "the apps of acme share it"),
        (Owner(instance="acme-pg"), "all apps on instance acme-pg share it"),
        (Owner("other", "shop", "u-1", retained=True), "it was kept when other/shop was deleted"),
    ],
)
def test_what_is_not_ours_is_a_conflict_that_says_whose(owner: Owner | None, whose: str) -> None:
    """Unmarked, another app's, another namespace's, or that of another cluster's app of the same name."""
    found = _marked(owner)
    assert _decide(BUCKET, found) == Action(Verb.CONFLICT, BUCKET, found, message=whose)


@pytest.mark.parametrize("owner", [None, Owner("acme", "shop", "u-0")])
def test_the_user_may_adopt_what_nobody_else_has(owner: Owner | None) -> None:
    """What bears no marker, or one of this app's earlier life in another cluster; the marker is written with it."""
    found = Observed(replace(BUCKET, owner=owner, versioning=False))
    assert _decide(BUCKET, found, adopt=True) == Action(Verb.ADOPT, BUCKET, found, ("owner", "versioning"))


@pytest.mark.parametrize("owner", [Owner("acme", "blog", "u-2"), Owner("other", "shop", "u-1"), Owner("acme")])
def test_nobody_adopts_what_another_has(owner: Owner) -> None:
    """An annotation on one app takes nothing from another, or every author could."""
    assert _decide(BUCKET, _marked(owner), adopt=True).verb is Verb.CONFLICT


def test_what_was_retained_is_taken_back() -> None:
    """By an app of the same namespace and name, whatever its uid: the marker becomes its own."""
    found = _marked(Owner("acme", "shop", "u-0", retained=True))
    assert _decide(BUCKET, found) == Action(Verb.UPDATE, BUCKET, found, ("owner",))


def test_what_was_retained_for_the_same_uid_is_taken_back_too() -> None:
    """A deletion that went half-way leaves the mark."""
    found = _marked(replace(OURS, retained=True))
    assert _decide(BUCKET, found) == Action(Verb.UPDATE, BUCKET, found, ("owner",))


@pytest.mark.parametrize(
    ("wanted", "found", "paths"),
    [("", "", ()), ("", "a", ()), ("a", "", ("private_network",)), ("a", "a", ()), ("a", "b", ("private_network",))],
)
def test_what_lasts_is_no_difference_where_nothing_is_asked_for(
    wanted: str, found: str, paths: tuple[str, ...]
) -> None:
    """A private network that somebody added stays: Google has no way to take it away."""
    action = _decide(replace(INSTANCE, private_network=wanted), Observed(replace(INSTANCE, private_network=found)))
    assert action.paths == paths


def test_an_existing_instance_must_be_there() -> None:
    """It is not ours to make, nor to mark."""
    existing = ExistingSqlInstance(name="projects/p/instances/pg", named_by="spec.database.instance.existing")
    found = Observed(existing)
    assert _decide(existing, None) == Action(Verb.MISSING, existing)
    assert _decide(existing, found) == Action(Verb.KEEP, existing, found)


def test_an_existing_instance_must_be_of_use() -> None:
    """Waited for while it is being made, refused while it is stopped, kept while Google is at work on it."""
    existing = ExistingSqlInstance(name="projects/p/instances/pg", named_by="spec.database.instance.existing")
    for readiness, verb in (
        (Readiness.BUSY, Verb.WAIT),
        (Readiness.FAILED, Verb.FAILED),
        (Readiness.LOCKED, Verb.KEEP),
    ):
        found = Observed(existing, readiness, "As Google says.")
        message = "" if verb is Verb.KEEP else "As Google says."
        assert _decide(existing, found) == Action(verb, existing, found, message=message)


def test_what_is_locked_is_kept_as_long_as_nothing_is_to_be_changed() -> None:
    """An app whose instance is in maintenance is as ready as before; a change waits for its end."""
    same = Observed(BUCKET, Readiness.LOCKED, "The instance is in MAINTENANCE.")
    assert _decide(BUCKET, same) == Action(Verb.KEEP, BUCKET, same)
    other = replace(same, state=replace(BUCKET, versioning=not BUCKET.versioning))
    assert _decide(BUCKET, other) == Action(Verb.WAIT, BUCKET, other, message="The instance is in MAINTENANCE.")


def test_a_composed_secret_waits_for_its_parts() -> None:
    """While a part has no version there is no fingerprint: created or updated after it, once it has one."""
    assert _decide(URL, None) == Action(Verb.CREATE, URL)
    found = Observed(replace(URL, source="before"))
    assert _decide(URL, found) == Action(Verb.UPDATE, URL, found)


def test_a_composed_secret_follows_the_versions_of_its_parts() -> None:
    """The same versions keep it, another one updates it."""
    bound = URL.bind({PASSWORD.name: "1"})
    assert bound is not None
    found = Observed(bound)
    assert _decide(URL, found, password="1") == Action(Verb.KEEP, bound, found)
    assert _decide(URL, found, password="2").paths == ("source",)


def test_a_plan_keeps_the_blueprints_order_and_deletes_last() -> None:
    """One action a resource; versions come from what was seen."""
    bound = URL.bind({PASSWORD.name: "4"})
    assert bound is not None
    seen = {
        PASSWORD.name: Observed(PASSWORD, outputs={"version": "4"}),
        URL.name: Observed(bound, outputs={"version": "2"}),
        BUCKET.name: None,
    }
    surplus = Observed(GRANT)
    plan = make_plan([PASSWORD, URL, BUCKET], seen, OWNED.__getitem__, surplus=[surplus])
    assert [(action.verb, action.resource.name) for action in plan.actions] == [
        (Verb.KEEP, PASSWORD.name),
        (Verb.KEEP, URL.name),
        (Verb.CREATE, BUCKET.name),
        (Verb.DELETE, GRANT.name),
    ]
    assert [action.resource for action in plan.changes] == [BUCKET, GRANT]


def test_surplus_that_holds_data_is_never_deleted() -> None:
    """A database and a bucket stay when the spec stops wanting them, whoever calls them surplus."""
    surplus = [Observed(item) for item in (INSTANCE, BUCKET)]
    assert make_plan([], {}, OWNED.__getitem__, surplus=surplus) == Plan(())


def test_surplus_goes_after_the_release_and_dependents_first() -> None:
    """A job before the secret that it reads, both after everything that the release needs."""
    job, password = Observed(GRANT), Observed(PASSWORD)
    plan = make_plan([BUCKET], {BUCKET.name: None}, OWNED.__getitem__, surplus=[job, password])
    assert [action.resource.name for action in plan.deletions] == [GRANT.name, PASSWORD.name]
    assert plan.deletions[1].resource.needs == {GRANT.name}
    assert [action.verb for action in plan.before_release.actions] == [Verb.CREATE]


@pytest.mark.parametrize("before", [Owner("acme"), Owner("other")])
def test_what_a_namespace_had_for_an_instance_becomes_the_instances(before: Owner) -> None:
    """Without anybody's asking; what is an app's own, or another instance's, is not taken."""
    shared = replace(PASSWORD, owner=Owner(instance="acme-pg"))
    found = {PASSWORD.name: Observed(replace(PASSWORD, owner=before))}
    (action,) = make_plan([shared], found, OWNED.__getitem__).actions
    assert (action.verb, action.paths[0]) == (Verb.UPDATE, "owner")
    for other in (OURS, Owner(instance="other-pg"), None):
        kept = {PASSWORD.name: Observed(replace(PASSWORD, owner=other))}
        assert make_plan([shared], kept, OWNED.__getitem__).actions[0].verb is Verb.CONFLICT
    theirs = {PASSWORD.name: Observed(shared)}
    for wanted in (replace(PASSWORD, owner=OURS), replace(PASSWORD, owner=Owner("acme"))):
        assert make_plan([wanted], theirs, OWNED.__getitem__, adopt=True).actions[0].verb is Verb.CONFLICT


def test_refusals_stand_apart_from_changes() -> None:
    """What is refused is not written."""
    assert not WRITES & REFUSED
    plan = make_plan([BUCKET, GRANT], {BUCKET.name: _marked(None), GRANT.name: None}, OWNED.__getitem__)
    assert [action.verb for action in plan.refusals] == [Verb.CONFLICT]
    assert [action.verb for action in plan.changes] == [Verb.CREATE]


def test_versions_are_those_that_secrets_have() -> None:
    """A secret without one, and what is no secret, has none."""
    seen = {"a": Observed(PASSWORD, outputs={"version": "3"}), "b": Observed(PASSWORD), "c": None}
    assert versions_of(seen) == {"a": "3"}


@pytest.mark.parametrize(
    "owner",
    [
        OURS,
        Owner("acme"),
        replace(OURS, retained=True),
        Owner("acme", retained=True),
        Owner(instance="acme-pg"),
    ],
)
def test_markers_are_read_as_they_were_written(owner: Owner) -> None:
    """As labels and as a line of text; anything else is no marker."""
    assert Owner.of_labels({**owner.labels(), "team": "web"}) == owner
    assert Owner.of_text(owner.text()) == owner
    assert Owner.of_labels({"managed-by": "terraform", "nuages-namespace": "acme"}) is None
    assert Owner.of_text(f"see: {owner.text()}") is None
