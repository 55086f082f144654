"""No operator outlives the warm process that it was forked from."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweep_warm import ZYGOTE

WITHIN_S = 60.0
# As where the system does not end children with their parent: it sees to it itself.
ALONE = "import sweep_zygote; sweep_zygote.PR_SET_PDEATHSIG = None; sweep_zygote.serve()"


@pytest.mark.parametrize(
    ("argv", "order_more"),
    [([str(ZYGOTE)], True), (["-c", ALONE], True), (["-c", ALONE], False)],
    ids=["an order is given", "without the system's help", "an operator ends"],
)
def test_operators_end_where_nobody_listens(tmp_path: Path, argv: list[str], order_more: bool) -> None:
    """As where pytest was killed: also the one whose number could not be told any more."""
    with _zygote(argv) as (zygote, alive):
        first, second = _ordered(zygote, tmp_path), _ordered(zygote, tmp_path)
        assert zygote.stdout is not None
        zygote.stdout.close()
        if order_more:
            _order(zygote, tmp_path)
        else:
            os.kill(first, signal.SIGKILL)
        assert _ends(alive), f"{first} or {second} is alive"
        assert zygote.wait(WITHIN_S) != 0


def test_operators_end_with_the_orders(tmp_path: Path) -> None:
    """And so does the warm process, without an error."""
    with _zygote(["-c", ALONE]) as (zygote, alive):
        _ordered(zygote, tmp_path)
        assert zygote.stdin is not None
        zygote.stdin.close()
        assert _ends(alive)
        assert zygote.wait(WITHIN_S) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not end children with their parent")
def test_operators_end_with_a_warm_process_that_is_killed(tmp_path: Path) -> None:
    with _zygote([str(ZYGOTE)]) as (zygote, alive):
        _ordered(zygote, tmp_path)
        zygote.kill()
        assert _ends(alive)


@contextlib.contextmanager
def _zygote(argv: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Ready; and a pipe that all its children hold open."""
    alive, held = os.pipe()
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": str(ZYGOTE.parent)}
    pipe = subprocess.PIPE
    zygote = subprocess.Popen(
        [sys.executable, *argv],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # what was read ahead would be nothing to wait for
        env=env,
        pass_fds=[held],
        start_new_session=True,  # so that also a test that fails leaves no operator
    )
    os.close(held)
    try:
        assert "ready" in _told(zygote)
        yield zygote, alive
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(zygote.pid, signal.SIGKILL)
        zygote.wait()
        for stream in (zygote.stdin, zygote.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        os.close(alive)


def _order(zygote: subprocess.Popen[bytes], folder: Path) -> None:
    """An operator that waits for a signal, which does not come."""
    assert zygote.stdin is not None
    zygote.stdin.write(json.dumps({"env": {}, "log": str(folder / "log"), "hold": True}).encode() + b"\n")
    zygote.stdin.flush()


def _ordered(zygote: subprocess.Popen[bytes], folder: Path) -> int:
    _order(zygote, folder)
    return int(_told(zygote)["pid"])


def _told(zygote: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert zygote.stdout is not None
    assert select.select([zygote.stdout], [], [], WITHIN_S)[0], "nothing is told"
    found: dict[str, Any] = json.loads(zygote.stdout.readline())
    return found


def _ends(alive: int) -> bool:
    """Whether, in time, nobody has the pipe open any more."""
    readable, _, _ = select.select([alive], [], [], WITHIN_S)
    return bool(readable) and os.read(alive, 1) == b""
