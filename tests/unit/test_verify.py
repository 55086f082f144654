"""What a candidate has to answer before it gets traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from reports import a_release

from nuages.cloud.access import CloudAccess
from nuages.reconcile.release.outcome import DONE, Waiting
from nuages.reconcile.release.verify import asked

KEPT = "the service stays closed to the public"


@dataclass
class Candidate:
    """A server that gives its answers in turn, and keeps which paths were asked for."""

    url: str = ""
    answers: Iterator[int] = field(default_factory=lambda: iter(()))
    paths: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        return web.Response(status=next(self.answers))


@pytest.fixture
async def candidate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Candidate]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made, app = Candidate(), web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    async with TestServer(app) as server:
        made.url = f"http://127.0.0.1:{server.port}"
        yield made


async def _outcome(candidate: Candidate, verify: dict[str, Any], *answers: int) -> object:
    async def id_token(audience: str) -> str:
        return "a-token"

    cloud = cast(CloudAccess, SimpleNamespace(identity=SimpleNamespace(id_token=id_token)))
    candidate.answers = iter(answers)
    release = a_release({"release": {"verify": verify}})
    release = replace(release, blueprint=replace(release.blueprint, candidate_url=candidate.url))
    return await asked(release, cloud, KEPT)


async def test_a_candidate_answers_as_often_as_asked(candidate: Candidate) -> None:
    """spec.release.verify.successes in a row: the same third answer is not waited for where two are enough."""
    assert await _outcome(candidate, {"successes": 2}, 200, 302, 500) == DONE
    assert len(candidate.paths) == 2
    candidate.paths.clear()
    assert isinstance(await _outcome(candidate, {"successes": 3}, 200, 302, 500), Waiting)
    assert len(candidate.paths) == 3


async def test_a_candidate_answers_at_the_path_asked_for(candidate: Candidate) -> None:
    """spec.release.verify.path, else the health path."""
    assert await _outcome(candidate, {"path": "/ready/", "successes": 1}, 200) == DONE
    assert await _outcome(candidate, {"successes": 1}, 200) == DONE
    assert candidate.paths == ["/ready/", a_release().app.spec.django.health_path]
