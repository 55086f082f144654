"""The real gcloud, with nothing set but what `localcloud env` prints: what it shows is what is there."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from child_support import output
from google.cloud import run_v2
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from run_support import NUMBER, PARENT, eventually, finished, template

from localcloud.localcloud import LocalCloud

GCLOUD = shutil.which("gcloud")
IMAGE = "europe-west1-docker.pkg.dev/demo/apps/shop:v1"
REGION = "--region=europe-west1"
DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(GCLOUD is None, reason="gcloud is not installed")

Gcloud = Callable[..., Awaitable[str]]
Call = Callable[..., Awaitable[Any]]


@pytest.fixture
async def gcloud(simulated: LocalCloud, tmp_path: Path) -> Gcloud:
    """Runs gcloud; its standard output.

    Its configuration is the test's own: the developer's active account and project would come before those of
    localcloud, and gcloud keeps for ten minutes whether it saw a metadata server.
    """
    environment = simulated.environment()
    environment |= {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "LANG": "C.UTF-8"}

    async def run(*arguments: str, fails: bool = False) -> str:
        child = await asyncio.create_subprocess_exec(
            str(GCLOUD),
            *arguments,
            "--quiet",
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await output(child, DEADLINE_S)
        assert bool(child.returncode) is fails, err.decode()
        return (err if fails else out).decode()

    return run


@pytest.fixture
async def shown(gcloud: Gcloud) -> Call:
    """The same, read as JSON."""

    async def run(*arguments: str) -> Any:
        return json.loads(await gcloud(*arguments, "--format=json"))

    return run


@pytest.fixture
async def rest(simulated: LocalCloud) -> AsyncIterator[Call]:
    """Calls the APIs that have no asynchronous client of Google's."""
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer any"}) as session:

        async def call(method: str, path: str, body: Any = None) -> Any:
            async with session.request(method, simulated.rest + path, json=body) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        yield call


async def test_secrets(simulated: LocalCloud, clients: Any, gcloud: Gcloud, shown: Call) -> None:
    """Listed, described, and the payload itself."""
    secrets = clients(SecretManagerServiceAsyncClient)
    secret = {"replication": {"automatic": {}}, "labels": {"app": "shop"}}
    made = await secrets.create_secret(parent="projects/demo", secret_id="key", secret=secret)
    await secrets.add_secret_version(parent=made.name, payload={"data": b"a value"})
    assert [each["name"] for each in await shown("secrets", "list")] == [f"projects/{NUMBER}/secrets/key"]
    assert (await shown("secrets", "describe", "key"))["labels"] == {"app": "shop"}
    assert await gcloud("secrets", "versions", "access", "latest", "--secret=key") == "a value"


async def test_sql(simulated: LocalCloud, rest: Call, shown: Call) -> None:
    """Instances and the databases in them."""
    settings = {"tier": "db-f1-micro"}
    body = {"name": "pg", "region": "europe-west1", "databaseVersion": "POSTGRES_15", "settings": settings}
    operation = await rest("POST", "/v1/projects/demo/instances", body)

    async def is_done() -> bool:
        now = await rest("GET", f"/v1/projects/demo/operations/{operation['name']}")
        return bool(now["status"] == "DONE")

    await eventually(is_done)  # an instance takes one operation at a time
    await rest("POST", "/v1/projects/demo/instances/pg/databases", {"name": "shop"})
    listed = await shown("sql", "instances", "list")
    assert [(one["name"], one["state"]) for one in listed] == [("pg", "RUNNABLE")]
    described = await shown("sql", "instances", "describe", "pg")
    assert described["connectionName"] == "demo:europe-west1:pg"
    databases = await shown("sql", "databases", "list", "--instance=pg")
    assert {one["name"] for one in databases} == {"postgres", "shop"}
    database = await shown("sql", "databases", "describe", "shop", "--instance=pg")
    assert (database["name"], database["instance"], database["charset"]) == ("shop", "pg", "UTF8")


