"""How an operator that starts is told of the apps that there are: piece by piece, and it keeps none of it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client
from relay_support import relayed

from nuages.api.group import GROUP, VERSION
from nuages.kube.contents import Contents
from nuages.kube.handlers import CHUNK, Watched
from nuages.kube.operator import watch

WITHIN_S = 30.0
KOPFS_OWN_S = 5.0  # for which a worker of its keeps an event, unless it is told otherwise


@asynccontextmanager
async def with_apps(configuration: client.Configuration, count: int) -> AsyncIterator[str]:
    """A namespace that has as many."""
    async with client.ApiClient(configuration) as api:
        core, custom, name = client.CoreV1Api(api), client.CustomObjectsApi(api), f"many-{uuid.uuid4().hex[:8]}"
        await core.create_namespace({"metadata": {"name": name}})
        spec = {"image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v1"}
        for number in range(count):
            metadata = {"name": f"app-{number}", "namespace": name}
            body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "DjangoApp", "metadata": metadata, "spec": spec}
            await custom.create_namespaced_custom_object(GROUP, VERSION, name, "djangoapps", body)
        yield name


def kubeconfig(folder: Path, configuration: client.Configuration) -> Path:
    """Leads to the same API server, as the same user."""
    token = configuration.api_key["BearerToken"].removeprefix("Bearer ")
    content = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": configuration.host}}],
        "users": [{"name": "x", "user": {"token": token}}],
    }
    made = folder / "kubeconfig"
    made.write_text(yaml.safe_dump(content))
    return made


def lists(heard: list[bytearray]) -> list[list[Any]]:
    """The items of each list of apps among the answers."""
    return [json.loads(body)["items"] for body in heard if b'"kind":"DjangoAppList"' in body]


class Apps:
    """Those that were told of."""

    def __init__(self, count: int) -> None:
        self.keys: set[str] = set()
        self._count, self.complete = count, asyncio.Event()

    def add(self, key: str) -> None:
        if not key.endswith("/"):  # a tenant's
            self.keys.add(key)
        if len(self.keys) == self._count:
            self.complete.set()


async def test_apps_come_in_pieces_and_are_not_kept(
    configuration: client.Configuration, crds: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was held by a worker of Kopf's, which waits for the next event of the same app."""
    count = CHUNK + 5
    apps = Apps(count)
    async with with_apps(configuration, count) as namespace, relayed(configuration) as relay:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, relay.configuration)))
        watching = asyncio.create_task(
            watch(Watched(apps.add, Contents(apps.add)), [namespace], "pod-1", asyncio.Event())
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                await apps.complete.wait()
            if workers := [task for task in asyncio.all_tasks() if task.get_name().startswith("worker for")]:
                _ended, left = await asyncio.wait(workers, timeout=KOPFS_OWN_S / 2)
                assert not left
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert apps.keys == {f"{namespace}/app-{number}" for number in range(count)}
    assert sorted(len(items) for items in lists(relay.heard)) == [5, CHUNK]
