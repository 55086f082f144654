"""A local cloud without processes, and the operator's own access to it: clients and drivers as deployed."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engine_scene import PROJECT, Scene
from google.oauth2.credentials import Credentials

from localcloud.localcloud import LocalCloud, Options
from nuages.cloud.access import Clouds
from nuages.desired.secretmanager import Secret

SPEED = 1000.0
REGION = "europe-west1"
OUTSIDE = ("LOCALCLOUD_REST", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy")


async def _scenes(options: Options, authority: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    for name in OUTSIDE:
        patch.delenv(name, raising=False)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    shutil.copytree(authority, options.dir / "tls")
    payloads: dict[str, bytes] = {}

    async def copies(secret: Secret) -> bytes:
        return payloads[secret.name]

    async with LocalCloud(options) as cloud:
        for name, value in cloud.environment().items():
            if name != "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH":
                patch.setenv(name, value)
        clouds = Clouds(copies, Credentials("any"))
        made = Scene(cloud, clouds, await clouds.for_tenant(""), payloads)
        yield made
        await made.close()


@pytest.fixture
async def scene(tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """Operations take a thousandth of their real time; nothing runs."""
    options = Options(dir=tmp_path / "cloud", speed=SPEED, simulate=True, project=PROJECT, region=REGION)
    async for made in _scenes(options, authority, monkeypatch):
        yield made


@pytest.fixture
async def real_scene(tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """With images, logs and processes that are real."""
    options = Options(dir=tmp_path / "cloud", speed=SPEED, project=PROJECT, region=REGION)
    async for made in _scenes(options, authority, monkeypatch):
        yield made
