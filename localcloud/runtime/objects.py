"""Objects of Cloud Storage as files: one folder a bucket, which containers see under their FUSE mounts too.

What either side writes is the other's: a file that a container wrote is found by looking at the folder, and becomes an
object as gcsfuse would make it. Names that no file can have (`a//b`, `a/` , `a` beside `a/b`) and noncurrent versions
lie in a folder aside, which containers do not see.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import datetime as dt
import hashlib
import mimetypes
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c

from localcloud.core.state import Store

Meta = dict[str, Any]  # the resource's own fields, and `_file`: where the bytes are and what the file looked like

CHUNK = 2**20
OPEN_FILE_MODE, OPEN_FOLDER_MODE = 0o666, 0o777  # a container may run as another user; the folder above is private


@dataclass(frozen=True)
class Stamp:
    """What tells that a file is the one that was recorded."""

    modified_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """None where there is no regular file."""
        try:
            found = path.lstat()
        except (OSError, ValueError):
            return None
        regular = path.is_file() and not path.is_symlink()
        return cls(found.st_mtime_ns, found.st_size, found.st_ino) if regular else None


@dataclass(frozen=True)
class Hashes:
    """As the API writes them."""

    md5: str
    crc32c: str
    size: int


Check = Callable[[Meta | None], None]  # raises where what is there now forbids the write


class ObjectStore:
    """Metadata in the store, bytes under `root`."""

    def __init__(self, store: Store, root: Path) -> None:
        self._live = store.records("storage.objects")  # bucket/name
        self._old = store.records("storage.noncurrent")  # bucket/name#generation
        self._root = root
        self._aside = root / ".aside"
        self._locks: collections.defaultdict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)
        self._last_generation = 0

    def folder(self, bucket: str) -> Path:
        """Where the bucket's files are: what a FUSE mount shows."""
        return self._root / bucket

    def create_bucket(self, bucket: str) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder(bucket).mkdir(exist_ok=True)
        self.folder(bucket).chmod(OPEN_FOLDER_MODE)

    async def delete_bucket(self, bucket: str) -> None:
        """The bucket is gone with all that it held."""
        async with self._locks[bucket]:
            for records in (self._live, self._old):
                for key, _ in records.items(f"{bucket}/"):
                    records.remove(key)
            for folder in (self.folder(bucket), self._aside / bucket):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._locks.pop(bucket, None)

    def temporary(self) -> Path:
        """A file of one's own on the same disk, to be filled and given to `put`."""
        self._aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._aside / f"upload-{uuid.uuid4().hex}"

    async def find(self, bucket: str, name: str, generation: str = "") -> Meta | None:
        """The live object, or that version."""
        async with self._locks[bucket]:
            live = await self._current(bucket, name)
        if not generation or (live is not None and live["generation"] == generation):
            return live
        return self._old.find(f"{bucket}/{name}#{generation}")

    async def list(self, bucket: str, versions: bool = False) -> list[Meta]:
        """All objects by name; with `versions` the noncurrent ones too, oldest first."""
        async with self._locks[bucket]:
            await self._look(bucket)
        found = [meta for _, meta in self._live.items(f"{bucket}/")]
        if versions:
            found += [meta for _, meta in self._old.items(f"{bucket}/")]
        return sorted(found, key=lambda meta: (meta["name"].encode(), int(meta["generation"])))

    async def put(
        self, bucket: str, name: str, source: Path, fields: Mapping[str, Any], check: Check, versioned: bool
    ) -> Meta:
        """Make the object of the file `source`, which is taken; readers see the old bytes or the new, never half."""
        hashes = await asyncio.to_thread(hashes_of, source)
        async with self._locks[bucket]:
            current = await self._current(bucket, name)
            with _discarding(source):
                check(current)
            if current is not None:
                self._retire(current, versioned)
            meta = self._described(bucket, name, fields, hashes)
            self._place(meta, source)
            self._live.put(f"{bucket}/{name}", meta)
            return meta

    async def change(self, bucket: str, name: str, generation: str, change: Callable[[Meta | None], Meta]) -> Meta:
        """Rewrite the metadata; `change` gets what is there and may refuse."""
        async with self._locks[bucket]:
            live = await self._current(bucket, name)
            if generation and (live is None or live["generation"] != generation):
                key = f"{bucket}/{name}#{generation}"
                made = change(self._old.find(key))
                self._old.put(key, made)
                return made
            made = change(live)
            self._live.put(f"{bucket}/{name}", made)
            return made

    async def delete(self, bucket: str, name: str, generation: str, check: Check, versioned: bool) -> None:
        """The live object (kept as noncurrent where versioned), or for good that one generation."""
        async with self._locks[bucket]:
            live = await self._current(bucket, name)
            if generation and (live is None or live["generation"] != generation):
                old = self._old.find(f"{bucket}/{name}#{generation}")
                check(old)
                assert old is not None
                self.path(old).unlink(missing_ok=True)
                self._old.remove(f"{bucket}/{name}#{generation}")
                return
            check(live)
            assert live is not None
            self._retire(live, versioned and not generation)
            self._live.remove(f"{bucket}/{name}")

    def path(self, meta: Meta) -> Path:
        """Where the bytes are."""
        return self._root / str(meta["_file"]["path"])

    # inside

    async def _current(self, bucket: str, name: str) -> Meta | None:
        """The live object as the folder shows it now."""
        key = f"{bucket}/{name}"
        meta = self._live.find(key)
        path = self._natural(bucket, name)
        if meta is not None and meta["_file"]["path"].startswith(".aside/"):
            return meta
        stamp = None if path is None else Stamp.of(path)
        if path is None or stamp is None:
            if meta is not None:
                self._live.remove(key)
            return None
        if meta is None or Stamp(*meta["_file"]["stamp"]) != stamp:
            meta = await self._adopt(bucket, name, path)
        return meta

    async def _look(self, bucket: str) -> None:
        """Bring the records up to what the folder holds."""
        files = await asyncio.to_thread(_walk, self.folder(bucket))
        known = dict(self._live.items(f"{bucket}/"))
        for key, meta in known.items():
            if not meta["_file"]["path"].startswith(".aside/") and meta["name"] not in files:
                self._live.remove(key)
        for name, stamp in files.items():
            recorded = known.get(f"{bucket}/{name}")
            if recorded is None or Stamp(*recorded["_file"]["stamp"]) != stamp:
                await self._adopt(bucket, name, self.folder(bucket) / name)

    async def _adopt(self, bucket: str, name: str, path: Path) -> Meta | None:
        """An object of a file that somebody wrote into the folder; None where it is gone again."""
        try:
            hashes, stamp = await asyncio.to_thread(lambda: (hashes_of(path), Stamp.of(path)))
        except OSError:
            stamp = None
        if stamp is None:
            return None
        modified = dt.datetime.fromtimestamp(stamp.modified_ns / 1e9, dt.UTC).isoformat().replace("+00:00", "Z")
        kind = mimetypes.guess_type(name)[0]
        fields = {"metadata": {"gcsfuse_mtime": modified}} | ({"contentType": kind} if kind else {})
        meta = self._described(bucket, name, fields, hashes)
        meta["_file"] = {"path": f"{bucket}/{name}", "stamp": _listed(stamp)}
        self._live.put(f"{bucket}/{name}", meta)
        return meta

    def _described(self, bucket: str, name: str, fields: Mapping[str, Any], hashes: Hashes) -> Meta:
        now = timestamp()
        self._last_generation = max(self._last_generation + 1, time.time_ns() // 1000)
        return {
            "storageClass": "STANDARD",
            **fields,
            "bucket": bucket,
            "name": name,
            "generation": str(self._last_generation),
            "metageneration": "1",
            "size": str(hashes.size),
            "md5Hash": hashes.md5,
            "crc32c": hashes.crc32c,
            "timeCreated": now,
            "updated": now,
            "timeStorageClassUpdated": now,
            "timeFinalized": now,
        }

    def _place(self, meta: Meta, source: Path) -> None:
        """Move the bytes to where the folder shows them, or aside."""
        bucket, name = meta["bucket"], meta["name"]
        path = self._natural(bucket, name)
        source.chmod(OPEN_FILE_MODE)
        if path is not None:
            try:
                _make_folders(self.folder(bucket), path.parent)
                source.replace(path)
            except (NotADirectoryError, IsADirectoryError, FileExistsError):
                path = None
        if path is None:
            path = self._aside / bucket / uuid.uuid4().hex
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            if name.endswith("/") and self._natural(bucket, name[:-1]) is not None:
                _make_folders(self.folder(bucket), self.folder(bucket) / name[:-1])
        stamp = Stamp.of(path)
        meta["_file"] = {"path": str(path.relative_to(self._root)), "stamp": _listed(stamp) if stamp else []}

    def _retire(self, meta: Meta, versioned: bool) -> None:
        """Its bytes leave the folder: aside as a noncurrent version, or for good."""
        path = self.path(meta)
        if versioned:
            target = self._aside / meta["bucket"] / uuid.uuid4().hex
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            kept = {**meta, "timeDeleted": timestamp(), "_file": {"path": str(target.relative_to(self._root))}}
            self._old.put(f"{meta['bucket']}/{meta['name']}#{meta['generation']}", kept)
        else:
            path.unlink(missing_ok=True)
        if not meta["_file"]["path"].startswith(".aside/"):
            _remove_empty(self.folder(meta["bucket"]), path.parent, self._live.find, meta["bucket"])

    def _natural(self, bucket: str, name: str) -> Path | None:
        """Where a file system would have this name; None where it cannot."""
        parts = name.split("/")
        unfit = any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255 for part in parts)
        path = self.folder(bucket).joinpath(*parts)
        return None if unfit or len(os.fsencode(path)) > 1000 else path


