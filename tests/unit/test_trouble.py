# ruff: noqa: E501 - sentences are tested whole, each on its line
"""What stands in an app's way: reason, whether somebody has to act, and one sentence of field, cause and remedy."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_support import a_tenant, an_app, some_facts

from nuages.blueprint.compose import compose
from nuages.cloud import errors
from nuages.cloud.driver import Observed
from nuages.cloud.errors import CloudError
from nuages.cloud.sql import SqlInstanceDriver
from nuages.cloud.storage import BucketDriver
from nuages.desired.resource import Owner
from nuages.desired.secretmanager import Random, Secret
from nuages.desired.sql import ExistingSqlInstance, SqlInstance
from nuages.desired.storage import Bucket
from nuages.reconcile import reasons
from nuages.reconcile.plan import Action, Verb
from nuages.reconcile.trouble import FIXED_BY, Trouble, of_error, of_refusal, shortened

OURS = Owner("acme", "shop", "u-1")
BUCKET = Bucket(name="projects/acme-prod/buckets/media", owner=OURS, location="EUROPE-WEST1", versioning=True)
INSTANCE = next(item for item in compose(an_app(), a_tenant(), some_facts()).resources if isinstance(item, SqlInstance))
EXISTING = ExistingSqlInstance(
    name="projects/acme-prod/instances/acme-pg", named_by="DjangoTenant spec.database.existing"
)
ADMINISTRATOR = Secret(
    name="projects/acme-prod/secrets/nuages-admin-acme-pg",
    owner=Owner(instance="acme-pg"),
    payload=Random(),
    named_by="spec.database.instance.existing",
)
BLOGS = Owner("acme", "blog", "u-2")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.PermissionDenied("No.", permission="run.services.create"), Trouble("PermissionDenied", 'Bucket media: ops@acme lacks run.services.create. Grant it roles/run.admin. Google says: "No".', heals=True)),
        (errors.PermissionDenied("No.", permission="compute.networks.use"), Trouble("PermissionDenied", 'Bucket media: ops@acme lacks compute.networks.use. Grant it a role with this permission. Google says: "No".', heals=True)),
        (errors.PermissionDenied("No."), Trouble("PermissionDenied", 'Bucket media: ops@acme lacks a permission. Grant it a role with this permission. Google says: "No".', heals=True)),
        (errors.Unidentified("There are no credentials. Make some."), Trouble("PermissionDenied", "Bucket media: There are no credentials. Make some.", heals=True)),
        (errors.ApiDisabled("Off.", service="run.googleapis.com"), Trouble("ApiDisabled", 'Bucket media: the API run.googleapis.com is disabled. Set enableServices in DjangoTenant, or run: gcloud services enable run.googleapis.com. Google says: "Off".')),
        (errors.ApiDisabled("Off."), Trouble("ApiDisabled", 'Bucket media: the API that it needs is disabled. Set enableServices in DjangoTenant, or turn it on. Google says: "Off".')),
        (errors.QuotaExceeded("Full."), Trouble("QuotaExceeded", 'Bucket media: a limit of the project is reached. Raise it. Google says: "Full".')),
        (errors.VersionDisabled("Version 1 of it is disabled."), Trouble("SecretVersionDisabled", "Bucket media: Version 1 of it is disabled. What runs goes on, and no new instance can start. Enable it again, then annotate nuages.dev/rotate, and once more when the app is Ready again: the second rotation ends it.")),
        (errors.NameReserved("Kept."), Trouble("NameReserved", 'Bucket media: it was deleted less than a week ago, and Google keeps its name. Wait for the end of that week, or delete this app and apply it again: its instance is called otherwise then. Either way its database begins empty: restore a backup into it. Google says: "Kept".')),
        (errors.Invalid("Bad."), Trouble("RefusedByGoogle", 'Bucket media: the request was refused. Correct the spec. Google says: "Bad".')),
        (errors.PolicyViolated("No.", constraint="sql.restrictPublicIp"), Trouble("RefusedByGoogle", 'Bucket media: the organisation policy sql.restrictPublicIp forbids it. Have the project excepted from it, or change the spec so that it is kept. Google says: "No".')),
        (errors.Propagating("Soon."), Trouble("Waiting", 'Bucket media: a new identity or grant is not known everywhere yet. Where this stays, see that it is there. Google says: "Soon".', heals=True)),
        (errors.Unfinished("1000 of them."), Trouble("EmptyingBucket", "Bucket media: is being emptied. Nothing to do.", stalled=False)),
        (errors.Transient("Busy.", retry_after=7.5), Trouble("GoogleUnavailable", 'Bucket media: tried again soon. Google says: "Busy".', stalled=False, retry_after=7.5)),
        (errors.Conflict("Etag."), Trouble("GoogleUnavailable", 'Bucket media: tried again soon. Google says: "Etag".', stalled=False)),
        (errors.NotFound("Gone."), Trouble("GoogleUnavailable", 'Bucket media: tried again soon. Google says: "Gone".', stalled=False)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, CloudError) else "",
)  # fmt: skip
def test_each_failed_call_has_its_reason(error: CloudError, expected: Trouble) -> None:
    """Only what somebody has to mend stalls; what heals does so after a while."""
    assert of_error(error, "Bucket media", "ops@acme") == expected


PORT = (
    "The user-provided container failed to start and listen on the port defined provided by the PORT=8080 environment "
    "variable within the allocated timeout. This can happen when the container port is misconfigured or if the timeout "
    "is too short. The health check timeout can be extended."
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It is\n full.", "It is full"),
        (f"{PORT} Logs for this revision might contain more information.", f"{PORT} …"),
        (f"{'a name ' * 60}.", f"{'a name ' * 43}…"),
        ("x" * 301, f"{'x' * 300} …"),
    ],
    ids=["short", "sentences", "words", "one-word"],
)
def test_a_long_message_is_cut_where_a_reader_would(text: str, kept: str) -> None:
    """After a sentence, else a word, and it shows that there was more."""
    assert shortened(text) == kept


def test_every_kind_of_failure_has_been_thought_of() -> None:
    """A new class of error needs a row above."""
    known = {
        "Transient",
        "Conflict",
        "NotFound",
        "Propagating",
        "PermissionDenied",
        "ApiDisabled",
        "QuotaExceeded",
        "Invalid",
        "NameReserved",
        "VersionDisabled",
        "Unfinished",
    }
    assert {kind.__name__ for kind in CloudError.__subclasses__()} == known


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action(Verb.CONFLICT, BUCKET, Observed(Bucket(name=BUCKET.name, location="US", versioning=True)), message="it bears no marker of ours"), Trouble("NameConflict", 'metadata.name: Bucket media is not ours: it bears no marker of ours. Read "nuages plan", then annotate nuages.dev/adopt: "true", or rename.')),
        (Action(Verb.CONFLICT, BUCKET, Observed(Bucket(name=BUCKET.name, owner=Owner("acme", "blog", "u-2"), location="US", versioning=True)), message="it belongs to acme/blog"), Trouble("NameConflict", "metadata.name: Bucket media is not ours: it belongs to acme/blog. Rename this app, or delete the other one.")),
        (Action(Verb.CONFLICT, BUCKET, Observed(Bucket(name=BUCKET.name, owner=Owner("acme", "blog", "u-2", retained=True), location="US", versioning=True)), message="it was kept when acme/blog was deleted"), Trouble("NameConflict", "metadata.name: Bucket media is not ours: it was kept when acme/blog was deleted. Rename this app, or delete at Google what was kept.")),
        (Action(Verb.CONFLICT, ADMINISTRATOR, Observed(replace(ADMINISTRATOR, owner=BLOGS)), message="it belongs to acme/blog"), Trouble("NameConflict", "spec.database.instance.existing: Secret nuages-admin-acme-pg is not ours: it belongs to acme/blog. Name an instance that no app made for itself.")),
        (Action(Verb.CONFLICT, ADMINISTRATOR, Observed(replace(ADMINISTRATOR, owner=None)), message="it bears no marker of ours"), Trouble("NameConflict", 'spec.database.instance.existing: Secret nuages-admin-acme-pg is not ours: it bears no marker of ours. Read "nuages plan", then annotate nuages.dev/adopt: "true", or name another.')),
        (Action(Verb.IMMUTABLE, BUCKET, Observed(replace(BUCKET, location="US")), ("location",)), Trouble("ImmutableField", 'DjangoTenant spec.region: Bucket media was made with "us", which cannot be changed once it is there. Set "us" again.')),
        (Action(Verb.IMMUTABLE, INSTANCE, Observed(replace(INSTANCE, database_version="POSTGRES_15")), ("database_version",)), Trouble("ImmutableField", 'spec.database.version: Instance acme-shop-a24a7f was made with "15", which cannot be changed once it is there. Set "15" again.')),
        (Action(Verb.MISSING, EXISTING), Trouble("InstanceNotFound", "DjangoTenant spec.database.existing: Instance acme-pg is not in project acme-prod. Create it or correct the name.")),
        (Action(Verb.FAILED, EXISTING, message="The instance is stopped."), Trouble("ResourceFailed", "DjangoTenant spec.database.existing: Instance acme-pg is of no use. The instance is stopped. Start or repair it, or name another.")),
        (Action(Verb.FAILED, EXISTING, Observed(EXISTING, reason="Stopped"), message="The instance is stopped."), Trouble("ResourceFailed", "DjangoTenant spec.database.existing: Instance acme-pg is of no use. The instance is stopped. Start it: gcloud sql instances patch acme-pg --activation-policy ALWAYS, or name another.")),
        (Action(Verb.FAILED, INSTANCE, Observed(INSTANCE, reason="Stopped"), message="The instance is stopped."), Trouble("ResourceFailed", 'Instance acme-shop-a24a7f failed. Start it: gcloud sql instances patch acme-shop-a24a7f --activation-policy ALWAYS. Google says: "The instance is stopped".')),
        (Action(Verb.FAILED, BUCKET, message="It is suspended."), Trouble("ResourceFailed", 'Bucket media failed. Start or repair it. Google says: "It is suspended".')),
    ],
    ids=lambda value: value.verb.value if isinstance(value, Action) else "",
)  # fmt: skip
def test_each_refusal_names_what_to_do(action: Action, expected: Trouble) -> None:
    """All of them wait for somebody."""
    assert of_refusal(action) == expected
    assert expected.stalled


@given(st.text(max_size=2000))
def test_googles_words_stay_on_one_line_and_short(cause: str) -> None:
    """A condition's message holds them whole."""
    message = of_error(errors.Invalid(cause), "Bucket media").message
    assert len(message) < 450
    assert not re.search(r"[\n\r\t]", message)


def test_what_cannot_be_changed_has_a_field() -> None:
    """Of the spec, whichever driver says so."""
    immutable = {path for driver in (SqlInstanceDriver, BucketDriver) for path in driver.owned.immutable}
    assert set(FIXED_BY) == immutable


def test_reasons_are_all_in_one_file() -> None:
    """CamelCase, each once."""
    words = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]
    assert len(words) == len(set(words))
    assert all(re.fullmatch(r"([A-Z][a-z]*)+", word) for word in words)


def test_trouble_reads_as_its_message() -> None:
    """In logs and tracebacks too."""
    assert str(Trouble("InvalidSpec", f"{an_app().key}: no.")) == "acme/shop: no."
