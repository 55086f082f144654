"""From a tag to a digest, by the registry's own API (gcp/behaviour-runtime.md, section 5)."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from nuages.cloud.call import Call
from nuages.cloud.credentials import Identity
from nuages.cloud.errors import CloudError, Invalid, NotFound, PermissionDenied, Transient, Unreachable

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
PLATFORM = ("linux", "amd64")  # what Cloud Run runs
LARGEST = 8 * 2**20  # bytes of a manifest or configuration
GOOGLE = re.compile(r"(.+\.)?(pkg\.dev|gcr\.io)")
KNOWN = 1000  # images that are remembered
HUB, HUB_API = "docker.io", "registry-1.docker.io"
PERMISSION = "artifactregistry.repositories.downloadArtifacts"


@dataclass(frozen=True)
class ResolvedImage:
    """`reference` names the digest; `working_dir` and `user` are from the image's configuration, "" where unset."""

    reference: str
    digest: str
    working_dir: str = ""
    user: str = ""


@dataclass(frozen=True)
class _Place:
    """Where an image is: `reference` is its tag or digest."""

    host: str
    repository: str
    reference: str

    @classmethod
    def of(cls, text: str) -> _Place:
        """As docker reads it: a first part without dot, port or "localhost" is a repository of Docker Hub."""
        name, at, digest = text.partition("@")
        head, _, last = name.rpartition("/")
        last, _, tag = last.partition(":")
        name = f"{head}/{last}" if head else last
        host, _, repository = name.partition("/")
        if not repository or not ("." in host or ":" in host or host == "localhost"):
            host, repository = HUB, name if "/" in name else f"library/{name}"
        return cls(host, repository, digest if at else tag or "latest")

    @property
    def base(self) -> str:
        return f"https://{HUB_API if self.host == HUB else self.host}/v2/{self.repository}"


@dataclass(frozen=True)
class _Answer:
    content: bytes
    kind: str
    digest: str  # by the registry, "" where it says none


class Images:
    """Google's registries are asked with our access token, others without any credential."""

    def __init__(self, identity: Identity, call: Call) -> None:
        self._identity, self._call = identity, call
        self._pinned: dict[str, ResolvedImage] = {}  # by digest, the oldest first: what never changes

    async def resolve(self, reference: str) -> ResolvedImage:
        """What the tag stands for now.

        Raises NotFound where it is not there, PermissionDenied, Invalid where Cloud Run could not run it, Transient.
        """
        if reference in self._pinned:
            return self._pinned[reference]
        place = _Place.of(reference)
        async with aiohttp.ClientSession(trust_env=True) as session:
            registry = _Registry(session, place, await self._authorization(place.host), self._trust)
            top = await self._call(registry.get, f"manifests/{place.reference}")
            digest = top.digest or _digest(top.content)
            manifest = _json(top, reference)
            if top.kind in INDEXES or "manifests" in manifest:
                chosen = _for_platform(manifest, reference)
                manifest = _json(await self._call(registry.get, f"manifests/{chosen}"), reference)
            config = manifest.get("config", {}).get("digest", "")
            if not config:
                raise Invalid(f"{reference} is no container image: its manifest has no configuration")
            settings = _json(await self._call(registry.get, f"blobs/{config}"), reference).get("config") or {}
        pinned = f"{place.host}/{place.repository}@{digest}"
        return self._known(ResolvedImage(pinned, digest, settings.get("WorkingDir") or "", settings.get("User") or ""))

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """As SSL_CERT_FILE says, else the system's authorities. Reading them takes 20 ms: once, not for each image."""
        return ssl.create_default_context()

    def _known(self, image: ResolvedImage) -> ResolvedImage:
        if len(self._pinned) >= KNOWN:
            del self._pinned[next(iter(self._pinned))]
        self._pinned[image.reference] = image
        return image

    async def _authorization(self, host: str) -> str:
        if GOOGLE.fullmatch(host) is None:
            return ""
        return f"Bearer {await self._identity.access_token()}"


