"""The state machine's look at what a status claims: each false claim is seen, and no true one is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from machine_claims import false_claims, refused_field
from machine_world import FIRST, Site, said

from localcloud.api.run_state import RunState

Status = dict[str, Any]


def _another_digest(status: Status) -> None:
    status["release"]["migration"]["imageDigest"] = "sha256:" + "0" * 64


def _another_database(status: Status) -> None:
    status["database"]["name"] = "another"


def _another_instance(status: Status) -> None:
    status["database"]["instance"] = "another"


def _a_failure(status: Status) -> None:
    status["release"]["migration"] |= {"state": "Failed", "execution": "shop-migrate-absent"}


def _running_nowhere(status: Status) -> None:
    status["release"]["migration"] = {"state": "Running", "imageDigest": status["release"]["imageDigest"]}


def _running_for_another_image(status: Status) -> None:
    status["release"]["migration"] |= {"state": "Running", "imageDigest": "sha256:" + "0" * 64}


def _another_url(status: Status) -> None:
    status["url"] = "https://another.example"


def _no_urls(status: Status) -> None:
    status["urls"] = []


def _another_share(status: Status) -> None:
    status["traffic"][0]["percent"] = 50


def _drift(status: Status) -> None:
    status["drift"] = {"lastDetected": "2026-11-21T00:00:00Z", "fields": ["Service shop: traffic"]}


LIES: dict[Callable[[Status], None], tuple[str, ...]] = {
    _another_digest: ("release.migration Succeeded, and no execution of sha256:00000000",),
    _another_database: ("MigrationsApplied, and no execution of", "release.migration Succeeded, and no execution of"),
    _another_instance: ("MigrationsApplied, and no execution of", "release.migration Succeeded, and no execution of"),
    _a_failure: ("release.migration Failed: there is no execution shop-migrate-absent",),
    _running_nowhere: ("release.migration Running, and no execution is named",),
    _running_for_another_image: ("release.migration Running: ",),
    _another_url: ("url https://another.example",),
    _no_urls: ("url ",),
    _another_share: ("traffic ",),
    _drift: ("drift: ",),
}


def test_each_false_claim_is_seen(site: Site) -> None:
    """Of a Ready app: nothing is false as it is, each lie is, and each Ready resource that is not there."""
    life, operator = site.run(site.world.begin()), site.world.operator()
    site.run(site.world.apply(life, {**FIRST, "superuser": {"username": "boss", "email": "boss@acme.example"}}))
    app = site.run(site.world.rest(operator, life))
    site.run(operator.close())
    assert said(app, "Ready")["status"] == "True", app["status"]

    def seen(claimed: dict[str, Any], digest: str = site.world.digests["v1"]) -> list[str]:
        return site.run(false_claims(site.world.google, claimed, life.job("migrate"), digest))

    assert seen(app) == []
    assert [claim[:22] for claim in seen(app, site.world.digests["v2"])] == ["MigrationsApplied, and"]
    for lie, expected in LIES.items():
        claimed = copy.deepcopy(app)
        lie(claimed["status"])
        found = seen(claimed)
        assert len(found) == len(expected), (lie, found)
        assert all(claim.startswith(words) for claim, words in zip(found, expected, strict=True)), found
    kinds = {row["kind"].rpartition("/")[2] for row in app["status"]["resources"]}
    assert kinds == {"Instance", "User", "Secret", "ServiceAccount", "PolicyMember", "Bucket", "Service", "Job"}
    for number, row in enumerate(app["status"]["resources"]):
        if not row["kind"].endswith("/Service"):  # of these Google itself says what is wrong with the name
            claimed = copy.deepcopy(app)
            claimed["status"]["resources"][number]["name"] = _absent(row["name"])
            assert any(_absent(row["name"]) in claim for claim in seen(claimed)), row


def test_two_releases_at_once_are_seen(site: Site) -> None:
    """Of an app without a database, which has no jobs: one revision that is tagged, and one that is becoming ready."""
    life, operator = site.run(site.world.begin()), site.world.operator()
    site.run(site.world.apply(life, {**FIRST, "database": {"engine": "None"}}))
    app = site.run(site.world.rest(operator, life))
    site.run(operator.close())
    assert said(app, "Ready")["status"] == "True", app["status"]
    state, serving = site.world.cloud.core.shared(RunState), app["status"]["revision"]
    service, revision = state.services.get(life.service), f"{life.service}/revisions/"
    assert service.traffic_statuses[0].revision == serving
    assert site.world.candidates(life) == set()
    service.traffic_statuses.add(revision="tagged", tag="candidate")
    service.traffic_statuses.add(revision=serving, tag="serving")
    state.services.put(life.service, service)
    coming = state.revisions.get(f"{revision}{serving}")
    coming.name, coming.reconciling = f"{revision}coming", True
    state.revisions.put(coming.name, coming)
    assert site.world.candidates(life) == {"tagged", "coming"}


def _absent(name: str) -> str:
    """Of a policy's member another one, else another last part."""
    target, mark, rest = name.partition("#")
    return f"{target}#{rest.partition('#')[0]}#user:nobody@acme.example" if mark else f"{name[:-3]}xyz"


TIER = "Invalid request: Invalid Tier (db-huge) for (ENTERPRISE) Edition. Use a predefined Tier"
FLAG = "Invalid flag name: no_such_flag."


@pytest.mark.parametrize(
    ("words", "create", "field"),
    [
        (TIER, {"tier": "db-huge"}, "database.instance.create.tier"),
        (TIER, {"tier": "db-custom-1-3840"}, ""),
        (TIER, {}, ""),
        (FLAG, {"flags": {"no_such_flag": "50"}}, "database.instance.create.flags"),
        ("Invalid flag value: -1 for flag work_mem.", {"flags": {"work_mem": "-1"}}, "database.instance.create.flags"),
        (FLAG, {"flags": {"work_mem": "-1"}}, ""),
        ("Violation in Service.template.timeout: must be between 1 and 3600 seconds.", {"tier": "db-huge"}, ""),
    ],
)
def test_only_what_the_spec_says_itself_may_be_refused(words: str, create: Status, field: str) -> None:
    """By the field that has the value that Google names; what the operator made of other fields is its own fault."""
    message = f'Instance shop: the request was refused. Correct the spec. Google says: "{words}".'
    assert refused_field(message, {"image": "shop:v1", "database": {"instance": {"create": create}}}) == field
