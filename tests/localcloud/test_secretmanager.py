"""Secret Manager, through Google's client and over REST."""

from __future__ import annotations

from typing import Any

import aiohttp
import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.iam.v1 import policy_pb2

from localcloud.localcloud import LocalCloud

NUMBER = "187635794409"
PARENT = "projects/demo"
AUTOMATIC: dict[str, Any] = {"replication": {"automatic": {}}}


@pytest.fixture
def secrets(simulated: LocalCloud, clients: Any) -> Any:
    return clients(SecretManagerServiceAsyncClient)


async def _made(secrets: Any, name: str = "key", **fields: Any) -> str:
    await secrets.create_secret(parent=PARENT, secret_id=name, secret={**AUTOMATIC, **fields})
    return f"{PARENT}/secrets/{name}"


async def test_names_carry_the_project_number(secrets: Any) -> None:
    """Whatever the caller named the project by."""
    made = await secrets.create_secret(parent=PARENT, secret_id="key", secret=AUTOMATIC)
    assert made.name == f"projects/{NUMBER}/secrets/key"
    assert (await secrets.get_secret(name=made.name)).etag == made.etag


async def test_duplicates_and_absent_secrets_are_google_errors(secrets: Any) -> None:
    """With Google's texts."""
    await _made(secrets)
    with pytest.raises(exceptions.AlreadyExists, match=rf"Secret \[projects/{NUMBER}/secrets/key\] already exists\."):
        await _made(secrets)
    with pytest.raises(exceptions.NotFound, match=rf"Secret \[projects/{NUMBER}/secrets/other\] not found\."):
        await secrets.get_secret(name=f"{PARENT}/secrets/other")


async def test_versions_count_up_and_latest_is_the_highest(secrets: Any) -> None:
    """Numbers are never reused, and `latest` is the highest one even when disabled."""
    key = await _made(secrets)
    for data in (b"one", b"two"):
        await secrets.add_secret_version(parent=key, payload={"data": data})
    answer = await secrets.access_secret_version(name=f"{key}/versions/latest")
    assert (answer.name.rsplit("/", 1)[1], answer.payload.data) == ("2", b"two")
    assert answer.payload.data_crc32c == google_crc32c.value(b"two")
    await secrets.disable_secret_version(name=f"{key}/versions/2")
    text = rf"Secret Version \[projects/{NUMBER}/secrets/key/versions/2\] is in DISABLED state\."
    with pytest.raises(exceptions.FailedPrecondition, match=text):
        await secrets.access_secret_version(name=f"{key}/versions/latest")


async def test_a_destroyed_version_stays_destroyed(secrets: Any) -> None:
    """Its payload is gone, and it cannot be enabled again."""
    key = await _made(secrets)
    await secrets.add_secret_version(parent=key, payload={"data": b"one"})
    destroyed = await secrets.destroy_secret_version(name=f"{key}/versions/1")
    assert destroyed.destroy_time
    for call in (secrets.access_secret_version, secrets.enable_secret_version):
        with pytest.raises(exceptions.FailedPrecondition, match="is in DESTROYED state"):
            await call(name=f"{key}/versions/1")


async def test_a_delayed_destruction_can_be_undone(secrets: Any) -> None:
    """With versionDestroyTtl the version is disabled first, and enabling it takes the destruction back."""
    key = await _made(secrets, version_destroy_ttl={"seconds": 86_400})
    await secrets.add_secret_version(parent=key, payload={"data": b"one"})
    scheduled = await secrets.destroy_secret_version(name=f"{key}/versions/1")
    assert scheduled.state.name == "DISABLED"
    assert scheduled.scheduled_destroy_time
    enabled = await secrets.enable_secret_version(name=f"{key}/versions/1")
    assert enabled.state.name == "ENABLED"
    assert not enabled.scheduled_destroy_time


async def test_stale_etags_are_refused(secrets: Any) -> None:
    """On secrets and on versions; a current one passes."""
    key = await _made(secrets)
    first = await secrets.get_secret(name=key)
    changed = {"name": key, "labels": {"a": "b"}, "etag": first.etag}
    second = await secrets.update_secret(secret=changed, update_mask={"paths": ["labels"]})
    assert second.etag != first.etag
    for etag in (first.etag, '"bogus"'):
        with pytest.raises(exceptions.FailedPrecondition, match="does not match the current etag"):
            await secrets.delete_secret(request={"name": key, "etag": etag})
    version = await secrets.add_secret_version(parent=key, payload={"data": b"one"})
    await secrets.disable_secret_version(request={"name": version.name, "etag": version.etag})
    with pytest.raises(exceptions.FailedPrecondition):
        await secrets.destroy_secret_version(request={"name": version.name, "etag": version.etag})


async def test_update_touches_only_what_the_mask_names(secrets: Any) -> None:
    """Replication is immutable, and a mask there must be."""
    key = await _made(secrets, labels={"a": "b"}, annotations={"x": "y"})
    await secrets.update_secret(secret={"name": key, "annotations": {}}, update_mask={"paths": ["annotations"]})
    found = await secrets.get_secret(name=key)
    assert (dict(found.labels), dict(found.annotations)) == ({"a": "b"}, {})
    for paths in (["replication"], []):
        with pytest.raises(exceptions.InvalidArgument):
            await secrets.update_secret(secret={"name": key, **AUTOMATIC}, update_mask={"paths": paths})


