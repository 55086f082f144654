"""From one small resource to a Django site that works: pages, logins, files, and nothing written twice.

An app deployed once for all claims of this file, in the order in which a person would try them; then the same in a
tenant, on a SQL instance that somebody else made, closed to whom it does not name, and by a service account that the
operator impersonates.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from e2e_accounts import id_token, make_account, make_deployer, superuser_password
from e2e_browser import Browser
from e2e_release import shared_instance
from e2e_site import READY_S, Site
from e2e_world import World, open_world
from google.cloud import run_v2
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("first_deploy")]

WITHIN = f"--timeout={READY_S:.0f}s"
PRODUCTS = ("Teapot", "Tin of Assam", "Tea strainer")
STEPS = (
    "Created",
    "InitialisingDatabase",
    "Migrating",
    "DeployingCandidate",
    "ShiftingTraffic",
    "CreatingSuperuser",
    "Available",
)
MAKES_ADMIN = """import os

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--first-name", required=True)

    def handle(self, *args, first_name, **options):
        given = {name: os.environ[f"DJANGO_SUPERUSER_{name.upper()}"] for name in ("username", "email", "password")}
        get_user_model().objects.create_superuser(**given, first_name=first_name)
"""
PICTURE, DOCUMENT = b"\x89PNG picture of a teapot", b"%PDF how to brew"


@dataclass
class Shop:
    """The deployed app, and somebody who is logged in to its admin."""

    world: World
    name: str
    app: dict[str, Any]
    admin: Browser
    deployer: str  # who the operator is to Google where it deploys the app
    invoker: str = ""  # who may call it; "" is everybody
    instance: str = ""  # of the platform team's; "" is one of the app's own


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["alone", "tenant"])
async def shop(request: pytest.FixtureRequest, site: Site, google_environment: None) -> AsyncIterator[Shop]:
    """Ready."""
    made = {"alone": deployed_alone, "tenant": deployed_in_a_tenant}[request.param]
    async with open_world(site, f"{request.param}-{uuid.uuid4().hex[:4]}") as world:
        yield await made(world)


async def deployed_alone(world: World) -> Shop:
    """minimal.yaml with a superuser."""
    app = await deploy(world)
    return Shop(world, "shop", app, await world.browser(app), world.site.operator_account)


async def deployed_in_a_tenant(world: World) -> Shop:
    """The same, and who may call it; impersonation where the site says who may impersonate."""
    instance, deployer, fields = f"{world.namespace}-pg", world.site.operator_account, {}
    if deployer:
        deployer = await make_deployer(world, f"{world.namespace}-op")
        fields = {"impersonateServiceAccount": deployer}
    await shared_instance(world, instance, **fields)
    invoker = await make_account(world, f"{world.namespace}-a")
    app = await deploy(world, web={"access": "Authenticated", "invokers": [f"serviceAccount:{invoker}"]})
    token = await id_token(world, invoker, app["status"]["url"])
    return Shop(world, "shop", app, await world.browser(app, token), deployer, invoker, instance)


async def deploy(world: World, **spec: Any) -> dict[str, Any]:
    superuser = {"username": "admin", "email": "admin@example.com"}
    await world.apply(
        {
            "apiVersion": "nuages.dev/v1alpha1",
            "kind": "DjangoApp",
            "metadata": {"name": "shop"},
            "spec": {"image": await world.site.image("shop", "v1"), "superuser": superuser, **spec},
        }
    )
    return await world.wait("shop")


def served(status: dict[str, Any]) -> dict[str, int]:
    """Percent by revision, without those that only a tag leads to."""
    return {target["revision"]: target["percent"] for target in status["traffic"] if target["percent"]}


async def log_in(shop: Shop) -> str:
    """To the admin, as a person does; returns the password."""
    password = await superuser_password(shop.world, shop.name)
    page = await shop.admin.get("/admin/")
    if "Site administration" not in page.text:
        page = await shop.admin.log_in("/admin/login/?next=/admin/", "admin", password)
    assert page.status == 200
    assert "Site administration" in page.text
    return password


async def service_of(shop: Shop) -> run_v2.Service:
    """The Cloud Run service, by Google's own client."""
    services = shop.world.google(run_v2.ServicesAsyncClient)
    site = shop.world.site
    parent = f"projects/{site.project}/locations/{site.region}"
    return await services.get_service(name=f"{parent}/services/{shop.world.google_id(shop.name)}")


