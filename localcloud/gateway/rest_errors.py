"""Errors over REST, in the three families of envelopes (gcp/behaviour.md, section 0)."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from localcloud.core.errors import ApiError, Family
from localcloud.gateway.json_render import Style, render

USAGE_LIMITS = frozenset({"accessNotConfigured", "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})

NOT_FOUND_PAGE = """<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <meta name=viewport content="initial-scale=1, minimum-scale=1, width=device-width">
  <title>Error 404 (Not Found)!!1</title>
  <p><b>404.</b> <ins>That&#8217;s an error.</ins>
  <p>The requested URL <code>{path}</code> was not found on this server.  <ins>That&#8217;s all we know.</ins>
"""


def envelope(error: ApiError, family: Family, query: Mapping[str, str]) -> dict[str, Any]:
    """The body of an error. Discovery clients (`prettyPrint=false`) get `errors[]` from every service."""
    if family is Family.ONE_PLATFORM and query.get("prettyPrint") == "false":
        family = Family.MIXED
    body: dict[str, Any] = {"code": error.code.http, "message": error.message}
    if family is not Family.ONE_PLATFORM:
        domain = "usageLimits" if error.legacy_reason in USAGE_LIMITS else "global"
        body["errors"] = [{"message": error.message, "domain": domain, "reason": error.legacy_reason}]
    if family is not Family.LEGACY:
        body["status"] = error.code.status
        if error.details:
            body["details"] = [_detail(detail) for detail in error.details]
    return {"error": body}


def not_found_page(path: str) -> str:
    """What Google's front end shows where no API has such a path."""
    return NOT_FOUND_PAGE.format(path=html.escape(path))


def _detail(message: Message) -> Any:
    packed = AnyMessage()
    packed.Pack(message)
    return render(packed, Style())
