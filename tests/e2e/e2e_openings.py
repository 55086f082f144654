"""What somebody opens to the world by hand, as the console or gcloud do it, and how open it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from e2e_world import World
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient
from google.cloud.storage import Client as StorageClient


@dataclass(frozen=True)
class Opening:
    """Of one resource: `fields` as the operator calls what is changed."""

    kind: str
    name: str
    fields: tuple[str, ...]
    open: Callable[[World, str], Awaitable[None]]
    closed: Callable[[World, str], Awaitable[bool]]

    @property
    def told(self) -> tuple[str, ...]:
        """As status.drift has it."""
        return tuple(f"{self.kind} {self.name}: {field}" for field in self.fields)

    async def do(self, world: World) -> None:
        await self.open(world, self.name)

    async def is_closed(self, world: World) -> bool:
        return await self.closed(world, self.name)


def an_open_bucket(name: str) -> Opening:
    """To whoever its policy or an access control list names."""
    return Opening(
        "Bucket", name, ("uniform_bucket_level_access", "public_access_prevention"), _open_bucket, _bucket_is_closed
    )


def an_open_instance(name: str) -> Opening:
    """To whoever has a password."""
    return Opening("Instance", name, ("authorized_networks", "connectors_only"), _open_instance, _instance_is_closed)


async def _open_bucket(world: World, name: str) -> None:
    def change() -> None:
        bucket = _bucket(world, name)
        bucket.iam_configuration.uniform_bucket_level_access_enabled = False
        bucket.iam_configuration.public_access_prevention = "inherited"
        bucket.patch()

    await asyncio.to_thread(change)


async def _bucket_is_closed(world: World, name: str) -> bool:
    access = (await asyncio.to_thread(_bucket, world, name)).iam_configuration
    return bool(access.uniform_bucket_level_access_enabled) and access.public_access_prevention == "enforced"


async def _open_instance(world: World, name: str) -> None:
    addresses = {"authorized_networks": [{"value": "0.0.0.0/0", "name": "home office"}]}
    settings = {"connector_enforcement": "NOT_REQUIRED", "ip_configuration": addresses}
    await _instances(world).patch(request={**_named(world, name), "body": {"settings": settings}})


async def _instance_is_closed(world: World, name: str) -> bool:
    settings = (await _instances(world).get(request=_named(world, name))).settings
    return settings.connector_enforcement.name == "REQUIRED" and not settings.ip_configuration.authorized_networks


def _bucket(world: World, name: str) -> Any:
    return StorageClient(project=world.site.project, credentials=world.site.credentials()).get_bucket(name)


def _instances(world: World) -> SqlInstancesServiceAsyncClient:
    return world.google(SqlInstancesServiceAsyncClient)


def _named(world: World, instance: str) -> dict[str, str]:
    return {"project": world.site.project, "instance": instance}