async def test_page_lists_rows_of_the_database(shop: Shop) -> None:
    """Migrations ran in PostgreSQL, on the instance that is meant, and who may see the page sees it."""
    instance = (await shop.world.app(shop.name))["status"]["database"]["instance"]
    assert instance.startswith(shop.instance or shop.world.google_id(shop.name))
    page = await shop.admin.get("/")
    assert page.status == 200
    assert all(product in page.text for product in PRODUCTS)


async def test_whoever_is_not_named_may_call_what_is_public(shop: Shop) -> None:
    """And nothing else: neither nobody nor another account of the project."""
    url, answer = shop.app["status"]["url"], 403 if shop.invoker else 200
    stranger = await make_account(shop.world, f"{shop.world.namespace}-b")
    assert await shop.world.fetch_status(url) == answer
    assert await shop.world.fetch_status(url, await id_token(shop.world, stranger, url)) == answer


async def test_the_superusers_password_is_nobodys_after_its_job(shop: Shop) -> None:
    """The app's identity could read it while the job ran; it cannot any more."""
    secrets, site = shop.world.google(SecretManagerServiceAsyncClient), shop.world.site
    name = f"projects/{site.project}/secrets/{shop.world.google_id(shop.name, 'superuser-password')}"
    assert not (await secrets.get_iam_policy(request={"resource": name})).bindings


async def test_superuser_logs_in_with_csrf(shop: Shop) -> None:
    """Hosts and CSRF origins were right from the first deploy; the password is in Secret Manager alone."""
    password = await log_in(shop)
    assert password not in str(await shop.world.app(shop.name))


async def test_files_reach_the_bucket_both_ways(shop: Shop) -> None:
    """The picture through the mounted bucket, the document through django-storages, and back by a signed URL."""
    await log_in(shop)
    fields = {"name": "Cast iron kettle", "price": "61.00"}
    files = {"picture": ("kettle.png", PICTURE), "document": ("kettle.pdf", DOCUMENT)}
    page = await shop.admin.submit("/upload/", fields, files)
    assert page.status == 200
    assert "Cast iron kettle" in page.text
    found = re.search(r'href="(/[^"]+)">Leaflet', page.text)
    assert found is not None, page.text
    redirect = await shop.admin.get(found[1], follow=False)
    assert redirect.headers["Location"].startswith("https://storage.googleapis.com/")
    assert "X-Goog-Signature=" in redirect.headers["Location"]
    objects = await shop.world.objects(f"{shop.world.site.project}-{shop.world.google_id(shop.name, 'media')}")
    assert objects["pictures/kettle.png"] == PICTURE
    assert objects["documents/kettle.pdf"] == DOCUMENT
    assert await shop.world.fetch(redirect.headers["Location"]) == DOCUMENT


async def test_defaults_of_web_are_on_the_service(shop: Shop) -> None:
    """Every default of full.yaml, as Google's own client reads it."""
    service = await service_of(shop)
    template, (container,) = service.template, service.template.containers
    assert (template.scaling.min_instance_count, template.scaling.max_instance_count) == (0, 3)
    assert template.max_instance_request_concurrency == 80
    assert template.timeout.seconds == 300
    assert dict(container.resources.limits) == {"cpu": "1", "memory": "1Gi"}
    assert container.resources.cpu_idle
    assert container.resources.startup_cpu_boost
    assert [port.container_port for port in container.ports] == [8080]
    assert (container.command, container.args) == ([], [])
    startup, liveness = container.startup_probe, container.liveness_probe
    assert startup.http_get.path == liveness.http_get.path == "/health/"
    assert (startup.initial_delay_seconds, startup.period_seconds, startup.failure_threshold) == (0, 5, 18)
    assert (liveness.period_seconds, liveness.failure_threshold) == (30, 3)
    assert template.execution_environment == run_v2.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2
    assert service.ingress == run_v2.IngressTraffic.INGRESS_TRAFFIC_ALL
    assert service.invoker_iam_disabled == (not shop.invoker)
    assert [(t.percent, bool(t.revision)) for t in service.traffic if t.percent] == [(100, True)]


