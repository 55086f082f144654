"""Cloud Run services that really run, through Google's own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1, run_v2, secretmanager_v1
from google.iam.v1 import iam_policy_pb2, policy_pb2
from run_support import PARENT, REPOSITORY, Door, Services, build_app, finished, log_texts, template, until

from localcloud.localcloud import LocalCloud
from localcloud.runtime import loopback
from localcloud.runtime.pool import PoolTimes
from localcloud.runtime.probes import ProbeTimes, outside_address

LATEST = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
REVISION = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
ACCOUNT = "shop-run@demo.iam.gserviceaccount.com"


@pytest.fixture
async def services(cloud: LocalCloud, clients: Any, tmp_path: Path) -> Services:
    """The client, with the test image built."""
    cloud.runtime.revisions.probe_times = ProbeTimes(1000, 1.5, 0.1, 1.0)
    return Services(clients(run_v2.ServicesAsyncClient), await build_app(cloud, tmp_path))


@pytest.fixture
async def door(cloud: LocalCloud) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession() as session:
        yield Door(cloud, session)


async def test_a_service_serves_with_googles_environment(services: Services, door: Door) -> None:
    """A created service answers at its URL, and its process has K_* and PORT."""
    made = await services.deploy(ANSWER="x")
    assert made.uri.endswith("-ew.a.run.app")
    assert list(made.urls) == ["https://app-187635794409.europe-west1.run.app", made.uri]
    assert made.terminal_condition.state.name == "CONDITION_SUCCEEDED"
    status, text = await door.get("/env")
    environment = json.loads(text)
    assert status == 200
    assert environment["K_SERVICE"] == environment["K_CONFIGURATION"] == "app"
    assert environment["K_REVISION"] == made.latest_ready_revision.rsplit("/", 1)[-1]
    assert environment["PORT"].isdigit()
    assert "GOOGLE_CLOUD_PROJECT" not in environment
    assert (await door.get("/", host=made.uri.removeprefix("https://"))) == (200, "x")


async def test_a_crash_at_start_fails_the_revision_and_keeps_the_service(cloud: LocalCloud, services: Services) -> None:
    """A container that exits at once makes the operation fail with Google's words; the service stays, failed."""
    with pytest.raises(exceptions.GoogleAPICallError) as raised:
        await services.deploy(MODE="crash")
    assert "failed to start and listen on the port defined provided by the PORT=8080" in str(raised.value)
    assert "Logs URL: https://console.cloud.google.com/logs/viewer" in str(raised.value)
    service = await services.get()
    assert service.terminal_condition.state.name == "CONDITION_FAILED"
    assert service.terminal_condition.revision_reason.name == "HEALTH_CHECK_CONTAINER_ERROR"
    assert service.latest_created_revision
    assert not service.latest_ready_revision
    assert "Container called exit(3)." in log_texts(cloud)
    assert "no such setting" in log_texts(cloud, "stderr")
    with pytest.raises(exceptions.AlreadyExists, match="Resource 'app' already exists"):
        await services.deploy()


async def test_a_command_that_is_not_there_is_no_container_that_exits(cloud: LocalCloud, services: Services) -> None:
    """Google looks for the program before it starts anything, and says so in a line of its own."""
    with pytest.raises(exceptions.GoogleAPICallError):
        await services.deploy(container={"command": ["gunicornn"], "args": ["config.wsgi"]})
    said = log_texts(cloud)
    assert [text for text in said if "Application failed to start: " in text and "gunicornn" in text]
    assert not [text for text in said if text.startswith("Container called exit")]
    assert log_texts(cloud, "stderr") == []


