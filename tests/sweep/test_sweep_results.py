"""Which results of a sweep count, and what is run again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sweep_points import Point
from sweep_results import PROVED, Results, hash_of_code, hash_of_file
from sweep_run import Result
from sweep_warm import states

NEW, OLD = "new", "old"
FIRST, SECOND = (Point("deploy", "kubernetes", "PUT leases", "", nth) for nth in (0, 1))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A tree with a file in each part of what is proved, and one elsewhere."""
    for part in (*PROVED, "docs"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "one.py").write_text(f"PART = '{part}'\n")
    return tmp_path


@pytest.mark.parametrize("part", PROVED)
def test_any_change_of_what_is_proved_changes_the_hash(sources: Path, part: str) -> None:
    """Committed or not; a new file and a renamed one too."""
    hashes, place = [hash_of_code(sources)], sources / part
    (place / "one.py").write_text("PART = 'changed'\n")
    hashes.append(hash_of_code(sources))
    (place / "one.py").rename(place / "two.py")
    hashes.append(hash_of_code(sources))
    (place / "three.py").touch()
    hashes.append(hash_of_code(sources))
    assert len(set(hashes)) == 4


def test_nothing_else_changes_the_hash(sources: Path) -> None:
    """Neither other folders nor what Python leaves behind."""
    before = hash_of_code(sources)
    (sources / "docs" / "one.py").write_text("PART = 'changed'\n")
    (sources / "operator" / "__pycache__").mkdir()
    (sources / "operator" / "__pycache__" / "one.pyc").touch()
    assert hash_of_code(sources) == before


def test_a_file_is_hashed_as_git_does(tmp_path: Path) -> None:
    """So that it can be looked up in a commit; this is what git says of a file with one line, "hello"."""
    (tmp_path / "hello").write_text("hello\n")
    assert hash_of_file(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_results_of_older_code_count_for_nothing(tmp_path: Path) -> None:
    """Their points are run again, and the summary says how many there are."""
    Results(tmp_path, "crash", OLD).add(Result(FIRST), "1/1")
    results = Results(tmp_path, "crash", NEW)
    results.expect([FIRST, SECOND])
    older = "crash: 1 results are of older code, and count for nothing"
    assert results.done() == set()
    assert list(results.summary()) == ["crash deploy: 0 points, 2 left", older]
    results.add(Result(FIRST), "1/1")
    assert results.done() == {FIRST.id}
    assert list(results.summary()) == ["crash deploy: 1 points, 1 left, {'passed': 1}, median 0.0 s"]


def test_results_without_code_count_for_nothing(tmp_path: Path) -> None:
    """As they were written once."""
    (tmp_path / "crash-1-of-1.jsonl").write_text(f'{{"id": "{FIRST.id}", "outcome": "failed", "problems": ["x"]}}\n')
    results = Results(tmp_path, "crash", NEW)
    assert (results.done(), results.failed()) == (set(), [])


def test_a_failed_point_is_run_again(tmp_path: Path) -> None:
    """What was found last counts, in whichever shard; that it failed once is said."""
    results = Results(tmp_path, "crash", NEW)
    results.add(Result(FIRST, "failed", ["something is double"]), "8/8")
    results.add(Result(SECOND, "unreached"), "8/8")
    assert results.done() == {SECOND.id}
    assert [found["id"] for found in results.failed()] == [FIRST.id]
    assert list(results.summary())[-1] == f"FAILED {FIRST.id}: ['something is double']"
    results.add(Result(FIRST), "1/1")  # whose file is the first by name
    assert results.done() == {FIRST.id, SECOND.id}
    assert results.failed() == []
    assert list(results.summary())[-1] == f"failed once, but not when it was run again: {FIRST.id}"


def test_sweeps_do_not_see_each_other(tmp_path: Path) -> None:
    """A point that was run in a simulation is still to be run with real processes."""
    Results(tmp_path, "crash", NEW).add(Result(FIRST), "1/1")
    assert Results(tmp_path, "real-crash", NEW).newest() == {}


def test_the_first_recording_of_a_life_holds(tmp_path: Path) -> None:
    """Also for other shards and processes, whose own may differ; a life that was not recorded is added."""
    other, leaving = replace(FIRST, nth=7), replace(FIRST, life="leaving")
    results = Results(tmp_path, "crash", NEW)
    assert results.expect([FIRST, SECOND]) == [FIRST, SECOND]
    assert results.expect([FIRST, other, leaving]) == [FIRST, SECOND, leaving]
    for point in (FIRST, other, leaving):
        results.add(Result(point), "1/1")
    assert not results.is_complete()
    results.add(Result(SECOND), "1/1")
    assert results.is_complete()


@pytest.mark.parametrize(("unreached", "misses"), [(1, False), (2, False), (3, True)])
def test_a_sweep_that_strikes_nothing_has_failed(tmp_path: Path, unreached: int, misses: bool) -> None:
    """Of forty points two may not come."""
    points = [replace(FIRST, nth=number) for number in range(40)]
    results = Results(tmp_path, "crash", NEW)
    results.expect(points)
    for number, point in enumerate(points):
        results.add(Result(point, "unreached" if number < unreached else "passed"), "1/1")
    assert results.is_complete()
    assert results.misses() is misses
    said = "FAILED: too many points of crash did not come, so that nothing was disturbed"
    assert (said in list(results.summary())) is misses


def test_a_thread_that_ends_hides_no_other(tmp_path: Path) -> None:
    """It is gone between the list and the look."""
    (tmp_path / "1").mkdir()
    for number, state in (("2", "S"), ("3", "R")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "stat").write_text(f"{number} (a b) c) {state} 1 1 1")
    assert sorted(states(tmp_path)) == ["R", "S"]
    assert list(states(tmp_path / "absent")) == []


def test_what_no_sweep_looked_at_is_said_so(tmp_path: Path) -> None:
    """How many points there are is known from a recording, and of other code it says nothing."""
    Results(tmp_path, "fault", OLD).expect([FIRST])
    assert list(Results(tmp_path, "fault", NEW).summary()) == ["fault: not begun with this code"]
