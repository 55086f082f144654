"""The metadata server of each instance: project, region, and the credentials of the account it runs as.

Paths, headers, texts: gcp/behaviour-runtime.md, section 1. All instances share one HTTP server; each has a listening
socket of its own, and the socket tells who asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from localcloud.core.identity import CLOUD_PLATFORM

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

ROOT = "/computeMetadata/v1/"
LEAST_SECONDS = 300  # a cached token is handed out until this much of its life is left
HEADERS = {"Metadata-Flavor": "Google", "Server": "Metadata Server for Serverless", "X-XSS-Protection": "0"}
NAMES = {"project-id": "projectId", "numeric-project-id": "numericProjectId", "service-accounts": "serviceAccounts"}

Folder = dict[str, Any]  # name -> text, list (JSON, or lines), number, or folder


@dataclass
class _Instance:
    """Who asks on one port."""

    email: str
    project: str
    number: str
    region: str
    id: str
    server: asyncio.Server
    tokens: dict[str, str] = field(default_factory=dict)  # scopes -> the token last handed out


class MetadataServers:
    """One address per running instance."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._instances: dict[int, _Instance] = {}
        self._http: web.Server | None = None

    async def start(self, email: str, project: str, region: str, instance_id: str) -> str:
        """`127.0.0.1:PORT` for GCE_METADATA_HOST, _IP and _ROOT; `project` is the id, `email` who the instance is."""
        if self._http is None:
            self._http = web.Server(self._answer, access_log=None)
        server = await asyncio.get_running_loop().create_server(self._http, "127.0.0.1", 0)
        port = int(server.sockets[0].getsockname()[1])
        number = self._cloud.projects.get(project).number
        self._instances[port] = _Instance(email, project, number, region, instance_id, server)
        return f"127.0.0.1:{port}"

    async def stop(self, address: str) -> None:
        """The instance ended; an address that is not ours is nothing to stop."""
        instance = self._instances.pop(int(address.rpartition(":")[2]), None)
        if instance is not None:
            instance.server.close()

    async def close(self) -> None:
        """End all of them, with their open connections."""
        for instance in self._instances.values():
            instance.server.close()
        self._instances.clear()
        if self._http is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await self._http.shutdown(timeout=0.1)
            self._http = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        port = transport.get_extra_info("sockname")[1] if transport is not None else 0
        instance = self._instances.get(port)
        if instance is None:
            return _page(503, "The instance has ended.")
        if request.path == "/":
            return _text("computeMetadata/\n")
        if request.headers.get("Metadata-Flavor", "").lower() != "google":
            return _page(
                403,
                f"Your client does not have permission to get URL <code>{html.escape(request.path)}</code> from this "
                "server. Missing Metadata-Flavor:Google header.",
            )
        if request.method not in ("GET", "HEAD"):
            return _page(405, f"The request method <code>{request.method}</code> is inappropriate for this URL.")
        return await self._read(instance, request)

    async def _read(self, instance: _Instance, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix(ROOT) if request.path.startswith(ROOT) else None
        if path is None:
            if request.path == ROOT.rstrip("/"):
                return _text(_listing(_top(instance)))
            return _text("v1/\n") if request.path.rstrip("/") == "/computeMetadata" else _missing(request)
        if "wait_for_change" in request.query:
            return _page(501, "localcloud does not model wait_for_change.")
        parts = [part for part in path.split("/") if part]
        if parts[:2] == ["instance", "service-accounts"] and len(parts) == 4 and parts[3] in ("token", "identity"):
            return await self._credential(instance, parts[2], parts[3], request)
        value: Any = _top(instance)
        for part in parts:
            if not isinstance(value, dict) or part not in value:
                return _missing(request)
            value = value[part]
        return _rendered(value, request)

    async def _credential(
        self, instance: _Instance, account: str, kind: str, request: web.BaseRequest
    ) -> web.StreamResponse:
        if account not in ("default", instance.email) or not self._cloud.accounts.usable(instance.email):
            return _missing(request)
        if kind == "identity":
            audience = request.query.get("audience", "")
            if not audience:
                return _page(400, "non-empty audience parameter required")
            return _text(await self._cloud.id_tokens.issue(instance.email, audience))
        scopes = request.query.get("scopes", CLOUD_PLATFORM)
        tokens = self._cloud.tokens
        token = instance.tokens.get(scopes, "")
        if tokens.remaining(token) <= LEAST_SECONDS:
            token = instance.tokens[scopes] = tokens.issue(instance.email, scopes=scopes.split(","))
        return _json({"access_token": token, "expires_in": tokens.remaining(token), "token_type": "Bearer"})


def _top(instance: _Instance) -> Folder:
    account = {"aliases": ["default"], "email": instance.email, "scopes": [CLOUD_PLATFORM]}
    place = f"projects/{instance.number}"
    return {
        "instance": {
            "id": instance.id,
            "region": f"{place}/regions/{instance.region}",
            "service-accounts": {"default": account, instance.email: account},
            "zone": f"{place}/zones/{instance.region}-1",
        },
        "project": {"numeric-project-id": instance.number, "project-id": instance.project},
        "universe": {"universe-domain": "googleapis.com"},
    }


def instance_id(seed: str) -> str:
    """130 hexadecimal characters, like Cloud Run's; the same for the same seed."""
    return "".join(f"{zlib.crc32(f'{seed}{part}'.encode()):08x}" for part in range(17))[:130]


def _rendered(value: Any, request: web.BaseRequest) -> web.StreamResponse:
    recursive = request.query.get("recursive", "").lower() == "true"
    if isinstance(value, dict):
        if recursive:
            return _json(_camel(value))
        if not request.path.endswith("/"):
            return web.Response(status=301, headers={**HEADERS, "Location": f"{request.path}/"})
        return _text(_listing(value))
    if request.query.get("alt") == "json" or recursive:
        return _json(value)
    return _text("\n".join(value) + "\n" if isinstance(value, list) else str(value))


def _listing(folder: Folder) -> str:
    extra = ["identity", "token"] if "aliases" in folder else []
    names = [f"{name}/" if isinstance(value, dict) else name for name, value in folder.items()]
    return "".join(f"{name}\n" for name in sorted(names + extra))


def _camel(folder: Folder) -> Folder:
    return {
        NAMES.get(name, "universeDomain" if name == "universe-domain" else name): (
            _camel(value) if isinstance(value, dict) else int(value) if name == "numeric-project-id" else value
        )
        for name, value in folder.items()
    }


def _text(text: str) -> web.Response:
    return web.Response(body=text.encode(), headers={**HEADERS, "Content-Type": "application/text"})


def _json(value: Any) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), headers={**HEADERS, "Content-Type": "application/json"})


def _missing(request: web.BaseRequest) -> web.Response:
    return _page(404, f"The requested URL <code>{html.escape(request.path)}</code> was not found on this server.")


def _page(status: int, message: str) -> web.Response:
    title = f"Error {status}"
    body = f"<!DOCTYPE html>\n<html lang=en>\n<title>{title}</title>\n<p><b>{status}.</b>\n<p>{message}\n"
    headers = {**HEADERS, "Content-Type": "text/html; charset=UTF-8"}
    return web.Response(body=body.encode(), status=status, headers=headers)
