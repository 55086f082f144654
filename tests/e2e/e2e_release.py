"""One deployed app over its releases: what is applied, and what Google Cloud shows of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psycopg
from e2e_browser import Browser, Page
from e2e_site import READY_S
from e2e_world import POLL_S, World
from google.cloud import run_v2
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.sqladmin_v1 import SqlInstancesServiceAsyncClient

GROUP_VERSION = "nuages.dev/v1alpha1"
ADMINISTRATOR = "nuages-admin"  # of every instance
SQL_READY_S = 900.0
REQUESTS_A_SECOND = 50
LATE_S, MOST_LATE = 0.5, 0.05  # the part of all requests that may be sent later than that
LATEST_S = 2.0


@dataclass
class Deployment:
    """A DjangoApp by name; `spec` is what was applied last."""

    world: World
    name: str
    spec: dict[str, Any] = field(default_factory=dict)

    async def apply(self, **changes: Any) -> dict[str, Any]:
        """The spec with these fields changed; None takes one away."""
        self.spec = {key: value for key, value in {**self.spec, **changes}.items() if value is not None}
        return await self.world.apply(self.manifest)

    @property
    def manifest(self) -> dict[str, Any]:
        metadata = {"name": self.name}
        return {"apiVersion": GROUP_VERSION, "kind": "DjangoApp", "metadata": metadata, "spec": self.spec}

    async def release(self, **changes: Any) -> dict[str, Any]:
        """Apply and wait until the app is Ready for it."""
        await self.apply(**changes)
        return await self.world.wait(self.name)

    async def stalled(self, reason: str = "", **changes: Any) -> dict[str, str]:
        """Apply and wait for Stalled; the condition."""
        await self.apply(**changes)
        app = await self.world.wait(self.name, "Stalled", reason=reason)
        found: dict[str, str] = condition(app, "Stalled")
        return found

    async def status(self) -> dict[str, Any]:
        return dict((await self.world.app(self.name))["status"])

    async def image(self, version: str) -> str:
        return await self.world.site.image("shop", version)

    @property
    def service_name(self) -> str:
        site = self.world.site
        return f"projects/{site.project}/locations/{site.region}/services/{self.world.google_id(self.name)}"

    def job_name(self, part: str) -> str:
        return f"{self.service_name.replace('/services/', '/jobs/')}-{part}"

    async def service(self) -> run_v2.Service:
        return await self.world.google(run_v2.ServicesAsyncClient).get_service(name=self.service_name)

    async def environment(self) -> dict[str, run_v2.EnvVar]:
        """Of the newest template, by name."""
        return {item.name: item for item in (await self.service()).template.containers[0].env}

    async def executions(self, part: str = "migrate") -> list[run_v2.Execution]:
        """Of one of the app's jobs, oldest first; none where there is no job."""
        listed = self.world.google(run_v2.ExecutionsAsyncClient)
        found = [item async for item in await listed.list_executions(parent=self.job_name(part))]
        return sorted(found, key=lambda item: str(item.create_time))

    async def revisions(self) -> set[str]:
        listed = self.world.google(run_v2.RevisionsAsyncClient)
        found = await listed.list_revisions(parent=self.service_name)
        return {item.name.rpartition("/")[2] async for item in found}

    async def browser(self) -> Browser:
        return await self.world.browser(await self.world.app(self.name))

    async def secret(self, part: str, version: str = "latest") -> str:
        """A payload, as the project's owner reads it."""
        secrets = self.world.google(SecretManagerServiceAsyncClient)
        name = f"projects/{self.world.site.project}/secrets/{self.world.google_id(self.name, part)}"
        return (await secrets.access_secret_version(name=f"{name}/versions/{version}")).payload.data.decode()

    async def socket(self, local: Any) -> str:
        """The folder where the server of its database listens."""
        host = (await self.environment())["DB_HOST"].value
        return str(local.cloud.runtime.databases.socket_dir(host.removeprefix("/cloudsql/")))

    @asynccontextmanager
    async def database(self, local: Any, administrator: str = "") -> AsyncIterator[psycopg.AsyncConnection]:
        """A session as the app's own role, or as the administrator with that password, in autocommit mode."""
        environment = await self.environment()
        user = environment["DB_USER"].value
        async with await psycopg.AsyncConnection.connect(
            host=await self.socket(local),
            user=ADMINISTRATOR if administrator else user,
            dbname=environment["DB_NAME"].value,
            password=administrator or await self.secret(f"db-password-{user[-1]}"),
            autocommit=True,
        ) as connection:
            yield connection


