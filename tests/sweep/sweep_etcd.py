"""Kubernetes objects put back as they were: read from etcd and written to it, behind the API server's back.

A create through the API server would give another uid, and with it other names at Google. The API server learns of
such a write as of any other: it watches etcd. The messages are those of etcd's api/etcdserverpb/rpc.proto, as far as
they are needed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

BYTES, INT64, MESSAGE = 12, 3, 11  # FieldDescriptorProto.Type
ONE, MANY = 1, 3  # FieldDescriptorProto.Label
FIELDS: Mapping[str, tuple[tuple[str, int, int, int, str], ...]] = {
    "KeyValue": (("key", 1, BYTES, ONE, ""), ("value", 5, BYTES, ONE, "")),
    "RangeRequest": (("key", 1, BYTES, ONE, ""), ("range_end", 2, BYTES, ONE, "")),
    "RangeResponse": (("kvs", 2, MESSAGE, MANY, ".sweep.KeyValue"),),
    "PutRequest": (("key", 1, BYTES, ONE, ""), ("value", 2, BYTES, ONE, "")),
    "PutResponse": (),
    "DeleteRangeRequest": (("key", 1, BYTES, ONE, ""), ("range_end", 2, BYTES, ONE, "")),
    "DeleteRangeResponse": (),
}
OBJECTS = "/registry/nuages.dev/"
LEASES = "/registry/leases/nuages-system/"

Saved = Mapping[bytes, bytes]


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="sweep.proto", package="sweep", syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            message.field.add(name=field, number=number, type=kind, label=label, type_name=of or None)  # type: ignore[arg-type]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sweep.{name}")) for name in FIELDS}


CLASSES = _classes()


class Etcd:
    """The store of one API server."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def saved(self, prefixes: Iterable[str]) -> Saved:
        """Everything under these prefixes."""
        found: dict[bytes, bytes] = {}
        for prefix in prefixes:
            answer = await self._call("Range", CLASSES["RangeRequest"](**_under(prefix)), "RangeResponse")
            found.update({pair.key: pair.value for pair in answer.kvs})
        return found

    async def restore(self, saved: Saved, prefixes: Iterable[str]) -> None:
        """Exactly what was saved is under these prefixes afterwards."""
        for prefix in prefixes:
            await self._call("DeleteRange", CLASSES["DeleteRangeRequest"](**_under(prefix)), "DeleteRangeResponse")
        for key, value in saved.items():
            await self._call("Put", CLASSES["PutRequest"](key=key, value=value), "PutResponse")

    async def custom(self, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        """A custom resource, which the API server keeps as JSON."""
        key = f"{OBJECTS}{plural}/{namespace}/{name}".encode()
        answer = await self._call("Range", CLASSES["RangeRequest"](key=key), "RangeResponse")
        return json.loads(answer.kvs[0].value) if answer.kvs else None

    async def put(self, key: bytes, value: Mapping[str, Any]) -> None:
        """A custom resource as it shall be."""
        await self._call("Put", CLASSES["PutRequest"](key=key, value=json.dumps(value).encode()), "PutResponse")

    async def _call(self, method: str, request: Any, answer: str) -> Any:
        call = self._channel.unary_unary(
            f"/etcdserverpb.KV/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=CLASSES[answer].FromString,
        )
        return await call(request)


@contextlib.asynccontextmanager
async def etcd(folder: Path) -> AsyncIterator[Etcd]:
    """That of the control plane in this folder (localcloud/controlplane/commands.py, SOCKET)."""
    async with grpc.aio.insecure_channel(
        f"unix:{folder / 'etcd' / 'etcd.sock:0'}", options=(("grpc.default_authority", "localhost"),)
    ) as channel:
        yield Etcd(channel)


def _under(prefix: str) -> dict[str, bytes]:
    """A range of all keys that begin so."""
    first = prefix.encode()
    return {"key": first, "range_end": first[:-1] + bytes([first[-1] + 1])}
