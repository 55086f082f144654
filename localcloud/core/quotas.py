"""Google's quotas on writes: so many a minute for each project and service, else 429 (gcp/behaviour.md, section 0)."""

from __future__ import annotations

import collections
import time

from localcloud.core.clock import Clock
from localcloud.core.errors import ApiError, Code, error_info
from localcloud.core.faults import is_read, with_retry_after
from localcloud.core.projects import Projects
from localcloud.core.state import Records

MINUTE_S = 60.0


class Quotas:
    """No service has one unless `configure` says so. A minute is Google's: as much shorter here as operations are."""

    def __init__(self, projects: Projects, buckets: Records, clock: Clock) -> None:
        self._projects, self._buckets, self._clock = projects, buckets, clock
        self._limits: dict[str, int] = {}  # host -> writes per minute and project
        self._written: dict[tuple[str, str], collections.deque[float]] = {}

    def configure(self, host: str, writes_per_minute: int | None) -> None:
        """`host`: "run.googleapis.com"; None takes the quota away."""
        self._limits.pop(host, None)
        self._written = {key: times for key, times in self._written.items() if key[0] != host}
        if writes_per_minute is not None:
            self._limits[host] = writes_per_minute

    def all(self) -> dict[str, int]:
        return dict(self._limits)

    def spend(self, method: str, resource: str) -> None:
        """Count a call. Raises RESOURCE_EXHAUSTED where it is a write too many; that one does not count."""
        host = method.partition("/")[0]
        limit = self._limits.get(host)
        if limit is None or is_read(method):
            return
        project = self._project(resource)
        times = self._written.setdefault((host, project), collections.deque())
        window, now = MINUTE_S / self._clock.speed, time.monotonic()
        while times and times[0] <= now - window:
            times.popleft()
        if len(times) >= limit:
            raise self._exceeded(host, project, limit, window - (now - times[0]) if times else window)
        times.append(now)

    def _project(self, resource: str) -> str:
        """Its number; "" where there is none: objects by the XML API, and what is not there at all."""
        match resource.split("/"):
            case ["projects", "_", "buckets", bucket, *_]:  # whose names tell no project
                name = str((self._buckets.find(bucket) or {}).get("_project", ""))
            case ["projects", name, *_]:
                pass
            case _:
                return ""
        found = self._projects.find(name)
        return "" if found is None else str(found.number)

    def _exceeded(self, host: str, project: str, limit: int, wait_s: float) -> ApiError:
        metric, name = f"{host}/write_requests", "WriteRequestsPerMinutePerProject"
        told = {
            "consumer": f"projects/{project}",
            "quota_limit": name,
            "quota_limit_value": str(limit),
            "quota_metric": metric,
            "service": host,
        }
        error = ApiError(
            Code.RESOURCE_EXHAUSTED,
            f"Quota exceeded for quota metric '{metric}' and limit '{name}' of service '{host}' for consumer "
            f"'project_number:{project}'.",
            reason="rateLimitExceeded",
            details=(error_info("RATE_LIMIT_EXCEEDED", "googleapis.com", told),),
        )
        return with_retry_after(error, wait_s)
