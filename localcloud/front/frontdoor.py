"""The front door of deployed services: run.app names, and `http://<label>.localhost:PORT` for people's browsers.

Order of judgement as Google's: is there such a service, ingress, IAM, then an instance of the revision that traffic
leads to (gcp/behaviour-runtime.md, sections 2 and 3).
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from localcloud.api.run_names import last
from localcloud.api.run_state import RunState
from localcloud.core.cloud import Cloud
from localcloud.front import access, pages
from localcloud.front.addresses import Address, Addresses, is_index
from localcloud.front.forward import Broken, Gone, Trace, forward, headers_for_app
from localcloud.runtime.pool import NoInstance, NotReady

MOST_BODY_BYTES = 32 * 2**20  # of a request over HTTP/1
TRIES = 3  # instances that are tried where one is found dead before anything was sent

NO_INSTANCE = "The request was aborted because there was no available instance."
NOT_READY = "The request failed because the instance failed the readiness check."
BROKEN = "The request failed because either the HTTP response was malformed or connection to the instance had an error."
TIMED_OUT = "The request has been terminated because it has reached the maximum request timeout."

logger = logging.getLogger(__name__)


@dataclass
class _Served:
    """What is known about a request in the end, for its log entry."""

    service: Any
    revision: str = ""
    instance: str = ""
    text: str = ""


class FrontDoor:
    """Serves every request to an app."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._state = cloud.shared(RunState)
        self._addresses = Addresses(cloud)
        self._random = random.Random()  # noqa: S311 - a traffic split needs no secrecy; the global one is others' to seed

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; what goes wrong is answered as Google's front end does."""
        address = self._addresses.find(request.host)
        if address is None:
            if is_index(request.host) and request.path == "/":
                return pages.index(self._addresses.links(request.host))
            return pages.not_found()
        service = self._state.services.find(address.service)
        if service is None or not access.reachable(service):
            return pages.not_found()
        if self._cloud.simulate:
            return web.Response(status=501, text="localcloud runs no containers under --simulate.\n")
        began, trace, served = time.monotonic(), Trace.of(request.headers.copy()), _Served(service)
        answer = await self._serve(request, address, served, trace)
        self._log(request, address, answer, served, trace, time.monotonic() - began)
        return answer

    async def _serve(self, request: web.Request, address: Address, served: _Served, trace: Trace) -> web.StreamResponse:
        service = served.service
        denied = access.judge(self._cloud, service, request.headers)
        if denied is not None:
            served.text = denied.log
            return pages.forbidden(request.path) if denied.status == 403 else pages.unauthorized(request.path)
        if (request.content_length or 0) > MOST_BODY_BYTES:
            return pages.too_large()
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return web.Response(status=501, text="localcloud does not model WebSockets to services.\n")
        revision = self._choose(service, address.tag)
        if revision is None:
            return pages.not_found()
        served.revision = last(revision.name)
        headers = headers_for_app(request, address, trace, not service.invoker_iam_disabled)
        try:
            return await self._forward(request, revision, headers, address, served)
        except NoInstance:
            served.text = NO_INSTANCE
            return pages.rate_exceeded()
        except NotReady as error:
            served.text = NOT_READY
            return pages.server_error() if "Instance startup will now abort" in str(error) else pages.unavailable()
        except TimeoutError:
            served.text = TIMED_OUT
            return pages.timed_out()
        except (Broken, Gone) as error:
            logger.debug("%s: %s", service.name, error)
            served.text = BROKEN
            return pages.unavailable()

    async def _forward(
        self, request: web.Request, revision: Any, headers: Any, address: Address, served: _Served
    ) -> web.StreamResponse:
        pool = self._cloud.runtime.revisions.pool(revision)
        timeout_s = revision.timeout.seconds + revision.timeout.nanos / 1e9
        for left in reversed(range(TRIES)):
            async with pool.lease() as member:
                served.instance = member.instance.id
                try:
                    return await forward(request, member, headers, address, timeout_s)
                except Gone:
                    await pool.lose(member)
                    if not left:
                        raise
                except Broken:
                    await pool.lose(member)
                    raise
        raise AssertionError("the last try returns or raises")

    def _choose(self, service: Any, tag: str) -> Any | None:
        """The revision for this request: the tag's, or one drawn by percent."""
        targets = [t for t in service.traffic_statuses if (t.tag == tag if tag else t.percent > 0)]
        if not targets:
            return None
        weights = [target.percent for target in targets] if not tag else None
        drawn = self._random.choices(targets, weights)[0]
        name = f"{service.name}/revisions/{drawn.revision}" if drawn.revision else service.latest_ready_revision
        return self._state.revisions.find(name) if name else None

    def _log(
        self, request: web.Request, address: Address, answer: Any, served: _Served, trace: Trace, seconds: float
    ) -> None:
        """The entry in the `requests` log."""
        parts = served.service.name.split("/")
        severity = "INFO" if answer.status < 400 else "WARNING" if answer.status < 500 else "ERROR"
        entry: dict[str, Any] = {
            "logName": f"projects/{parts[1]}/logs/run.googleapis.com%2Frequests",
            "resource": {
                "type": "cloud_run_revision",
                "labels": {
                    "project_id": parts[1],
                    "location": parts[3],
                    "service_name": parts[5],
                    "revision_name": served.revision,
                    "configuration_name": parts[5],
                },
            },
            "severity": severity,
            "httpRequest": {
                "requestMethod": request.method,
                "requestUrl": f"https://{address.host}{request.path_qs}",
                "requestSize": str(request.content_length or 0),
                "status": answer.status,
                "responseSize": str(getattr(answer, "content_length", 0) or 0),
                "userAgent": request.headers.get("User-Agent", ""),
                "remoteIp": request.remote or "",
                "latency": f"{seconds:.6f}s",
                "protocol": f"HTTP/{request.version.major}.{request.version.minor}",
            },
            "trace": f"projects/{parts[1]}/traces/{trace.id}",
            "spanId": trace.span,
        }
        if served.instance:
            entry["labels"] = {"instanceId": served.instance}
        if served.text:
            entry["textPayload"] = served.text
        self._cloud.runtime.logs.add(entry)
