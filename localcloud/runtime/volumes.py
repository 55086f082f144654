"""What stands in a container's file system besides its image: sockets, buckets, secrets, empty folders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcloud.api.storage_base import policy_name
from localcloud.core.errors import ApiError
from localcloud.core.identity import Caller
from localcloud.runtime.secretvalues import SecretRef, SecretValues, startup_error
from localcloud.runtime.sqlsockets import SqlSockets
from localcloud.runtime.workload import StartAborted, Workload

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

# Cloud Storage FUSE reads the bucket at mount time and lists it; the rest decides single file operations, which a plain
# folder cannot refuse one by one, so they are asked for at the mount too.
READ = ("storage.buckets.get", "storage.objects.get", "storage.objects.list")
WRITE = ("storage.objects.create", "storage.objects.delete", "storage.objects.update")


class Volumes:
    """The volumes of one instance."""

    def __init__(self, cloud: Cloud, secrets: SecretValues, folder: Path, log: Callable[[str, str], None]) -> None:
        self._cloud, self._secrets, self._folder, self._log = cloud, secrets, folder, log
        self._sockets: SqlSockets | None = None

    async def mount(self, workload: Workload) -> dict[str, Path]:
        """Folders of this machine by the container's paths. Raises StartAborted."""
        by_name = {volume.name: volume for volume in workload.volumes}
        found: dict[str, Path] = {}
        for mount in workload.container.volume_mounts:
            volume = by_name[mount.name]
            kind = volume.WhichOneof("volume_type")
            if kind == "cloud_sql_instance":
                found |= await self._sql(workload, volume, mount.mount_path)
            elif kind == "gcs":
                found[mount.mount_path] = await self._bucket(workload, volume.gcs, mount.mount_path)
            elif kind == "secret":
                found[mount.mount_path] = await self._secret(workload, volume.secret, mount.name)
            else:
                found[mount.mount_path] = await self._new_folder(mount.name)
        return found

    async def close(self) -> None:
        if self._sockets is not None:
            await self._sockets.close()

    async def _sql(self, workload: Workload, volume: Any, path: str) -> dict[str, Path]:
        if self._sockets is None:
            self._sockets = SqlSockets(self._cloud, workload.account, self._log)
        found = {path: await self._new_folder(volume.name)}
        for name in volume.cloud_sql_instance.instances:
            found[f"{path}/{name}"] = await self._sockets.listen(name)
            # where paths are rewritten the parent is listed too: the entry leads to the same socket
            await asyncio.to_thread((found[path] / name).mkdir)
        return found

    async def _bucket(self, workload: Workload, gcs: Any, path: str) -> Path:
        bucket = gcs.bucket.rpartition("/")[2]
        folder: Path = self._cloud.runtime.buckets / bucket
        wanted = READ if gcs.read_only else READ + WRITE
        caller = Caller(workload.account)
        record = self._cloud.store.records("storage.buckets").find(bucket)
        parent = f"projects/{record['_project']}" if record else ""
        resource = policy_name(bucket)
        denied = [p for p in wanted if not self._cloud.policies.allows(caller, p, resource, parent=parent)]
        if record is None or denied:
            why = (
                f"{workload.account} does not have {denied[0]} access to the Google Cloud Storage bucket. Permission "
                f"'{denied[0]}' denied on resource (or it may not exist)."
                if denied
                else f"bucket {bucket} does not exist"
            )
            raise StartAborted(
                f"Cloud Storage FUSE: mounting volume at {path} failed: bucket {bucket}: googleapi: Error "
                f"{403 if denied else 404}: {why}"
            )
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)  # made with the first object otherwise
        return folder

    async def _secret(self, workload: Workload, source: Any, name: str) -> Path:
        folder = await self._new_folder(name)
        short = source.secret.rpartition("/")[2]
        items = [(item.path, item.version) for item in source.items] or [(short, "latest")]
        for path, version in items:
            ref = SecretRef.of(workload.number, source.secret, version)
            try:
                payload = await self._secrets.read(workload.account, ref)
            except ApiError as error:
                raise StartAborted(startup_error(ref, path, error)) from None
            await asyncio.to_thread(_write, folder / path, payload, source.default_mode or 0o444)
        return folder

    async def _new_folder(self, name: str) -> Path:
        folder = self._folder / "volumes" / name
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        return folder


def _write(path: Path, payload: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(payload)
    path.chmod(mode)
