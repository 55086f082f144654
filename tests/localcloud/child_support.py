"""Programs that a test starts end with it, whatever they do."""

from __future__ import annotations

import asyncio


async def output(child: asyncio.subprocess.Process, within: float) -> tuple[bytes, bytes]:
    """What it wrote, once it has ended. After `within` seconds it is killed, and TimeoutError raised."""
    try:
        async with asyncio.timeout(within):
            return await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
