"""The image registry, and of Artifact Registry v1 the lookup of a tag (gcp/behaviour-runtime.md, section 5)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family, permission_denied, plain
from localcloud.core.identity import ANONYMOUS, Caller, current_caller
from localcloud.core.invoke import caller_of
from localcloud.core.rest import RestRequest, RestResponse, RestService, route
from localcloud.runtime.imagereference import BadReference, Reference
from localcloud.runtime.images import CONFIG_TYPE, MANIFEST_TYPE

DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"
UPLOAD = "artifactregistry.repositories.uploadArtifacts"
TOKEN_SECONDS = 43_200
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
SCOPE = re.compile(r"repository:([^:]+):([a-z,*]+)")
PACKAGE = "projects/{project}/locations/{location}/repositories/{repository}/packages/{package}"
TREE = "/v2/{name=**}"


@dataclass(frozen=True)
class Refused(Exception):
    """An error in the registry's own envelope."""

    status: int
    code: str
    message: str
    challenge: str = ""

    def answer(self) -> RestResponse:
        headers = {"WWW-Authenticate": self.challenge} if self.challenge else {}
        return _json({"errors": [{"code": self.code, "message": self.message}]}, self.status, headers)


class Registry(RestService):
    """Reads images from runtime.images, where `localcloud build` puts them; there are no pushes."""

    host = "artifactregistry.googleapis.com"
    hosts = ("*.pkg.dev", "gcr.io", "*.gcr.io")
    title = "Artifact Registry API"
    errors = Family.ONE_PLATFORM

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._simulated = cloud.store.records("registry.simulated")  # digest -> {"content"}

    @route("GET /v2/", open=True)
    async def ping(self, request: RestRequest) -> RestResponse:
        try:
            self._caller(request, "")
        except Refused as refused:
            return refused.answer()
        return _json({})

    @route("GET /v2/token", open=True)
    async def token(self, request: RestRequest) -> RestResponse:
        """A token for the scopes asked for; each later request is judged again."""
        try:
            caller = _credential(self.cloud, request) or ANONYMOUS
            found = SCOPE.fullmatch(request.query.get("scope", ""))
            if found is not None and not caller.email:
                await self._judge(caller, request.host, found.group(1), DOWNLOAD)
        except Refused as refused:
            if refused.status == 401:
                refused = Refused(401, "UNAUTHORIZED", "authentication failed")
            return refused.answer()
        token = self.cloud.tokens.issue(caller.email, TOKEN_SECONDS)
        return _json({"token": token, "expires_in": TOKEN_SECONDS})

    @route(f"GET {TREE}/manifests/{{reference}}", open=True)
    async def manifest(self, request: RestRequest) -> RestResponse:
        name, wanted = request.variables["name"], request.variables["reference"]
        try:
            await self._judge(self._caller(request, name), request.host, name, DOWNLOAD)
            digest, content = await asyncio.to_thread(self._manifest, f"{request.host}/{name}", wanted)
        except Refused as refused:
            return refused.answer()
        kind = str(json.loads(content).get("mediaType", MANIFEST_TYPE))
        return RestResponse(200, content, {**VERSION, "Content-Type": kind, "Docker-Content-Digest": digest})

    @route(f"GET {TREE}/blobs/{{digest}}", open=True)
    async def blob(self, request: RestRequest) -> RestResponse:
        name, digest = request.variables["name"], request.variables["digest"]
        try:
            await self._judge(self._caller(request, name), request.host, name, DOWNLOAD)
            content = await asyncio.to_thread(self._blob, digest)
            if content is None:
                raise Refused(404, "BLOB_UNKNOWN", f'Failed to fetch "{digest}"')
        except Refused as refused:
            return refused.answer()
        headers = {**VERSION, "Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        return RestResponse(200, content, headers)

    @route(f"GET {TREE}/tags/list", open=True)
    async def tags(self, request: RestRequest) -> RestResponse:
        name = request.variables["name"]
        try:
            await self._judge(self._caller(request, name), request.host, name, DOWNLOAD)
            tags = await asyncio.to_thread(_or_none, lambda: self._images.tags(f"{request.host}/{name}"))
        except Refused as refused:
            return refused.answer()
        return _json({"name": name, "tags": tags or []})

    @route(
        f"PUT {TREE}/manifests/{{reference}}",
        f"DELETE {TREE}/manifests/{{reference}}",
        f"POST {TREE}/blobs/uploads/",
        f"PATCH {TREE}/blobs/uploads/{{upload}}",
        f"PUT {TREE}/blobs/uploads/{{upload}}",
        open=True,
    )
    async def push(self, request: RestRequest) -> RestResponse:
        try:
            await self._judge(self._caller(request, request.variables["name"], "pull,push"), request.host, "", UPLOAD)
        except Refused as refused:
            return refused.answer()
        message = "localcloud does not model pushes: it has no container engine. Use `localcloud build`."
        return Refused(405, "UNSUPPORTED", message).answer()

    @route(f"GET /v1/{PACKAGE}/tags/{{tag}}", resource=f"{PACKAGE}/tags/{{tag}}")
    async def get_tag(self, request: RestRequest) -> RestResponse:
        """Which version a tag is, without the Docker protocol."""
        place = dict(request.variables)
        package = PACKAGE.format_map(place)
        repository = package.partition("/packages/")[0]
        if not self.cloud.policies.allows(current_caller.get(), "artifactregistry.tags.get", repository):
            raise permission_denied("artifactregistry.tags.get", package)
        full = f"{place['location']}-docker.pkg.dev/{place['project']}/{place['repository']}/{place['package']}"
        try:
            digest, _ = await asyncio.to_thread(self._manifest, full, place["tag"])
        except Refused:
            raise plain(Code.NOT_FOUND) from None
        escaped = package.replace(place["package"], place["package"].replace("/", "%2F"))
        return RestResponse.of({"name": f"{escaped}/tags/{place['tag']}", "version": f"{escaped}/versions/{digest}"})

    @property
    def _images(self) -> Any:
        return self.cloud.runtime.images

    def _caller(self, request: RestRequest, name: str, actions: str = "pull") -> Caller:
        """Who asks. Raises the challenge that tells a client where to get a token."""
        caller = _credential(self.cloud, request)
        if caller is not None:
            return caller
        realm = f'Bearer realm="https://{request.host}/v2/token"'
        if not name:
            raise Refused(401, "UNAUTHORIZED", "not authenticated: No credential was supplied.", realm)
        scope = f'{realm},service="{request.host}",scope="repository:{name}:{actions}"'
        raise Refused(401, "UNAUTHORIZED", "not authenticated: No valid credential was supplied.", scope)

    async def _judge(self, caller: Caller, host: str, name: str, permission: str) -> None:
        """Raises 403 for who may not, and where the repository does not exist."""
        resource = _resource(host, name)
        exists = not name or self.cloud.simulate or await asyncio.to_thread(self._exists, host, name)
        if exists and self.cloud.policies.allows(caller, permission, resource):
            return
        if caller.email:
            text = f'Permission "{permission}" denied on resource "{resource}" (or it may not exist)'
        else:
            text = (
                f'Unauthenticated request. Unauthenticated requests do not have permission "{permission}" on resource '
                f'"{resource}" (or it may not exist)'
            )
        raise Refused(403, "DENIED", text)

    def _exists(self, host: str, name: str) -> bool:
        """A repository is there once an image was built into it."""
        top = "/".join([host, *name.split("/")[: 2 if host.endswith(".pkg.dev") else 1]])
        return any(other == top or other.startswith(f"{top}/") for other in self._images.repositories())

    def _manifest(self, repository: str, wanted: str) -> tuple[str, bytes]:
        """Digest and bytes. Raises MANIFEST_UNKNOWN."""
        is_digest = wanted.startswith("sha256:")
        reference = _or_none(lambda: Reference.parse(f"{repository}{'@' if is_digest else ':'}{wanted}"))
        digest = None if reference is None else self._images.digest_of(reference)
        if digest is None and self.cloud.simulate and reference is not None:
            digest = wanted if is_digest else self._simulate(f"{repository}:{wanted}")
        content = None if digest is None else self._blob(digest)
        if digest is None or content is None:
            raise Refused(404, "MANIFEST_UNKNOWN", f'Failed to fetch "{wanted}"')
        return digest, content

    def _blob(self, digest: str) -> bytes | None:
        made = self._simulated.find(digest)
        content: bytes | None = self._images.blob(digest) if made is None else str(made["content"]).encode()
        return content

    def _simulate(self, name: str) -> str:
        """A simulated cloud has any image: manifest and config made up from the name."""
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"WorkingDir": "/app", "Labels": {"simulated": name}},
                "rootfs": {"type": "layers", "diff_ids": []},
            }
        )
        described = {"mediaType": CONFIG_TYPE, "digest": _digest(config), "size": len(config)}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": []})
        for content in (config, manifest):
            if self._simulated.find(_digest(content)) is None:
                self._simulated.put(_digest(content), {"content": content})
        return _digest(manifest)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> RestResponse:
    kind = {"Content-Type": "application/json; charset=UTF-8"}
    return RestResponse(status, json.dumps(value).encode(), {**VERSION, **kind, **(headers or {})})


