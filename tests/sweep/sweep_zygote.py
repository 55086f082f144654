"""A warm process that has imported the operator, and forks one `nuages run` for each order on its standard input.

An order is a line of JSON, {"env": {...}, "log": path, "hold": whether to wait for SIGUSR1}; told on standard output
are {"pid": n} and, when one has ended, {"ended": n}. Nothing here has made a channel, a thread or an event loop when it
forks: gRPC does not survive that. At its end, whatever it ends of, all children are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from google.auth.compute_engine import _metadata

import nuages.kube.operator
from nuages.cli.main import app
from nuages.reconcile import reconciler

# What an operator imports once it runs: a tenth of a life's processor time, spent here once.
for name in (
    "google.cloud.logging_v2.services.logging_service_v2",
    "google.oauth2.reauth",
    "kubernetes.aio.client.api.coordination_v1_api",
    "kubernetes.aio.client.api.core_v1_api",
):
    importlib.import_module(name)

# The cloud's operations take a thousandth of their time here, and thousands of lives wait for a dozen polls each.
reconciler.POLL_FIRST = 0.05

PR_SET_PDEATHSIG = 1 if sys.platform == "linux" else None


def serve() -> None:
    """Until the input ends, or nobody listens any more."""
    signals, wake = os.pipe()
    for end in (signals, wake):
        os.set_blocking(end, False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # one that comes before it is waited for is kept
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    running: set[int] = set()
    gc.collect()
    gc.freeze()  # no child looks through, and so copies, what all of them have
    try:
        obey(signals, running)
    finally:
        end_all(running)


def obey(signals: int, running: set[int]) -> None:
    """Raises BrokenPipeError where nobody listens."""
    waiting = b""
    tell({"ready": nuages.kube.operator.__name__})
    while True:
        readable, _, _ = select.select([0, signals], [], [])
        if signals in readable:
            reap(signals, running)
        if 0 in readable:
            read = os.read(0, 1 << 16)
            if not read:
                break
            *orders, waiting = (waiting + read).split(b"\n")
            for order in orders:
                fork(json.loads(order), running)


def end_all(running: set[int]) -> None:
    """Returns once they are gone."""
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in running:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def reap(signals: int, running: set[int]) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(signals, 4096)
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            running.discard(ended)
            tell({"ended": ended})


def fork(order: dict[str, Any], running: set[int]) -> None:
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            die_with(parent)
            if order["hold"]:
                signal.sigwait({signal.SIGUSR1})
            become(order["env"], order["log"])
        finally:
            os._exit(1)
    running.add(pid)  # before it is told of, for that may fail
    tell({"pid": pid})


def die_with(parent: int) -> None:
    """Also where the parent has no time to see to it, as with kill -9: Linux alone can do that (prctl(2))."""
    if PR_SET_PDEATHSIG is not None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before
            os._exit(1)


def become(env: dict[str, str], log: str) -> None:
    """An operator, as its entry point would be in a fresh process with this environment."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream, source in ((0, nothing), (1, written), (2, written)):
        os.dup2(source, stream)
    os.environ.clear()
    os.environ.update(env)
    importlib.reload(_metadata)  # it reads the metadata server's address when it is imported
    app(["run"])


def tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
