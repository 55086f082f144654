"""ConfigMaps and Secrets that apps name: a change of what is in them is a release too.

Only namespaces are watched where an app names one, and what comes is a table of names without the objects. So the
payload of a Secret that nobody names is never in this process: a metadata-only watch would bring it, in the annotation
`kubectl.kubernetes.io/last-applied-configuration`. RBAC cannot tell such a watch from one with payloads: who does not
grant `watch` on secrets loses nothing but the speed, for each pass reads what the app names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import structlog
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from nuages.api.app import DjangoApp
from nuages.api.validate import InvalidSpec, parse_app

# https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
WATCHES = 400  # connections at most; in namespaces beyond them a change is seen at the app's interval
SERVER_TIMEOUT, CLIENT_TIMEOUT = 300, 330  # seconds: a connection that hangs is noticed
AGAIN_FIRST, AGAIN_LAST, DENIED = 1.0, 60.0, 600.0  # seconds until a watch that failed is begun again

log = structlog.get_logger()


class Place(NamedTuple):
    """Where one watch looks."""

    namespace: str
    plural: str  # configmaps or secrets


class Expired(Exception):
    """The API server no longer knows what came after the version that was seen last."""


class Contents:
    """Which apps name what; `wake(key)` is called for each app that names an object which changed."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._named: dict[str, frozenset[tuple[Place, str]]] = {}  # key -> what the app names
        self._keys: dict[Place, dict[str, set[str]]] = {}  # the same from the other side
        self._changed = asyncio.Event()

    def heed(self, key: str, body: Mapping[str, Any]) -> None:
        """The app as it is now."""
        try:
            self._replace(key, _named_by(parse_app(body)))
        except InvalidSpec:  # such an app reads nothing
            self.forget(key)

    def forget(self, key: str) -> None:
        """The app went."""
        self._replace(key, frozenset())

    def _replace(self, key: str, now: frozenset[tuple[Place, str]]) -> None:
        before = self._named.pop(key, frozenset())
        if now:
            self._named[key] = now
        for place, name in before - now:
            names = self._keys[place]
            names[name].discard(key)
            if not names[name]:
                del names[name]
            if not names:
                del self._keys[place]
        for place, name in now - before:
            self._keys.setdefault(place, {}).setdefault(name, set()).add(key)
        self._changed.set()

    async def watch(self, configuration: client.Configuration) -> None:
        """Until cancelled. Over connections of its own: those of the other calls are few, and a watch holds one."""
        configuration.connection_pool_maxsize = WATCHES
        running: dict[Place, asyncio.Task[None]] = {}
        async with client.ApiClient(configuration) as api, asyncio.TaskGroup() as watches:
            while True:
                self._changed.clear()
                for place in running.keys() - self._keys.keys():
                    running.pop(place).cancel()
                wanted = sorted(self._keys.keys() - running.keys())
                for place in wanted[: WATCHES - len(running)]:
                    running[place] = watches.create_task(self._keep(api, place))
                if len(self._keys) > WATCHES:
                    log.warning("not all contents are watched", places=len(self._keys), at_most=WATCHES)
                await self._changed.wait()

    async def _keep(self, api: client.ApiClient, place: Place) -> None:
        """One place's watch, begun again whenever it ends."""
        since, pause = "", AGAIN_FIRST
        seen: dict[str, str] = {}  # what apps name here -> its version
        while True:
            wait = AGAIN_FIRST
            try:
                async for name, version in _changes(api, place, since):
                    since, pause = version, AGAIN_FIRST
                    keys = self._keys.get(place, {}).get(name, set())
                    if keys and seen.get(name) != version:
                        seen[name] = version
                        for key in keys:
                            self._wake(key)
            except Expired:
                since = ""
            except ApiException as error:
                wait = DENIED if error.status in (401, 403) else pause
                log.warning("contents are not watched", **place._asdict(), status=error.status, again_s=wait)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                wait = pause
                log.debug("watch broke", **place._asdict(), error=str(error))
            await asyncio.sleep(wait)  # also after the end that the server puts to each watch: no loop is tight
            pause = min(AGAIN_LAST, pause * 2)


def _named_by(app: DjangoApp) -> frozenset[tuple[Place, str]]:
    namespace = app.metadata.namespace
    maps = {(Place(namespace, "configmaps"), source.config_map.name) for source in app.spec.env_from}
    secrets = {
        (Place(namespace, "secrets"), variable.kubernetes_secret.name)
        for variable in app.spec.env
        if variable.kubernetes_secret is not None
    }
    return frozenset(maps | secrets)


async def _changes(api: client.ApiClient, place: Place, since: str) -> AsyncIterator[tuple[str, str]]:
    """Name and resourceVersion of each object that came, changed or went; without `since` first of all there are.

    Raises Expired, ApiException, aiohttp's errors, ValueError where an answer is no table.
    """
    query = [("watch", "true"), ("includeObject", "None"), ("timeoutSeconds", str(SERVER_TIMEOUT))]
    serialized = await api.param_serialize(
        method="GET",
        resource_path=f"/api/v1/namespaces/{place.namespace}/{place.plural}",
        query_params=[*query, *([("resourceVersion", since)] if since else [])],
        header_params={"Accept": TABLE},
        auth_settings=["BearerToken"],
    )
    answer = (await api.call_api(*serialized, _request_timeout=CLIENT_TIMEOUT)).response
    async with answer:
        if answer.status != 200:
            if answer.status == 410:
                raise Expired
            raise ApiException(status=answer.status, reason=answer.reason)
        async for line in answer.content:
            event = json.loads(line)
            found = event["object"]
            if event["type"] == "ERROR":
                if found.get("code") == 410:
                    raise Expired
                raise ApiException(status=found.get("code"), reason=found.get("reason"))
            if found.get("kind") != "Table":
                raise ValueError(f"{place.plural} come as {found.get('kind')}, not as a table")
            for row in found["rows"]:  # the first column of both kinds is the name
                yield str(row["cells"][0]), str(found["metadata"]["resourceVersion"])
