"""The drivers of service accounts, buckets and Google APIs."""

from __future__ import annotations

from asyncio import to_thread as in_thread  # the cloud runs in this loop
from dataclasses import replace

import pytest
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials

from localcloud.core.errors import Code
from nuages.cloud import storage
from nuages.cloud.driver import Readiness, differences
from nuages.cloud.errors import Conflict, PermissionDenied, PolicyViolated, QuotaExceeded, Transient, Unfinished
from nuages.desired.iam import ProjectService, ServiceAccount
from nuages.desired.resource import Owner
from nuages.desired.storage import Bucket

OWNER = Owner("shop", "web", "uid-1")
EMAIL = "shop-web@demo.iam.gserviceaccount.com"
ACCOUNT = ServiceAccount(name=f"projects/demo/serviceAccounts/{EMAIL}", owner=OWNER, display_name="Django app shop/web")
BUCKET = Bucket(
    name="projects/demo/buckets/demo-shop-media",
    owner=OWNER,
    location="EUROPE-WEST1",
    versioning=True,
    labels=(("cost", "shop"),),
)
REDIS = ProjectService(name="projects/demo/services/redis.googleapis.com")


@pytest.fixture
def accounts(scene):
    return scene.access.drivers.of(ServiceAccount)


@pytest.fixture
def buckets(scene):
    return scene.access.drivers.of(Bucket)


@pytest.fixture
def google(scene):
    """What people do with gcloud or the console."""
    client = Client(project="demo", credentials=Credentials("any"))
    yield client
    client.close()


async def test_an_account_s_life(accounts):
    """Made as wanted, changed, marked as retained, deleted, and gone again."""
    assert await accounts.observe(ACCOUNT.name) is None
    await accounts.create(ACCOUNT)
    found = await accounts.observe(ACCOUNT.name)
    assert found.state == ACCOUNT
    assert [item.state for item in await accounts.observe_all("projects/demo") if item.owner] == [ACCOUNT]
    wanted = replace(ACCOUNT, display_name="Another", owner=replace(OWNER, retained=True))
    assert differences(wanted, found, accounts.owned) == ("display_name",)
    await accounts.update(wanted, found, ("display_name", "owner"))
    assert (await accounts.observe(ACCOUNT.name)).state == wanted
    with pytest.raises(Conflict):
        await accounts.create(ACCOUNT)
    for _ in range(2):
        await accounts.delete(ACCOUNT.name)
        assert await accounts.observe(ACCOUNT.name) is None


async def test_an_account_with_lost_answer_is_found(scene, accounts):
    """Not made again."""
    scene.lose_answer("IAM.CreateServiceAccount")
    with pytest.raises(Transient):
        await accounts.create(ACCOUNT)
    assert (await accounts.observe(ACCOUNT.name)).state == ACCOUNT


async def test_an_account_of_others_bears_no_marker(accounts):
    """Whatever its description says."""
    await accounts.create(replace(ACCOUNT, owner=None))
    assert (await accounts.observe(ACCOUNT.name)).owner is None


async def test_a_full_project_is_a_quota(scene, accounts):
    """It does not heal with time."""
    text = "Maximum number of service accounts on project reached."
    scene.fail("IAM.CreateServiceAccount", Code.RESOURCE_EXHAUSTED, text)
    with pytest.raises(QuotaExceeded):
        await accounts.create(ACCOUNT)


async def test_a_bucket_s_life(buckets, google):
    """Made closed and as wanted, changed, marked, deleted, and gone again."""
    assert await buckets.observe(BUCKET.name) is None
    await buckets.create(BUCKET)
    found = await buckets.observe(BUCKET.name)
    assert found.state == BUCKET
    assert [item.state for item in await buckets.observe_all("projects/demo")] == [BUCKET]
    access = (await in_thread(google.get_bucket, BUCKET.id)).iam_configuration
    assert (access.uniform_bucket_level_access_enabled, access.public_access_prevention) == (True, "enforced")
    wanted = replace(BUCKET, versioning=False, labels=(("cost", "new"),), owner=replace(OWNER, retained=True))
    assert differences(wanted, found, buckets.owned) == ("versioning", "labels")
    await buckets.update(wanted, found, ("owner", "versioning", "labels"))
    assert (await buckets.observe(BUCKET.name)).state == wanted
    await buckets.update(BUCKET, await buckets.observe(BUCKET.name), ("owner", "versioning", "labels"))
    assert (await buckets.observe(BUCKET.name)).owner == OWNER
    with pytest.raises(Conflict):
        await buckets.create(BUCKET)
    for _ in range(2):
        await buckets.delete(BUCKET.name)
        assert await buckets.observe(BUCKET.name) is None


