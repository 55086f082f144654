"""One Google call: bounded in number and time, named to the audit log, counted, its failure classified.

Nothing is retried here: the engine observes again and comes back, so that a call is made because it is still wanted.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from google.api_core import exceptions as google
from prometheus_client import Counter, Histogram

from nuages.cloud import deadline as bounds
from nuages.cloud.errors import CloudError, NotFound, Propagating, classify

CALL_TIMEOUT = 60.0  # seconds
GRACE_S = 5.0  # in which an asyncio client tells of its own deadline

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]

CALLS = Counter("nuages_google_calls_total", "Calls of Google APIs.", ["method", "outcome"])
SECONDS = Histogram("nuages_google_call_seconds", "How long calls of Google APIs took.", ["method"])

# "nuages/<namespace>/<app>@<generation>": whom audit logs name as the object behind a call.
request_reason: contextvars.ContextVar[str] = contextvars.ContextVar("request_reason", default="nuages")


class Bearer(Protocol):
    """Who gives each call its access token."""

    async def metadata(self) -> Metadata:
        """What a call bears. Raises CloudError."""

    def forget(self, sent: Metadata) -> None:
        """Google refused the token in it."""


class Call:
    """Callable for all drivers of one credential; `parallel` calls at once, each at most `deadline` seconds."""

    def __init__(self, parallel: int = 32, deadline: float = CALL_TIMEOUT) -> None:
        self._slots = asyncio.Semaphore(parallel)
        # Of its own: the event loop's has six threads on two cores, which six calls without an answer would hold.
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="google")
        self._threads: set[asyncio.Future[Any]] = set()
        self._deadline = deadline
        self.bearer: Bearer | None = None  # set by who makes both: tokens are got by calls, too

    async def __call__(self, method: Callable[..., Awaitable[T]], request: Any = None, **fields: Any) -> T:
        """Call a method of one of Google's async clients. Raises CloudError."""
        sent = await self._sent()  # before the slot: a new token takes one itself

        async def work() -> T:
            return await method(
                **({"request": request} if request is not None else {}),
                **fields,
                retry=None,
                timeout=self._deadline,
                metadata=(("x-goog-request-reason", request_reason.get()), *sent),
            )

        return await self._counted(method.__qualname__, work, self._deadline + GRACE_S, sent)

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

        Its requests have what is left of the call, by BoundedAdapter or by asking `deadline.left`.
        """
        sent = await self._sent()  # before the call: the client would refresh it within, and write late
        return await self._in_thread(name, sent, function, *arguments, **fields)

    async def in_thread_without_token(self, name: str, function: Callable[..., T], *args: Any, **fields: Any) -> T:
        """The same for what makes the token."""
        return await self._in_thread(name, (), function, *args, **fields)

    async def _in_thread(self, name: str, sent: Metadata, function: Callable[..., T], *args: Any, **fields: Any) -> T:
        async def work() -> T:
            def bounded() -> T:
                bounds.left()  # raises where it has waited for a thread until nobody waits for it any more
                return function(*args, **fields)

            context = contextvars.copy_context()
            context.run(bounds.ends.set, time.monotonic() + self._deadline)
            thread = asyncio.get_running_loop().run_in_executor(self._pool, context.run, bounded)
            self._threads.add(thread)
            thread.add_done_callback(self._ended)
            return await asyncio.shield(thread)

        return await self._counted(name, work, self._deadline, sent)

    async def all_ended(self) -> None:
        """Once nothing is sent any more: a thread goes on when the task that waited for it is cancelled.

        At the latest when all deadlines are over: after its own no thread sends what would change anything, though one
        may still wait for an answer.
        """
        if self._threads:
            await asyncio.wait(self._threads, timeout=self._deadline)

    def _ended(self, thread: asyncio.Future[Any]) -> None:
        self._threads.discard(thread)
        if not thread.cancelled():
            thread.exception()  # retrieved, also where nobody waits any more

    async def _sent(self) -> Metadata:
        """With the token: gRPC's own way of getting it starts a thread for every call."""
        return () if self.bearer is None else await self.bearer.metadata()

    async def _counted(self, name: str, work: Callable[[], Awaitable[T]], seconds: float, sent: Metadata) -> T:
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
                if isinstance(error, google.Unauthorized) and self.bearer is not None:
                    self.bearer.forget(sent)
                ours = classify(error)
                outcome = type(ours).__name__
                raise ours from error
            finally:
                CALLS.labels(name, outcome).inc()
                SECONDS.labels(name).observe(time.monotonic() - began)
