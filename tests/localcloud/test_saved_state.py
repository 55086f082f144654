"""A simulation keeps nothing; it can begin with what another one saved."""

from __future__ import annotations

from pathlib import Path

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
