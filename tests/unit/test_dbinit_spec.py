"""The document that db-init is given, and the verdict that it gives."""

import dataclasses
import json

import pytest

from nuages.dbinit.spec import DbInitSpec, Login, Marker
from nuages.dbinit.verdict import Reason, StoppedError, Verdict

SPEC = DbInitSpec(
    database="shop",
    owner="shop_owner",
    marker=Marker("acme/shop", "u-1"),
    logins=(Login("shop_a", "PASSWORD_A"), Login("shop_b", "PASSWORD_B")),
    read_only=Login("shop_ro", "PASSWORD_RO"),
    extensions=("pg_trgm", "citext"),
)


def document(**changes) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | changes)


def test_the_document_comes_back_as_it_was():
    """What the blueprint writes is what the job reads."""
    assert DbInitSpec.from_json(SPEC.to_json()) == SPEC


def test_the_same_spec_is_the_same_document():
    """Byte for byte, or every pass would change the job."""
    assert SPEC.to_json() == dataclasses.replace(SPEC).to_json()


def test_the_document_holds_no_password():
    """Only names of variables."""
    assert set(json.loads(SPEC.to_json())["logins"][0]) == {"role", "password_env"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "document: unknown field colour"),
        ({"logins": [{"role": "a"}]}, "logins: missing 'password_env'"),
        ({"logins": []}, "logins: at least one is needed"),
        ({"logins": "shop_a"}, "logins: a list is expected"),
        ({"extensions": [1]}, "extensions: str is expected"),
        ({"connect_seconds": True}, "connect_seconds: int is expected"),
        ({"database": "postgres"}, "database: postgres belongs to the instance"),
        ({"database": ""}, "database: '' is not between 1 and 63 bytes long"),
        ({"owner": "é" * 32}, "is not between 1 and 63 bytes long"),
        ({"owner": "pg_monitor"}, "role: pg_monitor is reserved"),
        ({"owner": "cloudsqlsuperuser"}, "role: cloudsqlsuperuser is reserved"),
        ({"owner": "shop_a"}, "owner and logins are different roles"),
        ({"action": "explode"}, "action: 'explode' is none of ensure, retain, drop"),
        ({"marker": {"app": "shop", "uid": "1"}}, "marker: app is <namespace>/<name>"),
        ({"marker": None}, "marker: an object is expected"),
    ],
)
def test_a_wrong_document_names_its_field(changes, message):
    """One sentence, reason BadInput."""
    with pytest.raises(StoppedError) as stopped:
        DbInitSpec.from_json(document(**changes))
    assert stopped.value.reason is Reason.BAD_INPUT
    assert message in stopped.value.message


@pytest.mark.parametrize("text", ["{", "[]", "null", '"x"'])
def test_what_is_no_object_is_refused(text):
    """Whatever came instead."""
    with pytest.raises(StoppedError):
        DbInitSpec.from_json(text)


@pytest.mark.parametrize("marker", [Marker("a/b", "u"), Marker("a/b", "u", retained=True)])
def test_a_marker_is_read_as_it_was_written(marker):
    """It is the only memory of whose a database is."""
    assert Marker.parse(str(marker)) == marker


@pytest.mark.parametrize(
    "comment", [None, "", "mine", "managed-by=nuages app=a/b", "x managed-by=nuages app=a/b uid=u"]
)
def test_other_comments_are_no_markers(comment):
    """Nothing is ours by resemblance."""
    assert Marker.parse(comment) is None


def test_the_verdict_is_one_line():
    """Cloud Logging takes a line of JSON as one entry."""
    line = Verdict(Reason.NAME_CONFLICT, "two\nlines", ("a",)).line()
    assert "\n" not in line
    assert json.loads(line) == {
        "nuages": "dbinit",
        "severity": "ERROR",
        "reason": "NameConflict",
        "message": "two\nlines",
        "changed": ["a"],
    }


def test_each_reason_has_an_exit_code_of_its_own():
    """Below those that a shell or a signal makes, for the exit code is what certainly arrives."""
    assert len({int(reason) for reason in Reason}) == len(list(Reason))
    assert all(int(reason) < 125 for reason in Reason)
