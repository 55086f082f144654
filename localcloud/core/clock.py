"""Time of the cloud: operations last as long as Google's, divided by the speed."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import time

from google.protobuf.timestamp_pb2 import Timestamp

# Seconds that the real operations took or take (gcp/behaviour.md, section 0; PostgreSQL: section 2, mid-range).
REAL_SECONDS: dict[str, float] = {
    "run.services.create": 5.7,
    "run.services.update": 5.1,
    "run.services.delete": 0.8,
    "run.jobs.create": 1.5,
    "run.jobs.update": 1.5,
    "run.jobs.delete": 0.8,
    "run.workerPools.create": 5.7,  # as services
    "run.workerPools.update": 5.1,
    "run.workerPools.delete": 0.8,
    "run.executions.start": 8.0,
    "run.executions.cancel": 0.8,
    "run.executions.delete": 0.8,
    "run.revisions.delete": 0.8,
    "run.instances.idle": 900.0,  # how long an idle instance lingers (behaviour-runtime.md, section 3)
    "run.requests.pending": 10.0,  # how long a request waits where no instance is free (the same)
    "sql.instances.create": 360.0,
    "sql.instances.update": 60.0,
    "sql.instances.delete": 90.0,
    "sql.instances.restart": 45.0,
    "sql.databases.create": 0.0,
    "sql.databases.change": 1.5,
    "sql.users.change": 0.0,
    "sql.backups.create": 60.0,
    "serviceusage.enable": 20.0,
    "serviceusage.batchEnable": 20.0,
    "serviceusage.disable": 20.0,
    "resourcemanager.projects.create": 5.0,
}


class Clock:
    """Wall-clock time for timestamps; scaled time for how long operations last."""

    def __init__(self, speed: float, durations: dict[str, float] | None = None) -> None:
        """`speed`: how many times faster than Google; `durations`: seconds that replace REAL_SECONDS."""
        self.speed = speed
        self._seconds = {**REAL_SECONDS, **(durations or {})}
        # The last operations' times, as (begin, end) of time.time(): what of a deployment was the cloud's own wait.
        self.waited: collections.deque[tuple[float, float]] = collections.deque(maxlen=10_000)

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def timestamp(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromDatetime(self.now())
        return stamp

    def real_seconds(self, verb: str) -> float:
        """How long the operation takes at Google."""
        return self._seconds[verb]

    async def lasts(self, verb: str) -> None:
        """Wait as long as an operation of this kind takes here."""
        began = time.time()
        await asyncio.sleep(self._seconds[verb] / self.speed)
        self.waited.append((began, time.time()))

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of Google's time."""
        await asyncio.sleep(seconds / self.speed)
