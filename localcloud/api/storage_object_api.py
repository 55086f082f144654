"""Objects of Cloud Storage, all but uploads: JSON API v1 (gcp/behaviour.md, section 4)."""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.api import storage_buckets as rules
from localcloud.api.listing import page
from localcloud.api.storage_base import (
    MOST_RESULTS,
    NotModified,
    Preconditions,
    StorageBase,
    flag,
    no_object,
    page_size,
    precondition_failed,
    refuse_lists,
    shown,
)
from localcloud.api.storage_bucket_api import NO_CONTENT, RESOURCE
from localcloud.api.storage_types import COMPOSE_FIELDS, OBJECT_FIELDS, check_types, invalid
from localcloud.core.errors import ApiError, Code, not_modelled
from localcloud.core.rest import RestRequest, RestResponse, route
from localcloud.runtime.objects import Meta, timestamp

O = "/storage/v1/b/{bucket}/o"  # noqa: E741 - Google's own path
OBJECT = f"{RESOURCE}/objects/{{object}}"
MOST_SOURCES = 32
WRITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "eventBasedHold",
    "metadata",
    "temporaryHold",
)
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class ObjectRoutes(StorageBase):
    @route(f"GET {O}", resource=RESOURCE, open=True)
    async def list_objects(self, request: RestRequest) -> RestResponse:
        query = request.query
        bucket = self.bucket_of(request.variables["bucket"], query.get("prefix", ""), "storage.objects.list")
        if flag(query, "softDeleted"):
            raise not_modelled("soft-deleted objects")
        if query.get("matchGlob"):
            raise not_modelled("matchGlob")
        found = await self.objects.list(bucket["name"], flag(query, "versions"))
        rows = _rows(found, query)
        chosen, token = page(rows, page_size(query), query.get("pageToken", ""), MOST_RESULTS, MOST_RESULTS)
        answer: dict[str, Any] = {"kind": "storage#objects"}
        prefixes = [row for row in chosen if isinstance(row, str)]
        if prefixes:
            answer["prefixes"] = prefixes
        items = [shown(row) for row in chosen if not isinstance(row, str)]
        if items:
            answer["items"] = items
        if token:
            answer["nextPageToken"] = token
        return RestResponse.of(answer)

    @route(f"GET {O}/{{object}}", f"GET /download{O}/{{object}}", resource=OBJECT, open=True)
    async def get_object(self, request: RestRequest) -> RestResponse:
        bucket, name = request.variables["bucket"], request.variables["object"]
        self.bucket_of(bucket, name, "storage.objects.get")
        meta = await self.object(bucket, name, request.query.get("generation", ""))
        try:
            Preconditions.of(request.query).check_read(meta)
        except NotModified:
            return RestResponse(304, b"", {"ETag": rules.etag(meta["generation"], meta["metageneration"])})
        if request.query.get("alt") == "media" or request.path.startswith("/download/"):
            return await self.media(meta, request.headers)
        return RestResponse.of(shown(meta))

    @route(f"PATCH {O}/{{object}}", resource=OBJECT, open=True)
    async def patch_object(self, request: RestRequest) -> RestResponse:
        return await self._change(request, keep_others=True)

    @route(f"PUT {O}/{{object}}", resource=OBJECT, open=True)
    async def update_object(self, request: RestRequest) -> RestResponse:
        return await self._change(request, keep_others=False)

    @route(f"DELETE {O}/{{object}}", resource=OBJECT, open=True)
    async def delete_object(self, request: RestRequest) -> RestResponse:
        name = request.variables["object"]
        await self.remove(request.variables["bucket"], name, request.query)
        return NO_CONTENT

    @route(
        f"POST {O}/{{object}}/rewriteTo/b/{{target_bucket}}/o/{{target}}",
        f"POST {O}/{{object}}/copyTo/b/{{target_bucket}}/o/{{target}}",
        resource=OBJECT,
        open=True,
    )
    async def copy_object(self, request: RestRequest) -> RestResponse:
        """Both forms copy in one call, so a rewrite is always done at once."""
        names = request.variables
        self.bucket_of(names["bucket"], names["object"], "storage.objects.get")
        source = await self.object(names["bucket"], names["object"], request.query.get("sourceGeneration", ""))
        Preconditions.of(request.query, source=True).check(source)
        body = request.json()
        fields = {name: source[name] for name in (*WRITABLE, "storageClass") if name in source and "Hold" not in name}
        if body:
            fields = {"contentType": source.get("contentType", ""), **writable(body)}
        copy = self.objects.temporary()
        await asyncio.to_thread(shutil.copyfile, self.objects.path(source), copy)
        made = await self.write(names["target_bucket"], names["target"], copy, fields, request.query)
        if "/copyTo/" in request.path:
            return RestResponse.of(shown(made))
        size = made["size"]
        return RestResponse.of(
            {
                "kind": "storage#rewriteResponse",
                "totalBytesRewritten": size,
                "objectSize": size,
                "done": True,
                "resource": shown(made),
            }
        )

    @route(f"POST {O}/{{object}}/compose", resource=OBJECT, open=True)
    async def compose(self, request: RestRequest) -> RestResponse:
        bucket, body = request.variables["bucket"], request.json()
        check_types(body, COMPOSE_FIELDS)
        sources = body.get("sourceObjects") or []
        if not 1 <= len(sources) <= MOST_SOURCES:
            raise invalid(f"The number of source components must be between 1 and {MOST_SOURCES}.")
        parts: list[Path] = []
        for source in sources:
            if not source.get("name"):
                raise ApiError(Code.INVALID_ARGUMENT, "Required", reason="required")
            self.bucket_of(bucket, str(source["name"]), "storage.objects.get")
            found = await self.object(bucket, str(source["name"]), str(source.get("generation", "")))
            expected = (source.get("objectPreconditions") or {}).get("ifGenerationMatch")
            if expected is not None and str(expected) != found["generation"]:
                raise precondition_failed()
            parts.append(self.objects.path(found))
        whole = self.objects.temporary()
        await asyncio.to_thread(_concatenate, parts, whole)
        fields = {"componentCount": len(parts), **writable(body.get("destination") or {})}
        made = await self.write(bucket, request.variables["object"], whole, fields, request.query)
        return RestResponse.of(shown(made))

    @route(
        *(f"{verb} {O}/{{object}}/acl" for verb in ("GET", "POST")),
        *(f"{verb} {O}/{{object}}/acl/{{entity}}" for verb in ("GET", "PUT", "PATCH", "DELETE")),
        resource=OBJECT,
        open=True,
    )
    async def object_lists(self, request: RestRequest) -> RestResponse:
        bucket = self.bucket_of(
            request.variables["bucket"], request.variables["object"], "storage.objects.getIamPolicy"
        )
        if rules.uniform(bucket):
            raise invalid("Cannot use ACL API to update object policy when uniform bucket-level access is enabled.")
        raise not_modelled("access control lists of objects")

    # for the other parts

    async def write(
        self, bucket_name: str, name: str, source: Path, fields: Mapping[str, Any], query: Mapping[str, str]
    ) -> Meta:
        """Make an object of the file `source` (taken), where the caller may and the preconditions hold."""
        bucket = self.may_write(bucket_name, name, query)
        preconditions = Preconditions.of(query)
        needs_delete = not self.allows(bucket, "storage.objects.delete", name)

        def check(there: Meta | None) -> None:
            preconditions.check(there)
            if there is not None and needs_delete:
                self.bucket_of(bucket_name, name, "storage.objects.delete")  # an overwrite is a deletion too
            if not rules.versioned(bucket):
                self.require_unretained(bucket, there)

        return await self.objects.put(
            bucket_name,
            name,
            source,
            {"storageClass": bucket["storageClass"], **fields},
            check,
            rules.versioned(bucket),
        )

    def may_write(self, bucket_name: str, name: str, query: Mapping[str, str]) -> rules.Bucket:
        """The bucket. Raises what an upload without permission or with a bad name gets, before any byte is kept."""
        bucket = self.bucket_of(bucket_name, name, "storage.objects.create")
        refuse_lists(query, bucket)
        if not name or len(name.encode()) > 1024 or name in (".", "..") or "\n" in name or "\r" in name:
            raise invalid(f"Invalid object name: {name!r}")
        if query.get("kmsKeyName"):
            raise not_modelled("customer-managed encryption keys of objects")
        return bucket

    async def remove(self, bucket_name: str, name: str, query: Mapping[str, str]) -> None:
        """Delete the live object or one generation. Raises 404, 403, 412."""
        bucket = self.bucket_of(bucket_name, name, "storage.objects.delete")
        preconditions = Preconditions.of(query)

        def check(there: Meta | None) -> None:
            if there is None:
                raise no_object(bucket_name, name)
            preconditions.check(there)
            self.require_unretained(bucket, there)

        await self.objects.delete(bucket_name, name, query.get("generation", ""), check, rules.versioned(bucket))

    async def media(self, meta: Meta, headers: Mapping[str, str]) -> RestResponse:
        """The bytes, or the range asked for; gzip is undone for who does not take it."""
        content = await asyncio.to_thread(self.objects.path(meta).read_bytes)
        out = _media_headers(meta)
        if meta.get("contentEncoding") == "gzip" and "gzip" not in headers.get("Accept-Encoding", ""):
            content = await asyncio.to_thread(gzip.decompress, content)
            del out["Content-Encoding"]
            return RestResponse(200, content, out | {"Warning": "214 UploadServer gunzipped"})
        found = RANGE.fullmatch(headers.get("Range", ""))
        if found is None or found.groups() == ("", ""):
            return RestResponse(200, content, out)
        begin, end = _range(found.group(1), found.group(2), len(content))
        if begin >= len(content):
            refusal = {"Content-Range": f"bytes */{len(content)}", "Content-Type": "text/html; charset=UTF-8"}
            return RestResponse(416, b"Request range not satisfiable", refusal)
        out["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
        return RestResponse(206, content[begin : end + 1], out)

    async def _change(self, request: RestRequest, *, keep_others: bool) -> RestResponse:
        bucket, name = request.variables["bucket"], request.variables["object"]
        self.bucket_of(bucket, name, "storage.objects.update")
        sent, preconditions = writable(request.json()), Preconditions.of(request.query)

        def change(there: Meta | None) -> Meta:
            if there is None:
                raise no_object(bucket, name)
            preconditions.check(there)
            kept = there if keep_others else {k: v for k, v in there.items() if k not in WRITABLE}
            made: Meta = rules.merged(kept, sent)
            made |= {"metageneration": str(int(there["metageneration"]) + 1), "updated": timestamp()}
            return made

        generation = request.query.get("generation", "")
        return RestResponse.of(shown(await self.objects.change(bucket, name, generation, change)))


def writable(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller may say about an object. Raises for what is not modelled."""
    for name, what in (("acl", "access control lists of objects"), ("retention", "retention of single objects")):
        if body.get(name):
            raise not_modelled(what)
    check_types(body, OBJECT_FIELDS)
    if body.get("storageClass") not in (None, *rules.CLASSES):
        raise invalid(f"Invalid storage class: {body['storageClass']}")
    return {name: body[name] for name in (*WRITABLE, "storageClass") if name in body}


def _rows(found: list[Meta], query: Mapping[str, str]) -> list[Meta | str]:
    """Objects and, with a delimiter, prefixes (text), in the order of their names."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    first, last = query.get("startOffset", ""), query.get("endOffset", "")
    rows: list[Meta | str] = []
    for meta in found:
        name = str(meta["name"])
        if not name.startswith(prefix) or name < first or (last and name >= last):
            continue
        rest = name[len(prefix) :]
        if delimiter and delimiter in rest:
            folder = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            if folder not in rows[-1:] and folder not in rows[-2:-1]:
                rows.append(folder)
            if name == folder and flag(query, "includeTrailingDelimiter"):
                rows.append(meta)
        else:
            rows.append(meta)
    return rows


def _media_headers(meta: Meta) -> dict[str, str]:
    names = {
        "Cache-Control": meta.get("cacheControl", "private, max-age=0"),
        "Content-Disposition": meta.get("contentDisposition", ""),
        "Content-Encoding": meta.get("contentEncoding", ""),
        "Content-Language": meta.get("contentLanguage", ""),
    }
    custom = {f"x-goog-meta-{name}": str(value) for name, value in meta.get("metadata", {}).items()}
    return {
        **{name: value for name, value in names.items() if value},
        **custom,
        "Content-Type": meta.get("contentType") or "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": f'"{rules.etag(meta["generation"], meta["metageneration"])}"',
        "Server": "UploadServer",
        "X-Goog-Generation": meta["generation"],
        "X-Goog-Metageneration": meta["metageneration"],
        "X-Goog-Hash": f"crc32c={meta['crc32c']},md5={meta['md5Hash']}",
        "X-Goog-Storage-Class": meta["storageClass"],
        "X-Goog-Stored-Content-Encoding": meta.get("contentEncoding") or "identity",
        "X-Goog-Stored-Content-Length": meta["size"],
    }


def _range(first: str, last: str, size: int) -> tuple[int, int]:
    """First and last byte; `-N` means the last N."""
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


def _concatenate(parts: list[Path], whole: Path) -> None:
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out)