async def test_status_says_what_people_look_for(shop: Shop) -> None:
    """URL, digest, revision and traffic; a release that is done; kstatus's conditions; each step's event, in order."""
    status = (await shop.world.app(shop.name))["status"]
    service = await service_of(shop)
    assert status["url"] in service.urls
    assert "@sha256:" in status["image"]
    assert served(status) == {status["revision"]: 100}
    assert status["release"]["stage"] == "Done"
    assert status["phase"] == "Ready"
    assert {item["type"] for item in status["conditions"]}.isdisjoint({"Reconciling", "Stalled"})
    await shop.world.told(shop.name, STEPS[-1])
    reasons = dict.fromkeys(reason for reason, _ in await shop.world.events(shop.name))
    # The first revision has all traffic from the start: what then moves is the door, where everybody may call.
    steps = [step for step in STEPS if step != "ShiftingTraffic" or not shop.invoker]
    assert [reason for reason in reasons if reason in STEPS] == steps


async def test_events_bear_the_times_that_kubectl_sorts_by(shop: Shop) -> None:
    """`kubectl describe` and `get events --sort-by=.lastTimestamp` tell the story in its order."""
    found = await shop.world.event_objects(shop.name)
    assert [item["lastTimestamp"] for item in found] == [f"{item['eventTime'][:19]}Z" for item in found] != []


async def test_google_knows_one_caller(shop: Shop, local: Any) -> None:
    """Whatever is done for the app is done as the account that its tenant names, else as the operator's own."""
    callers = {request.caller for request in local.requests(shop.world.namespace, shop.name)}
    assert callers == {shop.deployer}


async def test_second_reconcile_writes_nothing(shop: Shop, local: Any) -> None:
    """Asked to look again, the operator reads and leaves all as it is: Google and the object alike."""
    before = await shop.world.app(shop.name)
    asked = len(local.requests(shop.world.namespace, shop.name))
    await shop.world.annotate(shop.name, "nuages.dev/reconcile-at", "now")
    await shop.world.until(lambda app: (app["status"].get("release") or {}).get("reconcileAt") == "now", shop.name)
    fresh = local.requests(shop.world.namespace, shop.name)[asked:]
    assert fresh, "nothing was looked at"
    assert [f"{r.method} {r.resource}" for r in fresh if local.is_write(r)] == []
    after = await shop.world.app(shop.name)
    assert after["spec"] == before["spec"]
    assert after["status"]["revision"] == before["status"]["revision"]


async def test_changed_value_makes_one_revision(shop: Shop) -> None:
    """One more revision with all traffic, for which `kubectl wait` waits; the image is not migrated again."""
    revisions = shop.world.google(run_v2.RevisionsAsyncClient)
    executions = shop.world.google(run_v2.ExecutionsAsyncClient)
    service = await service_of(shop)
    jobs = f"{service.name.rpartition('/services/')[0]}/jobs/{shop.world.google_id(shop.name, 'migrate')}"
    before = {item.name async for item in await revisions.list_revisions(parent=service.name)}
    runs = [item.name async for item in await executions.list_executions(parent=jobs)]
    spec = shop.app["spec"]
    await shop.world.apply(
        {
            "apiVersion": "nuages.dev/v1alpha1",
            "kind": "DjangoApp",
            "metadata": {"name": shop.name},
            "spec": {**spec, "env": [{"name": "LOG_LEVEL", "value": "WARNING"}]},
        }
    )
    assert "condition met" in shop.world.kubectl("wait", "--for=condition=Ready", f"dja/{shop.name}", WITHIN)
    app = await shop.world.app(shop.name)
    after = {item.name async for item in await revisions.list_revisions(parent=service.name)}
    fresh = {name.rpartition("/")[2] for name in after - before}
    assert fresh == {app["status"]["revision"]}
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert [item.name async for item in await executions.list_executions(parent=jobs)] == runs


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
async def test_a_command_of_ones_own_makes_the_superuser(shop: Shop, local: Any) -> None:
    """With the arguments that the spec gives it, in place of createsuperuser; who it made logs in."""
    image = await local.shop("admins", {"catalogue/management/commands/make_admin.py": MAKES_ADMIN})
    other = {"username": "ada", "email": "ada@example.com", "command": ["make_admin", "--first-name", "Ada"]}
    await shop.world.apply(
        {
            "apiVersion": "nuages.dev/v1alpha1",
            "kind": "DjangoApp",
            "metadata": {"name": shop.name},
            "spec": {"image": image, "superuser": other},
        }
    )
    browser = await shop.world.browser(await shop.world.wait(shop.name))
    password = await superuser_password(shop.world, shop.name)
    page = await browser.log_in("/admin/login/?next=/admin/", "ada", password)
    assert "Site administration" in page.text
    assert "<strong>Ada</strong>" in page.text  # greeted by her first name
