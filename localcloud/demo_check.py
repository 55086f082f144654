"""What a person would try in the browser: the page, and a login to Django's admin through the front door."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
PATIENCE_S = 30.0


class CheckFailed(Exception):
    """The app does not do what it should; the message says what it did."""


class _Localhost(AbstractResolver):
    """Every *.localhost is this machine, as browsers have it; Python's resolver does not."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found: ResolveResult = {
            "hostname": host,
            "host": "127.0.0.1",
            "port": port,
            "family": socket.AF_INET,
            "proto": 0,
            "flags": socket.AI_NUMERICHOST,
        }
        return [found]

    async def close(self) -> None:
        """Nothing is kept."""


async def check(url: str, texts: Iterable[str], user: str, password: str) -> None:
    """The page at `url` shows the texts, and the user can log in to /admin/. Raises CheckFailed."""
    connector = aiohttp.TCPConnector(resolver=_Localhost())
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as browser:
        try:
            await _check(browser, url, texts, user, password)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CheckFailed(f"{url} does not answer: {error or 'it takes too long'}.") from error


async def _check(browser: aiohttp.ClientSession, url: str, texts: Iterable[str], user: str, password: str) -> None:
    page = await _text(await browser.get(url))
    for text in texts:
        if text not in page:
            raise CheckFailed(f"{url} does not list {text}.")
    login = f"{url}admin/login/?next=/admin/"
    token = CSRF.search(await _text(await browser.get(login)))
    if token is None:
        raise CheckFailed(f"{login} has no form with a CSRF token.")
    form = {"csrfmiddlewaretoken": token[1], "username": user, "password": password, "next": "/admin/"}
    headers = {"Origin": url.rstrip("/"), "Referer": login}
    admin = await _text(await browser.post(login, data=form, headers=headers))
    if "Site administration" not in admin:
        raise CheckFailed(f"{login}: {user} could not log in.")


async def _text(answer: aiohttp.ClientResponse) -> str:
    text = await answer.text()
    if answer.status != 200:
        raise CheckFailed(f"{answer.url} answers {answer.status}: {' '.join(text.split())[:200]}")
    return text
