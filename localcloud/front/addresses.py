"""From the host that a request names to a service of Cloud Run, and back again for people's browsers.

A browser cannot reach `https://<label>.<region>.run.app` here, so it uses `http://<label>.localhost:PORT`; the app
behind must not notice: it sees the run.app name, and what it answers is translated back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from multidict import CIMultiDict

from localcloud.api.run_names import hosts
from localcloud.api.run_state import RunState
from localcloud.core.cloud import Cloud
from localcloud.gateway.hosts import bare

BROWSER_SUFFIX = ".localhost"
TAG_SEPARATOR = "---"
# A browser ignores these or acts wrongly on plain http.
HTTPS_ONLY = ("Strict-Transport-Security",)


@dataclass(frozen=True)
class Address:
    """Where a request goes: `host` as the app shall see it, `browser` the origin to translate back to, or ""."""

    service: str
    tag: str
    host: str
    browser: str = ""


class Addresses:
    """Knows the names of all services."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._state = cloud, cloud.shared(RunState)
        self._by_host: dict[str, str] = {}  # run.app host -> service
        self._by_label: dict[str, str] = {}  # first label -> run.app host

    def find(self, host_header: str) -> Address | None:
        """Whom this Host header means, or None."""
        host = bare(host_header)
        is_browser = host.endswith(BROWSER_SUFFIX)
        label, _, domain = host.removesuffix(BROWSER_SUFFIX).partition(".")
        tag, has_tag, rest = label.partition(TAG_SEPARATOR)
        if not has_tag:
            tag, rest = "", label
        untagged = self._by_label_of(rest) if is_browser else f"{rest}.{domain}"
        service = self._service(untagged)
        if service is None:
            return None
        if not is_browser:
            return Address(service, tag, host)
        domain = untagged.partition(".")[2]
        return Address(service, tag, f"{label}.{domain}", f"http://{host_header}")

    def links(self, host_header: str) -> list[tuple[str, str]]:
        """The services with a browser's URL of each, on the port of this Host header."""
        port = host_header.rpartition(":")[2]
        found = []
        for name in self._state.services:
            label = hosts(self._cloud.projects, name)[0].partition(".")[0]
            found.append((name, f"http://{label}{BROWSER_SUFFIX}:{port}/"))
        return found

    def _by_label_of(self, label: str) -> str:
        if label not in self._by_label:
            self._read()
        return self._by_label.get(label, "")

    def _service(self, host: str) -> str | None:
        service = self._by_host.get(host)
        if service is None or service not in self._state.services:
            self._read()
            service = self._by_host.get(host)
        return service

    def _read(self) -> None:
        self._by_host = {h: name for name in self._state.services for h in hosts(self._cloud.projects, name)}
        self._by_label = {host.partition(".")[0]: host for host in reversed(self._by_host)}


def to_app(headers: CIMultiDict[str], address: Address) -> None:
    """Restore what the browser would have sent to the real name."""
    real = f"https://{address.host}"
    headers["Host"] = address.host
    if headers.get("Origin") == address.browser:
        headers["Origin"] = real
    if "Referer" in headers:
        headers["Referer"] = _moved(headers["Referer"], address.browser, real)


def to_browser(headers: Iterable[tuple[str, str]], address: Address) -> CIMultiDict[str]:
    """Translate an answer back: redirects to the app's own name, and cookies that plain http would refuse."""
    translated: CIMultiDict[str] = CIMultiDict()
    real = f"https://{address.host}"
    for name, value in headers:
        lower = name.lower()
        if lower in ("location", "content-location", "access-control-allow-origin", "refresh"):
            value = _moved(_moved(value, real, address.browser), f"http://{address.host}", address.browser)
        elif lower == "set-cookie":
            value = _plain_cookie(value)
        if name.title() not in HTTPS_ONLY:
            translated.add(name, value)
    return translated


def _moved(url: str, old: str, new: str) -> str:
    """The URL under another origin, where it was under `old`."""
    return new + url[len(old) :] if re.match(re.escape(old) + r"(?:[/?#]|$)", url, re.IGNORECASE) else url


def _plain_cookie(cookie: str) -> str:
    """Without Secure and Domain; SameSite=None needs Secure, so it becomes Lax."""
    pair, *attributes = (part.strip() for part in cookie.split(";"))
    kept = [a for a in attributes if not a.lower().startswith("domain=") and a.lower() not in ("secure", "partitioned")]
    return "; ".join([pair, *("SameSite=Lax" if a.lower() == "samesite=none" else a for a in kept)])


def is_index(host_header: str) -> bool:
    """Whether somebody opened the front door by its own address."""
    return bare(host_header) in ("localhost", "127.0.0.1", "::1")
