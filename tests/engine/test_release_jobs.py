"""What a release does more than once, when an answer is lost: never the work itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from engine_scene import Scene
from google.cloud import run_v2 as run
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, SecretVersion
from google.oauth2.credentials import Credentials

from localcloud.runtime.tasks import EXITED_WITH_ERROR, Attempt
from localcloud.runtime.workload import Workload
from nuages.cloud.errors import Transient
from nuages.desired.resource import Owner
from nuages.desired.run import RunJob, Template
from nuages.desired.secretmanager import Random, Secret
from nuages.reconcile.release.jobs import Run, is_to_run, run_once
from nuages.reconcile.release.outcome import Done, Failed, Outcome, Waiting

LOCATION, OWNER = "projects/demo/locations/europe-west1", Owner("shop", "web", "uid-1")
JOB = RunJob(
    name=f"{LOCATION}/jobs/shop-migrate",
    owner=OWNER,
    template=Template(
        image="europe-west1-docker.pkg.dev/demo/apps/shop@sha256:" + "a" * 64,
        cpu="1",
        memory="512Mi",
        service_account="web@demo.iam.gserviceaccount.com",
        timeout=300,
        labels=tuple(sorted(OWNER.labels().items())),
    ),
)
MIGRATE = Run(JOB, "1a2b3c4d", "migrate", "Migrating", "MigrationFailed", "Release a fixed image", "spec.image")


async def ended(scene: Scene, wanted: Run) -> Outcome:
    """Entered again and again, as passes do, until there is nothing to wait for."""
    deadline = time.monotonic() + 20
    while isinstance(outcome := await run_once(wanted, scene.access), Waiting):
        assert time.monotonic() < deadline, outcome
        await asyncio.sleep(0.01)
    return outcome


def _needs_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job fails with what it is given here, and ends well with any other amount."""
    attempt, logs = scene.cloud.runtime.tasks.attempt, scene.cloud.runtime.logs

    async def needs_memory(of: Workload, *rest: Any) -> Attempt:
        if of.container.resources.limits["memory"] != JOB.template.memory:
            return await attempt(of, *rest)
        logs.write(of.resource_type, of.resource_labels, "stderr", "MemoryError", entry_labels=of.entry_labels)
        return Attempt(1, message=EXITED_WITH_ERROR)

    monkeypatch.setattr(scene.cloud.runtime.tasks, "attempt", needs_memory)


async def executions() -> list[str]:
    client = run.ExecutionsAsyncClient(credentials=Credentials("any"))
    found = [item.name.rpartition("/")[2] async for item in await client.list_executions(parent=JOB.name)]
    await client.transport.close()
    return sorted(found)


@pytest.mark.parametrize("method", ["Jobs.CreateJob", "Jobs.UpdateJob"])
async def test_a_start_whose_answer_is_lost_is_found_again(scene: Scene, method: str) -> None:
    """One execution a token, for a job that is new and for one that is there; what was seen before is not believed."""
    inventory, before = scene.access.inventory, []
    assert await inventory.get(RunJob, MIGRATE.job.name, 3600, 3600) is None
    if method == "Jobs.UpdateJob":
        assert isinstance(await ended(scene, Run(JOB, "earlier", "migrate", "M", "F", "R")), Done)
        before = await executions()
    scene.lose_answer(method)
    with pytest.raises(Transient):
        await run_once(MIGRATE, scene.access)
    assert await inventory.get(RunJob, MIGRATE.job.name, 3600, 3600) is not None
    assert isinstance(await ended(scene, MIGRATE), Done)
    assert await executions() == sorted([*before, "shop-migrate-1a2b3c4d"])


async def test_what_was_done_is_not_done_again(scene: Scene) -> None:
    """Not a single write, however often the step is entered."""
    assert isinstance(await ended(scene, MIGRATE), Done)
    asked = scene.asked("Jobs.CreateJob") + scene.asked("Jobs.UpdateJob")
    for _ in range(3):
        assert isinstance(await run_once(MIGRATE, scene.access), Done)
    assert scene.asked("Jobs.CreateJob") + scene.asked("Jobs.UpdateJob") == asked == 1


async def test_a_success_outweighs_an_older_failure(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was mended, and is described as it was before: what it has done is not undone by that."""
    _needs_memory(scene, monkeypatch)
    assert isinstance(await ended(scene, MIGRATE), Failed)
    mended = replace(MIGRATE, job=replace(JOB, template=replace(JOB.template, memory="1Gi")))
    done = await ended(scene, mended)
    assert isinstance(done, Done)
    assert await ended(scene, MIGRATE) == done
    assert not await is_to_run(MIGRATE, scene.access)
    assert len(await executions()) == 2


async def test_an_upgrade_of_the_operator_is_no_correction(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer script of ours migrates nobody's database again; what the spec gives to it does."""
    _needs_memory(scene, monkeypatch)
    older, newer = (replace(JOB.template, args=("-c", script)) for script in ("older()", "newer()"))
    assert isinstance(await ended(scene, replace(MIGRATE, job=replace(JOB, template=older))), Failed)
    upgraded = replace(MIGRATE, job=replace(JOB, template=newer))
    assert not await is_to_run(upgraded, scene.access)
    corrected = replace(MIGRATE, job=replace(JOB, template=replace(newer, environment=(("DEBUG", "True"),))))
    assert await is_to_run(corrected, scene.access)


async def test_an_execution_has_one_name(scene: Scene) -> None:
    """To the pass that begins it, and to the one that sees its end: the status does not change in between."""
    began = await run_once(MIGRATE, scene.access)
    assert isinstance(began, Waiting)
    done = await ended(scene, MIGRATE)
    assert isinstance(done, Done)
    assert began.execution == done.execution == f"{JOB.name}/executions/shop-migrate-1a2b3c4d"


async def test_only_versions_that_nothing_needs_are_disabled(scene: Scene) -> None:
    """Neither the current one, nor a later one, nor one that a kept revision refers to; and only once."""
    driver, name = scene.access.drivers.secrets(), "projects/demo/secrets/key"
    await driver.create(Secret(name=name, owner=OWNER, payload=Random(20)))
    client = SecretManagerServiceAsyncClient(credentials=Credentials("any"))
    for _ in range(3):
        await client.add_secret_version(request={"parent": name, "payload": {"data": b"another"}})
    assert await driver.retire(name, 3, {"1", "3"}) == 1
    assert await driver.retire(name, 3, {"1", "3"}) == 0
    found = {v.name[-1]: v.state async for v in await client.list_secret_versions(parent=name)}
    await client.transport.close()
    assert found["2"] == SecretVersion.State.DISABLED
    assert {found[number] for number in "134"} == {SecretVersion.State.ENABLED}
