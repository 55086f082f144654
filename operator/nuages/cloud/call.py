"""One Google call: bounded in number and time, named to the audit log, counted, its failure classified.

Nothing is retried here: the engine observes again and comes back, so that a call is made because it is still wanted.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from google.api_core import exceptions as google
from prometheus_client import Counter, Histogram

from nuages.cloud.errors import CloudError, NotFound, Propagating, classify

CALL_TIMEOUT = 60.0  # seconds
GRACE_S = 5.0  # in which an asyncio client tells of its own deadline

T = TypeVar("T")
Token = Callable[[], Awaitable[tuple[tuple[str, str], ...]]]

CALLS = Counter("nuages_google_calls_total", "Calls of Google APIs.", ["method", "outcome"])
SECONDS = Histogram("nuages_google_call_seconds", "How long calls of Google APIs took.", ["method"])

# "nuages/<namespace>/<app>@<generation>": whom audit logs name as the object behind a call.
request_reason: contextvars.ContextVar[str] = contextvars.ContextVar("request_reason", default="nuages")


class Call:
    """Callable for all drivers of one credential; `parallel` calls at once, each at most `deadline` seconds."""

    def __init__(self, parallel: int = 32, deadline: float = CALL_TIMEOUT, token: Token | None = None) -> None:
        """`token` is asked for the access token that each call bears."""
        self._slots = asyncio.Semaphore(parallel)
        # Of its own: the event loop's has six threads on two cores, which six calls without an answer would hold.
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="google")
        self._threads: set[asyncio.Future[Any]] = set()
        self._deadline = deadline
        self.token = token

    async def __call__(self, method: Callable[..., Awaitable[T]], request: Any = None, **fields: Any) -> T:
        """Call a method of one of Google's async clients. Raises CloudError."""
        metadata = await self._metadata()  # before the slot: a new token takes one itself

        async def work() -> T:
            return await method(
                **({"request": request} if request is not None else {}),
                **fields,
                retry=None,
                timeout=self._deadline,
                metadata=metadata,
            )

        return await self._counted(method.__qualname__, work, self._deadline + GRACE_S)

    async def or_none(self, method: Callable[..., Awaitable[T]], request: Any = None, **fields: Any) -> T | None:
        """The same, with None for what is not there; a service account's 404 reads like one that is too fresh."""
        try:
            return await self(method, request, **fields)
        except NotFound:
            return None
        except Propagating as error:
            if isinstance(error.__cause__, google.NotFound):
                return None
            raise

    async def in_thread(self, name: str, function: Callable[..., T], *arguments: Any, **fields: Any) -> T:
        """Call a synchronous client (Cloud Storage) without blocking the loop. Raises CloudError.

        `function` also takes `timeout`: the seconds that are left of the call when it begins.
        """
        if self.token is not None:
            await self.token()  # before the call: the client would refresh it within, and write late
        return await self.in_thread_without_token(name, function, *arguments, **fields)

    async def in_thread_without_token(self, name: str, function: Callable[..., T], *args: Any, **fields: Any) -> T:
        """The same for what makes the token."""

        async def work() -> T:
            ends = time.monotonic() + self._deadline

            def bounded() -> T:
                if (left := ends - time.monotonic()) <= 0:  # it waited for a thread, and nobody waits for it any more
                    raise TimeoutError
                return function(*args, **fields, timeout=left)

            context = contextvars.copy_context()
            thread = asyncio.get_running_loop().run_in_executor(self._pool, context.run, bounded)
            self._threads.add(thread)
            thread.add_done_callback(self._ended)
            return await asyncio.shield(thread)

        return await self._counted(name, work, self._deadline)

    async def all_ended(self) -> None:
        """Once nothing of it writes any more: a thread goes on when the task that waited for it is cancelled."""
        if self._threads:
            await asyncio.wait(self._threads, timeout=self._deadline)

    def _ended(self, thread: asyncio.Future[Any]) -> None:
        self._threads.discard(thread)
        if not thread.cancelled():
            thread.exception()  # retrieved, also where nobody waits any more

    async def _metadata(self) -> tuple[tuple[str, str], ...]:
        """With the token: gRPC's own way of getting it starts a thread for every call."""
        reason = ("x-goog-request-reason", request_reason.get())
        return (reason,) if self.token is None else (reason, *await self.token())

    async def _counted(self, name: str, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        name, began, outcome = name.replace("AsyncClient", ""), time.monotonic(), "ok"
        async with self._slots:
            try:
                return await asyncio.wait_for(work(), seconds)
            except CloudError as error:
                outcome = type(error).__name__
                raise
            except (AssertionError, AttributeError, LookupError, NameError, TypeError):  # a bug of ours is no outage
                outcome = "Bug"
                raise
            except Exception as error:  # the clients raise from four libraries; classify() knows them
                ours = classify(error)
                outcome = type(ours).__name__
                raise ours from error
            finally:
                CALLS.labels(name, outcome).inc()
                SECONDS.labels(name).observe(time.monotonic() - began)
