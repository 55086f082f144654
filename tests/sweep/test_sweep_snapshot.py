"""What a snapshot shows: each thing that a life could leave behind, miss or change makes it another one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from sweep_database import PRODUCT
from sweep_sample import Sample
from sweep_site import PROJECT, Site
from sweep_snapshot import IGNORED, MESSAGES, RECORDS, SIMULATED, UnknownKindError, page_text, snapshot

from localcloud.core.state import Store

LIFE = "leaving"  # at whose beginning an app is deployed, on an instance that nothing protects
WITHIN_S = 30.0
LABELS = {"labels": {"left": "behind"}}
RUN = f"/v2/projects/{PROJECT}/locations/europe-west1"
REVISION = {"template": {"revision": "sweep-shop-left"}}
POOL = {"template": {"containers": [{"image": "europe-west1-docker.pkg.dev/x/y/z:1"}]}}
POLICY = {"policy": {"bindings": [{"role": "roles/run.invoker", "members": ["user:a@example.com"]}]}}
# What is changed, by its kind: {kind} in a path is the name of the last of that kind.
CHANGES = [
    ("iam.accounts", "iam", "POST", f"/v1/projects/{PROJECT}/serviceAccounts", {"accountId": "left-behind"}),
    ("iam.accounts", "iam", "POST", "/v1/{iam.accounts}:disable", {}),
    ("policies", "run", "POST", "/v2/{run.services}:setIamPolicy", POLICY),
    ("run.services", "run", "PATCH", "/v2/{run.services}?updateMask=labels", LABELS),
    ("run.revisions", "run", "PATCH", "/v2/{run.services}?updateMask=template.revision", REVISION),
    ("run.jobs", "run", "DELETE", "/v2/{run.jobs}", None),
    ("run.executions", "run", "POST", "/v2/{run.jobs}:run", {}),
    ("run.workerpools", "run", "POST", f"{RUN}/workerPools?workerPoolId=left", POOL),
    ("sql.instances", "sqladmin", "PATCH", "/v1/{sql.instances}", {"settings": {"userLabels": {"left": "behind"}}}),
    ("sql.users", "sqladmin", "POST", "/v1/{sql.instances}/users", {"name": "left", "password": "Behind-1234"}),
    ("sql.backups", "sqladmin", "POST", "/v1/{sql.instances}/backupRuns", {}),
    (SIMULATED, "sqladmin", "POST", "/v1/{sql.instances}/databases", {"name": "left"}),
    ("sql.finals", "sqladmin", "DELETE", "/v1/{sql.instances}?enableFinalBackup=true", None),
    ("secretmanager.secrets", "secretmanager", "PATCH", "/v1/{secretmanager.secrets}?updateMask=labels", LABELS),
    ("secretmanager.versions", "secretmanager", "POST", "/v1/{secretmanager.versions}:disable", {}),
    ("storage.buckets", "storage", "PATCH", "/storage/v1/b/{storage.buckets}", LABELS),
    ("storage.objects", "storage", "POST", "/upload/storage/v1/b/{storage.buckets}/o?uploadType=media&name=left", {}),
]


def test_every_kind_that_is_compared_is_changed_here() -> None:
    """So that none is left out of what snapshots show unseen."""
    assert {kind for kind, *_ in CHANGES} == {*MESSAGES, *RECORDS, SIMULATED}


def test_no_kind_is_left_out_by_chance() -> None:
    """What is left out is not compared too, and has a reason."""
    assert not IGNORED.keys() & {*MESSAGES, *RECORDS, SIMULATED}
    assert all(IGNORED.values())


@pytest.mark.xdist_group("sweep")
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("kind", "api", "method", "path", "body"), CHANGES, ids=lambda given: str(given)[:40])
async def test_a_change_is_seen(sample: Sample, kind: str, api: str, method: str, path: str, body: Any) -> None:
    """Each through the API that an operator would use, in the cloud of a deployed app."""
    site = sample.site
    await site.restore(sample.lives[LIFE].start)
    if kind == "storage.objects":  # files in buckets are no part of what a simulated cloud is put back from
        await _ask(site, "storage", "POST", f"/storage/v1/b?project={PROJECT}", {"name": "bucket-of-a-customer"})
    before = await snapshot(site)
    await _ask(site, api, method, _named(site, path), body)
    try:
        async with asyncio.timeout(WITHIN_S):
            while not any(f": {kind}" in told for told in before.differences(await snapshot(site))):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"no difference of {kind} is told, but {before.differences(await snapshot(site))}")


@pytest.mark.xdist_group("sweep")
@pytest.mark.asyncio(loop_scope="session")
async def test_a_cloud_that_is_put_back_is_the_same(sample: Sample) -> None:
    """Nothing of what is compared is made by chance."""
    found = []
    for _ in range(2):
        await sample.site.restore(sample.lives[LIFE].start)
        found.append(await snapshot(sample.site))
    assert found[0].differences(found[1]) == []


async def test_an_unknown_kind_is_no_end() -> None:
    """Whoever teaches the cloud to keep something says whether it is compared."""
    store = Store(None)
    store.save("run.novelties", "one", b"{}")
    site: Any = SimpleNamespace(real=False, cloud=SimpleNamespace(core=SimpleNamespace(store=store)))
    with pytest.raises(UnknownKindError, match=r"run\.novelties"):
        await snapshot(site)
    store.close()


def test_a_page_is_compared_but_for_its_token() -> None:
    """Of two answers with the same rows, the text is the same."""
    form = '<input type="hidden" name="csrfmiddlewaretoken" value="{}"> {}'
    assert page_text(form.format("one", "Teapot")) == page_text(form.format("two", "Teapot"))
    assert page_text(form.format("one", "Teapot")) != page_text(form.format("one", PRODUCT))


def _named(site: Site, path: str) -> str:
    for kind in (*MESSAGES, *RECORDS):
        if f"{{{kind}}}" in path:
            path = path.replace(f"{{{kind}}}", [name for name, _ in site.cloud.core.store.load(kind)][-1])
    return path


async def _ask(site: Site, api: str, method: str, path: str, body: Any) -> None:
    headers = {"Authorization": "Bearer owner", "Host": f"{api}.googleapis.com"}
    async with (
        aiohttp.ClientSession(site.cloud.rest, headers=headers) as session,
        session.request(method, path, json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
