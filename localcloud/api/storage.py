"""Cloud Storage: JSON API v1; of the XML API what signed URLs and public objects need (gcp/behaviour.md, section 4).

Lifecycle rules and soft deletion are kept and shown, not carried out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from xml.sax.saxutils import escape

from localcloud.api import storage_buckets as rules
from localcloud.api.storage_base import NotModified, Preconditions
from localcloud.api.storage_bucket_api import BucketRoutes
from localcloud.api.storage_signing import Refused, is_signed, signer
from localcloud.api.storage_uploads import UploadRoutes
from localcloud.core.errors import ApiError, Code, Family, not_modelled
from localcloud.core.identity import ANONYMOUS, Caller, current_caller
from localcloud.core.rest import RestRequest, RestResponse, route

HOST = "storage.googleapis.com"
CODES = {
    Code.INVALID_ARGUMENT: "InvalidArgument",
    Code.UNAUTHENTICATED: "AuthenticationRequired",
    Code.PERMISSION_DENIED: "AccessDenied",
    Code.CONDITION_NOT_MET: "PreconditionFailed",
    Code.UNIMPLEMENTED: "NotImplemented",
}
JSON_ROOTS = (
    "storage",
    "upload",
    "download",
    "resumable",
    "batch",
)  # no bucket: paths of the JSON API without a method
STORED_HEADERS = {
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Encoding": "contentEncoding",
    "Content-Language": "contentLanguage",
}
XML_PATHS = ("/{bucket}/{object=**}", "/{object=**}")  # the second: BUCKET.storage.googleapis.com


class Storage(UploadRoutes, BucketRoutes):
    """The whole service; its parts are the classes below it."""

    host = HOST
    hosts = (f"*.{HOST}",)
    title = "Cloud Storage JSON API"
    errors = Family.LEGACY

    @route(*(f"{verb} {path}" for verb in ("GET", "HEAD") for path in XML_PATHS), open=True)
    async def xml_get(self, request: RestRequest) -> RestResponse:
        async def work(bucket: str, name: str) -> RestResponse:
            self.bucket_of(bucket, name, "storage.objects.get")
            meta = await self.object(bucket, name, request.query.get("generation", ""))
            try:
                Preconditions(not_generation=request.headers.get("If-None-Match", "")).check_read(
                    {**meta, "generation": f'"{rules.etag(meta["generation"], meta["metageneration"])}"'}
                )
            except NotModified:
                return RestResponse(304)
            answer = await self.media(meta, request.headers)
            overrides = {
                header: request.query[f"response-{header.lower()}"]
                for header in ("Content-Type", "Content-Disposition")
                if f"response-{header.lower()}" in request.query
            }
            return RestResponse(answer.status, answer.body, {**answer.headers, **overrides})

        return await self._xml(request, work)

    @route(*(f"PUT {path}" for path in XML_PATHS), open=True)
    async def xml_put(self, request: RestRequest) -> RestResponse:
        async def work(bucket: str, name: str) -> RestResponse:
            headers = request.headers
            fields: dict[str, object] = {"contentType": headers.get("Content-Type", "application/octet-stream")}
            fields |= {field: headers[header] for header, field in STORED_HEADERS.items() if header in headers}
            custom = {key[12:].lower(): value for key, value in headers.items() if key.lower()[:12] == "x-goog-meta-"}
            generation = headers.get("x-goog-if-generation-match")
            query = {} if generation is None else {"ifGenerationMatch": generation}
            made = await self.store_bytes(
                bucket, name, fields | ({"metadata": custom} if custom else {}), request.body, query
            )
            stored = {"X-Goog-Generation": made["generation"], "X-Goog-Hash": f"md5={made['md5Hash']}"}
            return RestResponse(200, b"", stored)

        return await self._xml(request, work)

    @route(*(f"DELETE {path}" for path in XML_PATHS), open=True)
    async def xml_delete(self, request: RestRequest) -> RestResponse:
        async def work(bucket: str, name: str) -> RestResponse:
            await self.remove(bucket, name, {})
            return RestResponse(204)

        return await self._xml(request, work)

    async def _xml(self, request: RestRequest, work: Callable[[str, str], Awaitable[RestResponse]]) -> RestResponse:
        """Who asks (by signature, token or not at all), what for, and errors as this API words them."""
        bucket, name = request.variables.get("bucket", ""), request.variables["object"]
        if bucket in JSON_ROOTS:
            raise not_modelled(f"{request.method} {request.path} of Cloud Storage")
        if request.host != HOST and request.host.endswith(f".{HOST}"):
            name = f"{bucket}/{name}" if bucket else name
            bucket = request.host.removesuffix(f".{HOST}")
        try:
            if is_signed(request.query):
                now = self.cloud.clock.now()
                email = signer(self.cloud.keys, request.method, request.path, request.query, request.headers, now)
                current_caller.set(Caller(email) if self.cloud.accounts.usable(email) else ANONYMOUS)
            if not bucket:
                return _error(501, "NotImplemented", "localcloud does not model buckets over the XML API.", {})
            return await work(bucket, name)
        except Refused as refused:
            return _error(refused.status, refused.code, refused.message, refused.details)
        except ApiError as error:
            return _api_error(error)


def _api_error(error: ApiError) -> RestResponse:
    if error.code is Code.NOT_FOUND:
        of_object = error.message.startswith("No such object")
        code, message = ("NoSuchKey", "key") if of_object else ("NoSuchBucket", "bucket")
        details = {"Details": f"{error.message}"} if of_object else {}
        return _error(404, code, f"The specified {message} does not exist.", details)
    denied = error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    status = 403 if denied else error.code.http  # this API has no 401: a caller without credential is denied
    message = "Access denied." if denied else error.message
    code = "AccessDenied" if denied else CODES.get(error.code, "InternalError")
    return _error(status, code, message, {"Details": error.message} if denied else {})


def _error(status: int, code: str, message: str, details: Mapping[str, str]) -> RestResponse:
    elements = {"Code": code, "Message": message, **details}
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error>{inner}</Error>".encode()
    return RestResponse(status, body, {"Content-Type": "application/xml; charset=UTF-8", "Server": "UploadServer"})
