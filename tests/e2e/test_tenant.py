"""A namespace with a tenant, a shared SQL instance that somebody else made, and an app that is not public."""

from __future__ import annotations

import asyncio
import time

import pytest
from e2e_accounts import id_token, make_account
from e2e_world import World
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient

SQL_READY_S = 900.0


async def make_instance(world: World, name: str) -> None:
    """A PostgreSQL 15 instance, as a platform team makes it outside of Nuages."""
    instances = world.google(SqlInstancesServiceAsyncClient)
    project = world.site.project
    body = {
        "name": name,
        "database_version": "POSTGRES_15",
        "region": world.site.region,
        "settings": {"tier": "db-custom-1-3840", "edition": "ENTERPRISE"},
    }
    await instances.insert(request={"project": project, "body": body})
    deadline = time.monotonic() + SQL_READY_S
    while True:
        found = await instances.get(request={"project": project, "instance": name})
        if found.state.name == "RUNNABLE":
            return
        assert time.monotonic() < deadline, f"{name} is {found.state.name}"
        await asyncio.sleep(0.2)


@pytest.mark.xdist_group("tenant")
async def test_tenant_with_existing_instance_and_authenticated_access(world: World) -> None:
    """The app shares the tenant's instance; whom it names may call it, and nobody else."""
    instance = f"{world.namespace}-shared"
    caller, other = await make_account(world, f"{world.namespace}-a"), await make_account(world, f"{world.namespace}-b")
    await make_instance(world, instance)
    await world.apply(
        {
            "apiVersion": "nuages.dev/v1alpha1",
            "kind": "DjangoTenant",
            "metadata": {"name": "default"},
            "spec": {
                "project": world.site.project,
                "region": world.site.region,
                "database": {"existing": instance},
            },
        }
    )
    await world.apply(
        {
            "apiVersion": "nuages.dev/v1alpha1",
            "kind": "DjangoApp",
            "metadata": {"name": "shop"},
            "spec": {
                "image": await world.site.image("shop", "v1"),
                "web": {"access": "Authenticated", "invokers": [f"serviceAccount:{caller}"]},
            },
        }
    )
    app = await world.wait("shop")
    assert app["status"]["database"]["instance"] == instance
    url = app["status"]["url"]
    assert await world.fetch_status(url) == 403
    assert await world.fetch_status(url, await id_token(world, other, url)) == 403
    assert await world.fetch_status(url, await id_token(world, caller, url)) == 200
