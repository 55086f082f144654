"""Recorded exchanges with the real Google Cloud, replayed: how alike the answers are, leaf by leaf.

NUAGES_RECORDINGS names the folder of the recordings; replay.py, which scores, stands beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from localcloud.localcloud import LocalCloud, Options

FOLDER = Path(os.environ.get("NUAGES_RECORDINGS", "none"))
APIS = ("run", "sql", "secretmanager", "storage", "iam")
LEAST_PERCENT = 97.0
SPEED = 10_000.0

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="NUAGES_RECORDINGS names no folder of recordings")


async def _replayed(rest: str, recordings: list[Path], report: Path) -> tuple[int, int, list[str]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(FOLDER.parent / "replay.py"), "--rest", rest, "--patience", "1", "--json", str(report)),
        *map(str, recordings),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    results = json.loads(await asyncio.to_thread(report.read_text))
    differences = [f"{result['name']}: {line}" for result in results for line in result["differences"]]
    return sum(r["equal"] for r in results), sum(r["total"] for r in results), differences


async def test_answers_are_those_of_google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least 97 of 100 recorded leaves are equal over all modelled APIs."""
    for name in ("HTTPS_PROXY", "https_proxy", "LOCALCLOUD_REST"):
        monkeypatch.delenv(name, raising=False)
    recordings = [
        path for api in APIS for path in sorted((FOLDER / api).glob("*.*")) if path.suffix in (".log", ".yaml")
    ]
    assert recordings, f"{FOLDER} holds no recordings of {', '.join(APIS)}"
    async with LocalCloud(Options(dir=tmp_path, simulate=True, speed=SPEED)) as cloud:
        equal, total, differences = await _replayed(cloud.rest, recordings, tmp_path / "report.json")
    percent = 100 * equal / total
    assert percent >= LEAST_PERCENT, f"{equal} of {total} leaves ({percent:.2f} %):\n" + "\n".join(differences[:60])
