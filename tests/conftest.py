"""What tests of all areas share. localcloud is imported only where it is used: scenarios may have a real project."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from hypothesis import settings

# A busy machine is no counter-example. `--hypothesis-profile soak` (make soak) looks for longer.
settings.register_profile("nuages", deadline=None)
settings.register_profile("soak", deadline=None, max_examples=2000)
settings.load_profile("nuages")

# A shell has its background jobs ignore Ctrl-C, and so would whatever the tests start and end with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from localcloud.controlplane.plane import ControlPlane
    from localcloud.runtime.processes import Processes


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One certificate authority for all clouds of this worker: gRPC reads its roots once in a process."""
    from localcloud.front.ca import CertificateAuthority

    folder = tmp_path_factory.mktemp("authority")
    bundle = CertificateAuthority(folder).bundle
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(bundle))
        yield folder


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    """The processes of one test; all end with it."""
    from localcloud.runtime.processes import Processes

    processes = Processes()
    yield processes
    await processes.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def controlplane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """A control plane for all tests of this worker: each takes a namespace of its own.

    It runs by itself; tests use its attributes, from whatever loop they run in.
    """
    from localcloud.controlplane.plane import ControlPlane
    from localcloud.runtime.processes import Processes

    processes = Processes()
    try:
        yield await ControlPlane.start(processes, tmp_path_factory.mktemp("controlplane"))
    finally:
        await processes.close()
