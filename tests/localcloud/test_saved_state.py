"""A simulation keeps nothing; it can begin with what another one saved."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from localcloud.localcloud import LocalCloud, Options


async def test_a_simulation_begins_with_a_saved_state_and_leaves_it_alone(tmp_path: Path) -> None:
    """What it does afterwards is its own: the next one begins with the same."""
    saved = tmp_path / "saved.db"
    options = Options(dir=tmp_path / "cloud", simulate=True)
    async with LocalCloud(options) as cloud:
        cloud.core.projects.create("first")
        cloud.core.store.copy_to(saved)
    seeded = Options(dir=tmp_path / "cloud", simulate=True, seed=saved)
    for _ in range(2):
        async with LocalCloud(seeded) as cloud:
            assert cloud.core.projects.find("first") is not None
            assert cloud.core.projects.find("second") is None
            cloud.core.projects.create("second")


async def test_a_simulation_finds_no_objects_of_an_earlier_one(tmp_path: Path) -> None:
    """A bucket of the same name begins empty."""
    headers = {"Host": "storage.googleapis.com", "Authorization": "Bearer any"}
    found = []
    for _ in range(2):
        async with (
            LocalCloud(Options(dir=tmp_path / "cloud", simulate=True)) as cloud,
            aiohttp.ClientSession(cloud.rest, headers=headers) as http,
        ):
            await http.post("/storage/v1/b?project=localcloud", json={"name": "media-again"})
            await http.post("/storage/v1/b?project=demo", json={"name": "media-again"})
            async with http.get("/storage/v1/b/media-again/o") as answer:
                found.append((await answer.json()).get("items", []))
            async with http.post("/upload/storage/v1/b/media-again/o?uploadType=media&name=x", data=b"x") as answer:
                assert answer.status == 200
    assert found == [[], []]