class _Registry:
    """GETs of one repository; answers a challenge with an anonymous token where we have none."""

    def __init__(
        self, session: aiohttp.ClientSession, place: _Place, authorization: str, trust: ssl.SSLContext
    ) -> None:
        self._session, self._place, self._authorization = session, place, authorization
        self._ssl = trust

    async def get(self, request: str, *, timeout: float, **_: Any) -> _Answer:
        """`request` is the path below the repository. Raises CloudError."""
        try:
            status, answer, challenge = await self._fetch(request, timeout)
            if status == 401 and challenge and not self._authorization:
                self._authorization = f"Bearer {await self._anonymous(challenge, timeout)}"
                status, answer, _challenge = await self._fetch(request, timeout)
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise Unreachable(f"{self._place.host} does not answer: {_obstacle(error)}") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Transient(f"{self._place.host} does not answer: {type(error).__name__}") from error
        if status != 200:
            raise self._failure(status, answer.content)
        if answer.digest and answer.digest != _digest(answer.content):
            raise Transient(f"{self._place.host} answered with something else than {answer.digest}")
        return answer

    async def _fetch(self, path: str, timeout: float) -> tuple[int, _Answer, str]:
        headers = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
        if self._authorization:
            headers["Authorization"] = self._authorization
        limit = aiohttp.ClientTimeout(total=timeout)
        url = f"{self._place.base}/{path}"
        async with self._session.get(url, headers=headers, ssl=self._ssl, timeout=limit) as response:
            content = await response.content.read(LARGEST + 1)
            while len(content) <= LARGEST and not response.content.at_eof():
                content += await response.content.read(LARGEST + 1 - len(content))
            if len(content) > LARGEST:
                raise Invalid(f"{self._place.repository}: the manifest or configuration is larger than 8 MiB")
            kind = response.headers.get("Content-Type", "").partition(";")[0]
            digest = response.headers.get("Docker-Content-Digest", "")
            return response.status, _Answer(content, kind, digest), response.headers.get("WWW-Authenticate", "")

    async def _anonymous(self, challenge: str, timeout: float) -> str:
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = fields.pop("realm", "")
        if not challenge.lower().startswith("bearer ") or urlsplit(realm).scheme != "https":
            raise PermissionDenied(f"{self._place.host} asks for a login, which the operator has not")
        fields.setdefault("scope", f"repository:{self._place.repository}:pull")
        limit = aiohttp.ClientTimeout(total=timeout)
        async with self._session.get(realm, params=fields, ssl=self._ssl, timeout=limit) as response:
            if response.status != 200:
                raise PermissionDenied(f"{self._place.host} gives no access to {self._place.repository}")
            answer = await response.json(content_type=None)
        return str(answer.get("token") or answer.get("access_token") or "")

    def _failure(self, status: int, content: bytes) -> CloudError:
        place = self._place
        said = _said(content)
        if status == 404:
            return NotFound(said or f"{place.repository}:{place.reference} is not in {place.host}")
        if status in (401, 403):
            permission = PERMISSION if GOOGLE.fullmatch(place.host) else ""
            return PermissionDenied(said or f"{place.host} refused: {status}", permission=permission)
        if status == 429 or status >= 500:
            return Transient(said or f"{place.host} answered {status}")
        return Invalid(said or f"{place.host} answered {status}")


def _obstacle(error: aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError) -> str:
    """Without addresses of objects and ports of proxies: the same words as long as it is the same."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy found no way to it ({error.status} {error.message})"
    return error.os_error.strerror or type(error.os_error).__name__


def _for_platform(index: Mapping[str, Any], reference: str) -> str:
    for entry in index.get("manifests", ()):
        platform = entry.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == PLATFORM:
            return str(entry["digest"])
    raise Invalid(f"{reference} is not made for linux/amd64, which Cloud Run needs")


def _json(answer: _Answer, reference: str) -> dict[str, Any]:
    try:
        found = json.loads(answer.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Invalid(f"{reference}: the registry's answer is no manifest")
    return found


def _said(content: bytes) -> str:
    try:
        first = json.loads(content)["errors"][0]
        return str(first.get("message") or first.get("code") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
