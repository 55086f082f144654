"""The drivers of services and jobs, revisions and executions, against a Cloud Run that speaks Google's protocol."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from google.cloud import run_v2 as run
from google.oauth2.credentials import Credentials

from localcloud.core.errors import Code
from nuages.cloud.driver import Readiness, differences
from nuages.cloud.errors import CloudError, Conflict, Invalid, PermissionDenied, Transient
from nuages.desired.iam import ServiceAccount
from nuages.desired.resource import Owner
from nuages.desired.run import BucketMount, NetworkAccess, Probe, RunJob, RunService, Template, TrafficTarget
from nuages.desired.secretmanager import SecretRef

LOCATION = "projects/demo/locations/europe-west1"
OWNER = Owner("shop", "web", "uid-1")
IMAGE = "europe-west1-docker.pkg.dev/demo/apps/shop@sha256:" + "a" * 64
PROBE = Probe(path="/health/", host="shop-1.europe-west1.run.app", period=5, failure_threshold=6)
SERVICE = RunService(
    name=f"{LOCATION}/services/shop",
    owner=OWNER,
    template=Template(
        image=IMAGE,
        command=("gunicorn",),
        args=("shop.wsgi",),
        environment=(("DEBUG", "False"), ("KEY", SecretRef("projects/demo/secrets/key", "1"))),
        cpu="1",
        memory="512Mi",
        service_account="web@demo.iam.gserviceaccount.com",
        timeout=300,
        cloud_sql=("demo:europe-west1:pg",),
        buckets=(BucketMount("demo-media", "/app/media", 1000, 1000),),
        network=NetworkAccess("ALL_TRAFFIC", network="default", subnetwork="apps"),
        labels=(("cost", "shop"), *sorted(OWNER.labels().items())),
    ),
    port=8080,
    concurrency=80,
    min_instances=0,
    max_instances=10,
    cpu_idle=True,
    startup_cpu_boost=True,
    startup_probe=PROBE,
    liveness_probe=PROBE,
    ingress="ALL",
    open_access=False,
    revision="shop-r1",
    traffic=(TrafficTarget("shop-r1", 100, "candidate"),),
)
JOB = RunJob(name=f"{LOCATION}/jobs/shop-migrate", owner=OWNER, template=SERVICE.template)


def with_template(service: RunService, revision: str, **fields: object) -> RunService:
    template = replace(service.template, **fields)  # type: ignore[arg-type]
    return replace(service, template=template, revision=revision)


@pytest.fixture
def services(scene):
    return scene.access.drivers.of(RunService)


@pytest.fixture
def jobs(scene):
    return scene.access.drivers.of(RunJob)


@pytest.fixture
async def google(scene):
    """What people do with gcloud or the console."""
    client = run.ServicesAsyncClient(credentials=Credentials("any"))
    yield client
    await client.transport.close()


async def made(scene, services, service: RunService = SERVICE):
    await scene.done(await services.create(service))
    return await services.observe(service.name)


async def test_what_was_created_is_what_was_wanted(scene, services):
    """No field differs, and the outputs tell the URLs and revisions."""
    operation = await services.create(SERVICE)
    assert (operation.service, operation.resource) == ("run", SERVICE.name)
    await scene.done(operation)
    found = await services.observe(SERVICE.name)
    assert found.state == SERVICE
    assert differences(SERVICE, found, services.owned) == ()
    assert found.readiness is Readiness.READY
    assert found.outputs["latest_ready_revision"] == found.outputs["latest_created_revision"] == "shop-r1"
    assert found.outputs["uri"] in found.outputs["urls"].splitlines()
    assert len(found.outputs["urls"].splitlines()) == 2


async def test_it_is_busy_until_its_operation_is_done(scene, services):
    """Google's `reconciling`."""
    scene.cloud.core.clock.speed = 5.0
    operation = await services.create(SERVICE)
    assert not operation.done
    found = await services.observe(SERVICE.name)
    assert found.readiness is Readiness.BUSY
    scene.cloud.core.clock.speed = 1000.0
    await scene.done(operation)


