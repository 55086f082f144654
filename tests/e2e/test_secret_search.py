"""The search that follows every scenario finds what was planted for it."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import TYPE_CHECKING

import pytest
from e2e_world import World
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient

if TYPE_CHECKING:
    from e2e_local import LocalSite

PAYLOAD = b"planted & 6fq8JY2n"


@pytest.mark.xdist_group("permissions")
async def test_planted_payloads_are_found_wherever_they_are(world: World, local: LocalSite) -> None:
    """In etcd, an object, an event's words, a log, an argument; base64 or not. The finding does not quote them."""
    name = await plant(world)
    assert await local.misdeeds(await world.everything()) == []
    data = {"note": f"it is {base64.b64encode(PAYLOAD).decode()}"}
    await world.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": data})
    local.cloud.runtime.logs.write("global", {"project_id": world.site.project}, "stdout", PAYLOAD.decode())
    sleeper = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", PAYLOAD, stdin=asyncio.subprocess.PIPE
    )
    try:
        found = await local.misdeeds(await world.everything())
    finally:
        await sleeper.communicate(b"\n")
        await world.google(SecretManagerServiceAsyncClient).delete_secret(name=name.partition("/versions/")[0])
        del local.payloads[name]  # the log of etcd never forgets, and other scenarios are searched after this one
    assert all(PAYLOAD.decode() not in line for line in found)
    places = {line.removeprefix(f"{name}: ") for line in found}
    assert {"configmaps", "command lines"} <= places
    assert any(place.endswith(".wal") for place in places), places
    assert any("log" in place or place.endswith(".jsonl") for place in places), places


async def plant(world: World) -> str:
    """A secret of somebody's; the full name of its version."""
    secrets = world.google(SecretManagerServiceAsyncClient)
    parent = f"projects/{world.site.project}"
    asked = {"parent": parent, "secret_id": f"{world.namespace}-planted", "secret": {"replication": {"automatic": {}}}}
    made = await secrets.create_secret(request=asked)
    added = await secrets.add_secret_version(request={"parent": made.name, "payload": {"data": PAYLOAD}})
    return str(added.name)
