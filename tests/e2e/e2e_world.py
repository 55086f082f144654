"""What a scenario sees: a namespace of its own, kubectl's verbs, Google's clients and a browser."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import yaml
from e2e_browser import Browser
from e2e_site import READY_S, Site
from google.cloud.storage import Client as StorageClient
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

C = TypeVar("C")

POLL_S = 0.2
EVENT_S = 20.0  # behind its status
GROUP = "/apis/nuages.dev/v1alpha1"
PATHS = {
    "DjangoApp": f"{GROUP}/namespaces/{{}}/djangoapps",
    "DjangoTenant": f"{GROUP}/namespaces/{{}}/djangotenants",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Event": "/api/v1/namespaces/{}/events",
}
DUMPED = "djangoapps,djangotenants,configmaps"


class Refused(Exception):
    """The API server did not take an object; the message is its own."""


class World:
    """One for each scenario; `open_world` makes it."""

    def __init__(self, site: Site, namespace: str, api: client.ApiClient, stack: AsyncExitStack) -> None:
        self.site, self.namespace = site, namespace
        self._api, self._stack = api, stack

    async def apply(self, manifest: Mapping[str, Any] | str) -> dict[str, Any]:
        """As `kubectl apply --server-side` does, with strict validation. Raises Refused."""
        body = yaml.safe_load(manifest) if isinstance(manifest, str) else dict(manifest)
        body["metadata"] = {**body["metadata"], "namespace": self.namespace}
        path = f"{self._path(body['kind'])}/{body['metadata']['name']}"
        query = [("fieldManager", "kubectl"), ("fieldValidation", "Strict"), ("force", "true")]
        return await self._call("PATCH", path, body, "application/apply-patch+yaml", query)

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """As `kubectl create --validate=strict` does. Raises Refused."""
        return await self._call(
            "POST", self._path(manifest["kind"]), manifest, "application/json", [("fieldValidation", "Strict")]
        )

    async def patch(self, kind: str, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """A merge patch. Raises Refused."""
        return await self._call("PATCH", f"{self._path(kind)}/{name}", changes, "application/merge-patch+json")

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, or None."""
        try:
            return await self._call("GET", f"{self._path(kind)}/{name}")
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    async def app(self, name: str) -> dict[str, Any]:
        """A DjangoApp that is there."""
        found = await self.get("DjangoApp", name)
        assert found is not None, f"there is no DjangoApp {name}"
        return found

    async def wait(
        self, name: str, type_: str = "Ready", status: str = "True", reason: str = "", timeout: float = READY_S
    ) -> dict[str, Any]:
        """The app once this generation has the condition; fails with what it said last."""
        deadline = time.monotonic() + timeout
        while True:
            app = await self.app(name)
            if is_current(app):
                found = conditions(app).get(type_, {})
                if found.get("status") == status and (not reason or found["reason"] == reason):
                    return app
            if time.monotonic() > deadline:
                said = json.dumps((app.get("status") or {}).get("conditions"), indent=1)
                raise AssertionError(f"{name}: no {type_}={status} {reason} within {timeout:.0f} s, but: {said}")
            await asyncio.sleep(POLL_S)

    async def annotate(self, name: str, annotation: str, value: str) -> None:
        """As `kubectl annotate --overwrite` does."""
        await self.patch("DjangoApp", name, {"metadata": {"annotations": {annotation: value}}})

    async def until(
        self, holds: Callable[[dict[str, Any]], bool], name: str, timeout: float = READY_S
    ) -> dict[str, Any]:
        """The app once something holds of it; fails with its status."""
        deadline = time.monotonic() + timeout
        while not holds(app := await self.app(name)):
            assert time.monotonic() < deadline, f"{name} after {timeout:.0f} s: {json.dumps(app.get('status'))}"
            await asyncio.sleep(POLL_S)
        return app

    async def delete(self, kind: str, name: str, timeout: float = READY_S) -> None:
        """Delete an object and wait until it is gone."""
        await self._call("DELETE", f"{self._path(kind)}/{name}")
        deadline = time.monotonic() + timeout
        while (left := await self.get(kind, name)) is not None:
            assert time.monotonic() < deadline, f"{kind} {name} is still there: {json.dumps(left.get('status'))}"
            await asyncio.sleep(POLL_S)

    async def alone(self, timeout: float = 180.0) -> None:
        """Wait until no other namespace has an app, whose writes would make the shared lists old.

        Skips where a deleted namespace keeps its apps.
        """
        self._needs_collectors()
        deadline = time.monotonic() + timeout
        while len((left := self.kubectl("get", "djangoapps", "--all-namespaces", "--no-headers")).splitlines()) > 1:
            assert time.monotonic() < deadline, f"other apps are still there: {left}"
            await asyncio.sleep(POLL_S)

    async def delete_namespace(self, timeout: float = READY_S) -> None:
        """Delete the scenario's namespace with all that is in it, and wait until it is gone; skips where it stays."""
        self._needs_collectors()
        core = client.CoreV1Api(self._api)
        await core.delete_namespace(self.namespace)
        deadline = time.monotonic() + timeout
        while self.namespace in {item.metadata.name for item in (await core.list_namespace()).items if item.metadata}:
            assert time.monotonic() < deadline, f"namespace {self.namespace} is still there: {self.dump()['objects']}"
            await asyncio.sleep(POLL_S)

    def _needs_collectors(self) -> None:
        if not self.site.has_collectors:
            pytest.skip("namespace deletion: this control plane has no collectors")

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Reason and text of the app's events, oldest first."""
        return [(item["reason"], item["message"]) for item in await self.event_objects(name)]

    async def event_objects(self, name: str) -> list[dict[str, Any]]:
        """The app's events as kubectl reads them, oldest first."""
        listed = await self._call("GET", f"/api/v1/namespaces/{self.namespace}/events")
        mine = [item for item in listed["items"] if item["involvedObject"]["name"] == name]
        return sorted(mine, key=lambda item: str(item["eventTime"]))

    async def told(self, name: str, reason: str, part: str = "", after: int = 0) -> str:
        """The first event with that reason and text, beyond `after` of its reason; events follow the status."""
        deadline = time.monotonic() + EVENT_S
        while True:
            found = [text for kind, text in await self.events(name) if kind == reason][after:]
            fits = next((text for text in found if part in text), None)
            if fits is not None:
                return fits
            assert time.monotonic() < deadline, f"{name}: no event {reason} with {part!r}, but: {found}"
            await asyncio.sleep(POLL_S)

    async def everything(self) -> dict[str, bytes]:
        """All that the API server has in the namespace and shows others than its owner, by kind."""
        kinds = [path.format(self.namespace) for kind, path in PATHS.items() if kind != "Secret"]
        return {path.rpartition("/")[2]: json.dumps(await self._call("GET", path)).encode() for path in kinds}

    def google(self, kind: Callable[..., C]) -> C:
        """One of Google's asyncio clients as the project's owner; closed with the world."""
        made = kind(credentials=self.site.credentials())
        self._stack.push_async_callback(made.transport.close)  # type: ignore[attr-defined]
        return made

    async def objects(self, bucket: str) -> dict[str, bytes]:
        """What is in a bucket, as Google's client reads it."""

        def read() -> dict[str, bytes]:
            opened = StorageClient(project=self.site.project, credentials=self.site.credentials())
            return {blob.name: blob.download_as_bytes() for blob in opened.list_blobs(bucket)}

        return await asyncio.to_thread(read)

    async def fetch(self, url: str) -> bytes:
        """What anybody gets from one of Google's addresses."""
        async with _internet() as session, session.get(url) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def fetch_status(self, url: str, token: str = "") -> int:
        """How the address answers who bears the token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with _internet() as session, session.get(url, headers=headers) as answer:
            return answer.status

    async def browser(self, app: Mapping[str, Any], token: str = "") -> Browser:
        """A fresh browser session with a deployed app."""
        return await self._stack.enter_async_context(Browser(self.site.origin(app["status"]["url"]), token))

    def google_id(self, app: str, part: str = "") -> str:
        """How the operator names the app's resources: the namespace stands for the deployment."""
        return "-".join(item for item in (self.namespace, app, part) if item)

    def dump(self) -> dict[str, str]:
        """What a failure's report shows. Blocking."""
        objects = self.kubectl("get", DUMPED, "-o", "yaml")
        return {"objects": objects, "events": self.kubectl("events"), **self.site.logs()}

    def kubectl(self, *arguments: str) -> str:
        """Its output, in this world's namespace where the arguments name none."""
        program = str(Path(sys.executable).parent / "kubectl")
        place = ["--kubeconfig", str(self.site.kubeconfig), "-n", self.namespace]
        done = subprocess.run([program, *place, *arguments], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def _path(self, kind: str) -> str:
        return PATHS[kind].format(self.namespace)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "",
        query: list[tuple[str, str]] | None = None,
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
        asked = await self._api.param_serialize(
            method=method,
            resource_path=path,
            header_params=headers,
            query_params=query or [],
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(*asked)
        raw: bytes = await response.read()  # type: ignore[no-untyped-call]
        answer: dict[str, Any] = json.loads(raw)
        if response.status in (400, 403, 409, 422):
            raise Refused(answer["message"])
        if response.status >= 300:
            raise ApiException(status=response.status, reason=response.reason, body=raw.decode())
        return answer


@asynccontextmanager
async def open_world(site: Site, namespace: str) -> AsyncIterator[World]:
    """Makes the namespace; in the end the operator deletes what is left in it, while other scenarios run."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            await config.new_client_from_config(config_file=str(site.kubeconfig))  # type: ignore[no-untyped-call]
        )
        core = client.CoreV1Api(api)
        await core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
        try:
            world = World(site, namespace, api, stack)
            yield world
            assert await site.misdeeds(await world.everything()) == []
        finally:
            with suppress(ApiException):  # the scenario may have deleted it
                await core.delete_namespace(namespace)


def _internet() -> aiohttp.ClientSession:
    """As any client of Google's names: proxy and certificates from the environment."""
    trust = ssl.create_default_context()  # SSL_CERT_FILE
    return aiohttp.ClientSession(trust_env=True, connector=aiohttp.TCPConnector(ssl=trust))


def is_current(app: Mapping[str, Any]) -> bool:
    """Whether the status speaks of the spec as it is now."""
    return bool((app.get("status") or {}).get("observedGeneration") == app["metadata"]["generation"])


def conditions(app: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By type."""
    return {item["type"]: item for item in (app.get("status") or {}).get("conditions") or []}