async def test_a_server_that_others_could_reach_is_said(cloud: LocalCloud, services: Services, door: Door) -> None:
    """One that is not Python's listens where it is told to; it serves, and the log warns."""
    if outside_address() is None:
        pytest.skip("this machine is on no network")
    await services.deploy(MODE="foreign", ANSWER="x")
    assert await door.get("/") == (200, "x")
    warnings = [text for text in log_texts(cloud) if "others on this machine's network reach it" in text]
    assert len(warnings) == 1
    await services.deploy("python")
    assert [text for text in log_texts(cloud) if "others on this machine's network reach it" in text] == warnings


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_an_instance_finds_itself_at_localhost(services: Services, door: Door, host: str) -> None:
    """As a warm-up or a check of its own does."""
    await services.deploy(ANSWER="me")
    assert await door.get(f"/self?host={host}") == (200, "me")


async def test_an_image_of_an_earlier_localcloud_is_kept_on_loopback(cloud: LocalCloud, services: Services) -> None:
    """What keeps its servers there is this localcloud's, not that of the build."""
    image = cloud.runtime.images.resolve(services.image)
    assert image is not None
    (hook,) = _hooks(image.python.parent)
    _replace(hook, "def install(): raise SystemExit('of an earlier localcloud')\n")
    await services.deploy()
    assert _is_same(hook, Path(loopback.__file__))


def _hooks(environment: Path) -> list[Path]:
    return list(environment.glob(f"lib/python*/site-packages/{loopback.MODULE}.py"))


def _replace(file: Path, text: str) -> None:
    file.unlink()  # other environments share it by a hard link
    file.write_text(text)


def _is_same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("mode", ["silent", "loopback"])
async def test_a_container_that_never_listens_fails(cloud: LocalCloud, services: Services, mode: str) -> None:
    """Listening nowhere, or on 127.0.0.1 alone, fails the default startup probe."""
    with pytest.raises(exceptions.GoogleAPICallError, match="failed to start and listen"):
        await services.deploy(MODE=mode)
    assert any(
        text.startswith('Default STARTUP TCP probe failed 1 time consecutively for container "app-1" on port 8080.')
        for text in log_texts(cloud)
    )
    assert any(text.startswith("localcloud: waited 1.5 s, where Google would wait 240 s.") for text in log_texts(cloud))


@pytest.mark.parametrize(
    ("probe", "speed", "seconds"),
    [
        ({"period_seconds": 240, "failure_threshold": 1}, 60, 60),  # the default
        ({"period_seconds": 240, "failure_threshold": 1}, 2, 120),
        ({"period_seconds": 240, "failure_threshold": 1}, 1, 240),
        ({"period_seconds": 10, "failure_threshold": 3, "initial_delay_seconds": 60}, 60, 60),
        ({"period_seconds": 10, "failure_threshold": 3}, 60, 30),
    ],
)
def test_a_startup_probe_has_a_minute_however_fast_the_cloud(probe: Any, speed: float, seconds: float) -> None:
    """Of this machine's time, for the process is real; unless Google's would give up before."""
    times, asked = ProbeTimes(speed), run_v2.Probe.pb(run_v2.Probe(probe))
    assert times.startup_seconds(asked) == seconds
    is_early = seconds < asked.initial_delay_seconds + asked.period_seconds * asked.failure_threshold
    assert bool(times.gave_up_early(asked)) == is_early


async def test_a_failing_startup_probe_is_named(services: Services) -> None:
    """A custom HTTP probe that answers 500 fails the revision with the text for configured probes."""
    probe = {"startup_probe": {"http_get": {"path": "/healthz"}, "period_seconds": 1, "failure_threshold": 2}}
    with pytest.raises(exceptions.GoogleAPICallError, match="failed the configured startup probe checks"):
        await services.deploy(MODE="unhealthy", container=probe)


async def test_an_unknown_image_is_not_found(services: Services) -> None:
    """The registry decides at deploy."""
    with pytest.raises(exceptions.GoogleAPICallError, match=f"Image '{REPOSITORY}:v9' not found."):
        await services.deploy(image=f"{REPOSITORY}:v9")


