"""The CRDs on a real API server, and a namespace for each test."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from kubernetes import aio, client, config
from machine_world import Site, open_world

from localcloud.controlplane.plane import ControlPlane
from nuages.api.group import GROUP, VERSION

REPOSITORY = Path(__file__).parents[2]
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What the API server said to a write."""

    accepted: bool
    message: str
    stored: Mapping[str, Any]


@dataclass(frozen=True)
class Cluster:
    """Writes of custom resources, as a user's strict kubectl makes them."""

    api: client.ApiClient
    kubeconfig: Path
    namespace: str

    def create(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        """The object created, or why not."""
        call = client.CustomObjectsApi(self.api).create_namespaced_custom_object
        options = {"dry_run": "All"} if dry_run else {}
        return _answer(call, *self._place(obj), dict(obj), field_validation="Strict", **options)

    def replace(self, obj: Mapping[str, Any]) -> Answer:
        """The object replaced, or why not."""
        call = client.CustomObjectsApi(self.api).replace_namespaced_custom_object
        return _answer(call, *self._place(obj), obj["metadata"]["name"], dict(obj), field_validation="Strict")

    def replace_status(self, obj: Mapping[str, Any]) -> Answer:
        """The status replaced, or why not."""
        call = client.CustomObjectsApi(self.api).replace_namespaced_custom_object_status
        return _answer(call, *self._place(obj), obj["metadata"]["name"], dict(obj))

    def _place(self, obj: Mapping[str, Any]) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, f"{obj['kind'].lower()}s"


def _answer(call: Any, *args: Any, **options: Any) -> Answer:
    try:
        return Answer(True, "", call(*args, **options))
    except client.ApiException as error:
        return Answer(False, json.loads(error.body or "")["message"], {})


@pytest.fixture(scope="session")
def api_client(controlplane: ControlPlane) -> Iterator[client.ApiClient]:
    """The administrator's connection."""
    api: client.ApiClient = config.new_client_from_config(str(controlplane.kubeconfig))  # type: ignore[no-untyped-call]
    with api:
        yield api


@pytest.fixture
async def configuration(controlplane: ControlPlane) -> aio.client.Configuration:
    """An administrator's."""
    made = aio.client.Configuration()
    await aio.config.load_kube_config(config_file=str(controlplane.kubeconfig), client_configuration=made)
    return made


@pytest.fixture(scope="session")
def crds(api_client: client.ApiClient) -> None:
    """The committed CRDs, established."""
    extensions = client.ApiextensionsV1Api(api_client)
    for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        try:
            extensions.create_custom_resource_definition(definition)
        except client.ApiException as error:
            if error.status != 409:
                raise
        _wait_until_served(api_client, definition["spec"]["names"]["plural"])


def _wait_until_served(api: client.ApiClient, plural: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            client.CustomObjectsApi(api).list_cluster_custom_object(GROUP, VERSION, plural)
            return
        except client.ApiException as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@pytest.fixture
def cluster(api_client: client.ApiClient, crds: None, controlplane: ControlPlane) -> Cluster:
    """A namespace of its own, with the CRDs."""
    name = f"api-{os.getpid()}-{next(_NUMBERS)}"
    client.CoreV1Api(api_client).create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    return Cluster(api_client, Path(controlplane.kubeconfig), name)


@pytest.fixture
def site(
    tmp_path: Path, authority: Path, controlplane: ControlPlane, crds: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A world for lives of apps, one pass at a time (machine_world.py)."""
    for name in ("LOCALCLOUD_REST", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with asyncio.Runner() as runner:
        opened = open_world(tmp_path, authority, Path(controlplane.kubeconfig))
        world = runner.run(opened.__aenter__())
        try:
            yield Site(runner, world)
        finally:
            runner.run(opened.__aexit__(None, None, None))
            structlog.reset_defaults()
