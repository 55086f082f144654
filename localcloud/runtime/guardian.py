"""The guardian of one local cloud: it starts the cloud's processes, and ends them when the cloud is gone.

Run as `python -I -S guardian.py FD`, FD being its end of a socket pair; it imports the standard library only, to
stay small. It is the parent of every child, so a process id that it signals cannot have passed to a stranger: it has
not been reaped yet. When the other end closes, by an orderly end or by kill -9, it sends every child its stop signal,
newest first, and SIGKILL after GRACE_S. What is left of a child's group ends with the child, as in a container.

Linux also hands it descendants that left their group (PR_SET_CHILD_SUBREAPER, prctl(2)); macOS has no such thing, so
there only groups are ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Container
from types import FrameType
from typing import Any

GRACE_S = 3.0
LAST_SWEEPS_S = 5.0  # a process in uninterruptible sleep would hold us for ever
STREAMS = 3
PR_SET_CHILD_SUBREAPER = 36
HEADER = struct.Struct("!I")


class Guardian:
    """Obeys one localcloud: start, signal; tells it of every exit."""

    def __init__(self, link: socket.socket, wake: int) -> None:
        self._link = link
        self._wake = wake  # readable whenever a signal came, SIGCHLD above all
        self._children: dict[int, tuple[int, int, subprocess.Popen[bytes]]] = {}  # pid: id, stop signal; oldest first

    def run(self) -> None:
        """Returns once the other end has closed and no child is left."""
        while True:
            readable, _, _ = select.select([self._link.fileno(), self._wake], [], [])
            if self._wake in readable:
                self._reap()
            if self._link.fileno() in readable:
                received = self._receive()
                if received is None:
                    break
                self._obey(*received)
        self._end_all()

    def _receive(self) -> tuple[dict[str, Any], list[int]] | None:
        data, streams = b"", []
        wanted = HEADER.size
        try:
            while len(data) < wanted:
                part, fds, _, _ = socket.recv_fds(self._link, wanted - len(data), STREAMS)
                streams += fds
                if not part:
                    return None
                data += part
                if len(data) == HEADER.size == wanted:
                    wanted += HEADER.unpack(data)[0]
        except OSError:
            return None
        return json.loads(data[HEADER.size :]), streams

    def _obey(self, message: dict[str, Any], streams: list[int]) -> None:
        if message["do"] == "start":
            self._start(message, streams)
        elif message["pid"] in self._children:
            send_signal = os.killpg if message["group"] else os.kill
            _quietly(send_signal, message["pid"], message["signal"])

    def _start(self, message: dict[str, Any], streams: list[int]) -> None:
        try:
            child = subprocess.Popen(
                message["argv"],
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                cwd=message["cwd"],
                env=message["env"],
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._tell({"id": message["id"], "error": str(error)})
            return
        finally:
            for stream in streams:
                os.close(stream)
        self._children[child.pid] = (message["id"], message["stop_signal"], child)
        self._tell({"id": message["id"], "pid": child.pid})

    def _tell(self, report: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody is left to be told
            self._link.sendall(json.dumps(report).encode() + b"\n")

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while (exited := _next_exit(self._children)) is not None:
            pid, code = exited
            if pid in self._children:
                number, _, child = self._children.pop(pid)
                child.returncode = code  # reaped here: Popen must not wait for it
                self._tell({"id": number, "code": code})

    def _end_all(self) -> None:
        for pid, (_, stop_signal, _) in reversed(self._children.items()):
            _quietly(os.killpg, pid, stop_signal)
        for pid in _adopted(self._children):
            _quietly(os.kill, pid, signal.SIGTERM)
        self._wait_until_gone(GRACE_S)
        deadline = time.monotonic() + LAST_SWEEPS_S
        while self._left() and time.monotonic() < deadline:  # each sweep may orphan others into our hands
            for pid in reversed(self._children):
                _quietly(os.killpg, pid, signal.SIGKILL)
            for pid in _adopted(self._children):
                _quietly(os.kill, pid, signal.SIGKILL)
            self._wait_until_gone(0.1)

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._left() and (remaining := deadline - time.monotonic()) > 0:
            select.select([self._wake], [], [], remaining)
            self._reap()

    def _left(self) -> bool:
        return bool(self._children) or bool(_adopted(self._children))


def _next_exit(children: Container[int]) -> tuple[int, int] | None:
    """One exited process, reaped; of a child, the rest of its group is killed first. None if there is none."""
    try:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13: its ids are not reused within an instant
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return None
            if pid in children:
                _quietly(os.killpg, pid, signal.SIGKILL)
            return pid, os.waitstatus_to_exitcode(status)
        exited = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if exited is None:
            return None
        if exited.si_pid in children:
            _quietly(os.killpg, exited.si_pid, signal.SIGKILL)  # the zombie still holds the id
        pid, status = os.waitpid(exited.si_pid, 0)
    except ChildProcessError:
        return None
    return pid, os.waitstatus_to_exitcode(status)


def _adopted(children: dict[int, Any]) -> list[int]:
    """Descendants that Linux handed over because their own parents ended."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listing:
            return [pid for pid in map(int, listing.read().split()) if pid not in children]
    except OSError:
        return []


def _quietly(send_signal: Any, pid: int, number: int) -> None:
    """The target may be gone; macOS answers EPERM for a group of zombies."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send_signal(pid, number)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _only_wake(_number: int, _frame: FrameType | None) -> None:
    """A handler, for ignored signals would be ignored by the children too."""


def main() -> None:
    """Serves the socket whose file descriptor is the only argument."""
    link = socket.socket(fileno=int(sys.argv[1]))
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _only_wake)
    _adopt_orphans()
    Guardian(link, wake).run()


if __name__ == "__main__":
    main()