def _credential(cloud: Cloud, request: RestRequest) -> Caller | None:
    """The bearer of the Authorization header, None without one. Raises what a refused credential gets."""
    header = request.headers.get("Authorization", "")
    kind, _, value = header.partition(" ")
    if not header:
        return None
    if kind.lower() == "basic":
        try:
            user, _, value = base64.b64decode(value).decode().partition(":")
        except (ValueError, binascii.Error):
            user = ""
        if user != "oauth2accesstoken":  # keys of service accounts are not modelled, so `_json_key` is refused
            raise Refused(401, "UNAUTHORIZED", "not authenticated: No valid credential was supplied.")
    try:
        return caller_of(cloud, f"Bearer {value}")
    except ApiError:
        raise Refused(401, "UNAUTHORIZED", "not authenticated: No valid credential was supplied.") from None


def _resource(host: str, name: str) -> str:
    """projects/P/locations/L/repositories/R, as IAM knows what a Docker client calls HOST/P/R/…."""
    project, _, rest = name.partition("/")
    if host.endswith("-docker.pkg.dev"):
        location, repository = host.removesuffix("-docker.pkg.dev"), rest.partition("/")[0]
    else:
        location, repository = {"eu.gcr.io": "europe", "asia.gcr.io": "asia"}.get(host, "us"), host
    return f"projects/{project}/locations/{location}/repositories/{repository}"


def _digest(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def _or_none(work: Any) -> Any:
    try:
        return work()
    except BadReference:
        return None
