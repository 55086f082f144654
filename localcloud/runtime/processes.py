"""The processes of one local cloud: started, read, stopped, and ended with it whatever happens.

They are children of a guardian process (guardian.py), which ends them when this process is gone. A child sees exactly
the environment given, leads a session and group of its own, and takes the rest of its group with it when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from localcloud.runtime import guardian

OnLine = Callable[[str, str], None]

LINE_LIMIT_BYTES = 240 * 1024  # Cloud Logging refuses entries above 256 KB; longer lines are split
DRAIN_S = 1.0  # how long a descendant that left the group may hold the output open after the exit
STOP_GRACE_S = 10.0  # Cloud Run's own (behaviour-runtime.md, "Stop")

logger = logging.getLogger(__name__)


class ProcessError(Exception):
    """A process could not be started; the message names it and says why."""


@dataclass(frozen=True)
class _Start:
    """A process that the guardian was asked for, until it answers."""

    name: str
    stop_signal: int
    stdin: BinaryIO | None
    outputs: list[_Output]
    answer: asyncio.Future[Child]

    def fail(self, cause: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(ProcessError(f"{self.name} could not be started: {cause}"))


class Child:
    """One process that was started; its group ends with it."""

    def __init__(self, start: _Start, pid: int, send: Callable[[dict[str, Any]], None]) -> None:
        self.name = start.name
        self.pid = pid
        self._stop_signal = start.stop_signal
        self._send = send
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._outputs = start.outputs
        self._stdin = start.stdin

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while alive."""
        return self._exit.result() if self._exit.done() else None

    async def wait(self) -> int:
        """The exit code, once the process ended and its output was handed over."""
        code = await asyncio.shield(self._exit)
        if self._outputs:
            await asyncio.wait([output.ended for output in self._outputs], timeout=DRAIN_S)
        return code

    async def stop(self, grace: float = STOP_GRACE_S) -> int:
        """Sends the stop signal to the group, SIGKILL after `grace` seconds; returns the exit code."""
        self.signal_group(self._stop_signal)
        try:
            await asyncio.wait_for(asyncio.shield(self._exit), grace)
        except TimeoutError:
            self.signal_group(signal.SIGKILL)
        return await self.wait()

    def signal(self, number: int) -> None:
        """Sends a signal to the process alone; one that has ended gets none."""
        if self.returncode is None:
            self._send({"do": "signal", "pid": self.pid, "signal": int(number), "group": False})

    def close_stdin(self) -> None:
        """Ends the standard input of a child that was started with a pipe there."""
        if self._stdin is not None:
            self._stdin.close()
            self._stdin = None

    def signal_group(self, number: int) -> None:
        """Sends a signal to the process and all of its group."""
        if self.returncode is None:
            self._send({"do": "signal", "pid": self.pid, "signal": int(number), "group": True})

    def exited(self, code: int) -> None:
        """For the connection with the guardian, which learns of the exit."""
        if not self._exit.done():
            self._exit.set_result(code)
        self.close_stdin()


class Processes:
    """All processes of one local cloud."""

    def __init__(self) -> None:
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path | None = None,
        on_line: OnLine | None = None,
        stdin_pipe: bool = False,
        stop_signal: int = signal.SIGTERM,
    ) -> Child:
        """Starts a process. Output goes to `log` (appended), to `on_line(stream, line)`, to both, or nowhere.

        `stdin_pipe` keeps its standard input open until `close_stdin()` or the end of this process. `stop_signal` asks
        it to end (PostgreSQL wants SIGINT). The program is looked up in the PATH of `env`. Raises ProcessError.
        """
        argv = [_program(name, argv[0], env, cwd), *argv[1:]]
        message = {"do": "start", "argv": argv, "env": dict(env), "cwd": str(cwd), "stop_signal": int(stop_signal)}
        link = await self._open()
        with contextlib.ExitStack() as ends:  # the child's ends: ours no more once it runs
            try:
                streams = _Streams(ends, log, on_line is not None, stdin_pipe)
                outputs = [await _Output.read(pipe, stream, on_line, log) for stream, pipe in streams.outputs]
            except OSError as error:
                raise ProcessError(f"{name} could not be started: {error}") from error
            answer: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
            start = _Start(name, int(stop_signal), streams.stdin, outputs, answer)
            try:
                return await link.start(start, message, streams.theirs)
            except BaseException:
                streams.close_ours()
                raise

    async def close(self, grace: float = STOP_GRACE_S) -> None:
        """Ends all processes, the newest first, each within `grace` seconds, and then the guardian."""
        self._closed = True
        async with self._opening:
            link, self._link = self._link, None
        if link is not None:
            for child in reversed(list(link.children.values())):
                await child.stop(grace)
            await link.close()

    async def _open(self) -> _Link:
        async with self._opening:
            if self._closed:
                raise ProcessError("this local cloud is stopping: no process can be started")
            if self._link is None:
                self._link = await _Link.open()
            return self._link