async def _secret(clients: Any, *, grant: bool) -> secretmanager_v1.SecretManagerServiceAsyncClient:
    secrets = clients(secretmanager_v1.SecretManagerServiceAsyncClient)
    await secrets.create_secret(
        parent="projects/demo", secret_id="key", secret=secretmanager_v1.Secret({"replication": {"automatic": {}}})
    )
    await secrets.add_secret_version(parent="projects/demo/secrets/key", payload={"data": b"s3cret"})
    if grant:
        policy = policy_pb2.Policy()
        policy.bindings.add(role="roles/secretmanager.secretAccessor", members=[f"serviceAccount:{ACCOUNT}"])
        await secrets.set_iam_policy(
            iam_policy_pb2.SetIamPolicyRequest(resource="projects/demo/secrets/key", policy=policy)
        )
    return secrets


async def _account(clients: Any) -> None:
    await clients(iam_admin_v1.IAMAsyncClient).create_service_account(
        iam_admin_v1.CreateServiceAccountRequest(name="projects/demo", account_id="shop-run")
    )


def _from_secret(version: str = "1", name: str = "key") -> list[run_v2.EnvVar]:
    source = {"secret_key_ref": {"secret": name, "version": version}}
    return [run_v2.EnvVar({"name": "SECRET", "value_source": source})]


async def test_secrets_need_the_accessor_role(clients: Any, services: Services) -> None:
    """Without secretAccessor for the revision's own account the deploy fails with Google's sentence."""
    await _account(clients)
    await _secret(clients, grant=False)
    with pytest.raises(exceptions.GoogleAPICallError) as raised:
        await services.deploy(env=_from_secret(), service_account=ACCOUNT)
    assert (
        f"Permission denied on secret: projects/187635794409/secrets/key/versions/1 for Revision service account "
        f"{ACCOUNT}." in str(raised.value)
    )
    service = await services.get()
    assert service.terminal_condition.reason.name == "SECRETS_ACCESS_CHECK_FAILED"


async def test_a_missing_secret_is_named(clients: Any, services: Services) -> None:
    """A reference to nothing fails the deploy."""
    await _account(clients)
    with pytest.raises(exceptions.GoogleAPICallError, match="secrets/none/versions/latest was not found"):
        await services.deploy(env=_from_secret("latest", "none"), service_account=ACCOUNT)


async def test_secret_values_arrive_and_a_disabled_version_stops_new_instances(
    cloud: LocalCloud, clients: Any, services: Services, door: Door
) -> None:
    """The value is in the environment; after the version is disabled, a start from zero fails with 500."""
    await _account(clients)
    secrets = await _secret(clients, grant=True)
    cloud.runtime.revisions.pool_times = PoolTimes(idle_s=0.1, pending_s=1.0)
    await services.deploy(env=_from_secret(), service_account=ACCOUNT)
    assert json.loads((await door.get("/env"))[1])["SECRET"] == "s3cret"
    await until(lambda: not any(cloud.runtime.revisions.counts().values()))
    await secrets.disable_secret_version(name="projects/demo/secrets/key/versions/1")
    status, _ = await door.get("/")
    assert status == 500
    assert "Secret Version [key/versions/1] is in DISABLED state. Instance startup will now abort." in log_texts(cloud)
    assert not any("s3cret" in json.dumps(entry) for entry in cloud.runtime.logs.entries())


async def test_act_as_is_required(cloud: LocalCloud, clients: Any, services: Services) -> None:
    """Whoever may deploy but not act as the account is refused, and nothing is made."""
    await _account(clients)
    deployer = f"deployer@{'demo'}.iam.gserviceaccount.com"
    await clients(iam_admin_v1.IAMAsyncClient).create_service_account(
        iam_admin_v1.CreateServiceAccountRequest(name="projects/demo", account_id="deployer")
    )
    policy = policy_pb2.Policy()
    policy.bindings.add(role="roles/run.admin", members=[f"serviceAccount:{deployer}"])
    cloud.core.policies.set("projects/demo", policy)
    theirs = Services(clients(run_v2.ServicesAsyncClient, cloud.core.tokens.issue(deployer)), services.image)
    with pytest.raises(
        exceptions.PermissionDenied,
        match=rf"Permission 'iam.serviceaccounts.actAs' denied on service account {ACCOUNT} \(or it may not exist\).",
    ):
        await theirs.deploy(service_account=ACCOUNT)
    with pytest.raises(exceptions.NotFound, match="Resource 'app' of kind 'SERVICE' in region 'europe-west1'"):
        await services.get()


