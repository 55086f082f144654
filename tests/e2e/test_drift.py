"""What somebody changes at Google by hand: found within its interval, set back or refused, and told; then it serves."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from e2e_accounts import id_token, make_account
from e2e_openings import Opening, an_open_bucket, an_open_instance
from e2e_plan import plan
from e2e_release import Deployment, condition, eventually, served
from e2e_site import Site
from e2e_world import World, is_current, open_world
from google.cloud import run_v2
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, SecretVersion
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient
from google.cloud.storage import Client as StorageClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("drift")]

INTERVALS = {"reconcileIntervalSeconds": 4}  # what no list shows is found on request: how soon, test_deep_drift says
DEEP_S = 10
SLACK_S = 30.0  # a machine under load; a look that were a whole interval late would still be told by the unit tests
SETTLED_S = 120.0


@dataclass
class Scene:
    """A shop with short intervals, and what must not change whatever is done to it."""

    shop: Deployment
    invoker: str
    payloads: dict[str, str] = field(default_factory=dict)
    migrations: int = 0

    @property
    def world(self) -> World:
        return self.shop.world

    @property
    def project(self) -> str:
        return self.world.site.project

    @property
    def bucket(self) -> str:
        return f"{self.project}-{self.world.google_id('shop', 'media')}"

    def secret(self, part: str) -> str:
        return f"projects/{self.project}/secrets/{self.world.google_id('shop', part)}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(site: Site, google_environment: None) -> AsyncIterator[Scene]:
    """Ready; the second release leaves an old revision."""
    async with open_world(site, f"drift-{uuid.uuid4().hex[:4]}") as world:
        shop = Deployment(world, "shop")
        invoker = await make_account(world, f"{world.namespace}-a")
        image = await shop.image("v1")
        web = {"access": "Authenticated", "invokers": [f"serviceAccount:{invoker}"]}
        await shop.release(image=image, web=web, **INTERVALS)
        await shop.release(env=[{"name": "COLOUR", "value": "red"}])
        made = Scene(shop, invoker)
        for part in ("secret-key", "db-password-a"):
            made.payloads[part] = await shop.secret(part)
        made.migrations = len(await shop.executions())
        yield made


async def edit_service(scene: Scene, change: Callable[[run_v2.Service], None]) -> None:
    """As the console does: the service whole, with one thing changed."""
    services = scene.world.google(run_v2.ServicesAsyncClient)
    found = await scene.shop.service()
    found.template.revision = ""
    change(found)
    operation = await services.update_service(service=found)
    await operation.result()  # type: ignore[no-untyped-call]


def scale(service: run_v2.Service) -> None:
    service.template.scaling.max_instance_count = 1


def keep_warm(service: run_v2.Service) -> None:
    service.template.revision = service.latest_created_revision.rpartition("/")[2]
    service.scaling.min_instance_count = 2


def recolour(service: run_v2.Service) -> None:
    next(item for item in service.template.containers[0].env if item.name == "COLOUR").value = "blue"


def open_doors(service: run_v2.Service) -> None:
    service.template.revision = service.latest_created_revision.rpartition("/")[2]
    service.invoker_iam_disabled = True


async def move_traffic(scene: Scene) -> None:
    serving = str((await scene.shop.status())["revision"])
    older = next(name for name in sorted(await scene.shop.revisions()) if name != serving)

    def change(service: run_v2.Service) -> None:
        service.template.revision = service.latest_created_revision.rpartition("/")[2]
        by_revision = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
        service.traffic = [run_v2.TrafficTarget(type_=by_revision, revision=older, percent=100)]

    await edit_service(scene, change)


async def remove_binding(scene: Scene) -> None:
    secrets = scene.world.google(SecretManagerServiceAsyncClient)
    policy = await secrets.get_iam_policy(request={"resource": scene.secret("secret-key")})
    del policy.bindings[:]
    await secrets.set_iam_policy(request={"resource": scene.secret("secret-key"), "policy": policy})


async def remove_invoker(scene: Scene) -> None:
    services = scene.world.google(run_v2.ServicesAsyncClient)
    policy = await services.get_iam_policy(request={"resource": scene.shop.service_name})
    del policy.bindings[:]
    await services.set_iam_policy(request={"resource": scene.shop.service_name, "policy": policy})


async def delete_bucket(scene: Scene) -> None:
    def delete() -> None:
        client = StorageClient(project=scene.project, credentials=scene.world.site.credentials())
        client.bucket(scene.bucket).delete(force=True)

    await asyncio.to_thread(delete)


async def instance_of(scene: Scene) -> str:
    return str((await scene.shop.status())["database"]["instance"])


async def change_flag(scene: Scene) -> None:
    instances = scene.world.google(SqlInstancesServiceAsyncClient)
    body = {"settings": {"database_flags": [{"name": "max_connections", "value": "150"}]}}
    await instances.patch(request={"project": scene.project, "instance": await instance_of(scene), "body": body})


@dataclass(frozen=True)
class Change:
    """One thing done by hand; `told` is what status.drift says of it, without the run's own names."""

    do: Callable[[Scene], Awaitable[None]]
    told: str
    reason: str = "DriftCorrected"
    is_deep: bool = False  # found by spec.deepCheckIntervalSeconds


