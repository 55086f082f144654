"""What of a status people look for first: where the app answers, and what serves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from reports import LATER, NOW, URL, a_release, a_service, serving
from unit_support import DIGEST, IMAGE, REGISTRY

from nuages.desired.run import RunService
from nuages.reconcile.release.outcome import Failed, Waiting
from nuages.reconcile.status import status

HASH_URL = "https://acme-shop-x5tqjw2fvq-ew.a.run.app"


def test_an_app_that_serves() -> None:
    """URL, image, revision, traffic, database; every resource ready."""
    report = serving()
    assert report.release is not None
    made = status(report, {}, NOW)
    revision = report.release.revision
    assert (made["phase"], made["url"], made["urls"]) == ("Ready", URL, [URL])
    assert (made["image"], made["revision"]) == (IMAGE.reference, revision)
    assert made["traffic"] == [{"revision": revision, "percent": 100, "tag": "candidate"}]
    assert made["trafficSplit"] == f"{revision}=100%"
    assert made["database"] == {"instance": "acme-shop-a24a7f", "name": "shop", "own": True}
    assert {item["state"] for item in made["resources"]} == {"Ready"}
    assert made["operations"] == []
    assert made["release"] == {
        "id": report.release.id,
        "stage": "Done",
        "inputs": report.release.inputs,
        "checked": "",
        "wanted": "",
        "revision": revision,
        "image": f"{REGISTRY}/shop:v4",
        "imageDigest": DIGEST,
        "reconcileAt": "",
        "startedAt": NOW,
        "stageStartedAt": NOW,
        "migration": {"state": "Succeeded", "imageDigest": DIGEST, "database": report.release.database},
        "history": [{"id": report.release.id, "revision": revision, "imageDigest": DIGEST, "finishedAt": NOW}],
    }


def test_while_a_candidate_starts_the_image_is_the_one_that_serves() -> None:
    """The template's is only on its way."""
    first = status(serving(), {}, NOW)
    release = replace(a_release(), id="0123456789")
    candidate = a_service(release, release.revision, first["revision"])
    image = replace(candidate.state.template, image=f"{REGISTRY}/shop@sha256:{'9' * 64}")
    live = replace(candidate, state=replace(candidate.state, template=image))
    report = serving(stage="Candidate", outcome=Waiting("Verifying", "x"), live=live, release=release)
    made = status(report, first, LATER)
    assert (made["image"], made["revision"]) == (IMAGE.reference, first["revision"])


def test_an_address_is_told_once_what_serves_allows_it() -> None:
    """Google's host with a hash joins ALLOWED_HOSTS with the next release: until that serves, it answers 400."""
    both = {"uri": HASH_URL, "urls": f"{URL}\n{HASH_URL}"}
    release = a_release()
    live = a_service(release, release.revision, release.revision, **both)
    first = status(serving(live=live), {}, NOW)
    assert first["urls"] == [URL]

    service = allowing(release.service, HASH_URL)
    second = replace(release, id="0123456789", service=service)
    candidate = a_service(second, second.revision, release.revision, **both)
    on_its_way = serving(stage="Verify", outcome=Waiting("Verifying", "x"), live=candidate, release=second)
    assert status(on_its_way, first, LATER)["urls"] == [URL]

    after = status(serving(live=a_service(second, second.revision, second.revision, **both)), first, LATER)
    assert (after["url"], after["urls"]) == (URL, [URL, HASH_URL])

    third = a_service(replace(second, id="9876543210"), f"{service.id}-9876543210", second.revision, **both)
    again = serving(stage="Verify", outcome=Waiting("Verifying", "x"), live=third, release=second)
    assert status(again, after, LATER)["urls"] == [URL, HASH_URL]


@pytest.mark.parametrize("pattern", ["*", ".run.app"])
def test_an_address_that_a_pattern_allows_is_told_at_once(pattern: str) -> None:
    """As Django reads ALLOWED_HOSTS."""
    release = a_release()
    made = replace(release, service=allowing(release.service, pattern))
    live = a_service(made, made.revision, made.revision, uri=HASH_URL, urls=f"{URL}\n{HASH_URL}")
    assert status(serving(live=live), {}, NOW)["urls"] == [URL, HASH_URL]


def allowing(service: RunService, url: str) -> RunService:
    """The service as it is made once Google's host with a hash is known."""
    host = url.removeprefix("https://")
    environment = tuple(
        (name, f"{value},{host}" if name == "ALLOWED_HOSTS" else value) for name, value in service.template.environment
    )
    return replace(service, template=replace(service.template, environment=environment))


NEVER_READY = {"uri": URL, "urls": URL, "latest_ready_revision": ""}


@pytest.mark.parametrize(
    ("outputs", "fields"),
    [
        ({"uri": "", "urls": "", "latest_ready_revision": ""}, {"stage": "Candidate", "outcome": Waiting("x", "y")}),
        (NEVER_READY, {"stage": "Candidate", "outcome": Failed("RevisionFailed", "x")}),
        ({}, {"stage": "Verify", "outcome": Failed("VerifyFailed", "x")}),
    ],
    ids=["no-answer-yet", "never-ready", "not-verified"],
)
def test_where_nothing_ever_served_nothing_is_shown(outputs: dict[str, str], fields: dict[str, Any]) -> None:
    """No revision and no share of the traffic, whatever the service was given; its address is known before."""
    release = a_release()
    live = a_service(release, release.revision, release.revision, **outputs)
    made = status(serving(live=live, **fields), {}, NOW)
    assert not {"revision", "image", "trafficSplit"} & made.keys()
    assert (made.get("url", ""), made["traffic"]) == (live.outputs["urls"], [])


def test_what_served_once_is_shown_though_verify_is_not_content_any_more() -> None:
    """It has the requests all the same."""
    first = status(serving(), {}, NOW)
    made = status(serving(stage="Verify", outcome=Failed("VerifyFailed", "x")), first, LATER)
    assert [made[name] for name in ("url", "revision", "trafficSplit")] == [
        first[name] for name in ("url", "revision", "trafficSplit")
    ]
