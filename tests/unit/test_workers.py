"""How the suite is shared out over its workers."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("together")
def test_a_group_stays_together(request: pytest.FixtureRequest) -> None:
    """By its mark in the test's id: without it, scenarios that go on from one another run beside one another."""
    is_grouped = request.config.getoption("loadgroup", False)
    assert request.node.nodeid.endswith("@together") or not is_grouped