GRANT = "secretmanager.secretAccessor on {app}-secret-key for {account}: deleted"
CHANGES = {
    "scaled": Change(lambda scene: edit_service(scene, scale), "Service {app}: max_instances"),
    "kept-warm": Change(lambda scene: edit_service(scene, keep_warm), "Service {app}: service_scaling"),
    "environment": Change(lambda scene: edit_service(scene, recolour), "Service {app}: template.environment.COLOUR"),
    "doors": Change(lambda scene: edit_service(scene, open_doors), "Service {app}: open_access"),
    "traffic": Change(move_traffic, "Service {app}: traffic"),
    "grant": Change(remove_binding, GRANT, is_deep=True),
    "invoker": Change(remove_invoker, "run.invoker on {app} for serviceAccount:{invoker}: deleted", is_deep=True),
    "bucket": Change(delete_bucket, "Bucket {bucket}: deleted", "DriftDetected"),
    "sql-flag": Change(change_flag, "Instance {instance}: flags"),
}


async def look_now(scene: Scene, why: str) -> None:
    await scene.world.annotate("shop", "nuages.dev/reconcile-at", f"{why} {time.time()}")


async def names(scene: Scene) -> dict[str, str]:
    account = (await scene.shop.service()).template.service_account
    return {
        "app": scene.world.google_id("shop"),
        "account": f"serviceAccount:{account}",
        "invoker": scene.invoker,
        "bucket": scene.bucket,
        "instance": await instance_of(scene),
    }


async def answers(scene: Scene) -> int:
    """What the invoker gets."""
    url = str((await scene.shop.status())["url"])
    return await scene.world.fetch_status(url, await id_token(scene.world, scene.invoker, url))


async def require_unharmed(scene: Scene) -> None:
    """It serves, with the secrets that it had, and nothing has migrated."""
    assert await answers(scene) == 200
    for part, payload in scene.payloads.items():
        assert await scene.shop.secret(part) == payload, part
    assert len(await scene.shop.executions()) == scene.migrations


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_by_hand_is_set_back_and_told(scene: Scene, change: Change) -> None:
    """In status.drift and in an event, where a list shows it within its interval; Ready again, it serves as before."""
    expected = change.told.format(**await names(scene))
    told_before = await told_of(scene, change.reason)
    await change.do(scene)
    if change.is_deep:
        await look_now(scene, change.told)
    await require_found(scene, expected)
    await require_ready(scene)
    await scene.world.told("shop", change.reason, expected, after=told_before)
    await require_unharmed(scene)


async def told_of(scene: Scene, reason: str) -> int:
    """How often."""
    return len([text for kind, text in await scene.world.events("shop") if kind == reason])


async def require_found(scene: Scene, *expected: str) -> None:
    """In status.drift, within the interval of what lists show."""
    began = time.monotonic()
    longest = INTERVALS["reconcileIntervalSeconds"] + SLACK_S
    await scene.world.until(
        lambda app: set(expected) <= set(app["status"].get("drift", {}).get("fields", ())), "shop", timeout=longest
    )
    assert time.monotonic() - began < longest


async def require_ready(scene: Scene) -> None:
    """Again, with the revision that it had."""
    app = await scene.world.until(
        lambda app: is_current(app) and condition(app, "Ready")["status"] == "True", "shop", timeout=SETTLED_S
    )
    assert served(app["status"]) == {app["status"]["revision"]: 100}


async def openings(scene: Scene) -> dict[str, Opening]:
    return {"bucket": an_open_bucket(scene.bucket), "instance": an_open_instance(await instance_of(scene))}


@pytest.mark.parametrize("what", ["bucket", "instance"])
async def test_what_is_opened_by_hand_is_closed_again_and_told(scene: Scene, what: str) -> None:
    """Within its interval, field by field; the app is Ready again, and serves as before."""
    opening = (await openings(scene))[what]
    told_before = await told_of(scene, "DriftCorrected")
    await opening.do(scene.world)
    assert not await opening.is_closed(scene.world)
    await require_found(scene, *opening.told)
    await require_ready(scene)
    assert await opening.is_closed(scene.world)
    for text in opening.told:
        await scene.world.told("shop", "DriftCorrected", text, after=told_before)
    await require_unharmed(scene)