async def test_lists_are_filtered_and_paged(secrets: Any) -> None:
    """By labels, by part of the name, by state; pages keep the order."""
    for name in ("shop-a", "shop-b", "blog"):
        await _made(secrets, name, labels={"app": name.split("-")[0]})
    names = [s.name.rsplit("/", 1)[1] async for s in await secrets.list_secrets(request=_list("labels.app=shop", 1))]
    assert names == ["shop-a", "shop-b"]
    assert [s.name async for s in await secrets.list_secrets(request=_list("name:blog"))] == [
        f"projects/{NUMBER}/secrets/blog"
    ]
    assert not [s async for s in await secrets.list_secrets(request=_list("labels.app=shop AND name:blog"))]
    key = f"{PARENT}/secrets/blog"
    for _ in range(2):
        await secrets.add_secret_version(parent=key, payload={"data": b"x"})
    await secrets.disable_secret_version(name=f"{key}/versions/2")
    enabled = await secrets.list_secret_versions(request={"parent": key, "filter": "state:ENABLED"})
    assert [v.name.rsplit("/", 1)[1] async for v in enabled] == ["1"]


def _list(expression: str, size: int = 0) -> dict[str, Any]:
    return {"parent": PARENT, "filter": expression, "page_size": size}


async def test_checksums_are_verified_and_remembered(secrets: Any) -> None:
    """gcloud fails without clientSpecifiedPayloadChecksum in the answer."""
    key = await _made(secrets)
    payload = {"data": b"one", "data_crc32c": google_crc32c.value(b"one")}
    assert (await secrets.add_secret_version(parent=key, payload=payload)).client_specified_payload_checksum
    with pytest.raises(exceptions.InvalidArgument):
        await secrets.add_secret_version(parent=key, payload={"data": b"one", "data_crc32c": 1})
    with pytest.raises(exceptions.InvalidArgument):
        await secrets.add_secret_version(parent=key, payload={"data": b"x" * 65_537})


async def test_access_needs_the_role_on_the_secret(simulated: LocalCloud, clients: Any) -> None:
    """A policy of one secret opens that secret alone, and deleting the secret deletes it."""
    owner = clients(SecretManagerServiceAsyncClient)
    email = "someone@example.com"
    app = clients(SecretManagerServiceAsyncClient, token=simulated.core.tokens.issue(email))
    mine, other = await _made(owner, "mine"), await _made(owner, "other")
    for key in (mine, other):
        await owner.add_secret_version(parent=key, payload={"data": b"x"})
    binding = policy_pb2.Binding(role="roles/secretmanager.secretAccessor", members=[f"user:{email}"])
    policy = policy_pb2.Policy(bindings=[binding])
    await owner.set_iam_policy(request={"resource": mine, "policy": policy})
    assert (await app.access_secret_version(name=f"{mine}/versions/latest")).payload.data == b"x"
    text = (
        r"Permission 'secretmanager\.versions\.access' denied for resource "
        rf"'projects/{NUMBER}/secrets/other/versions/1' \(or it may not exist\)\."
    )
    with pytest.raises(exceptions.PermissionDenied, match=text):
        await app.access_secret_version(name=f"{other}/versions/1")
    await owner.delete_secret(name=mine)
    await _made(owner, "mine")
    assert not (await owner.get_iam_policy(request={"resource": mine})).bindings


async def test_rest_speaks_numbers_or_names(simulated: LocalCloud) -> None:
    """The REST surface is the same state, with enums as the caller wants them."""
    base = f"{simulated.rest}/v1/{PARENT}/secrets"
    headers = {"Host": "secretmanager.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as http:
        await http.post(f"{base}?secretId=key", json=AUTOMATIC)
        added = await http.post(
            f"{base}/key:addVersion?$alt=json;enum-encoding=int", json={"payload": {"data": "eA=="}}
        )
        assert (await added.json())["state"] == 1
        read = await http.get(f"{base}/key/versions/latest:access")
        assert (await read.json())["payload"]["data"] == "eA=="
        shown = await http.get(f"{base}/key/versions/1")
        assert (await shown.json())["state"] == "ENABLED"
        missing = await http.get(f"{base}/none")
        message = f"Secret [projects/{NUMBER}/secrets/none] not found."
        assert await missing.json() == {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}


async def test_payloads_stand_in_one_place_only(simulated: LocalCloud, clients: Any) -> None:
    """Neither secrets, versions nor the request log hold them."""
    secrets = clients(SecretManagerServiceAsyncClient)
    key = await _made(secrets)
    await secrets.add_secret_version(parent=key, payload={"data": b"very-secret-value"})
    rows = simulated.core.store._db.execute("SELECT kind FROM item WHERE instr(body, ?)", (b"very-secret-value",))
    assert [kind for (kind,) in rows] == ["secretmanager.payloads"]
    assert "very-secret-value" not in repr(simulated.core.requests.last())
