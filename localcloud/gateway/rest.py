"""The REST side of every service: one aiohttp handler for the proxy, the plain port and the browsers' port."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import hdrs, web

from localcloud.core.bodies import current_body
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family, internal_error
from localcloud.core.invoke import guarded, invoke
from localcloud.core.rest import RestRequest, RestResponse
from localcloud.gateway import selection
from localcloud.gateway.hosts import bare, is_app, is_google
from localcloud.gateway.json_parse import load
from localcloud.gateway.json_render import Style, render
from localcloud.gateway.rest_errors import envelope, not_found_page
from localcloud.gateway.router import DeclaredMatch, Router, WrittenMatch
from localcloud.gateway.transcode import build

MAX_BODY_BYTES = 5 * 2**30  # an object of Cloud Storage may have 5 TiB; more than this is no test
CALLER_LEFT = 499  # no answer, but what logs show: google.rpc.Code.CANCELLED in HTTP (google/rpc/code.proto)
JSON = "application/json; charset=UTF-8"
REASON_HEADER = "X-Goog-Request-Reason"
GOOGLE_HEADERS = {"Server": "ESF", "Vary": "Origin, X-Origin, Referer", "X-Content-Type-Options": "nosniff"}

logger = logging.getLogger(__name__)


class FrontDoor(Protocol):
    """What serves the deployed apps' own names."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request to a run.app or browser name."""
        ...


Admin = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RestGateway:
    """Dispatches by Host where it is a Google name, else by path."""

    def __init__(
        self,
        cloud: Cloud,
        router: Router,
        front_door: FrontDoor,
        is_front: Callable[[web.BaseRequest], bool],
        admin: Admin,
    ) -> None:
        """`is_front`: whether a request came in on the browsers' port; `admin` serves localcloud's own commands."""
        self._cloud, self._router, self._front_door = cloud, router, front_door
        self._is_front, self._admin = is_front, admin

    def application(self) -> web.Application:
        """For aiohttp's runner; serves any host and path."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, whatever it is for."""
        host = bare(request.host)
        if is_app(host) or self._is_front(request):
            return await self._front_door.handle(request)
        path = request.raw_path.partition("?")[0]
        if path.startswith("/_localcloud/") and not is_google(host):
            return await self._admin(request)
        google = host if is_google(host) or self._router.knows(host) else None
        return await self._api(request, google, path)

    async def _api(self, request: web.Request, host: str | None, path: str) -> web.StreamResponse:
        verb = request.headers.get("X-HTTP-Method-Override", request.method)
        match = self._router.find(host, verb, path)
        if match is None and verb == hdrs.METH_HEAD:
            match = self._router.find(host, hdrs.METH_GET, path)
        if match is None:
            return self._unmatched(request, host, verb, path)
        family = match.entry.service.errors
        try:
            body = await request.read()
        except ConnectionError:  # the caller left in the middle of it
            return web.Response(status=CALLER_LEFT)
        try:
            if isinstance(match, WrittenMatch):
                return await self._written(request, match, host or match.entry.service.host, path, body)
            return await self._declared(request, match, body)
        except ApiError as error:
            return _error(error, family, request.query)
        except Exception:
            logger.exception("%s %s failed inside localcloud", verb, path)
            return _error(internal_error(), family, request.query)

    async def _declared(self, request: web.Request, match: DeclaredMatch, body: bytes) -> web.Response:
        service, method = match.entry.service, match.entry.method
        query: list[tuple[str, str]] = list(request.query.items())
        if request.method == hdrs.METH_POST and match.entry.verb == hdrs.METH_GET:  # a query too long for a URL
            query, body = query + list((await request.post()).items()), b""  # type: ignore[arg-type]
        rule = match.entry.rule
        selector = _selector(request.query)
        chosen = None if selector is None else selection.fitted(selector, method.response.DESCRIPTOR)
        message = build(method, rule, match.values, query, body)
        current_body.set(load(body) if rule.merges else None)  # a connection's calls share a context: each sets its own
        authorization, reason = _authorization(request), request.headers.get(REASON_HEADER, "")
        answer = await invoke(self._cloud, service, method, message, authorization, reason)
        style = Style("enum-encoding=int" in request.query.get("$alt", ""), service.always)
        shown = render(answer, style)
        return _json(shown if chosen is None else selection.select(shown, chosen), request.query)

    async def _written(
        self, request: web.Request, match: WrittenMatch, host: str, path: str, body: bytes
    ) -> web.Response:
        service, route = match.entry.service, match.entry.route
        decoded = RestRequest(request.method, host, path, match.variables, request.query, request.headers, body)
        answer = await guarded(
            self._cloud,
            name=service.name_of(route),
            resource=route.resource.format_map({"project": request.query.get("project", "-"), **match.variables}),
            permission=route.permission,
            api=(service.host, service.title),
            authorization=_authorization(request),
            reason=request.headers.get(REASON_HEADER, ""),
            work=lambda: route.handler(decoded),
            is_open=route.open,
        )
        return _written_answer(answer, request.query)

    def _unmatched(self, request: web.Request, host: str | None, verb: str, path: str) -> web.Response:
        """A path below a known version is refused by name; one that no API could have gets Google's page."""
        service = self._router.service_of(host, path)
        if service is None and (host is None or self._router.knows(host)):
            return web.Response(status=404, text=not_found_page(path), content_type="text/html", charset="UTF-8")
        error = ApiError(Code.UNIMPLEMENTED, f"localcloud does not model {verb} {host}{path}.")
        return _error(error, Family.ONE_PLATFORM if service is None else service.errors, request.query)


def _authorization(request: web.Request) -> str:
    token = request.query.get("access_token", "")
    return request.headers.get(hdrs.AUTHORIZATION) or (f"Bearer {token}" if token else "")


def _selector(query: Mapping[str, str]) -> selection.Selection | None:
    text = query.get("fields") or query.get("$fields")
    return selection.parse(text) if text else None


def _json(
    value: Any, query: Mapping[str, str], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    plain = (query.get("prettyPrint") or query.get("$prettyPrint")) == "false"
    text = json.dumps(value, ensure_ascii=False, indent=None if plain else 2)
    return web.Response(
        body=text.encode() + b"\n", status=status, headers={"Content-Type": JSON, **GOOGLE_HEADERS, **(headers or {})}
    )


def _error(error: ApiError, family: Family, query: Mapping[str, str]) -> web.Response:
    headers = dict(error.headers)
    if error.code is Code.UNAUTHENTICATED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/"')
    return _json(envelope(error, family, query), query, error.code.http, headers)


def _written_answer(answer: RestResponse, query: Mapping[str, str]) -> web.Response:
    kind = next((value for name, value in answer.headers.items() if name.lower() == "content-type"), "")
    selector = _selector(query)
    is_json = kind.startswith("application/json") and query.get("alt") != "media"
    if answer.status == 200 and selector is not None and is_json:
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-type"}
        return _json(selection.select(json.loads(answer.body), selector), query, answer.status, headers)
    return web.Response(body=answer.body, status=answer.status, headers={**GOOGLE_HEADERS, **answer.headers})
