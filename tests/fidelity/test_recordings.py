"""Recorded exchanges with the real Google Cloud, replayed: how alike the answers are, leaf by leaf.

NUAGES_RECORDINGS names the folder of the recordings; replay.py, which scores, stands beside it.
"""

from __future__ import annotations

import pytest
import pytest_asyncio
from scoring import APIS, FOLDER, Score, class_of, committed, measured, percent

LEAST_PERCENT = 97.0
CHANCE = 2  # leaves: an id without a digit, one in a few thousand, has no shape that the tool knows

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="NUAGES_RECORDINGS names no folder of recordings")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scores() -> list[Score]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTPS_PROXY", "https_proxy", "LOCALCLOUD_REST"):
            patch.delenv(name, raising=False)
        found = await measured()
    assert found, f"{FOLDER} holds no recordings of {', '.join(APIS)}"
    return found


def test_answers_are_those_of_google(scores: list[Score]) -> None:
    """At least 97 of 100 recorded leaves are equal over all modelled APIs."""
    equal, total = sum(score.equal for score in scores), sum(score.total for score in scores)
    differences = [f"{score.name}: {line}" for score in scores for line in score.differences]
    assert percent(equal, total) >= LEAST_PERCENT, f"{equal} of {total} leaves:\n" + "\n".join(differences[:60])


def test_no_recording_falls_below_the_committed_report(scores: list[Score]) -> None:
    """docs/fidelity.md says what each one scored; its tables are rewritten by tests/fidelity/scoring.py."""
    kept = committed()
    worse = [
        f"{score.name}: {score.equal} of {score.total}, the report says {kept[score.name]}"
        for score in scores
        if score.name in kept and percent(score.equal + CHANCE, score.total) < percent(*kept[score.name])
    ]
    assert not worse, "\n".join(worse)


def test_every_difference_is_explained(scores: list[Score]) -> None:
    """Each is of a class that docs/fidelity.md explains, in recordings that the report knows."""
    kept = committed()
    foreign = [
        f"{score.name}: {line}"
        for score in scores
        if score.name in kept
        for line in score.differences
        if not class_of(line)
    ]
    assert not foreign, "\n".join(foreign)
