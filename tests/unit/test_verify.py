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
from nuages.cloud.logs import Tail
from nuages.reconcile.release.outcome import DONE, Failed, Waiting
from nuages.reconcile.release.verify import asked

KEPT = "the service stays closed to the public"


@dataclass
class Candidate:
    """A server that gives its answers in turn, all with one body, and keeps which paths were asked for."""

    url: str = ""
    answers: Iterator[int] = field(default_factory=lambda: iter(()))
    body: str = "<h1>Not Found</h1>"
    paths: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        return web.Response(status=next(self.answers), text=self.body, content_type="text/html")


@pytest.fixture
async def candidate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Candidate]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made, app = Candidate(), web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    async with TestServer(app) as server:
        made.url = f"http://127.0.0.1:{server.port}"
        yield made


async def _outcome(candidate: Candidate, verify: dict[str, Any], *answers: int, after: float = 0.0) -> object:
    """`after`: seconds since it was asked first."""

    async def tail(*_: object) -> Tail:
        return Tail()

    async def id_token(audience: str) -> str:
        return "a-token"

    cloud = cast(
        CloudAccess, SimpleNamespace(identity=SimpleNamespace(id_token=id_token), logs=SimpleNamespace(tail=tail))
    )
    candidate.answers = iter(answers)
    release = a_release({"release": {"verify": verify}})
    release = replace(release, now=after, blueprint=replace(release.blueprint, candidate_url=candidate.url))
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


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_google_s_own_page_heals_and_the_app_s_does_not(candidate: Candidate, status: int) -> None:
    """Its front end may not know a fresh grant or tag for minutes; an app says the same for good, after 30 s."""
    candidate.body = "\n<html><head>\n<title>…</title>\n</head>\n<body>\n<h1>Error: Forbidden</h1>\n</body></html>"
    waiting = await _outcome(candidate, {"successes": 1}, status, after=200.0)
    assert isinstance(waiting, Waiting)
    assert f"was answered by Google's front end, not by the app: {status} " in waiting.message
    assert isinstance(await _outcome(candidate, {"successes": 1}, status, after=300.0), Failed)
    candidate.body = "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>"
    waiting = await _outcome(candidate, {"successes": 1}, status, after=20.0)
    assert isinstance(waiting, Waiting)
    assert f" answered {status} " in waiting.message
    failed = await _outcome(candidate, {"successes": 1}, status, after=31.0)
    assert isinstance(failed, Failed)
    assert failed.message.endswith(" Release a fixed image, or correct its path.")  # of spec.release.verify
