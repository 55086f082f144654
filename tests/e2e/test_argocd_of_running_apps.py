"""What Argo CD shows of an app that really runs, at every moment of its life (deploy/argocd/README.md)."""

from __future__ import annotations

import asyncio
import codecs
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from e2e_release import Deployment, eventually, served
from e2e_world import World

from tests.argocd_lua import CUSTOMIZATION, health

HEALTH = (CUSTOMIZATION / "health.lua").read_text()


@dataclass
class Watched:
    """Every state of one app that the API server had, oldest first."""

    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def health(self) -> dict[str, str]:
        """Of the newest."""
        return health(HEALTH, self.seen[-1]) if self.seen else {"status": "Missing", "message": ""}

    async def until(self, status: str, said: str, generation: int) -> dict[str, Any]:
        """The app once its generation has this health, whose message begins so."""

        def shown() -> bool:
            if not self.seen or self.seen[-1]["metadata"]["generation"] != generation:
                return False
            found = self.health
            return found["status"] == status and found["message"].startswith(said)

        await eventually(shown, f"{status} {said} for generation {generation}")
        return self.seen[-1]

    def codes(self, generation: int) -> list[str]:
        """How health went while the app was of a generation, and not being deleted."""
        return self._codes(
            lambda meta: meta["generation"] == generation and "deletionTimestamp" not in meta,
        )

    def codes_of_the_deletion(self) -> list[str]:
        return self._codes(lambda meta: "deletionTimestamp" in meta)

    def _codes(self, belongs: Callable[[dict[str, Any]], bool]) -> list[str]:
        found = (health(HEALTH, obj)["status"] for obj in self.seen if belongs(obj["metadata"]))
        return [code for code, _ in itertools.groupby(found)]


@asynccontextmanager
async def watching(world: World) -> AsyncIterator[Watched]:
    """A watch of the namespace's apps, as Argo CD has one."""
    program = str(Path(sys.executable).parent / "kubectl")
    words = ("get", "djangoapps", "--watch", "--output", "json", "--output-watch-events")
    place = ("--kubeconfig", str(world.site.kubeconfig), "-n", world.namespace)
    process = await asyncio.create_subprocess_exec(program, *place, *words, stdout=asyncio.subprocess.PIPE)
    watched = Watched()
    reader = asyncio.create_task(_read(process, watched))
    try:
        yield watched
    finally:
        process.terminate()
        await process.wait()
        await reader


async def _read(process: asyncio.subprocess.Process, watched: Watched) -> None:
    assert process.stdout is not None
    decoder, text = json.JSONDecoder(), ""
    characters = codecs.getincrementaldecoder("utf-8")()
    while chunk := await process.stdout.read(65_536):
        text += characters.decode(chunk)
        while text := text.lstrip():
            try:
                event, end = decoder.raw_decode(text)
            except ValueError:  # the rest of it is on its way
                break
            text = text[end:]
            if event["type"] != "DELETED":
                watched.seen.append(event["object"])


@pytest.mark.xdist_group("argocd_health")
async def test_health_through_a_life(world: World) -> None:
    """As documented at each moment, and Healthy only while Cloud Run serves what that generation says."""
    shop = Deployment(world, "shop")
    async with watching(world) as watched:
        new = await shop.apply(image=await shop.image("v1"))
        assert health(HEALTH, new) == {"status": "Progressing", "message": "Generation 1 waits for the operator"}
        await watched.until("Progressing", "InstanceCreating: ", 1)
        await watched.until("Healthy", "Available: ", 1)
        first = await _serves(shop)

        commit = await shop.apply(image=await shop.image("v3"))
        assert health(HEALTH, commit) == {"status": "Progressing", "message": "Generation 2 waits for the operator"}
        await watched.until("Degraded", "MigrationFailed: spec.image: migrate exited with 1", 2)
        assert await _serves(shop) == first

        await shop.apply(image=await shop.image("v2"))
        await watched.until("Healthy", "Available: ", 3)
        second = await _serves(shop)
        assert second != first

        await shop.apply(paused=True, env=[{"name": "GREETING", "value": "hello"}])
        await watched.until("Suspended", "Paused: ", 4)
        await shop.apply(paused=None, management="Observe")
        await watched.until("Suspended", "Observed: ", 5)
        assert await _serves(shop) == second
        await shop.apply(management=None)
        await watched.until("Healthy", "Available: ", 6)
        assert await _serves(shop) not in (first, second)

        await world.delete("DjangoApp", "shop")
    assert [watched.codes(generation) for generation in range(1, 7)] == [
        ["Progressing", "Healthy"],
        ["Progressing", "Degraded"],
        ["Progressing", "Healthy"],
        ["Progressing", "Suspended"],
        ["Progressing", "Suspended"],
        ["Progressing", "Healthy"],
    ]
    assert watched.codes_of_the_deletion() == ["Progressing"]


async def _serves(shop: Deployment) -> str:
    """The revision that Cloud Run sends all requests to, which is the one that the status names."""
    service, status = await shop.service(), await shop.status()
    traffic = {item.revision: item.percent for item in service.traffic if item.percent}
    assert traffic == served(status) == {status["revision"]: 100}
    return str(status["revision"])
