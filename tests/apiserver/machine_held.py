"""Calls that last longer than the operator waits for them."""

from __future__ import annotations

import asyncio

HURRIED_S, HELD_S = 0.5, 0.8  # what a hurried operator gives a call, and what Google then takes for it


class Held:
    """A fault's hook, after the work: it is done, and a hurried operator has given up when the answer comes."""

    def __init__(self) -> None:
        self._count, self._none = 0, asyncio.Event()
        self._none.set()

    async def __call__(self) -> None:
        self._count += 1
        self._none.clear()
        try:
            await asyncio.sleep(HELD_S)
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def over(self) -> None:
        """Once none is under way."""
        await self._none.wait()