async def test_a_bucket_that_was_opened_is_closed_again(buckets, google):
    """Each way in is a difference of its own, in a list as in a look, and is closed alone; nothing else is written."""
    await buckets.create(BUCKET)
    theirs = await in_thread(google.get_bucket, BUCKET.id)
    theirs.iam_configuration.uniform_bucket_level_access_enabled = False
    theirs.iam_configuration.public_access_prevention = "inherited"
    await in_thread(theirs.patch)
    (listed,) = await buckets.observe_all("projects/demo")
    for path in ("uniform_bucket_level_access", "public_access_prevention"):
        found = await buckets.observe(BUCKET.name)
        assert path in differences(BUCKET, listed, buckets.owned)
        assert path in differences(BUCKET, found, buckets.owned)
        await buckets.update(replace(BUCKET, versioning=False), found, (path,))
        assert path not in differences(BUCKET, await buckets.observe(BUCKET.name), buckets.owned)
    assert (await buckets.observe(BUCKET.name)).state == BUCKET


async def test_marking_a_bucket_changes_nothing_else(buckets, google):
    """What is left behind stays as it is."""
    await buckets.create(BUCKET)
    theirs = await in_thread(google.get_bucket, BUCKET.id)
    theirs.iam_configuration.public_access_prevention = "inherited"
    await in_thread(theirs.patch)
    found = await buckets.observe(BUCKET.name)
    marked = replace(found.state, owner=replace(OWNER, retained=True))
    await buckets.update(marked, found, ("owner",))
    assert (await buckets.observe(BUCKET.name)).state == marked


async def test_a_policy_of_the_organisation_is_no_conflict(scene, buckets):
    """Cloud Storage answers 412, as to a version that is not the current one; looking again would not help."""
    words = "Request violates constraint 'constraints/storage.softDeletePolicySeconds'"
    scene.fail("storage.googleapis.com/POST /storage/v1/b", Code.CONDITION_NOT_MET, words)
    with pytest.raises(PolicyViolated, match=words) as refused:
        await buckets.create(BUCKET)
    assert refused.value.constraint == "storage.softDeletePolicySeconds"


async def test_a_bucket_keeps_what_others_set(buckets, google):
    """A lifecycle rule and a label of the console are no drift and outlive our changes."""
    await buckets.create(BUCKET)
    theirs = await in_thread(google.get_bucket, BUCKET.id)
    theirs.add_lifecycle_delete_rule(age=30, is_live=False)
    theirs.labels = {**theirs.labels, "team": "blue"}
    await in_thread(theirs.patch)
    found = await buckets.observe(BUCKET.name)
    assert differences(BUCKET, found, buckets.owned) == ()
    await buckets.update(replace(BUCKET, versioning=False), found, ("versioning", "labels"))
    theirs = await in_thread(google.get_bucket, BUCKET.id)
    assert (len(list(theirs.lifecycle_rules)), theirs.labels["team"]) == (1, "blue")


async def test_a_deleted_bucket_takes_its_files_along(buckets, google):
    """Old versions too: only deletionPolicy Delete comes so far."""
    await buckets.create(BUCKET)
    for content in (b"a", b"b"):
        await in_thread(google.bucket(BUCKET.id).blob("a.txt").upload_from_string, content)
    await buckets.delete(BUCKET.name)
    assert await buckets.observe(BUCKET.name) is None
    await buckets.delete(BUCKET.name)


async def test_a_bucket_with_many_files_is_emptied_in_parts(buckets, google, monkeypatch):
    """No part of it is a failure."""
    monkeypatch.setattr(storage, "AT_ONCE", 2)
    await buckets.create(BUCKET)
    for number in range(5):
        await in_thread(google.bucket(BUCKET.id).blob(str(number)).upload_from_string, b"a")
    for left in (3, 1):
        with pytest.raises(Unfinished):
            await buckets.delete(BUCKET.name)
        assert len(await in_thread(lambda: list(google.list_blobs(BUCKET.id)))) == left
    await buckets.delete(BUCKET.name)
    assert await buckets.observe(BUCKET.name) is None


