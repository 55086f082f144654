"""The cloud that the scenarios run in: localcloud, or a real project where NUAGES_TEST_PROJECT names one.

With a real project nothing of localcloud is imported; what only a local cloud can be asked is skipped by name.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from e2e_site import PROJECT_VARIABLE, RealSite, Site
from e2e_world import World, open_world

if TYPE_CHECKING:
    from e2e_local import LocalSite


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One for all scenarios of this worker."""
    project = os.environ.get(PROJECT_VARIABLE)
    if project:
        real = RealSite(project)
        if reason := real.unreachable():
            pytest.skip(reason)
        yield real
        return
    from e2e_local import LocalSite

    authority = request.getfixturevalue("authority")
    folder = request.getfixturevalue("tmp_path_factory").mktemp("e2e")
    with LocalSite(folder, authority).running() as local:
        yield local


@pytest.fixture(scope="session")
def local(site: Site) -> LocalSite:
    """For scenarios that look into the cloud or break it."""
    if isinstance(site, RealSite):
        pytest.skip(f"needs localcloud: {PROJECT_VARIABLE} is set")
    from e2e_local import LocalSite

    assert isinstance(site, LocalSite)
    return site


@pytest.fixture(scope="module")
def google_environment(site: Site) -> Iterator[None]:
    """Leads Google's clients in this process to the site's Google Cloud."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in site.environment.items():
            # gRPC reads its roots once in a process: those are the fixture `authority`'s.
            if name not in ("PATH", "KUBECONFIG", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
                patch.setenv(name, value)
        yield


@pytest.fixture
async def world(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A namespace for one test."""
    async with open_world(site, f"e2e-{uuid.uuid4().hex[:6]}") as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed scenario shows its namespace and what operator and cloud said."""
    report = yield
    if report.failed:
        arguments: dict[str, Any] = getattr(item, "funcargs", {})
        for value in arguments.values():
            found = getattr(value, "world", value)
            if isinstance(found, World):
                report.sections += [(f"{found.namespace}: {name}", text) for name, text in found.dump().items()]
    return report
