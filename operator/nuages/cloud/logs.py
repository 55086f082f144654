"""The last lines of a log, for events and messages: best effort, for they arrive late (behaviour-runtime.md, §4)."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from google.protobuf import json_format

from nuages.cloud.call import Call
from nuages.cloud.errors import ApiDisabled, CloudError, PermissionDenied, Transient

if TYPE_CHECKING:
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2AsyncClient
    from google.cloud.logging_v2.types import LogEntry

LINES = 100  # an event has the last ones, and a traceback of Django's may have as many
PAGES = 5  # one may be empty although more follow
LATE = 60.0  # seconds for which a line may be on its way
KEPT = 5 * LATE  # seconds for which it is known when a log was first looked for: a pass that failed comes again
# "entries.list requests: 60 per minute, per project" (cloud.google.com/logging/quotas): the one whose credentials ask.
# It is for people and their tools too: in any minute BURST and another 30 are ours.
BURST, APART = 20, 2.0  # reads at once, and seconds between further ones
IN_LINE = 10.0  # seconds for which a pass may be held up by that
log = structlog.get_logger()


@dataclass(frozen=True)
class LogLine:
    """`text` of a plain line, or the message of a structured one, whose whole is in `payload`."""

    text: str
    severity: str
    payload: dict[str, Any] | None = None

    @property
    def shown(self) -> str:
        """The line for people; "" where there is nothing to read, as in a request's."""
        return self.text or (json.dumps(self.payload) if self.payload else "")


@dataclass(frozen=True)
class Tail:
    """A log's last lines, oldest first; `waited`: seconds for which they have been looked for, inf where none may be.

    Until LATE, what is not among them may be on its way.
    """

    lines: Sequence[LogLine] = ()
    waited: float = math.inf

    @property
    def shown(self) -> tuple[str, ...]:
        """Its lines for people."""
        return tuple(line.shown for line in self.lines if line.shown)


class Turns:
    """When each read may begin: in the order in which they were asked for, at Google's pace."""

    def __init__(self, burst: int = BURST, apart: float = APART) -> None:
        self._ahead, self._apart = (burst - 1) * apart, apart
        self._next = 0.0  # when the next one would begin, were there no bursts

    def take(self, now: float) -> float:
        """Seconds until the read's turn. Raises Transient, and takes none, where that is more than IN_LINE."""
        wait = max(0.0, self._next - self._ahead - now)
        if wait > IN_LINE:
            raise Transient(f"Too many logs are read at once: the turn of this one is in {wait:.0f} s.")
        self._next = max(self._next, now) + self._apart
        return wait


class Looks:
    """Since when each log is looked for, by this process's own clock: Google's stamps may be ahead of it, or behind.

    Another process begins anew, so that a restart may lengthen the wait for a log, and never shortens it.
    """

    def __init__(self) -> None:
        self._first: dict[str, float] = {}

    def waited(self, log_name: str, now: float) -> float:
        """Seconds since the first look; 0.0 at that one."""
        self._first = {name: first for name, first in self._first.items() if now - first < KEPT}
        return now - self._first.setdefault(log_name, now)


class Logs:
    """`api` is asked for when a log is first read; `turns` are those of one identity, whose project's quota it is."""

    def __init__(self, api: Callable[[], LoggingServiceV2AsyncClient], call: Call, turns: Turns | None = None) -> None:
        self._api, self._call, self._turns, self._looks = api, call, turns or Turns(), Looks()

    async def tail(self, project: str, filter_text: str, limit: int = LINES) -> Tail:
        """The newest lines that match. Never raises CloudError: a log that cannot be read is as one that is late."""
        waited = self._looks.waited(f"{project} {filter_text}", time.monotonic())
        try:
            return Tail(await self._tail(project, filter_text, limit), waited)
        except CloudError as error:
            log.info("log not readable", project=project, error=error.cause)
            return Tail() if isinstance(error, PermissionDenied | ApiDisabled) else Tail((), waited)

    async def _tail(self, project: str, filter_text: str, limit: int) -> list[LogLine]:
        request: dict[str, Any] = {
            "resource_names": [f"projects/{project}"],
            "filter": filter_text,
            "order_by": "timestamp desc",
            "page_size": limit,
        }
        found: list[LogEntry] = []
        for _ in range(PAGES):
            await asyncio.sleep(self._turns.take(time.monotonic()))
            page = await self._call(self._api().list_log_entries, request)
            found += page.entries
            if len(found) >= limit or not page.next_page_token:
                break
            request["page_token"] = page.next_page_token
        return [_line(entry) for entry in reversed(found[:limit])]


def _line(entry: LogEntry) -> LogLine:
    message = type(entry).pb(entry)
    names = message.DESCRIPTOR.fields_by_name["severity"].enum_type.values_by_number
    severity = str(names[message.severity].name)
    if message.WhichOneof("payload") != "json_payload":
        return LogLine(entry.text_payload, severity)
    payload = json_format.MessageToDict(message.json_payload)
    return LogLine(str(payload.get("message", "")), severity, payload)
