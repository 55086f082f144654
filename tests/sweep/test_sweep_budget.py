"""One budget of time for all sweeps of a shard; a time that is up is no failure, and ends nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sweep_points import Point
from sweep_results import Results, hash_of_code
from sweep_run import Result

ROOT = Path(__file__).parents[2]
MINUTES = 0.1
ENDLESS_S = 120.0  # far from the hours that all points take, and from what a busy machine needs to begin and to end
# What stands where the environment has its Python: notes how it was called, and ends as it is told.
PYTHON = """#!/bin/sh
echo "$*" >> "$NOTES"
case "$*" in
  "tests/sweep "*) exit "$SWEEP_ENDS" ;;
esac
"""


@pytest.mark.xdist_group("sweep")
def test_all_sweeps_of_a_shard_end_within_one_budget(tmp_path: Path) -> None:
    """Also where it does not suffice to begin; the status tells that from a failure, and the output what is left."""
    argv = ["tests/sweep", "crash", "fault", "real-crash", "--minutes", str(MINUTES), "--results", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, check=False, timeout=ENDLESS_S
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "real-crash: not begun with this code" in ended.stdout
    assert "points are left after 0.1 minutes" in ended.stdout


@pytest.mark.parametrize(("sweep_ends", "make_ends"), [(0, 0), (3, 2), (1, 2)])
def test_the_soak_reaches_its_end(tmp_path: Path, sweep_ends: int, make_ends: int) -> None:
    """All shards, the state machine, the benchmark: also after a failure, which it ends with, as with points left."""
    calls = _make(tmp_path, "soak", sweep_ends, make_ends)
    shards = [call for call in calls if "--shard" in call]
    assert [call.partition("--shard ")[2].split()[0] for call in shards] == [f"{number}/12" for number in range(1, 13)]
    assert all("crash fault real-crash" in call and "--minutes 30" in call for call in shards)
    rest = calls[calls.index(shards[-1]) + 1 :]
    assert [call.split()[0] for call in rest] == [
        "tests/apiserver/test_state_machine.py",
        "benchmarks/steady.py",
        "tests/sweep",
    ]
    assert rest[-1].endswith("--summary")


def test_a_summary_ends_as_the_sweeps_stand(tmp_path: Path) -> None:
    """Complete or not: what has not begun is not."""
    argv = [sys.executable, "tests/sweep", "crash", "--summary", "--results", str(tmp_path)]
    first, second = Point("deploy", "kubernetes", "PUT leases", "", 0), Point("leaving", "google", "Get", "x", 1)
    results = Results(tmp_path, "crash", hash_of_code())
    ends = [subprocess.run(argv, cwd=ROOT, capture_output=True, check=False).returncode]
    results.expect([first, second])
    for result in (Result(first), Result(second, "failed", ["double"]), Result(second)):
        results.add(result, "1/1")
        ends.append(subprocess.run(argv, cwd=ROOT, capture_output=True, check=False).returncode)
    assert ends == [3, 3, 1, 0]


def test_one_shard_alone(tmp_path: Path) -> None:
    """As a machine of several runs it."""
    calls = _make(tmp_path, "sweeps", 3, 0, "SHARD=3/12")
    assert [call for call in calls if "--shard" in call] == [
        "tests/sweep crash fault real-crash --results .sweep --shard 3/12 --minutes 30"
    ]


def _make(folder: Path, target: str, sweep_ends: int, make_ends: int, *settings: str) -> list[str]:
    """What make called in place of Python and pytest."""
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    (folder / "venv" / ".installed").touch()
    for name in ("python", "pytest"):
        (programs / name).write_text(PYTHON)
        (programs / name).chmod(0o755)
    env = {"PATH": os.environ["PATH"], "NOTES": str(folder / "notes"), "SWEEP_ENDS": str(sweep_ends)}
    argv = ["make", target, f"VENV={folder / 'venv'}", *settings]
    ended = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == make_ends, ended.stdout + ended.stderr
    return (folder / "notes").read_text().splitlines()
