"""Worker pools: their resources under simulation, through Google's client; refused where they would have to run."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import run_v2

from localcloud.localcloud import LocalCloud

PLACE = "projects/demo/locations/europe-west1"
NAME = f"{PLACE}/workerPools/worker"
CONTAINER = {"image": "europe-docker.pkg.dev/demo/apps/shop"}


async def _create(client: Any, **more: Any) -> Any:
    pool = {"template": {"containers": [CONTAINER]}, **more}
    return await client.create_worker_pool(
        request={"parent": PLACE, "worker_pool_id": "worker", "worker_pool": pool}, retry=None
    )


async def test_a_pool_is_made_changed_and_deleted(simulated: LocalCloud, clients: Any) -> None:
    """With Google's defaults, a revision for each template, and no URL."""
    client = clients(run_v2.WorkerPoolsAsyncClient)
    made = await (await _create(client)).result()
    assert made.template.service_account == "187635794409-compute@developer.gserviceaccount.com"
    assert made.template.containers[0].resources.limits == {"cpu": "1000m", "memory": "512Mi"}
    assert [(split.type_.name[-6:], split.percent) for split in made.instance_split_statuses] == [("LATEST", 100)]
    assert made.terminal_condition.state.name == "CONDITION_SUCCEEDED"
    assert made.latest_ready_revision.startswith(f"{NAME}/revisions/worker-00001-")
    scaled = {"name": NAME, "scaling": {"manual_instance_count": 3}}
    change = {"worker_pool": scaled, "update_mask": {"paths": ["scaling"]}}
    after = await (await client.update_worker_pool(request=change)).result()
    assert (after.generation, after.scaling.manual_instance_count) == (2, 3)
    assert after.latest_ready_revision == made.latest_ready_revision
    again = {"name": NAME, "template": {"containers": [{**CONTAINER, "args": ["-Q", "mail"]}]}}
    assert (
        "worker-00002-" in (await (await client.update_worker_pool(worker_pool=again)).result()).latest_ready_revision
    )
    assert [pool.name async for pool in await client.list_worker_pools(parent=PLACE)] == [NAME]
    await (await client.delete_worker_pool(name=NAME)).result()
    with pytest.raises(exceptions.NotFound, match="Resource 'worker' of kind 'WORKER_POOL' in region 'europe-west1'"):
        await client.get_worker_pool(name=NAME)


async def test_a_name_is_taken_and_an_old_etag_conflicts(simulated: LocalCloud, clients: Any) -> None:
    """As with services."""
    client = clients(run_v2.WorkerPoolsAsyncClient)
    made = await (await _create(client)).result()
    with pytest.raises(exceptions.AlreadyExists, match="Resource 'worker' already exists"):
        await _create(client)
    await (
        await client.update_worker_pool(worker_pool={"name": NAME, "template": {"containers": [CONTAINER]}})
    ).result()
    with pytest.raises(exceptions.Aborted, match="Conflict for resource 'worker'"):
        await client.delete_worker_pool(request={"name": NAME, "etag": made.etag}, retry=None)
    splits = [{"type_": "INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST", "percent": 50}]
    half = {"name": NAME, "template": {"containers": [CONTAINER]}, "instance_splits": splits}
    with pytest.raises(exceptions.InvalidArgument, match="must sum to 100"):
        await client.update_worker_pool(worker_pool=half)


async def test_no_pool_is_made_where_it_would_have_to_run(cloud: LocalCloud, clients: Any) -> None:
    """Refused by name."""
    with pytest.raises(exceptions.MethodNotImplemented, match="localcloud does not model worker pools"):
        await _create(clients(run_v2.WorkerPoolsAsyncClient))
