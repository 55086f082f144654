"""One request to one instance and back, streamed both ways (gcp/behaviour-runtime.md, section 3)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from localcloud.front.access import without_signature
from localcloud.front.addresses import Address, to_app, to_browser
from localcloud.runtime.pool import Member

HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
WHOLE_BYTES = 64 * 1024  # answers up to here are read before they are sent on, which is faster
CHUNK = 64 * 1024
SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # aiohttp would add its own


class Broken(Exception):
    """The instance answered badly or not at all: 503."""


class Gone(Exception):
    """The instance could not even be connected to; nothing was sent, so another may be tried."""


@dataclass(frozen=True)
class Trace:
    """The trace that the request belongs to."""

    id: str
    span: str

    @classmethod
    def of(cls, headers: CIMultiDict[str]) -> Trace:
        """The client's, or a new one."""
        parts = headers.get("traceparent", "").split("-")
        known = parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""
        if not known:
            cloud = headers.get("X-Cloud-Trace-Context", "").partition("/")[0]
            known = cloud if len(cloud) == 32 else secrets.token_hex(16)
        return cls(known, secrets.token_hex(8))


def headers_for_app(request: web.BaseRequest, address: Address, trace: Trace, is_judged: bool) -> CIMultiDict[str]:
    """What reaches the container. `is_judged`: IAM used the token, whose signature is then removed."""
    client = request.remote or "127.0.0.1"
    named = {token.strip().lower() for value in request.headers.getall("Connection", []) for token in value.split(",")}
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        lower = name.lower()
        if lower not in HOP_BY_HOP and lower not in named and not lower.startswith("x-google-"):
            headers.add(name, value)
    for name in ("X-Serverless-Authorization", "Authorization"):
        if is_judged and name in headers:
            headers[name] = without_signature(headers[name])
            break  # the other one passes untouched (behaviour-runtime.md, section 2)
    before = headers.get("X-Forwarded-For")
    headers["X-Forwarded-For"] = f"{before},{client}" if before else client
    headers["X-Forwarded-Proto"] = "https"
    headers["Forwarded"] = f'for="{client}";proto=https'
    headers["traceparent"] = f"00-{trace.id}-{trace.span}-01"
    headers["X-Cloud-Trace-Context"] = f"{trace.id}/{int(trace.span, 16)};o=1"
    headers["Host"] = address.host
    if address.browser:
        to_app(headers, address)
    return headers


async def forward(
    request: web.Request, member: Member, headers: CIMultiDict[str], address: Address, timeout_s: float
) -> web.StreamResponse:
    """The instance's answer, sent on. Raises Broken, Gone, TimeoutError (nothing was answered yet)."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    body = request.content if request.body_exists else None
    try:
        async with asyncio.timeout_at(deadline):
            answer = await member.session.request(
                request.method,
                URL(member.url + request.raw_path, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                skip_auto_headers=SKIPPED,
            )
    except aiohttp.ClientConnectorError as error:
        raise Gone(str(error)) from None
    except (aiohttp.ClientError, ConnectionError) as error:
        raise Broken(str(error)) from None
    async with answer:
        return await _send_on(request, answer, address, deadline)


async def _send_on(
    request: web.Request, answer: aiohttp.ClientResponse, address: Address, deadline: float
) -> web.StreamResponse:
    pairs: Iterable[tuple[str, str]] = (
        (name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP
    )
    headers = to_browser(pairs, address) if address.browser else CIMultiDict(pairs)
    length = answer.content_length
    has_body = request.method != "HEAD" and answer.status not in (204, 304)
    if has_body and length is not None and length <= WHOLE_BYTES:
        try:
            async with asyncio.timeout_at(deadline):
                whole = await answer.read()
        except aiohttp.ClientError as error:
            raise Broken(str(error)) from None
        return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=whole)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    if has_body and length is None and request.version >= (1, 1):
        response.enable_chunked_encoding()
    with contextlib.suppress(aiohttp.ClientConnectionResetError):  # the client has read enough and gone
        await response.prepare(request)
        if has_body:
            async with asyncio.timeout_at(deadline):  # too late for a 504: the connection breaks off
                async for chunk in answer.content.iter_chunked(CHUNK):
                    await response.write(chunk)
        await response.write_eof()
    return response
