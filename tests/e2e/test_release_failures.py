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
WRONG_ANSWER = """from django.urls import include, path

urlpatterns = [
    path("ready/", lambda request: {}["stock"]),
    path("", include("catalogue.urls")),
]
"""
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
    stage: str
    reason: str
    said: str
    logged: str
    template: dict[str, Any] | None = None  # what else the failing release asks for


FAILURES = (
    Failure("v3", "Migrate", "MigrationFailed", "spec.image: migrate exited with 1", "product_price_from_100"),
    Failure("v4", "Candidate", "RevisionFailed", "spec.django.settingsModule or spec.web.args", "PAYMENT_ENDPOINT"),
    Failure("v5", "Candidate", "RevisionFailed", "spec.django.healthPath: ", "HTTP probe failed with status 503"),
    Failure("v6", "Candidate", "RevisionFailed", "spec.web.startupProbe: ", "DEADLINE_EXCEEDED"),
    Failure(
        "broken",
        "Verify",
        "VerifyFailed",
        "answered 500 Internal Server Error",
        "KeyError: 'stock'",  # of one entry that has the whole traceback
        {"verify": {"path": "/ready/"}},
    ),
)


async def _image(shop: Deployment, version: str, local: Any) -> str:
    """The shop's, or one that starts well and has a page that fails."""
    if version != "broken":
        return await shop.image(version)
    return str(await local.shop(version, {"config/urls.py": WRONG_ANSWER}))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.version)
async def test_a_failed_release_leaves_the_old_revision_alone(place: World, local: Any, failure: Failure) -> None:
    """100 % stays where it was and is answered; Stalled has step, reason, remedy and link; a fixed image recovers."""
    shop = Deployment(place, f"shop-{failure.version}")
    first = await shop.release(image=await shop.image("v1"), web=QUICK)
    before = first["status"]["revision"]
    image, fixed = await _image(shop, failure.version, local), await shop.image("v2")
    async with polling(shop) as answers:
        found = await shop.stalled(failure.reason, image=image, release=failure.template)
        asked = answers.count
        await eventually(lambda: answers.count > asked + 25, "requests after the failure")
    assert answers.bad == []
    assert failure.said in found["message"]
    assert f"{before} keeps all traffic" in found["message"]
    assert "Release a fixed image" in found["message"]
    assert "Log: https://console.cloud.google.com/logs/" in found["message"]
    status = await shop.status()
    assert status["release"]["stage"] == failure.stage
    assert served(status) == {before: 100}
    assert [target for target in status["traffic"] if target.get("tag")] == tagged(status, failure)
    assert status["phase"] == "Degraded"
    assert condition(await place.app(shop.name), "WebReady")["status"] == "True"
    assert failure.logged in await place.told(shop.name, f"{failure.reason}Log")
    assert [reason for reason, _ in await place.events(shop.name)].count(f"{failure.reason}Log") == 1
    assert len(await shop.executions()) == 2
    app = await shop.release(image=fixed, release=None)
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert app["status"]["revision"] != before
    assert {item["type"] for item in app["status"]["conditions"]}.isdisjoint({"Stalled", "Reconciling"})


def tagged(status: dict[str, Any], failure: Failure) -> list[dict[str, Any]]:
    """The candidate: what serves, until there is a newer one, which has no share of the traffic."""
    if failure.stage == "Migrate":
        return [{"revision": status["revision"], "percent": 100, "tag": "candidate"}]
    return [{"revision": status["release"]["revision"], "percent": 0, "tag": "candidate"}]


async def test_the_image_that_served_before_is_a_remedy_too(place: World) -> None:
    """After a failed release, back to what serves: nothing is deployed anew that is there already."""
    shop = Deployment(place, "undone")
    before = (await shop.release(image=await shop.image("v1"), web=QUICK))["status"]["revision"]
    await shop.stalled("RevisionFailed", image=await shop.image("v4"))
    app = await shop.release(image=await shop.image("v1"))
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert app["status"]["revision"].startswith(before)
    assert len(await shop.executions()) == 2


async def test_a_failed_first_release_stays_closed(place: World, local: Any) -> None:
    """Nobody but who may invoke it gets in; the fixed image opens the doors."""
    async with asyncio.TaskGroup() as group:
        for failure in FAILURES[1:3] + FAILURES[-1:]:
            group.create_task(_stays_closed(place, local, failure))


