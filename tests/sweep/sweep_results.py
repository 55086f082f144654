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
from sweep_points import Point

if TYPE_CHECKING:
    from sweep_run import Result

ROOT = Path(__file__).parents[2]
PROVED = ("operator", "localcloud", "tests/sweep")
UNREACHED = 0.05  # of the points: passes differ a little by what was ready first; more say that a sweep strikes nothing


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

    def expect(self, points: Iterable[Point]) -> list[Point]:
        """These are all that there are. Of a life that was recorded with this code before, that recording holds: two
        differ in what was ready first, and of many shards none would ever be the last. Returns those that hold."""
        self.folder.mkdir(parents=True, exist_ok=True)
        points, known = list(points), self.expected()
        noted = {point.life for point in known}
        held = [*known, *(point for point in points if point.life not in noted)]
        self._expected.write_text(json.dumps({"code": self.code, "points": [point.json() for point in held]}))
        asked = {point.life for point in points}
        return [point for point in held if point.life in asked]

    def expected(self) -> list[Point]:
        """All points; none where no sweep with this code came so far as to know."""
        noted = json.loads(self._expected.read_text()) if self._expected.exists() else {}
        return [Point(**body) for body in noted["points"]] if noted.get("code") == self.code else []

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
            ids = {point.id for point in expected if point.life == life}
            mine = [found for found in newest.values() if found["point"]["life"] == life]
            if mine or ids:
                yield f"{self.sweep} {life}: {_figures(mine, len(ids - newest.keys()))}"
        if not expected:
            yield f"{self.sweep}: not begun with this code"
        older = {found["id"] for found in self._lines()} - newest.keys()
        if older:
            yield f"{self.sweep}: {len(older)} results are of older code, and count for nothing"
        for point in sorted(self._failed_once() & self.done()):
            yield f"failed once, but not when it was run again: {point}"
        if self.misses():
            yield f"FAILED: too many points of {self.sweep} did not come, so that nothing was disturbed"
        for found in self.failed():
            yield f"FAILED {found['id']}: {found['problems']}"

    def failed(self) -> list[Mapping[str, Any]]:
        """The points that failed when they were last run."""
        return [found for found in self.newest().values() if found["outcome"] == "failed"]

    def misses(self) -> bool:
        """Whether more points did not come than chance explains."""
        outcomes = collections.Counter(found["outcome"] for found in self.newest().values())
        return outcomes["unreached"] > max(1, UNREACHED * outcomes.total())

    def is_complete(self) -> bool:
        """Whether every point that there is has passed, or did not come."""
        expected = {point.id for point in self.expected()}
        return bool(expected) and expected <= self.done()

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


def _figures(results: list[Mapping[str, Any]], left: int) -> str:
    outcomes = collections.Counter(result["outcome"] for result in results)
    parts = [f"{len(results)} points", f"{left} left"]
    if results:
        parts += [str(dict(outcomes)), f"median {statistics.median(result['seconds'] for result in results):.1f} s"]
    leases = [result["lease_s"] for result in results if result["lease_s"] is not None]
    return ", ".join([*parts, *([f"Lease at most {max(leases):.1f} s"] if leases else [])])