CHANGES = {
    "image": with_template(SERVICE, "shop-r2", image=IMAGE.replace("a" * 64, "b" * 64)),
    "environment": with_template(SERVICE, "shop-r2", environment=(("DEBUG", "True"),)),
    "without mounts": with_template(SERVICE, "shop-r2", cloud_sql=(), buckets=(), network=None),
    "resources": with_template(SERVICE, "shop-r2", cpu="2", memory="1Gi", timeout=60),
    "command": with_template(SERVICE, "shop-r2", command=(), args=("x",)),
    "settings": replace(
        SERVICE,
        revision="shop-r2",
        port=9000,
        concurrency=1,
        min_instances=1,
        max_instances=2,
        cpu_idle=False,
        startup_cpu_boost=False,
        startup_probe=replace(PROBE, path="/up"),
        liveness_probe=replace(PROBE, timeout=3),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_template_makes_the_named_revision(scene, services, change):
    """Whatever it is that changed; the old revision keeps its traffic."""
    found = await made(scene, services)
    wanted = CHANGES[change]
    paths = differences(wanted, found, services.owned)
    assert "revision" in paths
    await scene.done(await services.update(wanted, found, paths))
    found = await services.observe(SERVICE.name)
    assert found.state == wanted
    assert found.outputs["latest_ready_revision"] == "shop-r2"
    assert [item.name for item in await scene.access.revisions.list(SERVICE.name)] == ["shop-r2", "shop-r1"]


async def test_traffic_and_access_leave_the_template_alone(scene, services):
    """No revision is made, none is named anew."""
    found = await made(scene, services)
    await scene.done(await services.update(CHANGES["image"], found, ("template",)))
    found = await services.observe(SERVICE.name)
    moved = replace(
        CHANGES["image"],
        revision="",
        traffic=(TrafficTarget("shop-r1", 30), TrafficTarget("shop-r2", 70, "candidate")),
        open_access=True,
        ingress="INTERNAL_ONLY",
    )
    await scene.done(await services.update(moved, found, ("traffic", "open_access", "ingress")))
    found = await services.observe(SERVICE.name)
    assert found.state == replace(moved, revision="shop-r2")
    assert len(await scene.access.revisions.list(SERVICE.name)) == 2


async def test_what_others_set_is_no_drift_and_stays(scene, services, google):
    """An annotation and a label of the console survive our next revision."""
    await made(scene, services)
    raw = await google.get_service(name=SERVICE.name)
    raw.client = "cloud-console"
    raw.template.annotations = {"example.com/note": "x"}
    raw.template.revision = ""
    raw.labels = {**raw.labels, "team": "blue"}
    await (await google.update_service(service=raw)).result()
    found = await services.observe(SERVICE.name)
    assert differences(SERVICE, found, services.owned) == ("revision",)
    await scene.done(await services.update(CHANGES["image"], found, ("template", "owner")))
    raw = await google.get_service(name=SERVICE.name)
    assert raw.template.annotations["example.com/note"] == "x"
    assert (raw.client, raw.labels["team"], raw.labels["cost"]) == ("cloud-console", "blue", "shop")


async def test_an_update_of_what_has_changed_since_is_a_conflict(scene, services):
    """The etag of the observation is sent."""
    found = await made(scene, services)
    await scene.done(await services.update(replace(SERVICE, open_access=True), found, ("open_access",)))
    with pytest.raises(Conflict):
        await services.update(CHANGES["image"], found, ("template",))
    with pytest.raises(Conflict):
        await services.delete(SERVICE.name, found.etag)
    await scene.done(await services.delete(SERVICE.name, (await services.observe(SERVICE.name)).etag))
    assert await services.observe(SERVICE.name) is None


async def test_create_with_lost_answer_is_found_not_repeated(scene, services):
    """Looking again finds the one service."""
    scene.lose_answer("Services.CreateService")
    with pytest.raises(Transient):
        await services.create(SERVICE)
    found = await services.observe(SERVICE.name)
    assert found.state == SERVICE
    with pytest.raises(Conflict):
        await services.create(SERVICE)


async def test_deleted_is_gone_and_gone_is_deleted(scene, services):
    """None once the operation is done; another deletion is no error."""
    await made(scene, services)
    await scene.done(await services.delete(SERVICE.name))
    assert await services.observe(SERVICE.name) is None
    assert await services.delete(SERVICE.name) is None


async def test_a_denial_names_the_permission(scene):
    """So that people know what to grant."""
    access = await scene.as_nobody()
    with pytest.raises(PermissionDenied) as denied:
        await access.drivers.of(RunService).observe(SERVICE.name)
    assert denied.value.permission == "run.services.get"


async def test_the_list_shows_services_and_jobs_whole(scene, services, jobs):
    """So that a list can prove that nothing is to be done."""
    await made(scene, services)
    await scene.done(await jobs.create(JOB))
    assert [item.state for item in await services.observe_all(LOCATION)] == [SERVICE]
    found = await jobs.observe_all(LOCATION)
    assert [differences(JOB, item, jobs.owned) for item in found] == [()]


async def test_revisions_tell_their_secrets_and_can_be_deleted(scene, services):
    """By full name and version; what serves cannot be deleted, what has gone is deleted."""
    found = await made(scene, services)
    await scene.done(await services.update(CHANGES["environment"], found, ("template",)))
    wanted = replace(CHANGES["environment"], traffic=(TrafficTarget("shop-r2", 100, "candidate"),))
    revisions = scene.access.revisions
    with pytest.raises(Invalid):
        await revisions.delete(SERVICE.name, "shop-r1")
    await scene.done(await services.update(wanted, await services.observe(SERVICE.name), ("traffic",)))
    newest, oldest = await revisions.list(SERVICE.name)
    assert (newest.name, newest.ready, newest.secret_versions) == ("shop-r2", True, ())
    assert oldest.secret_versions == (("projects/demo/secrets/key", "1"),)
    assert (oldest.image, dict(oldest.labels)["cost"]) == (IMAGE, "shop")
    await revisions.delete(SERVICE.name, "shop-r1")
    deadline = time.monotonic() + 10
    while len(await revisions.list(SERVICE.name)) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await revisions.delete(SERVICE.name, "shop-r1")


async def executions(job: RunJob):
    client = run.ExecutionsAsyncClient(credentials=Credentials("any"))
    try:
        return [item async for item in await client.list_executions(parent=job.name)]
    finally:
        await client.transport.close()


async def ended(scene, job: RunJob, token: str):
    deadline = time.monotonic() + 20
    while (found := await scene.access.runs.find(job, token)) is None or found.state == "Running":
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)
    return found


async def test_a_token_runs_a_job_once(scene, jobs):
    """Created with the first token, changed with the second; a used one starts nothing and is no error."""
    runs = scene.access.runs
    assert await runs.find(JOB, "aaaa") is None
    await scene.done(await runs.start(JOB, "aaaa"))
    first = await ended(scene, JOB, "aaaa")
    assert (first.state, first.exit_code) == ("Succeeded", 0)
    assert first.name == f"{JOB.name}/executions/shop-migrate-aaaa"
    assert first.log_uri.startswith("https://console.cloud.google.com/")
    assert await runs.start(JOB, "aaaa") is None
    changed = replace(JOB, template=replace(JOB.template, args=("again",)))
    await scene.done(await runs.start(changed, "bbbb"))
    await ended(scene, JOB, "bbbb")
    assert (await jobs.observe(JOB.name)).state == changed
    names = [item.name.rsplit("/", 1)[1] for item in await executions(JOB)]
    assert sorted(names) == ["shop-migrate-aaaa", "shop-migrate-bbbb"]


async def test_a_success_is_looked_for_no_further_back_than_asked(scene, monkeypatch):
    """Page by page, newest first: what a job ran in weeks costs no more than what it ran since."""
    monkeypatch.setattr("nuages.cloud.executions.PAGE", 2)
    runs, tokens = scene.access.runs, ["aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff"]
    assert await runs.succeeded(JOB, "aaaa", since=0.0) is None  # no job
    for token in tokens:
        await scene.done(await runs.start(JOB, token))
        await ended(scene, JOB, token)
    began = {item.name.rpartition("-")[2]: item.create_time.timestamp() for item in await executions(JOB)}

    async def look(token: str, since: float) -> tuple[bool, int]:
        """Whether there is one, and the pages that were read."""
        before = scene.asked("Executions.ListExecutions")
        found = await runs.succeeded(JOB, token, since)
        return found is not None, scene.asked("Executions.ListExecutions") - before

    assert await look("none", since=began["ffff"]) == (False, 1)
    assert await look("none", since=began["cccc"]) == (False, 2)
    assert await look("none", since=0.0) == (False, 3)
    assert await look("eeee", since=0.0) == (True, 1)
    assert await look("cccc", since=began["bbbb"]) == (True, 2)
    assert await look("bbbb", since=began["bbbb"]) == (False, 3)


@pytest.mark.parametrize("method", ["Jobs.CreateJob", "Jobs.UpdateJob"])
async def test_a_start_with_lost_answer_runs_once(scene, method):
    """The execution is found by its token."""
    runs = scene.access.runs
    if method == "Jobs.UpdateJob":
        await scene.done(await runs.start(JOB, "first"))
        await ended(scene, JOB, "first")
    scene.lose_answer(method)
    with pytest.raises(Transient):
        await runs.start(JOB, "aaaa")
    assert (await ended(scene, JOB, "aaaa")).state == "Succeeded"
    assert await runs.start(JOB, "aaaa") is None
    assert len(await executions(JOB)) == (2 if method == "Jobs.UpdateJob" else 1)


async def test_a_job_of_others_is_not_run(scene, jobs):
    """Its name is taken: said, not overwritten."""
    await scene.done(await jobs.create(replace(JOB, owner=Owner("else", "web", "uid-2"))))
    with pytest.raises(Invalid, match="not ours"):
        await scene.access.runs.start(JOB, "aaaa")


async def test_a_job_changes_field_by_field_and_goes(scene, jobs):
    """The owner can be marked anew; the template replaced; mounts taken away."""
    await scene.done(await jobs.create(JOB))
    found = await jobs.observe(JOB.name)
    bare = replace(JOB, template=replace(JOB.template, cloud_sql=(), buckets=(), network=None, command=()))
    assert differences(bare, found, jobs.owned) == ("template",)
    await scene.done(await jobs.update(bare, found, ("template",)))
    found = await jobs.observe(JOB.name)
    assert found.state == bare
    other = replace(bare, owner=replace(OWNER, uid="uid-9"))
    await scene.done(await jobs.update(other, found, ("owner",)))
    assert (await jobs.observe(JOB.name)).owner == other.owner
    await scene.done(await jobs.delete(JOB.name))
    assert await jobs.observe(JOB.name) is None
    assert await jobs.delete(JOB.name) is None


async def test_a_full_project_or_a_bad_request_is_told_apart(scene, services):
    """429 is worth another try, 400 is not."""
    scene.fail("Services.CreateService", Code.RESOURCE_EXHAUSTED, "Quota exceeded for quota metric 'Write requests'")
    with pytest.raises(Transient):
        await services.create(SERVICE)
    with pytest.raises(Invalid):
        await services.create(replace(SERVICE, template=replace(SERVICE.template, memory="1Ti")))


async def test_an_operation_that_failed_says_why(real_scene):
    """In Google's own words, classified, however late it is asked."""
    drivers, email = real_scene.access.drivers, "web-app@demo.iam.gserviceaccount.com"
    account = ServiceAccount(name=f"projects/demo/serviceAccounts/{email}", display_name="")
    await drivers.of(ServiceAccount).create(account)
    service = with_template(SERVICE, SERVICE.revision, service_account=email, environment=(), buckets=(), network=None)
    operation = await real_scene.ended(await drivers.of(RunService).create(service))
    assert isinstance(operation.error, CloudError)
    assert operation.error.cause == f"Image '{IMAGE}' not found."
