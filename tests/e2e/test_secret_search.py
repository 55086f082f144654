"""The search that follows every scenario finds what was planted for it."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
import uuid
from typing import TYPE_CHECKING

import pytest
from e2e_release import eventually
from e2e_world import World
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = pytest.mark.xdist_group("permissions")

PAYLOAD = f"planted & {uuid.uuid4().hex[:8]}".encode()


async def test_planted_payloads_are_found_wherever_they_are(world: World, local: LocalSite) -> None:
    """In etcd, an object, an event's words, a log of an app or of localcloud itself, and an argument of a process that
    has ended; base64 or not. The finding does not quote them."""
    name, words = await plant(world, PAYLOAD), PAYLOAD.decode()
    assert await local.misdeeds(await world.everything()) == []
    try:
        await scatter(world, local, words)
        found = await local.misdeeds(await world.everything())
    finally:
        await world.google(SecretManagerServiceAsyncClient).delete_secret(name=name.partition("/versions/")[0])
        del local.payloads[name]  # the log of etcd never forgets, and other scenarios are searched after this one
    assert all(words not in line for line in found)
    places = {line.removeprefix(f"{name}: ") for line in found}
    assert {"configmaps", "events", "command lines", "localcloud.log"} <= places
    assert any(place.endswith(".wal") for place in places), places
    assert any(place.endswith(".jsonl") for place in places), places


async def test_a_payload_is_searched_for_after_its_end(world: World, local: LocalSite) -> None:
    """Destroyed alone or deleted with its secret: an object that still has it is found."""
    secrets, words = world.google(SecretManagerServiceAsyncClient), f"destroyed {uuid.uuid4().hex[:8]}"
    destroyed = await plant(world, words.encode())
    secret, _, _ = destroyed.partition("/versions/")
    kept = f"deleted {uuid.uuid4().hex[:8]}"
    added = await secrets.add_secret_version(request={"parent": secret, "payload": {"data": kept.encode()}})
    await world.apply(config_map({"note": f"{words}, {kept}"}))
    try:
        await secrets.destroy_secret_version(name=destroyed)
        assert f"{destroyed}: configmaps" in await local.misdeeds(await world.everything())
    finally:
        await secrets.delete_secret(name=secret)
        found = await local.misdeeds(await world.everything())
        for name in (destroyed, added.name):
            local.payloads.pop(name, None)
    assert {f"{name}: configmaps" for name in (destroyed, added.name)} <= set(found)


def config_map(data: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": data}


async def scatter(world: World, local: LocalSite, words: str) -> None:
    """Wherever a secret's bytes could end up."""
    data = {"note": f"it is {base64.b64encode(words.encode()).decode()}"}
    await world.apply(config_map(data))
    about = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": world.namespace, "name": "notes"}
    told = {"involvedObject": about, "reason": "Planted", "message": words, "type": "Normal"}
    await world.create({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "planted"}, **told})
    local.cloud.runtime.logs.write("global", {"project_id": world.site.project}, "stdout", words)
    logging.getLogger("localcloud.runtime").warning("a line with %s", words)
    await run_for_a_moment(local)


async def run_for_a_moment(local: LocalSite) -> None:
    """A process with the payload as its argument, until it was seen."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", PAYLOAD, stdin=asyncio.subprocess.PIPE
    )
    try:
        await eventually(lambda: PAYLOAD in local.command_lines.file.read_bytes(), "the process being seen")
    finally:
        await process.communicate(b"\n")


async def plant(world: World, payload: bytes) -> str:
    """A secret of somebody's; the full name of its version."""
    secrets = world.google(SecretManagerServiceAsyncClient)
    parent = f"projects/{world.site.project}"
    asked = {"parent": parent, "secret_id": f"{world.namespace}-planted", "secret": {"replication": {"automatic": {}}}}
    made = await secrets.create_secret(request=asked)
    added = await secrets.add_secret_version(request={"parent": made.name, "payload": {"data": payload}})
    return str(added.name)