async def test_traffic_splits_tags_and_failed_candidates(services: Services, door: Door) -> None:
    """Two revisions share requests by percent, a tag has its own URL, and a failing candidate takes no traffic."""
    await services.deploy(revision="app-a", ANSWER="a")
    service = await services.get()
    service.template = template(services.image, revision="app-b", ANSWER="b")
    service.traffic = [
        {"type_": REVISION, "revision": "app-a", "percent": 100},
        {"type_": REVISION, "revision": "app-b", "tag": "candidate"},
    ]
    made = await services.update(service)
    tagged = next(status for status in made.traffic_statuses if status.tag)
    assert tagged.uri.startswith("https://candidate---app-")
    assert await door.get("/", tag="candidate") == (200, "b")
    assert {(await door.get("/"))[1] for _ in range(20)} == {"a"}
    service = await services.get()
    service.traffic = [
        {"type_": REVISION, "revision": "app-a", "percent": 50},
        {"type_": REVISION, "revision": "app-b", "percent": 50},
    ]
    await services.update(service)
    answers = [(await door.get("/"))[1] for _ in range(200)]
    assert 60 <= answers.count("a") <= 140
    service = await services.get()
    service.template = template(services.image, revision="app-c", MODE="crash")
    with pytest.raises(exceptions.GoogleAPICallError, match="Revision 'app-c' is not ready"):
        await services.update(service)
    assert (await door.get("/"))[0] == 200
    assert (await services.get()).latest_ready_revision.endswith("/app-b")


async def test_revision_names_are_unique_by_configuration(services: Services) -> None:
    """The same name with another template is refused; a name must begin with the service's."""
    await services.deploy(revision="app-a")
    service = await services.get()
    service.template = template(services.image, revision="app-a", ANSWER="other")
    with pytest.raises(
        exceptions.AlreadyExists, match=r"Revision named 'app-a' with different configuration already exists\."
    ):
        await services.update(service)
    service.template = template(services.image, revision="b")
    with pytest.raises(exceptions.InvalidArgument, match="must be prefixed with the name of the service"):
        await services.update(service)


async def test_traffic_to_a_missing_revision_fails_the_operation(services: Services, door: Door) -> None:
    """The old route stays."""
    await services.deploy(revision="app-a")
    service = await services.get()
    service.traffic = [{"type_": REVISION, "revision": "app-z", "percent": 100}]
    with pytest.raises(exceptions.GoogleAPICallError, match=r"Revision 'app-z' does not exist or is deleted\."):
        await services.update(service)
    assert (await door.get("/"))[0] == 200


async def test_revisions_that_can_receive_traffic_stay(clients: Any, services: Services) -> None:
    """Deleting the latest or a routed revision is a failed precondition; an old one goes."""
    await services.deploy(revision="app-a")
    service = await services.get()
    service.template = template(services.image, revision="app-b", ANSWER="b")
    await services.update(service)
    revisions = clients(run_v2.RevisionsAsyncClient)
    with pytest.raises(exceptions.FailedPrecondition):
        await revisions.delete_revision(name=f"{PARENT}/services/app/revisions/app-b")
    await finished(await revisions.delete_revision(name=f"{PARENT}/services/app/revisions/app-a"))
    left = [r.name.rsplit("/", 1)[-1] async for r in await revisions.list_revisions(parent=f"{PARENT}/services/app")]
    assert left == ["app-b"]


