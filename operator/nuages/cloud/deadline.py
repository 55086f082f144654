"""What keeps the HTTP requests of a thread within the deadline of its call: a thread cannot be ended from without."""

from __future__ import annotations

import contextvars
import io
import math
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPSConnectionPool, Timeout
from urllib3 import exceptions as urllib3
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context

PIECE = 64 * 1024  # bytes that one read of a body takes at most

# By time.monotonic(): when the call ends on whose behalf this thread works.
ends: contextvars.ContextVar[float] = contextvars.ContextVar("ends", default=math.inf)


def left() -> float:
    """Seconds until the call's deadline, infinity outside of any call. Raises TimeoutError where it has passed."""
    found = ends.get() - time.monotonic()
    if found <= 0:
        raise TimeoutError
    return found


class _Connection(HTTPSConnection):
    """Connecting may take longer than allowed (a host's name, each of its addresses): nothing is sent after it."""

    def request(self, *args: Any, **fields: Any) -> None:
        left()
        super().request(*args, **fields)


class BoundedAdapter(HTTPAdapter):
    """Ends by the deadline, whatever timeout the client asks for: of requests' own, each step has the whole of it.

    A name that is not resolved, and headers that come byte by byte, may hold the thread for longer. A session keeps no
    cookies, which it would take from what was `raw`: requests to Google's APIs carry tokens, in a header.
    """

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self._contexts: dict[bool | str, ssl.SSLContext] = {}
        self._making = threading.Lock()

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """One context for all connections: urllib3 gives each its own, and the system's authorities take 1 MB in it.

        Raises OSError where the file of authorities is not there.
        """
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        with self._making:
            if verify not in self._contexts:
                self._contexts[verify] = _context(verify)
        return host, {**pool, "ssl_context": self._contexts[verify]}

    def get_connection_with_tls_context(self, *args: Any, **fields: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **fields)
        if isinstance(pool, HTTPSConnectionPool):
            pool.ConnectionCls = _Connection
        return pool

    def send(self, request: Any, stream: bool = False, timeout: Any = None, *args: Any, **fields: Any) -> Any:
        """Raises requests.RequestException, TimeoutError."""
        limit = left()
        bound: Any = timeout if math.isinf(limit) else Timeout(total=limit)
        response = super().send(request, stream, bound, *args, **fields)
        if not stream:  # the session would read the body at once, without an end
            try:
                response.raw = io.BytesIO(b"".join(_pieces(response.raw)))
            except urllib3.ReadTimeoutError as error:
                raise requests.ReadTimeout(error, request=request) from error
            except urllib3.HTTPError as error:
                raise requests.ConnectionError(error, request=request) from error
        return response


def _context(verify: bool | str) -> ssl.SSLContext:
    """What threads may share: set once, before any of them connects.

    urllib3 would set authorities and protocols anew for each connection, and the latter frees what a thread that
    connects reads at that moment (cpython#141012).
    """
    made: Any = create_urllib3_context()
    if verify:
        path = Path(DEFAULT_CA_BUNDLE_PATH if verify is True else verify)
        if not path.exists():
            raise OSError(f"there are no authorities to trust: {path} does not exist")
        made.load_verify_locations(**{"capath" if path.is_dir() else "cafile": path})
    made.set_alpn_protocols(ALPN_PROTOCOLS)
    made.load_verify_locations = made.set_alpn_protocols = _already
    return cast(ssl.SSLContext, made)


def _already(*_args: Any) -> None:
    """Done when the context was made."""


def _pieces(raw: Any) -> Iterator[bytes]:
    """A body, decoded. Its connection goes back to the pool at its end, and is closed by whatever comes before."""
    try:
        while True:
            limit, connection = left(), raw.connection
            if connection is not None and connection.sock is not None and not math.isinf(limit):
                connection.sock.settimeout(limit)
            if not (piece := raw.read1(PIECE, decode_content=True)):
                return
            yield piece
    finally:
        raw.close()
