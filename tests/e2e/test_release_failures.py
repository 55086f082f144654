"""Releases that fail: the old revision serves on, people are told why, and what is mended goes on by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from e2e_release import Deployment, condition, eventually, polling, served, shared_instance
from e2e_site import Site
from e2e_world import World, open_world
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("release_failures")]

QUICK = {"startupProbe": {"periodSeconds": 1, "failureThreshold": 12, "timeoutSeconds": 1}}
DOCKERFILE = 'FROM python:3.11-slim\nWORKDIR /app\nCOPY hello.py .\nCMD ["python", "hello.py"]\n'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"bad-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


@dataclass(frozen=True)
class Failure:
    """A release that fails: `said` is in the message, `logged` in the event with the log's last lines."""

    version: str
    reason: str
    said: str
    logged: str
    migrations: int  # executions of migrate in all, with the app's first one


FAILURES = (
    Failure("v3", "MigrationFailed", "spec.image: migrate exited with 1", "product_price_from_100", 2),
    Failure("v4", "RevisionFailed", "did not start", "PAYMENT_ENDPOINT", 2),
    Failure("v5", "RevisionFailed", "did not start", "STARTUP HTTP probe failed", 2),
    Failure("v6", "RevisionFailed", "did not start", "STARTUP HTTP probe failed", 2),
)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.version)
async def test_a_failed_release_leaves_the_old_revision_alone(place: World, failure: Failure) -> None:
    """100 % stays where it was and is answered; Stalled has reason, remedy and log link; a fixed image recovers."""
    shop = Deployment(place, f"shop-{failure.version}")
    first = await shop.release(image=await shop.image("v1"), web=QUICK)
    before = first["status"]["revision"]
    image, fixed = await shop.image(failure.version), await shop.image("v2")
    async with polling(shop) as answers:
        found = await shop.stalled(failure.reason, image=image)
        asked = answers.count
        await eventually(lambda: answers.count > asked + 25, "requests after the failure")
    assert answers.bad == []
    assert failure.said in found["message"]
    assert f"{before} keeps all traffic" in found["message"]
    assert "Release a fixed image" in found["message"]
    assert "Log: https://console.cloud.google.com/logs/" in found["message"]
    status = await shop.status()
    assert served(status) == {before: 100}
    assert status["phase"] == "Degraded"
    assert condition(await place.app(shop.name), "WebReady")["status"] == "True"
    assert failure.logged in await place.told(shop.name, f"{failure.reason}Log")
    assert [reason for reason, _ in await place.events(shop.name)].count(f"{failure.reason}Log") == 1
    assert len(await shop.executions()) == failure.migrations
    app = await shop.release(image=fixed)
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert app["status"]["revision"] != before
    assert {item["type"] for item in app["status"]["conditions"]}.isdisjoint({"Stalled", "Reconciling"})


async def test_the_image_that_served_before_is_a_remedy_too(place: World) -> None:
    """After a failed release, back to what serves: nothing is deployed anew that is there already."""
    shop = Deployment(place, "undone")
    before = (await shop.release(image=await shop.image("v1"), web=QUICK))["status"]["revision"]
    await shop.stalled("RevisionFailed", image=await shop.image("v4"))
    app = await shop.release(image=await shop.image("v1"))
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert app["status"]["revision"].startswith(before)
    assert len(await shop.executions()) == 2


@pytest.mark.parametrize("version", ["v4", "v5"])
async def test_a_failed_first_release_stays_closed(place: World, version: str) -> None:
    """Nobody but who may invoke it gets in; the fixed image opens the doors."""
    shop = Deployment(place, f"first-{version}")
    found = await shop.stalled("RevisionFailed", image=await shop.image(version), web=QUICK)
    assert "the service stays closed to the public" in found["message"]
    status = await shop.status()
    assert status["phase"] == "Pending"
    assert await place.fetch_status(status["url"]) == 403
    app = await shop.release(image=await shop.image("v2"))
    assert await place.fetch_status(f"{app['status']['url']}/health/") == 200
    assert served(app["status"]) == {app["status"]["revision"]: 100}


async def test_a_failed_first_migration_deploys_nothing(place: World, local: Any) -> None:
    """There is no service at all, hence no address that could answer."""
    shop = Deployment(place, "empty")
    image = await _without_django(local)
    found = await shop.stalled("DjangoMissing", image=image, web=QUICK)
    assert found["message"].startswith(
        "spec.image: its Python has no Django. Use an image that has, or set django.manage. Log: https://"
    )
    assert "url" not in await shop.status()
    app = await shop.release(image=await shop.image("v1"))
    assert await place.fetch_status(f"{app['status']['url']}/health/") == 200


async def test_an_image_without_django_changes_nothing(place: World, local: Any) -> None:
    """As the next release of an app that serves."""
    shop = Deployment(place, "other")
    before = (await shop.release(image=await shop.image("v1"), web=QUICK))["status"]["revision"]
    await shop.stalled("DjangoMissing", image=await _without_django(local))
    assert served(await shop.status()) == {before: 100}
    assert (await (await shop.browser()).get("/")).status == 200
    app = await shop.release(image=await shop.image("v2"))
    assert app["status"]["revision"] != before


async def test_a_revoked_permission_on_a_secret_is_granted_again(place: World) -> None:
    """The revision is refused, the grant is looked at anew and made good, and the release goes on by itself."""
    shop = Deployment(place, "revoked")
    before = (await shop.release(image=await shop.image("v1"), web=QUICK))["status"]["revision"]
    secrets = place.google(SecretManagerServiceAsyncClient)
    name = f"projects/{place.site.project}/secrets/{place.google_id('revoked', 'secret-key')}"
    policy = await secrets.get_iam_policy(request={"resource": name})
    del policy.bindings[:]
    await secrets.set_iam_policy(request={"resource": name, "policy": policy})
    async with polling(shop) as answers:
        app = await shop.release(env=[{"name": "LOG_LEVEL", "value": "WARNING"}])
    assert answers.bad == []
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert app["status"]["revision"] != before
    assert (await secrets.get_iam_policy(request={"resource": name})).bindings


async def _without_django(local: Any) -> str:
    """The reference of an image with a web server that knows nothing of Django."""
    context = Path(local.cloud.folder.path) / f"hello-{uuid.uuid4().hex[:6]}"
    await asyncio.to_thread(_write_hello, context)
    return str(await local.build(context, "hello:v1"))


def _write_hello(context: Path) -> None:
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "hello.py").write_text("import http.server\nhttp.server.test(port=8080)\n")
