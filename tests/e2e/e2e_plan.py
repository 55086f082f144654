"""`nuages plan`, as people call it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from e2e_world import World

if TYPE_CHECKING:
    from e2e_local import LocalSite

NUAGES = Path(sys.executable).parent / "nuages"


async def plan(local: LocalSite, world: World, manifest: dict[str, Any] | str) -> tuple[int, str]:
    """Exit status and output of `nuages plan -f -`."""
    text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
    process = await asyncio.create_subprocess_exec(
        str(NUAGES),
        *("plan", "-f", "-", "--namespace", world.namespace, "--project", world.site.project),
        env={**os.environ, **local.cloud.environment()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(text.encode())
    return process.returncode or 0, output.decode()
