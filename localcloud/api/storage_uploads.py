"""Uploads to Cloud Storage: simple, multipart and resumable (JSON API v1)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.api.storage_base import shown
from localcloud.api.storage_bucket_api import RESOURCE
from localcloud.api.storage_object_api import ObjectRoutes, writable
from localcloud.api.storage_types import invalid
from localcloud.core.errors import ApiError, Code
from localcloud.core.identity import Caller, current_caller
from localcloud.core.rest import RestRequest, RestResponse, route
from localcloud.runtime.objects import Meta, hashes_of

PATHS = ("/upload/storage/v1/b/{bucket}/o", "/resumable/upload/storage/v1/b/{bucket}/o")
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
BOUNDARY = re.compile(r"""boundary=(?:"([^"]+)"|'([^']+)'|([^;\s]+))""")  # gcloud takes single quotes
RESUME_INCOMPLETE = 308
CLIENT_CLOSED = 499  # what the deletion of an upload answers


class UploadRoutes(ObjectRoutes):
    @route(*(f"POST {path}" for path in PATHS), resource=RESOURCE, open=True)
    async def upload(self, request: RestRequest) -> RestResponse:
        kind = request.query.get("uploadType") or request.headers.get("X-Goog-Upload-Protocol", "")
        if kind == "media":
            fields = {"contentType": request.headers.get("Content-Type", "application/octet-stream")}
            return await self._store(request, request.query.get("name", ""), fields, request.body)
        if kind == "multipart":
            body, content_type, content = _parts(request)
            fields = {"contentType": content_type, **body}
            return await self._store(request, request.query.get("name") or str(body.get("name", "")), fields, content)
        if kind == "resumable":
            return self._begin(request)
        raise invalid(f"Upload type '{kind}' is not supported; use media, multipart or resumable.")

    @route(*(f"PUT {path}" for path in PATHS), resource=RESOURCE, open=True)
    async def resume_upload(self, request: RestRequest) -> RestResponse:
        """A chunk, or with `bytes */N` the question how much has arrived."""
        identity, session = self._session(request)
        current_caller.set(Caller(session["caller"], session["owner"]))
        partial = Path(session["file"])
        have = await asyncio.to_thread(_size, partial)
        header = request.headers.get("Content-Range", "")
        found = CONTENT_RANGE.fullmatch(header)
        if header and found is None:
            raise invalid(f"Failed to parse Content-Range header: {header}")
        first = int(found.group(1)) if found is not None and found.group(1) else have if found is not None else 0
        total = found.group(3) if found is not None else str(len(request.body))
        if request.body:
            if first > have:
                raise ApiError(Code.UNAVAILABLE, "The upload is not at this offset yet.", reason="backendError")
            await asyncio.to_thread(_write_at, partial, first, request.body)
            have = first + len(request.body)
        if total == "*" or have < int(total):
            headers = {"Range": f"bytes=0-{have - 1}"} if have else {}
            return RestResponse(RESUME_INCOMPLETE, b"", {**headers, "X-GUploader-UploadID": identity})
        self.sessions.remove(identity)
        made = await self._write_verified(
            session["bucket"], session["name"], partial, session["fields"], session["query"], request.headers
        )
        return RestResponse.of(shown(made))

    @route(*(f"DELETE {path}" for path in PATHS), resource=RESOURCE, open=True)
    async def cancel_upload(self, request: RestRequest) -> RestResponse:
        identity, session = self._session(request)
        self.sessions.remove(identity)
        await asyncio.to_thread(Path(session["file"]).unlink, missing_ok=True)
        return RestResponse(CLIENT_CLOSED)

    async def resume(self) -> None:
        """Bytes of uploads that no session knows any more are of no use."""
        kept = {Path(session["file"]) for _, session in self.sessions.items()}
        for left in list(self.objects.temporary().parent.glob("upload-*")):
            if left not in kept:
                left.unlink(missing_ok=True)

    async def store_bytes(
        self, bucket: str, name: str, fields: Mapping[str, Any], content: bytes, query: Mapping[str, str]
    ) -> Meta:
        """An object of these bytes, where the caller may."""
        self.may_write(bucket, name, query)
        source = self.objects.temporary()
        await asyncio.to_thread(source.write_bytes, content)
        return await self._write_verified(bucket, name, source, fields, query, {})

    async def _store(self, request: RestRequest, name: str, fields: Mapping[str, Any], content: bytes) -> RestResponse:
        made = await self.store_bytes(request.variables["bucket"], name, fields, content, request.query)
        return RestResponse.of(shown(made))

    async def _write_verified(
        self,
        bucket: str,
        name: str,
        source: Path,
        fields: Mapping[str, Any],
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Meta:
        """Write it, unless a checksum that the caller sent is another."""
        sent = dict(part.strip().split("=", 1) for part in headers.get("X-Goog-Hash", "").split(",") if "=" in part)
        md5, crc = fields.get("md5Hash") or sent.get("md5"), fields.get("crc32c") or sent.get("crc32c")
        if md5 or crc:
            hashes = await asyncio.to_thread(hashes_of, source)
            for given, actual, what in ((md5, hashes.md5, "MD5"), (crc, hashes.crc32c, "CRC32C")):
                if given and base64.b64decode(given) != base64.b64decode(actual):
                    await asyncio.to_thread(source.unlink, missing_ok=True)
                    raise invalid(f'Provided {what} hash "{given}" doesn\'t match calculated {what} hash "{actual}".')
        return await self.write(bucket, name, source, writable(fields), query)

    def _begin(self, request: RestRequest) -> RestResponse:
        """The session's URI is its only credential, as with Google."""
        body = request.json()
        bucket, name = request.variables["bucket"], request.query.get("name") or str(body.get("name", ""))
        self.may_write(bucket, name, request.query)
        kind = request.headers.get("X-Upload-Content-Type") or "application/octet-stream"
        identity = f"ABPtcP{uuid.uuid4().hex}"
        partial = self.objects.temporary()
        partial.touch()
        fields = {"contentType": kind, **body}
        writable(fields)
        self.sessions.put(
            identity,
            {
                "bucket": bucket,
                "name": name,
                "fields": fields,
                "query": dict(request.query),
                "file": str(partial),
                "caller": self.caller.email,
                "owner": self.caller.owner,
            },
        )
        origin = request.headers.get("Host", request.host)
        scheme = "https" if origin.endswith("googleapis.com") else "http"
        location = f"{scheme}://{origin}{request.path}?uploadType=resumable&upload_id={identity}"
        return RestResponse(200, b"", {"Location": location, "X-GUploader-UploadID": identity})

    def _session(self, request: RestRequest) -> tuple[str, dict[str, Any]]:
        identity = request.query.get("upload_id", "")
        session = self.sessions.find(identity)
        if session is None or session["bucket"] != request.variables["bucket"]:
            raise ApiError(Code.NOT_FOUND, "The upload session does not exist or has expired.", reason="notFound")
        return identity, session


def _parts(request: RestRequest) -> tuple[dict[str, Any], str, bytes]:
    """The metadata, the content's type and the content of a multipart/related body."""
    kind = request.headers.get("Content-Type", "")
    found = BOUNDARY.search(kind)
    if found is None:
        raise invalid("Missing boundary of a multipart body.")
    boundary = next(group for group in found.groups() if group)
    mark = rb"\r?\n--" + re.escape(boundary.encode()) + rb"(?:--)?[ \t]*(?:\r?\n|$)"
    sections = re.split(mark, b"\r\n" + request.body)
    bodies = [_section(section) for section in sections[1:] if section]
    if len(bodies) < 2:
        raise invalid("Malformed multipart body.")
    try:
        metadata = json.loads(bodies[0][1] or b"{}")
    except ValueError:
        raise ApiError(Code.INVALID_ARGUMENT, "Parse Error", reason="parseError") from None
    return metadata, bodies[1][0], bodies[1][1]


def _section(section: bytes) -> tuple[str, bytes]:
    found = re.search(rb"\r?\n\r?\n", b"\r\n" + section)
    if found is None:
        raise invalid("Malformed multipart body.")
    head, content = (b"\r\n" + section)[: found.start()], (b"\r\n" + section)[found.end() :]
    kind = re.search(rb"(?im)^content-type:[ \t]*([^\r\n]+)", head)
    return (kind.group(1).decode().strip() if kind else "application/octet-stream"), content


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write_at(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.truncate()
        file.write(content)