async def test_what_is_open_is_in_the_plan(scene: Scene, local: Any) -> None:
    """An app that is only observed says what Manage would close, as `nuages plan` does; then it is closed."""
    await scene.shop.release(management="Observe")
    opened = (await openings(scene)).values()
    for opening in opened:
        await opening.do(scene.world)
    await look_now(scene, "opened")
    app = await scene.world.wait("shop", "Ready", "False", reason="Observed")
    rows = {row["kind"].rpartition("/")[2]: tuple(row["fields"]) for row in app["status"]["plan"]}
    assert rows == {opening.kind: opening.fields for opening in opened}
    code, output = await plan(local, scene.world, scene.shop.manifest)
    assert code == 2, output
    for opening in opened:
        assert f"~ update {opening.kind} {opening.name} ({', '.join(opening.fields)})" in output
    await scene.shop.release(management="Manage")
    for opening in opened:
        assert await opening.is_closed(scene.world)
    await require_unharmed(scene)


@pytest.mark.parametrize("part", ["secret-key", "db-password-a"])
async def test_a_disabled_version_is_refused_and_left(scene: Scene, part: str) -> None:
    """Whoever disabled it may have had to: Stalled says so, and their enabling it again is all that it takes."""
    secrets = scene.world.google(SecretManagerServiceAsyncClient)
    version = f"{scene.secret(part)}/versions/1"
    await secrets.disable_secret_version(name=version)
    await look_now(scene, "disabled")
    app = await scene.world.wait("shop", "Stalled", reason="SecretVersionDisabled")
    expected = f"Secret {scene.world.google_id('shop', part)}: version"
    assert expected in app["status"]["drift"]["fields"]
    await scene.world.told("shop", "DriftDetected", expected)
    assert (await secrets.get_secret_version(name=version)).state == SecretVersion.State.DISABLED
    assert await answers(scene) == 200
    await secrets.enable_secret_version(name=version)
    await look_now(scene, "enabled")
    await scene.world.wait("shop")
    await require_unharmed(scene)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ('ALTER ROLE "shop-a" RESET role', "role shop-a: its sessions corrected"),
        ("GRANT CONNECT ON DATABASE shop TO PUBLIC", "database shop: closed to others"),
        ("DROP EXTENSION citext", "extension citext: created"),
        ('DROP OWNED BY "shop-a"; DROP ROLE "shop-a"', "role shop-a: created"),
    ],
    ids=["role", "grant", "extension", "user"],
)
async def test_what_is_changed_inside_of_the_database_is_set_right(
    scene: Scene, local: Any, statement: str, told: str
) -> None:
    """Within spec.deepCheckIntervalSeconds, by db-init, whose words are told; the app stays Ready meanwhile."""
    await scene.shop.release(deepCheckIntervalSeconds=DEEP_S)
    async with scene.shop.database(local, await administrators_password(scene)) as connection:
        await connection.execute(statement.encode())
    expected = f"Database shop: {told}"
    app = await scene.world.until(
        lambda app: expected in app["status"].get("drift", {}).get("fields", ()), "shop", timeout=DEEP_S + SLACK_S
    )
    assert condition(app, "Ready")["status"] == "True"
    await scene.world.told("shop", "DriftCorrected", expected)
    await require_unharmed(scene)
    await scene.shop.release(deepCheckIntervalSeconds=None)


async def administrators_password(scene: Scene) -> str:
    secrets = scene.world.google(SecretManagerServiceAsyncClient)
    parent = f"projects/{scene.project}"
    listed = [item.name async for item in await secrets.list_secrets(parent=parent)]
    name = next(item for item in listed if scene.world.namespace in item and "admin" in item)
    return (await secrets.access_secret_version(name=f"{name}/versions/latest")).payload.data.decode()


async def test_what_consoles_add_is_no_drift(scene: Scene, local: Any) -> None:
    """Labels, annotations and the name of a client: nothing is written, and nothing told, for three intervals."""

    async def seen() -> Any:
        status = (await scene.world.app("shop"))["status"]
        return status["release"], status.get("drift")

    def add(service: run_v2.Service) -> None:
        service.template.revision = service.latest_created_revision.rpartition("/")[2]
        service.client, service.client_version = "gcloud", "500.0.0"
        service.annotations["example.com/seen-by"] = "ops"  # Google keeps run.googleapis.com/* to its own clients
        service.labels["team"] = "data"

    before, generation = await seen(), (await scene.shop.service()).generation
    await edit_service(scene, add)
    written = [request for request in local.requests(scene.world.namespace, "shop") if local.is_write(request)]
    lists = len([r for r in local.requests(scene.world.namespace, "shop") if "ListServices" in r.method])

    async def looked_again() -> bool:
        asked = [r for r in local.requests(scene.world.namespace, "shop") if "ListServices" in r.method]
        return len(asked) >= lists + 3

    await eventually(looked_again, "three looks at the service", SETTLED_S)
    now = [request for request in local.requests(scene.world.namespace, "shop") if local.is_write(request)]
    assert now == written, json.dumps([request.method for request in now[len(written) :]])
    assert await seen() == before
    assert (await scene.shop.service()).generation == generation + 1
    assert dict((await scene.shop.service()).labels)["team"] == "data"
