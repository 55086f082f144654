"""Whole lists, page by page: each page is a call of its own, so that it is bounded and counted like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nuages.cloud.call import Call


async def all_pages(
    call: Call, method: Callable[..., Awaitable[Any]], request: Mapping[str, Any], field: str
) -> list[Any]:
    """Everything under `field` of the answers. Raises CloudError."""
    found: list[Any] = []
    token = ""
    while True:
        page = await call(method, {**request, "page_token": token})
        found += getattr(page, field)
        token = page.next_page_token
        if not token:
            return found
