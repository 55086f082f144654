"""An app with data of its own, and what is left of it at Google."""

from __future__ import annotations

from typing import Any

from e2e_accounts import superuser_password
from e2e_release import Deployment
from e2e_world import World
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.run_v2 import JobsAsyncClient, ServicesAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient
from google.cloud.storage import Client as StorageClient

ADMIN = {"username": "admin", "email": "admin@example.com"}
OWN = {"instance": {"create": {"deletionProtection": False}}}


async def left(world: World, prefix: str) -> dict[str, set[str]]:
    """Everything in the project whose name begins so, by kind."""
    site, found = world.site, dict[str, set[str]]()
    region = f"projects/{site.project}/locations/{site.region}"
    services, jobs = world.google(ServicesAsyncClient), world.google(JobsAsyncClient)
    secrets, accounts = world.google(SecretManagerServiceAsyncClient), world.google(IAMAsyncClient)
    instances = world.google(SqlInstancesServiceAsyncClient)
    project = f"projects/{site.project}"
    found["services"] = {item.name async for item in await services.list_services(parent=region)}
    found["jobs"] = {item.name async for item in await jobs.list_jobs(parent=region)}
    found["secrets"] = {item.name async for item in await secrets.list_secrets(parent=project)}
    found["accounts"] = {item.name async for item in await accounts.list_service_accounts(name=project)}
    listed = await instances.list(request={"project": site.project})
    found["instances"] = {item.name for item in listed.items}
    buckets = StorageClient(project=site.project, credentials=site.credentials()).list_buckets()
    found["buckets"] = {item.name.removeprefix(f"{site.project}-") for item in buckets}
    short = {kind: {name.rpartition("/")[2] for name in names} for kind, names in found.items()}
    mine = {kind: {name for name in names if prefix in name} for kind, names in short.items()}
    return {kind: names for kind, names in mine.items() if names}


async def rows(app: Deployment) -> bool:
    """Whether a product that a person added is on the page."""
    return "Cast iron kettle" in (await (await app.browser()).get("/")).text


async def with_data(world: World, name: str, **spec: Any) -> Deployment:
    """An app with a superuser, a row and a file of its own."""
    app = Deployment(world, name)
    await app.release(image=await app.image("v1"), superuser=ADMIN, **spec)
    browser = await app.browser()
    await browser.log_in("/admin/login/?next=/admin/", "admin", await superuser_password(world, name))
    files = {"picture": ("kettle.png", b"\x89PNG"), "document": ("kettle.pdf", b"%PDF")}
    await browser.submit("/upload/", {"name": "Cast iron kettle", "price": "61.00"}, files)
    assert await rows(app)
    return app
