"""A Django project on Cloud Run with Cloud SQL and a media bucket: sockets, FUSE folders, and the roles they need."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1, run_v2, sqladmin_v1
from google.iam.v1 import policy_pb2
from run_support import PARENT, Door, Services, env, eventually, finished, log_texts, until

from localcloud.localcloud import LocalCloud
from localcloud.runtime.builder import build
from localcloud.runtime.sandbox import Sandbox

SHOP = Path(__file__).parents[2] / "samples" / "shop"
IMAGE = "europe-west1-docker.pkg.dev/demo/apps/shop:v1"
ACCOUNT = "shop-run@demo.iam.gserviceaccount.com"
CONNECTION = "demo:europe-west1:pg"
PASSWORD = "not-a-secret-in-a-test"
VOLUMES = [
    {"name": "cloudsql", "cloud_sql_instance": {"instances": [CONNECTION]}},
    {"name": "media", "gcs": {"bucket": "demo-media"}},
]
MOUNTS = [{"name": "cloudsql", "mount_path": "/cloudsql"}, {"name": "media", "mount_path": "/app/media"}]
READER = ("roles/storage.objectViewer", "roles/storage.legacyBucketReader")


@dataclass
class Shop:
    """The project with its database and bucket; `services` deploys."""

    cloud: LocalCloud
    services: Services
    jobs: run_v2.JobsAsyncClient

    def container(self, **values: Any) -> dict[str, Any]:
        variables = env(
            SECRET_KEY="k" * 60,
            ALLOWED_HOSTS=".run.app",
            DB_HOST=f"/cloudsql/{CONNECTION}",
            DB_NAME="shop",
            DB_USER="shop",
            DB_PASSWORD=PASSWORD,
            MEDIA_ROOT="/app/media",
        )
        return {"image": IMAGE, "env": variables, "volume_mounts": MOUNTS, **values}

    async def deploy(self, name: str = "shop", *, read_only: bool = False) -> Any:
        """`read_only`: the bucket."""
        volumes = [VOLUMES[0], {"name": "media", "gcs": {"bucket": "demo-media", "read_only": read_only}}]
        template = {"containers": [self.container()], "volumes": volumes, "service_account": ACCOUNT}
        service = run_v2.Service({"template": template, "invoker_iam_disabled": True})
        request = run_v2.CreateServiceRequest(parent=PARENT, service=service, service_id=name)
        return await finished(await self.services.client.create_service(request))

    async def manage(self, job_id: str, *arguments: str) -> Any:
        """Run a management command as a job."""
        container = self.container(command=["python", "manage.py"], args=list(arguments))
        task = {"containers": [container], "volumes": VOLUMES, "service_account": ACCOUNT, "max_retries": 0}
        job = run_v2.Job({"template": {"template": task}})
        await finished(await self.jobs.create_job(parent=PARENT, job=job, job_id=job_id))
        return await finished(await self.jobs.run_job(name=f"{PARENT}/jobs/{job_id}"))

    def grant(self, resource: str, *roles: str) -> None:
        policy = policy_pb2.Policy()
        for role in roles:
            policy.bindings.add(role=role, members=[f"serviceAccount:{ACCOUNT}"])
        self.cloud.core.policies.set(resource, policy)


@pytest.fixture
async def door(cloud: LocalCloud) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession() as session:
        yield Door(cloud, session)


@pytest.fixture(params=["best", "rewrite"])
async def shop(cloud: LocalCloud, clients: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    """With paths shown in the best way that this machine has, and rewritten as on macOS."""
    if request.param == "rewrite":
        for runner in (cloud.runtime.revisions.instances, cloud.runtime.tasks.instances):
            runner.sandbox = Sandbox(tmp_path / "sandbox", force="rewrite")
    await asyncio.to_thread(shutil.copytree, SHOP, tmp_path / "shop")
    await build(tmp_path / "shop", IMAGE, cloud.runtime.images, progress=lambda _: None)
    await clients(iam_admin_v1.IAMAsyncClient).create_service_account(
        iam_admin_v1.CreateServiceAccountRequest(name="projects/demo", account_id="shop-run")
    )
    instances = clients(sqladmin_v1.SqlInstancesServiceAsyncClient)
    body = {"name": "pg", "region": "europe-west1", "database_version": "POSTGRES_15"}
    body["settings"] = {"tier": "db-custom-1-3840"}
    await instances.insert(sqladmin_v1.SqlInstancesInsertRequest({"project": "demo", "body": body}))
    get = sqladmin_v1.SqlInstancesGetRequest(project="demo", instance="pg")

    async def runnable() -> bool:
        return (await instances.get(get)).state.name == "RUNNABLE"

    await eventually(runnable)
    users, databases = (
        clients(sqladmin_v1.SqlUsersServiceAsyncClient),
        clients(sqladmin_v1.SqlDatabasesServiceAsyncClient),
    )
    where = {"project": "demo", "instance": "pg"}
    user = {"name": "shop", "password": PASSWORD}
    await users.insert(sqladmin_v1.SqlUsersInsertRequest({**where, "body": user}))
    await databases.insert(sqladmin_v1.SqlDatabasesInsertRequest({**where, "body": {"name": "shop"}}))
    async with (
        aiohttp.ClientSession(cloud.rest, headers={"Authorization": "Bearer x"}) as rest,
        rest.post("/storage/v1/b?project=demo", json={"name": "demo-media"}) as answer,
    ):
        assert answer.status == 200
    made = Shop(cloud, Services(clients(run_v2.ServicesAsyncClient), IMAGE), clients(run_v2.JobsAsyncClient))
    return made


async def test_django_serves_rows_from_cloud_sql(cloud: LocalCloud, shop: Shop, door: Door) -> None:
    """Migrated by a job and served by gunicorn, over the /cloudsql socket, with the media bucket mounted."""
    shop.grant("projects/demo", "roles/cloudsql.client")
    shop.grant("projects/_/buckets/demo-media", "roles/storage.objectAdmin", "roles/storage.legacyBucketReader")
    execution = await shop.manage("migrate", "migrate", "--noinput")
    assert execution.succeeded_count == 1
    script = "from django.conf import settings; (settings.MEDIA_ROOT / 'from-job.txt').write_text('hello')"
    await shop.manage("write", "shell", "-c", script)
    assert (cloud.runtime.buckets / "demo-media" / "from-job.txt").read_text() == "hello"
    await shop.deploy()
    status, text = await door.get("/", "shop")
    assert status == 200
    assert text.count("<li") + text.count("<article") >= 3


@pytest.mark.parametrize("roles", [(), ("roles/cloudsql.viewer",)], ids=["nothing", "viewer"])
async def test_without_cloudsql_client_the_socket_refuses(
    cloud: LocalCloud, shop: Shop, roles: tuple[str, ...]
) -> None:
    """Also who may look at the instance: the migration fails to connect, and the log says which account lacks access to
    which instance."""
    shop.grant("projects/demo", *roles)
    shop.grant("projects/_/buckets/demo-media", "roles/storage.objectAdmin", "roles/storage.legacyBucketReader")
    with pytest.raises(exceptions.GoogleAPICallError, match="The container exited with an error"):
        await shop.manage("migrate", "migrate", "--noinput")
    assert any(f"Error during generateEphemeral for {CONNECTION}" in text for text in log_texts(cloud))


@pytest.mark.parametrize(
    ("roles", "lacks"), [((), "storage.buckets.get"), (READER, "storage.objects.create")], ids=["nothing", "reader"]
)
async def test_without_bucket_access_the_mount_fails(
    cloud: LocalCloud, shop: Shop, roles: tuple[str, ...], lacks: str
) -> None:
    """Also for who may only read: the revision does not come up, and says why."""
    shop.grant("projects/_/buckets/demo-media", *roles)
    with pytest.raises(exceptions.GoogleAPICallError, match="mounting volume at /app/media failed"):
        await shop.deploy()
    await until(lambda: any(f"{lacks} access" in text for text in log_texts(cloud)))


async def test_who_may_only_read_mounts_a_bucket_that_is_read_only(shop: Shop) -> None:
    """Where the volume says so."""
    shop.grant("projects/_/buckets/demo-media", *READER)
    made = await shop.deploy(read_only=True)
    assert made.terminal_condition.state.name == "CONDITION_SUCCEEDED"
