"""How a process that serves is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable

ASKS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.asynccontextmanager
async def until_signalled(say: Callable[[str], None]) -> AsyncIterator[None]:
    """Runs the block until it ends or a signal asks for the end: then it is cancelled once, and its end is awaited."""
    loop, serving = asyncio.get_running_loop(), asyncio.current_task()
    assert serving is not None
    asked = asyncio.Event()

    def ask() -> None:
        if not asked.is_set():  # a second Ctrl-C must not break off the orderly end
            asked.set()
            say("stopping")  # PostgreSQL and the apps take their seconds
            serving.cancel()

    for number in ASKS:
        loop.add_signal_handler(number, ask)
    try:
        yield
    except asyncio.CancelledError:
        if not asked.is_set():
            raise
    finally:
        for number in ASKS:
            loop.remove_signal_handler(number)
