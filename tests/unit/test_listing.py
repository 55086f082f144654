"""Filters and pages of list calls."""

from __future__ import annotations

import pytest
from google.cloud import secretmanager_v1

from localcloud.api import listing
from localcloud.core.errors import ApiError

SECRETS = [
    secretmanager_v1.Secret.pb()(name="projects/1/secrets/shop-db", labels={"app": "shop", "tier": "db"}),
    secretmanager_v1.Secret.pb()(name="projects/1/secrets/shop-key", labels={"app": "shop"}, etag="7"),
    secretmanager_v1.Secret.pb()(name="projects/1/secrets/blog", labels={"app": "blog"}, etag="30"),
]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("", ["shop-db", "shop-key", "blog"]),
        ("labels.app=shop", ["shop-db", "shop-key"]),
        ("labels.app=shop labels.tier:*", ["shop-db"]),
        ("labels:tier", ["shop-db"]),
        ("labels.app=blog OR labels.tier=db", ["shop-db", "blog"]),
        ("labels.app=shop AND NOT labels.tier=db", ["shop-key"]),
        ("labels.app=shop -labels.tier=db", ["shop-key"]),
        ("(labels.app=shop AND labels.tier=db) OR name:blog", ["shop-db", "blog"]),
        ('labels.app="shop"', ["shop-db", "shop-key"]),
        ("labels.app!=shop", ["blog"]),
        ("name:SHOP-*", []),
        ("name:*shop-*", ["shop-db", "shop-key"]),
        ("etag>=8", ["blog"]),
        ("key", ["shop-key"]),
    ],
)
def test_filters_let_through_what_they_say(expression: str, names: list[str]) -> None:
    """AND by default, OR within it, `:` as has or part, `=` as equal."""
    assert [item.name.rsplit("/", 1)[1] for item in listing.matching(SECRETS, expression)] == names


@pytest.mark.parametrize("expression", ["labels.app=", "(a=b", "a=b)", "= b", "a=b OR"])
def test_what_cannot_be_read_is_refused(expression: str) -> None:
    """Never taken for an empty filter."""
    with pytest.raises(ApiError, match="Invalid list filter"):
        listing.matching(SECRETS, expression)


def test_pages_follow_each_other() -> None:
    """The last one has no token; a foreign token is refused."""
    first, token = listing.page(list(range(5)), 0, "", 3, 10)
    second, end = listing.page(list(range(5)), 10, token, 3, 10)
    assert (first, second, end) == ([0, 1, 2], [3, 4], "")
    with pytest.raises(ApiError):
        listing.page([1], 1, "not ours", 3, 10)