class _Link:
    """The connection with the guardian: requests in order, reports as they come."""

    def __init__(self, link: socket.socket, process: asyncio.subprocess.Process) -> None:
        self.children: dict[int, Child] = {}  # by request, oldest first
        self._socket = link
        self._process = process
        self._requests: asyncio.Queue[tuple[bytes, list[int]]] = asyncio.Queue()
        self._starts: dict[int, _Start] = {}  # not yet answered
        self._number = 0
        self._is_lost = False
        self._tasks = [asyncio.create_task(self._send_all()), asyncio.create_task(self._receive_all())]

    @classmethod
    async def open(cls) -> _Link:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guardian.__file__, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for localcloud, which ends its children in order
            )
        return cls(ours, process)

    async def start(self, start: _Start, message: dict[str, Any], streams: Sequence[int]) -> Child:
        if self._is_lost:
            raise ProcessError(f"{start.name} could not be started: the guardian process ended")
        self._number += 1
        self._starts[self._number] = start
        self._request({**message, "id": self._number}, streams)
        return await start.answer

    async def close(self) -> None:
        """Lets the guardian see the end of the connection; it ends what is left."""
        self._tasks[0].cancel()
        self._socket.shutdown(socket.SHUT_RDWR)
        await self._process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()

    def _request(self, message: dict[str, Any], streams: Sequence[int] = ()) -> None:
        self._requests.put_nowait((json.dumps(message).encode(), list(streams)))

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            body, streams = await self._requests.get()
            try:
                header = memoryview(guardian.HEADER.pack(len(body)))
                while True:
                    try:
                        sent = socket.send_fds(self._socket, [header], streams)
                        break
                    except BlockingIOError:
                        await _writable(self._socket)
                await loop.sock_sendall(self._socket, bytes(header[sent:]) + body)
            except OSError:
                return  # the guardian is gone: the receiver tells everybody

    async def _receive_all(self) -> None:
        loop = asyncio.get_running_loop()
        pending = b""
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(self._socket, 65536):
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._report(json.loads(line))
        self._lost()

    def _report(self, report: dict[str, Any]) -> None:
        number = report["id"]
        if "code" in report:
            self.children.pop(number).exited(report["code"])
            return
        start = self._starts.pop(number)
        if "error" in report:
            start.fail(report["error"])
            return
        child = self.children[number] = Child(start, report["pid"], self._request)
        if start.answer.done():  # whoever asked has been cancelled meanwhile
            child.signal_group(signal.SIGKILL)
        else:
            start.answer.set_result(child)

    def _lost(self) -> None:
        """The guardian ended: orderly, with nothing left, or killed by somebody, and then its work is done here."""
        self._is_lost = True
        for start in self._starts.values():
            start.fail("the guardian process ended")
        for child in reversed(self.children.values()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.exited(-signal.SIGKILL)
        self._starts.clear()
        self.children.clear()


class _Streams:
    """A child's standard streams: its own ends, closed here with `ends`, and ours of the pipes."""

    def __init__(self, ends: contextlib.ExitStack, log: Path | None, piped: bool, stdin_pipe: bool) -> None:
        self.stdin: BinaryIO | None = None
        self.outputs: list[tuple[str, BinaryIO]] = []
        null = os.open(os.devnull, os.O_RDWR)
        ends.callback(os.close, null)
        self.theirs = [null, null, null]
        if stdin_pipe:
            self.theirs[0], write = os.pipe()
            ends.callback(os.close, self.theirs[0])
            self.stdin = os.fdopen(write, "wb", buffering=0)
        if piped:
            for index, stream in ((1, "stdout"), (2, "stderr")):
                read, self.theirs[index] = os.pipe()
                ends.callback(os.close, self.theirs[index])
                self.outputs.append((stream, os.fdopen(read, "rb", buffering=0)))
        elif log is not None:
            self.theirs[1] = self.theirs[2] = _open_log(log)
            ends.callback(os.close, self.theirs[1])

    def close_ours(self) -> None:
        """After a failed start; the readers of the outputs see their end by themselves."""
        if self.stdin is not None:
            self.stdin.close()


class _Output(asyncio.Protocol):
    """Reads one stream, splits it into lines and hands them over."""

    def __init__(self, stream: str, on_line: OnLine, log: Path | None) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream = stream
        self._on_line = on_line
        self._log = None if log is None else _open_log(log)
        self._pending = bytearray()
        self._has_failed = False

    @classmethod
    async def read(cls, pipe: BinaryIO, stream: str, on_line: OnLine | None, log: Path | None) -> _Output:
        output = cls(stream, cast(OnLine, on_line), log)
        await asyncio.get_running_loop().connect_read_pipe(lambda: output, pipe)
        return output

    def data_received(self, data: bytes) -> None:
        self._pending += data
        start = 0
        while (end := self._pending.find(b"\n", start)) >= 0:
            self._hand_over(self._pending[start:end])
            start = end + 1
        while len(self._pending) - start >= LINE_LIMIT_BYTES:
            self._hand_over(self._pending[start : start + LINE_LIMIT_BYTES])
            start += LINE_LIMIT_BYTES
        self._keep(self._pending[:start])
        del self._pending[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pending:
            self._hand_over(self._pending)
            self._keep(self._pending + b"\n")
            self._pending = bytearray()
        if self._log is not None:
            os.close(self._log)
        if not self.ended.done():
            self.ended.set_result(None)

    def _keep(self, data: bytearray) -> None:
        """Whole lines at a time, so that two streams do not mix within one."""
        if self._log is not None and data:
            os.write(self._log, data)

    def _hand_over(self, line: bytearray) -> None:
        for start in range(0, max(len(line), 1), LINE_LIMIT_BYTES):
            text = line[start : start + LINE_LIMIT_BYTES].decode(errors="replace").rstrip("\r")
            try:
                self._on_line(self._stream, text)
            except Exception:  # a reader's fault must not stop the reading, or the child would block on a full pipe
                if not self._has_failed:
                    logger.exception("a line of %s could not be handled; further ones are not reported", self._stream)
                self._has_failed = True


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _program(name: str, program: str, env: Mapping[str, str], cwd: Path) -> str:
    named = str(cwd / program) if os.sep in program else program
    found = shutil.which(named, path=env.get("PATH", os.defpath))
    if found is None:
        raise ProcessError(f"{name} could not be started: there is no program {program!r}")
    return found


async def _writable(link: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(link, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(link)
