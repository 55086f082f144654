"""docs/install.md on what was kept of an app: its commands find it, and nothing is left after them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e_leftovers import left
from e2e_release import Deployment
from e2e_world import World

if TYPE_CHECKING:
    from e2e_local import LocalSite

INSTALL = Path(__file__).parents[2] / "docs" / "install.md"
DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")


def blocks() -> list[str]:
    """The section's console blocks as one shell's scripts."""
    section = INSTALL.read_text().partition("### Delete what was kept\n")[2].partition("\n## ")[0]
    return [
        "set -e\n" + re.sub(r"^\$ ", "", block, flags=re.MULTILINE)
        for block in re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    ]


async def shell(text: str, local: LocalSite, folder: Path) -> str:
    """What it prints; it ends with 0. gcloud's configuration is the test's own, and nobody is asked."""
    own = {"HOME": str(folder), "CLOUDSDK_CONFIG": str(folder / "gcloud"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", text),
        env={**os.environ, **local.environment, **own},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_what_an_app_that_never_served_left_is_found_and_deleted(
    world: World, local: LocalSite, tmp_path: Path
) -> None:
    """Instance, bucket and secrets, by their labels; those of its neighbour are not shown."""
    _, looking, deleting = blocks()
    shop, other = Deployment(world, "shop"), Deployment(world, "other")
    image = await shop.image("v1")
    for app in (shop, other):
        await app.stalled("ExtensionNotAvailable", image=image, database={"extensions": ["absent"]})
        await world.delete("DjangoApp", app.name)
    kept = await left(world, world.google_id("shop"))
    assert set(kept) == {"instances", "buckets", "secrets"}
    (instance,), (bucket,) = kept["instances"], kept["buckets"]
    shown = await shell(looking.replace("-namespace=acme ", f"-namespace={world.namespace} "), local, tmp_path)
    assert {name.rpartition("/")[2] for name in shown.split()} == {
        instance,
        f"{world.site.project}-{bucket}",
        *kept["secrets"],
    }
    (secret,) = re.findall(r"secrets delete (\S+)", deleting)
    meant = {"acme-shop-a24a7f": instance, "acme-prod-acme-shop-media": f"{world.site.project}-{bucket}"}
    for name, there in meant.items():
        assert name in deleting
        deleting = deleting.replace(name, there)
    (last,) = (line for line in deleting.splitlines() if secret in line)
    for name in kept["secrets"]:
        deleting += f"{last.partition('#')[0].replace(secret, name)}\n"
    deleting = deleting.replace(f"{last}\n", "")
    assert world.google_id("shop", "secret-key") in kept["secrets"]
    await shell(deleting, local, tmp_path)
    assert await left(world, world.google_id("shop")) == {}
