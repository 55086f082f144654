"""What tests of all areas share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from localcloud.controlplane.plane import ControlPlane
from localcloud.runtime.processes import Processes


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    """The processes of one test; all end with it."""
    processes = Processes()
    yield processes
    await processes.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def controlplane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """A control plane for all tests of this worker: each takes a namespace of its own.

    It runs by itself; tests use its attributes, from whatever loop they run in.
    """
    processes = Processes()
    try:
        yield await ControlPlane.start(processes, tmp_path_factory.mktemp("controlplane"))
    finally:
        await processes.close()
