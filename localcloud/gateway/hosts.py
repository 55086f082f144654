"""Google's host names: which ones this cloud answers for, and which API a regional or odd form means."""

from __future__ import annotations

import re

SUFFIXES = ("googleapis.com", "pkg.dev", "gcr.io", "run.app")
REGION = r"[a-z]+-[a-z]+\d+"
FORMS = (
    re.compile(rf"{REGION}-(?P<api>[a-z0-9-]+)\.googleapis\.com"),  # europe-west1-run.googleapis.com
    re.compile(rf"(?P<api>[a-z0-9-]+)\.{REGION}\.rep\.googleapis\.com"),  # run.europe-west1.rep.googleapis.com
    re.compile(r"(?P<api>[a-z0-9-]+)\.mtls\.googleapis\.com"),
)


def is_google(host: str) -> bool:
    """Whether the name is one of Google Cloud's, which never leaves this machine."""
    return any(host == suffix or host.endswith("." + suffix) for suffix in SUFFIXES)


def is_app(host: str) -> bool:
    """Whether the name is that of a deployed service: Google's, or the one for people's browsers."""
    return host.endswith((".run.app", ".localhost"))


def bare(host: str) -> str:
    """A Host header or CONNECT target without its port, in lower case; IPv6 addresses without brackets."""
    host = host.strip().lower().rstrip(".")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def api_host(host: str) -> str:
    """The global name of a regional endpoint; any other name as it is."""
    for form in FORMS:
        found = form.fullmatch(host)
        if found:
            return f"{found['api']}.googleapis.com"
    return host
