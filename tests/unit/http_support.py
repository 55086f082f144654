"""Small servers for a test, and a session that asks them as Google's client for Cloud Storage asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import requests

from nuages.cloud.deadline import BoundedAdapter


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def bounded_session() -> Iterator[requests.Session]:
    """Within the deadline of the call that it is used in; it takes no setting from the environment."""
    with requests.Session() as made:
        made.trust_env = False
        for scheme in ("http://", "https://"):
            made.mount(scheme, BoundedAdapter())
        yield made
