"""What makes a new revision, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports import a_release

from nuages.desired.run import RunService, TrafficTarget
from nuages.reconcile.release.release import identity

SERVICE = a_release({"web": {"access": "Authenticated"}}).service


def test_the_next_operator_releases_nothing() -> None:
    """Where it makes the same service of the same app, the id is the same: a change of it deploys every app anew."""
    assert identity(SERVICE, "") == "9d9c39b46c"


@pytest.mark.parametrize(
    "other",
    [
        replace(SERVICE, open_access=True),
        replace(SERVICE, service_scaling="MANUAL 0"),
        replace(SERVICE, ingress="INTERNAL_ONLY"),
        replace(SERVICE, revision="shop-1", traffic=(TrafficTarget("shop-1", 100),)),
        replace(SERVICE, template=replace(SERVICE.template, labels=(("team", "data"),))),
    ],
    ids=["access", "scaling", "ingress", "traffic", "labels"],
)
def test_what_makes_no_revision_makes_no_release(other: RunService) -> None:
    """Google changes these on the service as it stands."""
    assert identity(other, "") == identity(SERVICE, "")


@pytest.mark.parametrize(
    "other",
    [
        replace(SERVICE, min_instances=SERVICE.min_instances + 1),
        replace(SERVICE, cpu_idle=not SERVICE.cpu_idle),
        replace(SERVICE, concurrency=1),
        replace(SERVICE, template=replace(SERVICE.template, image="other@sha256:1")),
        replace(SERVICE, template=replace(SERVICE.template, environment=())),
        replace(SERVICE, startup_probe=replace(SERVICE.startup_probe, path="")),
    ],
    ids=["instances", "cpu", "concurrency", "image", "environment", "probe"],
)
def test_what_makes_a_revision_makes_a_release(other: RunService) -> None:
    """Also where a value becomes an empty one."""
    assert identity(other, "") != identity(SERVICE, "")