async def test_masks_etags_and_validate_only(services: Services) -> None:
    """A mask changes its path alone, an old etag conflicts, validateOnly keeps nothing."""
    made = await services.deploy(revision="app-a", ANSWER="a")
    change = run_v2.Service(name=made.name, labels={"team": "web"}, template=template("nothing"))
    masked = run_v2.UpdateServiceRequest(service=change, update_mask={"paths": ["labels"]})
    after = await finished(await services.client.update_service(masked))
    assert dict(after.labels) == {"team": "web"}
    assert after.template.containers[0].image == services.image
    assert after.generation == made.generation + 1
    assert after.latest_created_revision == made.latest_created_revision
    stale = run_v2.Service(made)
    with pytest.raises(exceptions.Aborted, match="Conflict for resource 'app': version '"):
        await services.update(stale)
    fresh = await services.get()
    fresh.labels["team"] = "other"
    dry = run_v2.UpdateServiceRequest(service=fresh, validate_only=True)
    shown = await finished(await services.client.update_service(dry))
    assert shown.labels["team"] == "other"
    assert (await services.get()).labels["team"] == "web"


async def test_a_deleted_service_is_gone_and_its_name_free(cloud: LocalCloud, services: Services, door: Door) -> None:
    """Deletion ends the processes, GET answers 404, and the name can be used again at once."""
    made = await services.deploy()
    gone = await finished(await services.client.delete_service(name=made.name))
    assert gone.delete_time
    assert (gone.expire_time - gone.delete_time).days == 30
    with pytest.raises(exceptions.NotFound):
        await services.get()
    assert (await door.get("/"))[0] == 404
    assert not cloud.runtime.revisions.counts()
    again = await services.deploy()
    assert again.uid != made.uid


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"PORT": "1"}, "The following reserved env names were provided: PORT."),
        ({"A=B": "1"}, "'A=B' must neither contain '=' nor begin with X_GOOGLE_"),
        ({"X_GOOGLE_A": "1"}, "'X_GOOGLE_A' must neither contain '=' nor begin with X_GOOGLE_"),
        ({"A": "é" * 16_385}, "the value of 'A' is longer than 32768 bytes"),
        ({f"A{n}": "1" for n in range(1001)}, "a container may have 1000 environment variables at most"),
        ({"max_instance_request_concurrency": 2000}, "Violation in Service.template.max_instance_request_concurrency"),
        ({"timeout": {"seconds": 9999}}, "Violation in Service.template.timeout"),
        ({"container": {"resources": {"limits": {"cpu": "3"}}}}, "Invalid value specified for cpu."),
        ({"labels": {"run.googleapis.com/x": "y"}}, "reserved for the system"),
    ],
)
async def test_bad_templates_are_refused_at_once(services: Services, change: dict[str, Any], text: str) -> None:
    """Each mistake is named, and nothing is made."""
    with pytest.raises(exceptions.InvalidArgument) as raised:
        await services.deploy(**change)
    assert text in str(raised.value)
    with pytest.raises(exceptions.NotFound):
        await services.get()


async def test_what_is_not_modelled_is_refused_by_name(services: Services) -> None:
    """Identity-Aware Proxy, say."""
    with pytest.raises(exceptions.MethodNotImplemented, match="localcloud does not model Identity-Aware Proxy"):
        await services.deploy(access={"iap_enabled": True})


async def test_a_liveness_failure_replaces_the_instance(cloud: LocalCloud, services: Services, door: Door) -> None:
    """An instance that turns unwell is ended, and the next request gets another one."""
    probe = {"liveness_probe": {"http_get": {"path": "/healthz"}, "period_seconds": 1, "failure_threshold": 2}}
    await services.deploy(container=probe)
    assert (await door.get("/unwell"))[0] == 200
    await until(lambda: any("LIVENESS HTTP probe failed" in text for text in log_texts(cloud)))
    assert (await door.get("/healthz"))[0] == 200
