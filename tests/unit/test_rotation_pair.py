"""Which of two secrets is in use, and when the other is made anew."""

from __future__ import annotations

from nuages.blueprint.rotation import Pair, pair, request_of


def test_nothing_asked_leaves_what_is_there() -> None:
    """An app without the annotation has one of each, and one whose annotation was taken away keeps both."""
    assert pair({"a": None, "b": None}, "") == Pair()
    assert pair({"a": "random", "b": None}, "") == Pair({"a": "random"}, "a")
    assert pair({"a": "random", "b": "random-1-one"}, "").newest == "b"


def test_a_new_app_is_made_for_the_request_that_it_comes_with() -> None:
    """Its manifest may carry the annotation of an earlier rotation."""
    made = pair({"a": None, "b": None}, "one")
    assert made.letters == ("a",)
    assert made.answers("one")
    assert pair({"a": made.sources["a"], "b": None}, "one") == made


def test_each_request_is_answered_once_and_in_turn() -> None:
    """From A to B, back to A; looked at again, nothing is made."""
    first = Pair()
    assert not first.answers("one")
    second = first.rotated("one")
    assert (second.newest, second.older) == ("b", "a")
    assert pair(dict(second.sources), "one") == second
    assert second.answers("one")
    third = second.rotated("two")
    assert (third.newest, third.sources["b"]) == ("a", second.sources["b"])
    assert pair(dict(third.sources), "two") == third


def test_a_version_that_somebody_disabled_is_the_older_one() -> None:
    """Its fingerprint reads as empty: it is made good, but not moved to."""
    found = pair({"a": "random", "b": ""}, "")
    assert (found.newest, found.letters) == ("a", ("a", "b"))


def test_an_annotation_may_hold_anything() -> None:
    """It becomes a word that fits a secret's annotation."""
    assert request_of("") == ""
    assert request_of("Fri, 20 Nov @ 2026").isalnum()
    assert request_of("one") != request_of("two")