async def _stays_closed(place: World, local: Any, failure: Failure) -> None:
    shop = Deployment(place, f"first-{failure.version}")
    image = await _image(shop, failure.version, local)
    found = await shop.stalled(failure.reason, image=image, web=QUICK, release=failure.template)
    assert failure.said in found["message"]
    assert "the service stays closed to the public" in found["message"]
    status = await shop.status()
    assert status["release"]["stage"] == failure.stage
    assert status["phase"] == "Pending"
    web = condition(await place.app(shop.name), "WebReady")
    assert (web["status"], web["reason"]) == ("False", failure.reason)
    assert await place.fetch_status(status["url"]) == 403
    app = await shop.release(image=await shop.image("v2"), release=None)
    assert await place.fetch_status(f"{app['status']['url']}/health/") == 200
    assert served(app["status"]) == {app["status"]["revision"]: 100}


async def test_a_migration_over_its_time_names_the_limit(place: World, local: Any) -> None:
    """Not the image: its field and its seconds; raised, the same image is migrated again and released."""
    shop = Deployment(place, "late")
    before = (await shop.release(image=await shop.image("v1"), web=QUICK))["status"]["revision"]
    async with shop.database(local) as database:
        await database.execute("BEGIN")
        await database.execute("LOCK TABLE catalogue_product IN ACCESS SHARE MODE")
        found = await shop.stalled("MigrationFailed", image=await shop.image("v2"), jobs={"timeoutSeconds": 2})
        await database.execute("ROLLBACK")
    assert found["message"].startswith(
        f"spec.jobs.timeoutSeconds: migrate ran longer than 2 s; {before} keeps all traffic. Raise it, or "
        "release an image that needs less. Log: https://"
    )
    status = await shop.status()
    assert (served(status), status["release"]["stage"]) == ({before: 100}, "Migrate")
    assert "maximum timeout of 2 seconds" in await place.told("late", "MigrationFailedLog")
    app = await shop.release(jobs=None)
    assert served(app["status"]) == {app["status"]["revision"]: 100} != {before: 100}


async def test_a_corrected_spec_is_migrated_with_too(place: World) -> None:
    """What failed under one settings module is tried once under another; what failed is not tried as it was."""
    shop = Deployment(place, "settings")
    module = {"settingsModule": "nowhere.settings"}
    await shop.stalled("MigrationFailed", image=await shop.image("v1"), web=QUICK, django=module)
    assert "No module named 'nowhere'" in await place.told("settings", "MigrationFailedLog")
    await place.annotate("settings", "nuages.dev/reconcile-at", "now")
    await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "now", "settings")
    assert len(await shop.executions()) == 1
    await shop.release(django={"settingsModule": "config.settings"})
    assert [run.succeeded_count for run in await shop.executions()] == [0, 1]


async def test_a_command_that_is_not_there_is_told_as_that(place: World) -> None:
    """Of a job and of a revision, whose field is named; not as a container that has ended."""
    shop, nowhere = Deployment(place, "command"), {"manage": ["/nowhere/python", "manage.py"]}
    found = await shop.stalled("MigrationFailed", image=await shop.image("v1"), web=QUICK, django=nowhere)
    assert found["message"].startswith("spec.image: migrate was not started: its command is not there or cannot be ")
    assert "Application failed to start: " in await place.told("command", "MigrationFailedLog")
    found = await shop.stalled("RevisionFailed", web={**QUICK, "command": ["gunicornn"]}, django=None)
    assert found["message"].startswith("spec.web.command: ")
    assert "did not start: its command is not there or cannot be run; " in found["message"]
    assert "Application failed to start: " in await place.told("command", "RevisionFailedLog")
    await shop.release(web=QUICK)


async def test_a_failed_first_migration_deploys_nothing(place: World, local: Any) -> None:
    """There is no service at all, hence no address that could answer."""
    shop = Deployment(place, "empty")
    image = await _without_django(local)
    found = await shop.stalled("DjangoMissing", image=image, web=QUICK)
    assert found["message"].startswith(
        "spec.image: migrate found no Django in the image's Python. Use an image that has it, or set django.manage. "
        "Log: https://"
    )
    status = await shop.status()
    assert status["release"]["stage"] == "Migrate"
    assert "url" not in status
    assert "migrate found no Django" in await place.told("empty", "DjangoMissingLog")
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