async def test_services(simulated: LocalCloud, clients: Any, gcloud: Gcloud, shown: Call) -> None:
    """Over all regions and in one, as JSON and as people read it; one that is not there is missing."""
    services = clients(run_v2.ServicesAsyncClient)
    service = run_v2.Service(template=template(IMAGE, DEBUG="false"))
    made = await finished(
        await services.create_service(run_v2.CreateServiceRequest(parent=PARENT, service=service, service_id="shop"))
    )
    listed = await shown("run", "services", "list")
    assert [one["metadata"]["name"] for one in listed] == ["shop"]
    described = await shown("run", "services", "describe", "shop", REGION)
    assert described["status"]["url"] == made.uri
    assert described["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    text = await gcloud("run", "services", "describe", "shop", REGION)
    assert f"https://shop-{NUMBER}.europe-west1.run.app" in text
    assert "DEBUG" in text
    failure = await gcloud("run", "services", "describe", "other", REGION, fails=True)
    assert "Cannot find service [other]" in failure


async def test_jobs(simulated: LocalCloud, clients: Any, gcloud: Gcloud, shown: Call) -> None:
    """Run to the end from the command line; then job and execution say so."""
    jobs = clients(run_v2.JobsAsyncClient)
    task = run_v2.TaskTemplate(containers=[run_v2.Container(image=IMAGE)])
    job = run_v2.Job(template=run_v2.ExecutionTemplate(template=task))
    await finished(await jobs.create_job(run_v2.CreateJobRequest(parent=PARENT, job=job, job_id="migrate")))
    execution = await shown("run", "jobs", "execute", "migrate", REGION, "--wait", "--args=migrate,--check")
    assert execution["status"]["succeededCount"] == 1
    assert [one["metadata"]["name"] for one in await shown("run", "jobs", "list")] == ["migrate"]
    described = await shown("run", "jobs", "describe", "migrate", REGION)
    name = described["status"]["latestCreatedExecution"]["name"]
    executions = await shown("run", "jobs", "executions", "list", "--job=migrate", REGION)
    assert [one["metadata"]["name"] for one in executions] == [name]
    arguments = executions[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == ["migrate", "--check"]


async def test_deploying(simulated: LocalCloud, clients: Any, gcloud: Gcloud, shown: Call) -> None:
    """`gcloud run deploy` makes a service, waits for it and opens it; moving its traffic makes no revision."""
    made = await shown(
        *("run", "deploy", "shop", f"--image={IMAGE}", REGION, "--allow-unauthenticated", "--set-env-vars=DEBUG=false"),
        *("--add-cloudsql-instances=demo:europe-west1:pg", "--max-instances=4", "--labels=team=web"),
    )
    assert made["status"]["conditions"][0]["status"] == "True"
    await gcloud("run", "services", "update-traffic", "shop", REGION, "--update-tags=blue=LATEST")
    services = clients(run_v2.ServicesAsyncClient)
    service = await services.get_service(name=f"{PARENT}/services/shop")
    assert service.template.containers[0].env[0] == run_v2.EnvVar(name="DEBUG", value="false")
    assert service.template.volumes[0].cloud_sql_instance.instances == ["demo:europe-west1:pg"]
    assert (service.template.scaling.max_instance_count, service.labels) == (4, {"team": "web"})
    assert {target.tag for target in service.traffic_statuses} == {"", "blue"}
    assert service.latest_created_revision.endswith(made["status"]["latestReadyRevisionName"])
    policy = await services.get_iam_policy({"resource": service.name})
    assert list(policy.bindings[0].members) == ["allUsers"]


async def test_buckets(simulated: LocalCloud, rest: Call, shown: Call) -> None:
    """Listed and described."""
    await rest("POST", "/storage/v1/b?project=demo", {"name": "shop-media", "location": "EUROPE-WEST1"})
    assert [one["name"] for one in await shown("storage", "buckets", "list")] == ["shop-media"]
    described = await shown("storage", "buckets", "describe", "gs://shop-media")
    assert described["location"] == "EUROPE-WEST1"


async def test_service_accounts(simulated: LocalCloud, rest: Call, shown: Call) -> None:
    """Listed and described."""
    account = {"displayName": "Runs the shop"}
    await rest("POST", "/v1/projects/demo/serviceAccounts", {"accountId": "shop-web", "serviceAccount": account})
    email = "shop-web@demo.iam.gserviceaccount.com"
    assert email in [one["email"] for one in await shown("iam", "service-accounts", "list")]
    described = await shown("iam", "service-accounts", "describe", email)
    assert described["displayName"] == "Runs the shop"
