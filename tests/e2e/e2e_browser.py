"""A person's browser, as far as Django can tell: cookies, forms with CSRF tokens, Origin and Referer."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True)
class Page:
    """What came in the end, after redirects."""

    status: int
    url: str
    text: str
    content: bytes
    headers: Mapping[str, str]


class Browser:
    """One person's session with one app; `origin` is what the address bar shows.

    With a `token` as the one who calls, where Cloud Run asks: in the header that leaves Authorization to the app.
    """

    def __init__(self, origin: str, token: str = "") -> None:
        self.origin = origin.rstrip("/")
        connector = aiohttp.TCPConnector(resolver=_Resolver())
        headers = {"X-Serverless-Authorization": f"Bearer {token}"} if token else {}
        self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, headers=headers)

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, *, follow: bool = True) -> Page:
        """A page of the app, or whatever it redirects to."""
        async with self._session.get(urljoin(self.origin, path), allow_redirects=follow) as answer:
            return await _page(answer)

    async def submit(
        self, path: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]] | None = None
    ) -> Page:
        """Fills in the form that `path` shows and sends it with its CSRF token."""
        form_page = await self.get(path)
        token = CSRF.search(form_page.text)
        assert token is not None, f"{path} ({form_page.status}) shows no form: {form_page.text[:300]}"
        form = aiohttp.FormData({"csrfmiddlewaretoken": token[1], **fields})
        for name, (filename, content) in (files or {}).items():
            form.add_field(name, content, filename=filename, content_type="application/octet-stream")
        headers = {"Origin": _origin(form_page.url), "Referer": form_page.url}
        async with self._session.post(form_page.url, data=form, headers=headers) as answer:
            return await _page(answer)

    async def log_in(self, path: str, user: str, password: str) -> Page:
        """Where a login form leads."""
        return await self.submit(path, {"username": user, "password": password})


async def _page(answer: aiohttp.ClientResponse) -> Page:
    content = await answer.read()
    text = content.decode(errors="replace")
    return Page(answer.status, str(answer.url), text, content, dict(answer.headers))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class _Resolver(AbstractResolver):
    """Every *.localhost is this machine, as browsers have it; other names are the system's to resolve."""

    def __init__(self) -> None:
        self._others = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        name = "127.0.0.1" if host.endswith(".localhost") else host
        return await self._others.resolve(name, port, family)

    async def close(self) -> None:
        await self._others.close()
