"""One site for all sweeps of a worker, with its lives lived once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sweep_lives import live_all
from sweep_sample import Sample
from sweep_site import site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sample(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sample]:
    async with site(tmp_path_factory.mktemp("sweep")) as made:
        yield Sample(made, {life.name: life for life in await live_all(made)})
