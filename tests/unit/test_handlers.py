"""Which events wake an app."""

from __future__ import annotations

from typing import Any

import pytest

from nuages.kube.contents import Contents
from nuages.kube.handlers import Watched, registry, settings


def _body(namespace: str = "acme", name: str = "shop", **changes: Any) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": "u-1", "generation": 3, "resourceVersion": "10", **changes}
    return {"metadata": metadata, "status": {"observedGeneration": changes.get("generation", 3)}}


@pytest.fixture
def woken() -> list[str]:
    return []


def _watched(woken: list[str]) -> Watched:
    return Watched(woken.append, Contents(woken.append))


@pytest.fixture
def watched(woken: list[str]) -> Watched:
    """An operator that has seen one app."""
    made = _watched(woken)
    made.app(None, _body())
    woken.clear()
    return made


def test_a_listed_app_is_looked_at(woken: list[str]) -> None:
    """Also one that has not changed: the list comes with a start, or after a watch was lost."""
    watched = _watched(woken)
    watched.app(None, _body())
    watched.app(None, _body())
    assert woken == ["acme/shop", "acme/shop"]


def test_a_new_app_is_looked_at(watched: Watched, woken: list[str]) -> None:
    """By its own key."""
    watched.app("ADDED", _body(name="blog"))
    assert woken == ["acme/blog"]


def test_our_own_writes_wake_nobody(watched: Watched, woken: list[str]) -> None:
    """A status or a finalizer changes neither generation nor annotations of ours."""
    watched.app("MODIFIED", {**_body(resourceVersion="11"), "status": {"phase": "Ready"}})
    watched.app("MODIFIED", _body(resourceVersion="12", finalizers=["nuages.dev/google-resources"]))
    assert woken == []


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 4},
        {"deletionTimestamp": "2026-11-21T00:00:00Z"},
        {"annotations": {"nuages.dev/reconcile-at": "now"}},
        {"uid": "u-2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_people_change_wakes(watched: Watched, woken: list[str], change: dict[str, Any]) -> None:
    """Once: the second event of the same content is passed over."""
    watched.app("MODIFIED", _body(resourceVersion="11", **change))
    watched.app("MODIFIED", _body(resourceVersion="12", **change))
    assert woken == ["acme/shop"]


def test_others_annotations_wake_nobody(watched: Watched, woken: list[str]) -> None:
    """Argo CD's, kubectl's."""
    watched.app("MODIFIED", _body(annotations={"argocd.argoproj.io/tracking-id": "x"}))
    assert woken == []


def test_an_app_that_went_is_forgotten(watched: Watched, woken: list[str]) -> None:
    """What comes by the same name is new, even with the same content."""
    watched.app("DELETED", _body())
    assert watched.count == 0
    watched.app("ADDED", _body())
    assert woken == ["acme/", "acme/shop"]


def test_an_app_that_went_wakes_its_tenant(watched: Watched, woken: list[str]) -> None:
    """Which may be held for it alone: the answer to the app's last write may have been lost."""
    watched.app("DELETED", _body())
    assert woken == ["acme/"]


def test_a_tenant_wakes_its_namespace_alone(watched: Watched, woken: list[str]) -> None:
    """Not a namespace whose name begins alike."""
    watched.app("ADDED", _body(name="blog"))
    watched.app("ADDED", _body(namespace="acme-two"))
    woken.clear()
    watched.tenant("ADDED", _body(name="default"))
    assert sorted(woken) == ["acme/", "acme/blog", "acme/shop"]


def test_a_tenant_wakes_itself(watched: Watched, woken: list[str]) -> None:
    """By a key without a name, also where no app is: it has a status, and may go at once when it is deleted."""
    watched.tenant("ADDED", _body("empty", "default"))
    watched.tenant("MODIFIED", _body("empty", "default", deletionTimestamp="2026-11-21T00:00:00Z"))
    assert woken == ["empty/", "empty/"]


def test_our_own_writes_to_a_tenant_wake_nobody(watched: Watched, woken: list[str]) -> None:
    """Or a tenant's status would wake its apps, whose passes write it."""
    watched.tenant("ADDED", _body(name="default"))
    woken.clear()
    watched.tenant("MODIFIED", {**_body(name="default", resourceVersion="11"), "status": {"observedGeneration": 3}})
    watched.tenant("MODIFIED", _body(name="default", finalizers=["nuages.dev/google-resources"]))
    assert woken == []


def test_a_tenant_that_went_wakes_its_apps(watched: Watched, woken: list[str]) -> None:
    """They have no project any more; the tenant itself has nothing to say."""
    watched.tenant("ADDED", _body(name="default"))
    woken.clear()
    watched.tenant("DELETED", _body(name="default"))
    assert woken == ["acme/shop"]


def test_kopf_is_told_to_keep_nothing_of_its_own() -> None:
    """Only event handlers; no posting, no scanning."""
    made = registry(_watched([]))
    assert len(made._watching.get_all_handlers()) == 2
    assert not any(kind.get_all_handlers() for kind in (made._changing, made._spawning, made._indexing, made._webhooks))
    assert not settings().posting.enabled
    assert settings().scanning.disabled
