"""Whole lists, page by page: each page is a call of its own, so that it is bounded and counted like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from nuages.cloud.call import Call


async def all_pages(
    call: Call, method: Callable[..., Awaitable[Any]], request: Mapping[str, Any], field: str
) -> list[Any]:
    """Everything under `field` of the answers. Raises CloudError."""
    return [item async for item in as_needed(call, method, request, field)]


async def as_needed(
    call: Call, method: Callable[..., Awaitable[Any]], request: Mapping[str, Any], field: str
) -> AsyncIterator[Any]:
    """The same one by one: a page is asked for once all before it has been taken. Raises CloudError."""
    token = ""
    while True:
        page = await call(method, {**request, "page_token": token})
        for item in getattr(page, field):
            yield item
        token = page.next_page_token
        if not token:
            return