@dataclass
class Answers:
    """What a client that asks all the time was answered: everything but 200, and how many in all."""

    bad: list[str] = field(default_factory=list)
    count: int = 0
    late: list[float] = field(default_factory=list)  # how many seconds after its slot each request was sent

    @property
    def sent(self) -> int:
        return len(self.late)

    def assert_steady(self) -> None:
        """A client that stood still saw nothing, however much it sent afterwards: its requests were due meanwhile."""
        behind = sum(seconds > LATE_S for seconds in self.late)
        assert max(self.late) < LATEST_S, f"a request was sent {max(self.late):.1f} s late"
        assert behind <= self.sent * MOST_LATE, f"{behind} of {self.sent} requests were sent over {LATE_S} s late"


@asynccontextmanager
async def polling(deployed: Deployment, path: str = "/", a_second: float = REQUESTS_A_SECOND) -> AsyncIterator[Answers]:
    """Requests through the front door, for as long as the block lasts."""
    browser = await deployed.browser()
    async with asking(lambda: browser.get(path, follow=False), a_second) as answers:
        yield answers


@asynccontextmanager
async def asking(get: Callable[[], Awaitable[Page]], a_second: float = REQUESTS_A_SECOND) -> AsyncIterator[Answers]:
    """The same of any page. What a busy machine was late with is sent at once: no slot of the schedule is dropped."""
    answers = Answers()

    async def one() -> None:
        try:
            page = await get()
            said = "" if page.status == 200 else f"{page.status} {page.text[:200]}"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        answers.count += 1
        if said:
            answers.bad.append(said)

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            while not done.is_set():
                now = loop.time()
                while (slot := began + answers.sent / a_second) <= now:
                    group.create_task(one())
                    answers.late.append(now - slot)
                await asyncio.sleep(max(0.0, began + answers.sent / a_second - loop.time()))

    done = asyncio.Event()
    client = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        done.set()
        await client


async def one_after_the_other(shop: Deployment) -> list[run_v2.Execution]:
    """The app's migrations: each succeeded, no image has two, and none began before the one before it had ended."""
    runs = await shop.executions()
    assert all(run.succeeded_count == 1 for run in runs), runs
    images = [run.template.containers[0].image for run in runs]
    assert len(set(images)) == len(images), images
    for earlier, later in pairwise(runs):
        ended, began = earlier.completion_time, later.create_time
        assert ended <= began, (earlier.name, later.name)  # type: ignore[operator]  # proto-plus makes datetimes of them
    return runs


async def columns(shop: Deployment, local: Any) -> list[tuple[Any, ...]]:
    """Names, of the table of products."""
    async with shop.database(local) as database:
        asked = "SELECT column_name FROM information_schema.columns WHERE table_name = 'catalogue_product'"
        return list(await (await database.execute(asked)).fetchall())


def condition(app: Mapping[str, Any], type_: str) -> dict[str, Any]:
    """One condition of an app; empty where it has none of that type."""
    return next((dict(item) for item in app["status"].get("conditions", ()) if item["type"] == type_), {})


def served(status: Mapping[str, Any]) -> dict[str, int]:
    """Percent by revision, without those that only a tag leads to."""
    return {target["revision"]: target["percent"] for target in status["traffic"] if target["percent"]}


async def eventually(holds: Callable[[], Any], what: str, timeout: float = READY_S) -> Any:
    """What `holds` returns once it is true; it may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        await asyncio.sleep(POLL_S)


async def shared_instance(world: World, name: str, **tenant: Any) -> None:
    """A PostgreSQL 15 instance as a platform team makes it, and a tenant whose apps are on it; `tenant`: its fields."""
    instances, project = world.google(SqlInstancesServiceAsyncClient), world.site.project
    settings = {
        "tier": "db-custom-1-3840",
        "edition": "ENTERPRISE",
        "database_flags": [{"name": "max_connections", "value": "200"}],
    }
    body = {"name": name, "database_version": "POSTGRES_15", "region": world.site.region, "settings": settings}
    await instances.insert(request={"project": project, "body": body})

    async def runs() -> bool:
        found = await instances.get(request={"project": project, "instance": name})
        return bool(found.state.name == "RUNNABLE")

    await eventually(runs, f"instance {name}", SQL_READY_S)
    spec = {"project": project, "region": world.site.region, "database": {"existing": name}, **tenant}
    await world.apply(
        {"apiVersion": GROUP_VERSION, "kind": "DjangoTenant", "metadata": {"name": "default"}, "spec": spec}
    )
