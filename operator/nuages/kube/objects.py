"""The engine's view of the cluster, over the official client. Objects travel as plain JSON."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import aiohttp
import structlog
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from nuages.reconcile.cluster import Body, ClusterDenied, ClusterError, ClusterUnavailable, Gone, Stale
from nuages.reconcile.news import EVENT_BYTES

GROUP, VERSION = "nuages.dev", "v1alpha1"
APPS, TENANTS = "djangoapps", "djangotenants"
COMPONENT = "nuages"
TIMEOUT = 15  # seconds: a connection that hangs must not hold a worker
EVENTS_RULE = 'apiGroups: [""], resources: [events], verbs: [create]'
# The API server's own words, whichever status the policy or the webhook chose: 422 by default the one, 400 the other
# (k8s.io/apiserver, pkg/admission/plugin: policy/validating/dispatcher.go, webhook/errors/statuserror.go).
ADMISSION_DENIED = re.compile(r"denied (the )?request")
EVENTS_DENIED = 'cannot create resource "events"'  # so RBAC says; quotas and namespaces that end say 403 otherwise

log = structlog.get_logger()


class KubernetesCluster:
    """Implements nuages.reconcile.cluster.Cluster."""

    def __init__(self, api: client.ApiClient, instance: str) -> None:
        """`instance` is the pod's name, as events show who reported."""
        self._api, self._instance = api, instance
        self._told_of_events = False

    async def app(self, namespace: str, name: str) -> Body | None:
        return await self._read(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{APPS}/{name}")

    async def tenant(self, namespace: str) -> Body | None:
        return await self._read(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{TENANTS}/default")

    async def apps(self, namespace: str) -> list[Body]:
        listed = await self._call("GET", f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{APPS}", None, None)
        return list(listed["items"])

    async def secret(self, namespace: str, name: str) -> Body | None:
        return await self._read(f"/api/v1/namespaces/{namespace}/secrets/{name}")

    async def config_map(self, namespace: str, name: str) -> Body | None:
        return await self._read(f"/api/v1/namespaces/{namespace}/configmaps/{name}")

    async def write_status(self, body: Body, status: Mapping[str, Any]) -> Body:
        """Replaces the sub-resource with the resourceVersion that was read. Raises Gone, Stale."""
        whole = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": dict(body["metadata"]),
            "spec": body["spec"],
            "status": dict(status),
        }
        return await self._call("PUT", f"{_path(body)}/status", whole, "application/json")

    async def write_finalizers(self, body: Body, finalizers: list[str]) -> Body:
        """A merge patch, conditioned on the resourceVersion. Raises Gone, Stale."""
        metadata = {"finalizers": finalizers, "resourceVersion": body["metadata"]["resourceVersion"]}
        return await self._call("PATCH", _path(body), {"metadata": metadata}, "application/merge-patch+json")

    async def event(self, app: Body, kind: str, reason: str, message: str) -> None:
        """One event an occurrence: a series would hide when it happened.

        Of the core group, which alone takes the times that `kubectl describe` and `get events` sort by.
        """
        now, metadata = dt.datetime.now(dt.UTC), app["metadata"]
        text = (
            message if len(message.encode()) <= EVENT_BYTES else message.encode()[-EVENT_BYTES:].decode(errors="ignore")
        )
        digest = hashlib.sha256(f"{metadata['uid']}{reason}{text}{now.isoformat()}".encode()).hexdigest()[:16]
        body = client.CoreV1Event(
            metadata=client.V1ObjectMeta(name=f"{metadata['name'][:40]}.{digest}", namespace=metadata["namespace"]),
            event_time=now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            first_timestamp=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            last_timestamp=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            count=1,
            source=client.V1EventSource(component=COMPONENT),
            reporting_component=f"{GROUP}/{COMPONENT}",
            reporting_instance=self._instance[:128],
            action=reason,
            reason=reason[:128],
            type=kind,
            message=text,
            involved_object=client.V1ObjectReference(
                api_version=app["apiVersion"],
                kind=app["kind"],
                namespace=metadata["namespace"],
                name=metadata["name"],
                uid=metadata["uid"],
            ),
        )
        log.info("event", app=f"{metadata['namespace']}/{metadata['name']}", kind=kind, reason=reason, text=text)
        try:
            await self._call("POST", f"/api/v1/namespaces/{metadata['namespace']}/events", body, "application/json")
        except (ClusterError, ApiException) as error:  # a namespace that is ending takes none
            self._tell_of_lost_event(reason, error)

    def _tell_of_lost_event(self, reason: str, error: Exception) -> None:
        """Once, and loudly, where RBAC keeps all of them away: nobody misses what never came."""
        if isinstance(error, ClusterDenied) and EVENTS_DENIED in str(error) and not self._told_of_events:
            self._told_of_events = True
            log.warning("no events: the operator's ClusterRole lacks a rule", rule=EVENTS_RULE, error=str(error))
        else:
            log.debug("event was not taken", reason=reason, error=str(error))

    async def _read(self, path: str) -> Body | None:
        try:
            return await self._call("GET", path, None, None)
        except Gone:
            return None

    async def _call(self, method: str, path: str, body: Any, content_type: str | None) -> dict[str, Any]:
        """Plain JSON: the generated models would rename fields and lose what they do not know. Raises ClusterError."""
        try:
            return await self._answer(method, path, body, content_type)
        except ApiException as error:
            ours = _as_ours(error)
            if ours is None:  # a request that is wrong: a bug
                raise
            raise ours from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ClusterUnavailable(str(error) or type(error).__name__) from error

    async def _answer(self, method: str, path: str, body: Any, content_type: str | None) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        serialized = await self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=[] if method == "GET" else [("fieldManager", COMPONENT)],
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(*serialized, _request_timeout=TIMEOUT)
        raw: bytes = await response.read()  # type: ignore[no-untyped-call]
        if not 200 <= response.status < 300:
            raise ApiException(status=response.status, reason=response.reason, body=raw.decode(errors="replace"))
        parsed: dict[str, Any] = json.loads(raw)
        return parsed


def _as_ours(error: ApiException) -> ClusterError | None:
    """None for what neither time nor anybody's leave would mend."""
    match error.status:
        case status if status == 429 or status >= 500:  # too many requests, or a webhook's own failure: no verdict
            return ClusterUnavailable(words(error))
        case _ if ADMISSION_DENIED.search(words(error)):
            return ClusterDenied(words(error))
        case 404:
            return Gone()
        case 409:
            return Stale()
        case 403:
            return ClusterDenied(words(error))
        case 401:  # a token that is being replaced
            return ClusterUnavailable(words(error))
        case _:
            return None


def words(error: ApiException) -> str:
    """The API server's message; a proxy's in front of it is no Status."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, TypeError, LookupError):
        return f"{error.status} {error.reason}"


def _path(body: Body) -> str:
    metadata, plural = body["metadata"], TENANTS if body["kind"] == "DjangoTenant" else APPS
    return f"/apis/{GROUP}/{VERSION}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
