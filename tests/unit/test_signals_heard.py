"""Whose a signal is: the operator's, though Kopf takes it when it begins."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import yaml

from nuages.kube.contents import Contents
from nuages.kube.handlers import Watched
from nuages.kube.operator import end_on_signals, watch

NOBODY = {
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "x", "user": {"token": "t"}}],
}
LAST_OF_KOPF = "multidimensional multitasker"  # of the tasks that it makes before it takes the signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_operator_and_not_kopf_alone(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf, told of it, would let passes go on for five seconds that nobody watches any more."""
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(NOBODY))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    stop = asyncio.Event()
    end_on_signals(stop)
    watching = asyncio.create_task(watch(Watched(print, Contents(print)), ["acme"], "pod-1", stop))
    async with asyncio.timeout(30):
        while LAST_OF_KOPF not in {task.get_name() for task in asyncio.all_tasks()}:
            await _turn()
        for _ in range(3):  # between that task and the signals Kopf itself waits for one
            await _turn()
        os.kill(os.getpid(), number)
        await stop.wait()
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def _turn() -> None:
    """Of the event loop."""
    await asyncio.sleep(0)