@contextlib.contextmanager
def _discarding(source: Path) -> Iterator[None]:
    """What was to be written goes where the write is refused."""
    try:
        yield
    except BaseException:
        source.unlink(missing_ok=True)
        raise


def hashes_of(path: Path) -> Hashes:
    """MD5 and CRC32C, in base64 as the API gives them, and the size in bytes."""
    md5, size = hashlib.md5(usedforsecurity=False), 0
    crc: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            md5.update(chunk)
            crc.update(chunk)
            size += len(chunk)
    return Hashes(base64.b64encode(md5.digest()).decode(), base64.b64encode(crc.digest()).decode(), size)


def timestamp() -> str:
    """Milliseconds, as Cloud Storage writes times."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _walk(folder: Path) -> dict[str, Stamp]:
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            stamp = Stamp.of(path)
            if stamp is not None:
                found[path.relative_to(folder).as_posix()] = stamp
    return found


def _make_folders(top: Path, folder: Path) -> None:
    for place in reversed([p for p in (folder, *folder.parents) if p.is_relative_to(top) and p != top]):
        if not place.is_dir():
            place.mkdir(exist_ok=True)
            place.chmod(OPEN_FOLDER_MODE)


def _remove_empty(top: Path, folder: Path, find: Callable[[str], Any], bucket: str) -> None:
    """Folders that only an object's name made go with it; those with an object `folder/` of their own stay."""
    while folder != top and folder.is_relative_to(top):
        if find(f"{bucket}/{folder.relative_to(top).as_posix()}/") is not None:
            return
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _listed(stamp: Stamp) -> list[int]:
    return [stamp.modified_ns, stamp.size, stamp.inode]
