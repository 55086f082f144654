"""V4 signed URLs of Cloud Storage: GOOG4-RSA-SHA256, as the client libraries make them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from localcloud.core.keys import Keys

ALGORITHM = "GOOG4-RSA-SHA256"
LONGEST_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Refused(Exception):
    """An answer of the XML API: HTTP status, code, message and, where Google gives them, further elements."""

    status: int
    code: str
    message: str
    details: Mapping[str, str]


def is_signed(query: Mapping[str, str]) -> bool:
    """Whether the URL bears a signature of any kind."""
    return any(name in query for name in ("X-Goog-Signature", "X-Goog-Algorithm", "GoogleAccessId", "Signature"))


def signer(
    keys: Keys, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: dt.datetime
) -> str:
    """The e-mail of the account that signed this very request. Raises Refused."""
    if query.get("X-Goog-Algorithm") != ALGORITHM:
        raise Refused(400, "InvalidArgument", "localcloud does not model signed URLs other than V4 with RSA.", {})
    email, _, scope = query.get("X-Goog-Credential", "").partition("/")
    try:
        signature = bytes.fromhex(query.get("X-Goog-Signature", ""))
        began = dt.datetime.strptime(query.get("X-Goog-Date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        lasts = int(query.get("X-Goog-Expires", ""))
    except ValueError:
        raise Refused(
            400, "AuthenticationRequired", "A parameter of the signed URL is missing or malformed.", {}
        ) from None
    if not 0 < lasts <= LONGEST_S:
        raise Refused(400, "InvalidArgument", "X-Goog-Expires must be between 1 and 604800.", {})
    ends = began + dt.timedelta(seconds=lasts)
    if now > ends:
        details = {"Details": f"Request signature expired at: {ends.isoformat()}"}
        raise Refused(400, "ExpiredToken", "Invalid argument.", details)
    canonical = _canonical(method, path, query, headers)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((ALGORITHM, query["X-Goog-Date"], scope, digest))
    key = keys.find(email)
    if key is None or not key.verifies(signature, text.encode()):
        raise Refused(
            403,
            "SignatureDoesNotMatch",
            "Access denied.",
            {
                "Details": "The request signature we calculated does not match the signature you provided. Check your "
                "Google secret key and signing method.",
                "StringToSign": text,
                "CanonicalRequest": canonical,
            },
        )
    return email


def _canonical(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The request as the signer saw it (cloud.google.com/storage/docs/authentication/canonical-requests)."""
    names = query.get("X-Goog-SignedHeaders", "").split(";")
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
    pairs = sorted((_quoted(name), _quoted(value)) for name, value in query.items() if name != "X-Goog-Signature")
    return "\n".join(
        (
            method,
            quote(unquote(path), safe="/~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            lines,
            ";".join(names),
            headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD"),
        )
    )


def _quoted(text: str) -> str:
    return quote(text, safe="~")
