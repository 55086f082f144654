"""Replays recordings against a simulated local cloud, sorts what differs, and writes docs/fidelity.md's tables.

NUAGES_RECORDINGS=... python tests/fidelity/scoring.py        # rewrite the tables
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcloud.localcloud import LocalCloud, Options

FOLDER = Path(os.environ.get("NUAGES_RECORDINGS", "none"))
APIS = ("run", "sql", "secretmanager", "storage", "iam")
SPEED = 10_000.0
PATIENCE_S = 1.0  # what matches at all matches at the first or second look, so fast is the cloud
REPORT = Path(__file__).parents[2] / "docs" / "fidelity.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

# Class -> what a difference of it looks like, in replay.py's words; docs/fidelity.md explains each. First match counts.
CLASSES: dict[str, str] = {
    "client-chosen name": r"(\.name|\.message): \".*\$\{uniqueId\}.*(jobs/r[a-z]{11}|Resource 'r[a-z]{11}')",
    "operation id": r"(\.name|\.selfLink): \".*(operations/|\$\{operationID\})",
    "uid": rf"\.uid: \"(\d{{21}}|{UUID})\" expected, got \"{UUID}\"",
    "revision suffix": r"\.latest(Ready|Created)Revision: \"projects/",
    "masked number": r"\.generation: \"12345678901234\" expected, got \"\d+\"",
    "masked account": r"\.serviceAccountEmailAddress: \"p\$\{projectNumber\}-\w{6}@",
    "masked host": r"\.host: \"\" expected, got ",
    "finished at once": r"\.terminalCondition\.(state: \"CONDITION_SUCCEEDED\" expected, got \"CONDITION_PENDING\""
    r"|(type|lastTransitionTime): .* got absent)",
    "change not seen": r"\.(generation: \"1\" expected, got \"[23]\"|template\.template\.serviceAccount: )",
}


@dataclass(frozen=True)
class Score:
    name: str
    equal: int
    total: int
    differences: tuple[str, ...]


def recordings() -> list[Path]:
    """All recordings of the APIs that are modelled."""
    found = (path for api in APIS for path in sorted((FOLDER / api).glob("*.*")))
    return [path for path in found if path.suffix in (".log", ".yaml")]


async def replayed(rest: str, files: Iterable[Path], reports: Path) -> list[Score]:
    """Each recording in a process of its own, all at once."""
    return await asyncio.gather(*(_replay(rest, path, reports / f"{path.name}.json") for path in files))


async def measured() -> list[Score]:
    """The scores of all recordings, on a fresh simulated cloud."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        async with LocalCloud(Options(dir=place / "cloud", simulate=True, speed=SPEED)) as cloud:
            return await replayed(cloud.rest, recordings(), place)


def class_of(difference: str) -> str:
    """The class that explains a difference, or "" for none."""
    return next((name for name, pattern in CLASSES.items() if re.search(pattern, difference)), "")


def tables(scores: Iterable[Score]) -> str:
    """The measured part of the report."""
    scores = list(scores)
    lines = ["| Recording | Equal | Leaves | Score |", "|---|---:|---:|---:|"]
    for score in scores:
        lines.append(f"| {score.name} | {score.equal} | {score.total} | {percent(score.equal, score.total):.2f} % |")
    equal, total = sum(s.equal for s in scores), sum(s.total for s in scores)
    lines += [f"| **all** | {equal} | {total} | {percent(equal, total):.2f} % |", ""]
    counts = collections.Counter(class_of(line) for score in scores for line in score.differences)
    lines += ["| Class of difference | Leaves |", "|---|---:|"]
    lines += [f"| {name} | {counts[name]} |" for name in CLASSES if counts[name]]
    return "\n".join(lines)


def committed() -> dict[str, tuple[int, int]]:
    """Recording -> equal and all leaves, as the committed report has them."""
    rows = re.findall(r"^\| (\S+\.(?:log|yaml)) \| (\d+) \| (\d+) \|", REPORT.read_text(), re.M)
    return {name: (int(equal), int(total)) for name, equal, total in rows}


def percent(equal: int, total: int) -> float:
    return 100 * equal / total


async def _replay(rest: str, path: Path, report: Path) -> Score:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(FOLDER.parent / "replay.py"), "--rest", rest, "--patience", str(PATIENCE_S)),
        *("--json", str(report), str(path)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        raise RuntimeError(f"replay.py failed on {path.name}")
    (result,) = json.loads(await asyncio.to_thread(report.read_text))
    return Score(result["name"], result["equal"], result["total"], tuple(result["differences"]))


def main() -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "LOCALCLOUD_REST"):
        os.environ.pop(name, None)
    scores = asyncio.run(measured())
    text = REPORT.read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    REPORT.write_text(f"{before}{BEGIN}\n{tables(scores)}\n{END}{after}")
    for score in scores:
        for line in score.differences:
            if not class_of(line):
                sys.stderr.write(f"unexplained: {score.name}: {line}\n")


if __name__ == "__main__":
    main()
