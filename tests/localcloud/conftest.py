"""Running local clouds for tests, and Google's own clients that reach them through the proxy."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from cli_support import Shell
from dbinit_support import SECRETS
from google.cloud import iam_admin_v1, storage
from google.oauth2.credentials import Credentials
from postgres_versions import VERSIONS
from storage_support import EMAIL, blocking, client

from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.postgres import PostgresServer
from localcloud.runtime.processes import Processes

C = TypeVar("C")
SPEED = 1000.0
OWNER_TOKEN = "any"


async def _running(options: Options, authority: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[LocalCloud]:
    shutil.copytree(authority, options.dir / "tls")
    async with LocalCloud(options) as cloud:
        for name, value in cloud.environment().items():
            if name != "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH":
                patch.setenv(name, value)
        yield cloud


@pytest.fixture
async def cloud(tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalCloud]:
    """A local cloud with its real runtime, in this process and its environment."""
    async for running in _running(Options(dir=tmp_path / "cloud", speed=SPEED), authority, monkeypatch):
        yield running


@pytest.fixture
async def simulated(tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalCloud]:
    """The same without processes."""
    options = Options(dir=tmp_path / "cloud", speed=SPEED, simulate=True)
    async for running in _running(options, authority, monkeypatch):
        yield running


class Clients:
    """Makes Google's asyncio clients: default endpoints, call credentials, this test's proxy."""

    def __init__(self) -> None:
        self._made: list[Any] = []

    def __call__(self, kind: Callable[..., C], token: str = OWNER_TOKEN) -> C:
        """`token`: a bearer of localcloud's (`cloud.core.tokens.issue(email)`); any other acts as the owner."""
        made = kind(credentials=Credentials(token))  # type: ignore[no-untyped-call]
        self._made.append(made)
        return made

    async def close(self) -> None:
        for made in self._made:
            await made.transport.close()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """`clients(run_v2.ServicesAsyncClient)`; name `cloud` or `simulated` before it among a test's fixtures."""
    made = Clients()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=VERSIONS)
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PostgresServer]:
    """PostgreSQL as db-init finds it, with nuages-admin; its log never had one of db-init's secrets."""
    processes = Processes()
    logged: list[str] = []
    instance = PostgresServer(
        tmp_path_factory.mktemp("dbinit") / "pg",
        processes,
        version=request.param,
        on_line=lambda _stream, line: logged.append(line),
    )
    await instance.start()
    await instance.create_user("nuages-admin", SECRETS["PGPASSWORD"])
    yield instance
    await instance.delete()
    await processes.close()
    assert not [line for line in logged if any(secret in line for secret in SECRETS.values())]


@pytest.fixture
async def bucket(simulated: LocalCloud) -> storage.Bucket:
    """A uniform bucket, seen by the project's owner."""
    made = client().bucket("demo-media")
    made.iam_configuration.uniform_bucket_level_access_enabled = True
    return await blocking(client().create_bucket, made, location="europe-west1")


@pytest.fixture
async def app_token(simulated: LocalCloud, clients: Clients) -> str:
    """Of an account that may do nothing yet."""
    api = clients(iam_admin_v1.IAMAsyncClient)
    await api.create_service_account(request={"name": "projects/demo", "account_id": "web-app"})
    return simulated.core.tokens.issue(EMAIL)


@pytest.fixture(autouse=True)
def _outside_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell says of other clouds does not reach a test."""
    for name in ("LOCALCLOUD_REST", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """A shell in a fresh folder; what it started is ended."""
    made = Shell(tmp_path)
    yield made
    await made.run("down")
