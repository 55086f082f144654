"""Which apps a ConfigMap's or a Secret's change wakes, and what of it comes into the process."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio import client
from relay_support import relayed

from nuages.kube.contents import Contents

WITHIN_S = 30.0
PAYLOAD = "nobodys-business"


class Namespace:
    """ConfigMaps and Secrets of a namespace, and the apps that were woken by them."""

    def __init__(self, core: client.CoreV1Api, name: str) -> None:
        self.core, self.name = core, name
        self.woken: list[str] = []
        self._contents = Contents(self._wake)
        self._come = asyncio.Event()

    def _wake(self, key: str) -> None:
        self.woken.append(key)
        self._come.set()

    def app(self, name: str, *, config_map: str = "", secret: str = "") -> None:
        """An app that names them."""
        spec: dict[str, Any] = {"image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v1"}
        if config_map:
            spec["envFrom"] = [{"configMap": {"name": config_map}}]
        if secret:
            spec["env"] = [{"name": "TOKEN", "kubernetesSecret": {"name": secret, "key": "token"}}]
        metadata = {"name": name, "namespace": self.name, "uid": "u-1", "generation": 1}
        body = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp", "metadata": metadata, "spec": spec}
        self._contents.heed(f"{self.name}/{name}", body)

    def forget(self, name: str) -> None:
        self._contents.forget(f"{self.name}/{name}")

    async def config_map(self, name: str, value: str) -> None:
        """Made, or given other content."""
        body = {"metadata": {"name": name}, "data": {"VALUE": value}}
        try:
            await self.core.create_namespaced_config_map(self.name, body)
        except client.ApiException:
            await self.core.patch_namespaced_config_map(name, self.name, body)

    async def secret(self, name: str, value: str) -> None:
        """As `kubectl apply` makes one: the payload in an annotation too."""
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": f'{{"stringData":{{"token":"{value}"}}}}'}
        body = {"metadata": {"name": name, "annotations": annotations}, "stringData": {"token": value}}
        try:
            await self.core.create_namespaced_secret(self.name, body)
        except client.ApiException:
            await self.core.patch_namespaced_secret(name, self.name, body)

    async def wakes(self, *names: str) -> None:
        """Waits until these apps were woken, and no other; then forgets it."""
        wanted = {f"{self.name}/{name}" for name in names}
        async with asyncio.timeout(WITHIN_S):
            while not wanted <= set(self.woken):
                self._come.clear()
                await self._come.wait()
        assert set(self.woken) == wanted
        self.woken.clear()

    @asynccontextmanager
    async def watched(self, configuration: client.Configuration) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._contents.watch(configuration))
        try:
            yield
            assert not watching.done(), watching.result()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def opened(configuration: client.Configuration) -> AsyncIterator[Namespace]:
    async with client.ApiClient(configuration) as api:
        core, name = client.CoreV1Api(api), f"contents-{uuid.uuid4().hex[:8]}"
        await core.create_namespace({"metadata": {"name": name}})
        yield Namespace(core, name)


async def test_a_change_wakes_who_names_the_object_alone(configuration: client.Configuration) -> None:
    """Neither an app that names another one, nor for one of the same name elsewhere, nor once it names it no more."""
    async with opened(configuration) as place, opened(configuration) as other, place.watched(configuration):
        await place.config_map("flags", "one")
        place.app("shop", config_map="flags", secret="stripe")
        place.app("blog", config_map="flags")
        place.app("wiki", config_map="other")
        await place.wakes("shop", "blog")  # what there is when a watch begins
        await other.config_map("flags", "elsewhere")
        await place.secret("stripe", "sk_one")
        await place.wakes("shop")
        await place.config_map("flags", "two")
        await place.wakes("shop", "blog")
        place.app("blog", config_map="other")
        place.forget("wiki")
        await place.config_map("flags", "three")
        await place.wakes("shop")
        await place.core.delete_namespaced_secret("stripe", place.name)
        await place.wakes("shop")
        place.forget("shop")
        await place.config_map("flags", "four")
        await place.config_map("other", "one")
        await place.wakes("blog")


async def test_no_payload_comes_with_a_watch(configuration: client.Configuration) -> None:
    """Not of the Secret that an app names, not of its neighbours, nor from kubectl's annotation."""
    async with opened(configuration) as place, relayed(configuration) as relay:
        await place.secret("neighbour", PAYLOAD)
        async with place.watched(relay.configuration):
            place.app("shop", secret="stripe")
            await place.secret("stripe", PAYLOAD)
            await place.wakes("shop")
            await place.secret("neighbour", PAYLOAD * 2)
            await place.secret("stripe", PAYLOAD * 2)
            await place.wakes("shop")
    text = b"".join(relay.heard)
    assert b'"stripe"' in text
    assert PAYLOAD.encode() not in text
    assert base64.b64encode(PAYLOAD.encode()) not in text


async def test_without_the_permission_for_secrets_config_maps_still_wake(configuration: client.Configuration) -> None:
    """Who does not grant `watch` on secrets keeps all else."""
    async with opened(configuration) as place, client.ApiClient(configuration) as api:
        rbac, subject = client.RbacAuthorizationV1Api(api), {"kind": "ServiceAccount", "name": "narrow"}
        await place.core.create_namespaced_service_account(place.name, {"metadata": {"name": "narrow"}})
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["watch"]}
        await rbac.create_namespaced_role(place.name, {"metadata": {"name": "narrow"}, "rules": [rule]})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "narrow"}
        binding = {"metadata": {"name": "narrow"}, "roleRef": reference, "subjects": [subject]}
        await rbac.create_namespaced_role_binding(place.name, binding)
        asked = await place.core.create_namespaced_service_account_token("narrow", place.name, {"spec": {}})
        narrow = client.Configuration(host=configuration.host, ssl_ca_cert=configuration.ssl_ca_cert)
        narrow.api_key["BearerToken"] = f"Bearer {asked.status.token}"
        async with place.watched(narrow):
            place.app("shop", config_map="flags", secret="stripe")
            await place.secret("stripe", "sk_one")
            await place.config_map("flags", "one")
            await place.wakes("shop")
            await place.config_map("flags", "two")
            await place.wakes("shop")


async def test_a_watch_that_breaks_goes_on(configuration: client.Configuration) -> None:
    """What changed meanwhile wakes its apps."""
    async with opened(configuration) as place, relayed(configuration) as relay, place.watched(relay.configuration):
        place.app("shop", config_map="flags")
        await place.config_map("flags", "one")
        await place.wakes("shop")
        relay.cut()
        await place.config_map("flags", "two")
        await place.wakes("shop")
