"""The command `localcloud` as a user runs it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 60.0  # a start with Kubernetes takes ten seconds on a machine that does nothing else
UP = ("up", "--detach", "--no-control-plane", "--speed", "1000")


@dataclass
class Shell:
    """Runs the command with one folder, as a user would."""

    folder: Path

    async def __call__(self, *arguments: str, status: int = 0) -> str:
        code, output = await self.run(*arguments)
        assert code == status, output
        return output

    async def run(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "localcloud", *arguments),
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        except TimeoutError:  # left alone it would end in a later test, after this one's loop
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, output.decode()

    def address(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / ".localcloud" / "address.json").read_text())
        return found
