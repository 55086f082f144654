"""The pages that Google's front end answers with itself (gcp/behaviour-runtime.md, sections 2 and 3)."""

from __future__ import annotations

import html

from aiohttp import web

PAGE = """
<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>{status} {title}</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: {title}</h1>
<h2>{text}</h2>
<h2></h2>
</body></html>
"""


def forbidden(path: str) -> web.Response:
    text = f"Your client does not have permission to get URL <code>{html.escape(path)}</code> from this server."
    return _page(403, "Forbidden", text)


def unauthorized(path: str) -> web.Response:
    text = f"Your client does not have permission to the requested URL <code>{html.escape(path)}</code>."
    page = _page(401, "Unauthorized", text)
    page.headers["WWW-Authenticate"] = (
        'Bearer error="invalid_token" error_description="The access token could not be verified"'
    )
    return page


def not_found() -> web.Response:
    return _page(404, "Page not found", "The requested URL was not found on this server.")


def server_error() -> web.Response:
    text = "The server encountered an error and could not complete your request.<p>Please try again in 30 seconds."
    return _page(500, "Server Error", text)


def rate_exceeded() -> web.Response:
    return web.Response(status=429, text="Rate exceeded.")


def unavailable() -> web.Response:
    return web.Response(status=503, text="Service Unavailable")


def timed_out() -> web.Response:
    return web.Response(status=504, text="upstream request timeout")


def too_large() -> web.Response:
    return _page(413, "Request Entity Too Large", "Your client issued a request that was too large.")


def index(links: list[tuple[str, str]]) -> web.Response:
    """For people who open the front door itself: what is behind it."""
    rows = "".join(f'<li><a href="{html.escape(url)}">{html.escape(name)}</a></li>' for name, url in links)
    body = (
        f"<!doctype html><title>localcloud</title><h1>Services of this cloud</h1><ul>{rows or '<li>none yet</li>'}</ul>"
    )
    return web.Response(text=body, content_type="text/html")


def _page(status: int, title: str, text: str) -> web.Response:
    return web.Response(
        status=status, text=PAGE.format(status=status, title=title, text=text), content_type="text/html"
    )