async def test_a_file_that_cannot_be_deleted_holds_up_no_other(scene, buckets, google):
    """The next part has it again; where none goes, that is a failure."""
    await buckets.create(BUCKET)
    for number in range(4):
        await in_thread(google.bucket(BUCKET.id).blob(str(number)).upload_from_string, b"a")
    scene.fail("DELETE /storage/v1/b/{bucket}/o/{object}", Code.UNAVAILABLE, "Try again.", times=1)
    with pytest.raises(Unfinished, match="3 of them were deleted"):
        await buckets.delete(BUCKET.name)
    assert len(await in_thread(lambda: list(google.list_blobs(BUCKET.id)))) == 1
    scene.fail("DELETE /storage/v1/b/{bucket}/o/{object}", Code.UNAVAILABLE, "Try again.", times=1)
    with pytest.raises(Transient):
        await buckets.delete(BUCKET.name)
    await buckets.delete(BUCKET.name)
    assert await buckets.observe(BUCKET.name) is None


async def test_a_bucket_with_lost_answer_is_found(scene, buckets):
    """Not made again."""
    scene.lose_answer("storage.googleapis.com/POST /storage/v1/b")
    with pytest.raises(Transient):
        await buckets.create(BUCKET)
    assert (await buckets.observe(BUCKET.name)).state == BUCKET


async def test_denials_name_the_permission(scene, buckets):
    """So that people know what to grant."""
    await buckets.create(BUCKET)
    access = await scene.as_nobody()
    for kind, name, permission in (
        (ServiceAccount, ACCOUNT.name, "iam.serviceAccounts.get"),
        (Bucket, BUCKET.name, "storage.buckets.get"),
    ):
        with pytest.raises(PermissionDenied) as denied:
            await access.drivers.of(kind).observe(name)
        assert denied.value.permission == permission


async def test_an_api_is_turned_on_and_stays_on(scene):
    """By an operation; deleting it leaves it to those who use it."""
    apis = scene.access.drivers.of(ProjectService)
    assert await apis.observe(REDIS.name) is None
    await scene.done(await apis.create(REDIS))
    found = await apis.observe(REDIS.name)
    assert (found.state, found.readiness) == (REDIS, Readiness.READY)
    assert REDIS in [item.state for item in await apis.observe_all("projects/demo")]
    await apis.delete(REDIS.name)
    assert await apis.observe(REDIS.name) is not None


async def test_a_bucket_that_has_changed_since_is_a_conflict(buckets, google):
    """Neither is it written, nor loses it a single object."""
    await buckets.create(BUCKET)
    found = await buckets.observe(BUCKET.name)
    theirs = await in_thread(google.get_bucket, BUCKET.id)
    theirs.labels = {**theirs.labels, "team": "blue"}
    await in_thread(theirs.patch)
    await in_thread(theirs.blob("photo").upload_from_string, b"1")
    with pytest.raises(Conflict):
        await buckets.update(replace(BUCKET, versioning=False), found, ("versioning",))
    with pytest.raises(Conflict):
        await buckets.delete(BUCKET.name, found.etag)
    assert [blob.name for blob in await in_thread(lambda: list(google.list_blobs(BUCKET.id)))] == ["photo"]
    await buckets.delete(BUCKET.name, (await buckets.observe(BUCKET.name)).etag)
    assert await buckets.observe(BUCKET.name) is None


async def test_an_account_that_has_changed_since_is_a_conflict(accounts):
    """Its etag binds nothing at Google, so that it is looked at once more."""
    await accounts.create(ACCOUNT)
    found = await accounts.observe(ACCOUNT.name)
    await accounts.update(replace(ACCOUNT, display_name="Theirs"), found, ("display_name",))
    with pytest.raises(Conflict):
        await accounts.update(replace(ACCOUNT, display_name="Ours"), found, ("display_name",))
    assert (await accounts.observe(ACCOUNT.name)).state.display_name == "Theirs"
