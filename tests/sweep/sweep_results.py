"""What was found so far: a line of JSON for each point that was run, with the code that it was run with."""

from __future__ import annotations

import collections
import hashlib
import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_lives import LIVES

if TYPE_CHECKING:
    from sweep_points import Point
    from sweep_run import Result

ROOT = Path(__file__).parents[2]
PROVED = ("operator", "localcloud", "tests/sweep")


def hash_of_code(root: Path = ROOT) -> str:
    """Of what a result proves something about, as it lies there, committed or not."""
    found = hashlib.sha256()
    for path in sorted(path for part in PROVED for path in (root / part).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(f"{hash_of_file(path)} {path.relative_to(root)}\n".encode())
    return found.hexdigest()


def hash_of_file(path: Path) -> str:
    """As `git hash-object` and `git ls-tree` show it."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Results:
    """Of one sweep, in the folder of all: what was found with `code`; what older code did proves nothing."""

    folder: Path
    sweep: str
    code: str

    def add(self, result: Result, shard: str) -> None:
        """Append it to the shard's file ("3/8")."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = {**result.json(), "code": self.code, "at": time.time()}
        with (self.folder / f"{self.sweep}-{shard.replace('/', '-of-')}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def expect(self, points: Iterable[Point]) -> None:
        """Note how many there are of each life, so that `summary` knows what is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        counts = {**self.expected(), **collections.Counter(point.life for point in points)}
        self._expected.write_text(json.dumps({"code": self.code, "points": counts}))

    def expected(self) -> dict[str, int]:
        """Points by life; empty where no sweep with this code came so far as to know."""
        noted = json.loads(self._expected.read_text()) if self._expected.exists() else {}
        found: dict[str, int] = noted["points"] if noted.get("code") == self.code else {}
        return found

    def newest(self) -> dict[str, Mapping[str, Any]]:
        """By the point's id."""
        return {found["id"]: found for found in self._lines() if found.get("code") == self.code}

    def done(self) -> set[str]:
        """The points that need not be run again: those that failed do."""
        return {point for point, found in self.newest().items() if _is_done(found)}

    def summary(self) -> Iterator[str]:
        """The figures of docs/quality.md, and what there is to say about them."""
        newest, expected = self.newest(), self.expected()
        for life in LIVES:
            mine = [found for found in newest.values() if found["point"]["life"] == life]
            if mine or life in expected:
                yield f"{self.sweep} {life}: {_figures(mine, expected.get(life, 0))}"
        if not expected:
            yield f"{self.sweep}: not begun with this code"
        older = {found["id"] for found in self._lines()} - newest.keys()
        if older:
            yield f"{self.sweep}: {len(older)} results are of older code, and count for nothing"
        for point in sorted(self._failed_once() & self.done()):
            yield f"failed once, but not when it was run again: {point}"
        for found in self.failed():
            yield f"FAILED {found['id']}: {found['problems']}"

    def failed(self) -> list[Mapping[str, Any]]:
        """The points that failed when they were last run."""
        return [found for found in self.newest().values() if found["outcome"] == "failed"]

    def is_complete(self) -> bool:
        """Whether every point that there is has passed, or did not come."""
        expected = self.expected()
        done = collections.Counter(found["point"]["life"] for found in self.newest().values() if _is_done(found))
        return bool(expected) and all(done[life] >= count for life, count in expected.items())

    @property
    def _expected(self) -> Path:
        return self.folder / f"{self.sweep}.expected.json"

    def _failed_once(self) -> set[str]:
        return {
            found["id"] for found in self._lines() if found["outcome"] == "failed" and found.get("code") == self.code
        }

    def _lines(self) -> list[dict[str, Any]]:
        """In the order of time, whichever shards they were found in."""
        files = sorted(self.folder.glob(f"{self.sweep}-*.jsonl"))
        found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return sorted(found, key=lambda line: line.get("at", 0.0))


def _is_done(found: Mapping[str, Any]) -> bool:
    return bool(found["outcome"] != "failed")


def _figures(results: list[Mapping[str, Any]], expected: int) -> str:
    outcomes = collections.Counter(result["outcome"] for result in results)
    parts = [f"{len(results)} points", f"{max(0, expected - len(results))} left"]
    if results:
        parts += [str(dict(outcomes)), f"median {statistics.median(result['seconds'] for result in results):.1f} s"]
    leases = [result["lease_s"] for result in results if result["lease_s"] is not None]
    return ", ".join([*parts, *([f"Lease at most {max(leases):.1f} s"] if leases else [])])
