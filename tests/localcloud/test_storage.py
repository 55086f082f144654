"""Cloud Storage through Google's own client, and files that containers write."""

from __future__ import annotations

import datetime as dt
import io

import aiohttp
import pytest
from google.api_core import exceptions
from google.iam.v1 import policy_pb2
from storage_support import EMAIL, MEMBER, blocking, client, grant


def folder(simulated):
    return simulated.runtime.buckets / "demo-media"


# buckets


async def test_a_bucket_gets_googles_defaults(bucket):
    """As a reply of the real API has them."""
    assert (bucket.location, bucket.location_type, bucket.storage_class) == ("EUROPE-WEST1", "region", "STANDARD")
    assert bucket.metageneration == 1
    assert bucket.iam_configuration.public_access_prevention == "inherited"
    assert bucket.iam_configuration.uniform_bucket_level_access_locked_time > dt.datetime.now(dt.UTC)
    assert bucket.soft_delete_policy.retention_duration_seconds == 604800
    assert bucket.etag == "CAE="


async def test_a_bucket_with_access_lists_shows_them_where_google_does(simulated):
    """A PATCH replies with them, a GET only when asked for the full projection."""
    headers = {"Host": "storage.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(f"{simulated.rest}", headers=headers) as session:
        await session.post("/storage/v1/b", params={"project": "demo"}, json={"name": "with-lists"})
        async with session.patch("/storage/v1/b/with-lists", json={"labels": {"a": "b"}}) as response:
            patched = await response.json()
        async with session.get("/storage/v1/b/with-lists") as response:
            assert "acl" not in await response.json()
    assert [entry["role"] for entry in patched["acl"]] == ["OWNER", "OWNER", "READER"]
    assert patched["defaultObjectAcl"][0]["projectTeam"] == {"projectNumber": "187635794409", "team": "owners"}
    assert patched["iamConfiguration"]["uniformBucketLevelAccess"] == {"enabled": False}
    assert patched["location"] == "US"


async def test_a_bucket_that_exists_cannot_be_made_again(bucket):
    """One text where it is yours, another where it is not."""
    with pytest.raises(exceptions.Conflict, match="you already own it"):
        await blocking(client().create_bucket, "demo-media")


async def test_metadata_writes_merge_and_count(bucket):
    """Labels not named stay, null removes; a stale metageneration is refused."""
    bucket.labels = {"a": "1", "b": "2"}
    await blocking(bucket.patch)
    bucket.labels = {"b": "3"}
    await blocking(bucket.patch)
    fresh = await blocking(client().get_bucket, "demo-media")
    assert (fresh.labels, fresh.metageneration) == ({"b": "3"}, 3)
    with pytest.raises(exceptions.PreconditionFailed, match="pre-conditions"):
        await blocking(fresh.patch, if_metageneration_match=1)


async def test_a_bucket_with_objects_cannot_be_deleted(bucket):
    """409, until it is empty; then it is gone."""
    await blocking(bucket.blob("x").upload_from_string, "x")
    with pytest.raises(exceptions.Conflict, match="not empty"):
        await blocking(bucket.delete)
    await blocking(bucket.blob("x").delete)
    await blocking(bucket.delete)
    with pytest.raises(exceptions.NotFound, match="The specified bucket does not exist"):
        await blocking(client().get_bucket, "demo-media")


async def test_what_is_not_modelled_is_refused_by_name(cloud):
    """A customer's key is no key that localcloud has."""
    bucket = await blocking(client().create_bucket, "demo-keys", location="europe-west1")
    bucket.default_kms_key_name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    with pytest.raises(exceptions.GoogleAPICallError, match="localcloud does not model customer-managed"):
        await blocking(bucket.patch, retry=None)


async def test_public_members_are_refused_where_public_access_is_prevented(bucket):
    """412, in Google's words."""
    bucket.iam_configuration.public_access_prevention = "enforced"
    await blocking(bucket.patch)
    policy = await blocking(bucket.get_iam_policy)
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
    with pytest.raises(exceptions.PreconditionFailed, match="public access prevention"):
        await blocking(bucket.set_iam_policy, policy)


async def test_a_stale_policy_is_refused(bucket):
    """Read-modify-write with the etag: the second writer reads again."""
    first, second = [await blocking(bucket.get_iam_policy) for _ in range(2)]
    await blocking(bucket.set_iam_policy, first)
    with pytest.raises(exceptions.PreconditionFailed):
        await blocking(bucket.set_iam_policy, second, retry=None)


async def test_roles_on_the_bucket_decide_what_an_account_may_do(bucket, app_token):
    """Nothing; then what objectAdmin and legacyBucketReader hold."""
    mine = client(app_token).bucket("demo-media")
    with pytest.raises(exceptions.Forbidden, match=f"{EMAIL} does not have storage.objects.create access"):
        await blocking(mine.blob("x").upload_from_string, "x")
    await grant(bucket, "roles/storage.objectAdmin")
    await blocking(mine.blob("x").upload_from_string, "x")
    with pytest.raises(exceptions.Forbidden, match=r"storage\.buckets\.get"):
        await blocking(mine.reload)
    await grant(bucket, "roles/storage.legacyBucketReader")
    await blocking(mine.reload)
    wanted = ["storage.buckets.get", "storage.buckets.delete", "storage.objects.get"]
    assert await blocking(mine.test_iam_permissions, wanted) == [wanted[0], wanted[2]]


async def test_a_role_on_the_project_holds_for_its_buckets(simulated, bucket, app_token):
    """Policies are inherited."""
    policy = policy_pb2.Policy(bindings=[policy_pb2.Binding(role="roles/storage.objectViewer", members=[MEMBER])])
    simulated.core.policies.set("projects/demo", policy)
    await blocking(bucket.blob("x").upload_from_string, "x")
    assert await blocking(client(app_token).bucket("demo-media").blob("x").download_as_bytes) == b"x"


# objects


@pytest.mark.parametrize("name", ["a.txt", "deep/er/ä b%.txt", "folder/", "odd//name", "../x"])
async def test_what_was_uploaded_comes_back(bucket, name):
    """Bytes, type, metadata and checksums, whatever the name."""
    blob = bucket.blob(name)
    blob.metadata = {"owner": "me"}
    blob.cache_control = "no-store"
    await blocking(blob.upload_from_string, b"content", content_type="text/plain")
    found = await blocking(bucket.get_blob, name)
    assert (found.content_type, found.size, found.metadata) == ("text/plain", 7, {"owner": "me"})
    assert found.cache_control == "no-store"
    assert await blocking(found.download_as_bytes, checksum="crc32c") == b"content"
    assert await blocking(found.download_as_bytes, start=2, end=4) == b"nte"


async def test_large_files_arrive_in_chunks(bucket):
    """A resumable upload, of several PUTs."""
    content = bytes(range(256)) * 4096
    blob = bucket.blob("large.bin", chunk_size=256 * 1024)
    await blocking(blob.upload_from_file, io.BytesIO(content), checksum="md5")
    found = await blocking(bucket.get_blob, "large.bin")
    assert found.size == len(content)
    found.chunk_size = 256 * 1024
    assert await blocking(found.download_as_bytes) == content


async def test_generations_guard_writes(bucket):
    """0 means: only where nothing is."""
    blob = bucket.blob("x")
    await blocking(blob.upload_from_string, "1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        await blocking(bucket.blob("x").upload_from_string, "2", if_generation_match=0)
    await blocking(blob.upload_from_string, "2", if_generation_match=blob.generation)
    assert await blocking(blob.download_as_bytes) == b"2"


async def test_lists_know_prefixes_delimiters_and_pages(bucket):
    """Like folders, which they are not."""
    for name in ("a/1", "a/2", "a/b/3", "c"):
        await blocking(bucket.blob(name).upload_from_string, name)

    def listing(**options):
        pages = client().list_blobs("demo-media", **options)
        return [blob.name for blob in pages], sorted(pages.prefixes)

    assert await blocking(listing) == (["a/1", "a/2", "a/b/3", "c"], [])
    assert await blocking(listing, prefix="a/", delimiter="/") == (["a/1", "a/2"], ["a/b/"])
    assert await blocking(listing, delimiter="/", page_size=1) == (["c"], ["a/"])


async def test_versions_are_kept_where_the_bucket_keeps_them(bucket):
    """Old bytes come back by their generation, until that is deleted."""
    bucket.versioning_enabled = True
    await blocking(bucket.patch)
    blob = bucket.blob("x")
    await blocking(blob.upload_from_string, "1")
    first = blob.generation
    await blocking(blob.upload_from_string, "2")
    await blocking(bucket.delete_blob, "x")
    assert await blocking(bucket.get_blob, "x") is None
    old = bucket.blob("x", generation=first)
    assert await blocking(old.download_as_bytes) == b"1"
    assert len(await blocking(lambda: list(client().list_blobs("demo-media", versions=True)))) == 2
    await blocking(old.delete)
    with pytest.raises(exceptions.NotFound):
        await blocking(old.download_as_bytes)


async def test_objects_are_copied_composed_and_described(bucket):
    """By the service, without the bytes passing through the client."""
    blob = bucket.blob("a")
    await blocking(blob.upload_from_string, "1", content_type="text/css")
    copy = await blocking(bucket.copy_blob, blob, bucket, "b")
    assert copy.content_type == "text/css"
    target = bucket.blob("c")
    target.content_type = "text/plain"
    await blocking(target.compose, [blob, copy])
    assert await blocking(target.download_as_bytes) == b"11"
    target.metadata = {"k": "v"}
    await blocking(target.patch)
    assert (target.metageneration, target.content_type) == (2, "text/plain")
    renamed = await blocking(bucket.rename_blob, target, "d/e")
    assert [blob.name for blob in await blocking(lambda: list(client().list_blobs("demo-media")))] == ["a", "b", "d/e"]
    assert await blocking(renamed.download_as_bytes) == b"11"


async def test_a_missing_object_is_named(bucket):
    """404 with bucket and name."""
    with pytest.raises(exceptions.NotFound, match="No such object: demo-media/ghost"):
        await blocking(bucket.blob("ghost").download_as_bytes)


@pytest.mark.parametrize("quote", ["", '"', "'"])
async def test_a_multipart_boundary_may_be_quoted(simulated, bucket, quote):
    """Python's client quotes it not at all, gcloud with apostrophes."""
    parts = (b'application/json\r\n\r\n{"name": "m"}', b"a/b\r\n\r\n1\n2")
    body = b"".join(b"--=x\r\nContent-Type: " + part + b"\r\n" for part in parts) + b"--=x--"
    headers = {"Host": "storage.googleapis.com", "Authorization": "Bearer any"}
    headers["Content-Type"] = f"multipart/related; boundary={quote}=x{quote}"
    url = f"{simulated.rest}/upload/storage/v1/b/demo-media/o?uploadType=multipart"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, data=body) as response:
        assert (response.status, (await response.json())["contentType"]) == (200, "a/b")
    assert await blocking(bucket.blob("m").download_as_bytes) == b"1\n2"


async def test_an_unknown_path_of_the_json_api_is_refused_by_name(simulated, bucket):
    """It is no object of a bucket called storage."""
    headers = {"Host": "storage.googleapis.com", "Authorization": "Bearer any"}
    url = f"{simulated.rest}/storage/v1/b/demo-media/notificationConfigs"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        assert response.status == 501
        assert "notificationConfigs" in (await response.json())["error"]["message"]


async def test_a_wrong_checksum_is_refused(simulated, bucket):
    """Bytes that were damaged on the way make no object."""
    body = (
        b'--x\r\nContent-Type: application/json\r\n\r\n{"name": "bad", "md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}\r\n'
        b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--"
    )
    headers = {"Host": "storage.googleapis.com", "Content-Type": 'multipart/related; boundary="x"'}
    url = f"{simulated.rest}/upload/storage/v1/b/demo-media/o?uploadType=multipart"
    headers["Authorization"] = "Bearer any"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, data=body) as response:
        assert response.status == 400
        assert "doesn't match calculated MD5" in await response.text()
    assert await blocking(bucket.get_blob, "bad") is None


# files


async def test_a_file_that_a_container_writes_is_an_object(simulated, bucket):
    """And changes, and goes, as the file does."""
    path = folder(simulated) / "media" / "cat.png"
    path.parent.mkdir()
    path.write_bytes(b"meow")
    found = await blocking(bucket.get_blob, "media/cat.png")
    assert (found.content_type, found.size) == ("image/png", 4)
    assert await blocking(found.download_as_bytes, checksum="md5") == b"meow"
    path.write_bytes(b"purr!")
    assert [blob.size for blob in await blocking(lambda: list(client().list_blobs("demo-media")))] == [5]
    path.unlink()
    assert await blocking(bucket.get_blob, "media/cat.png") is None


async def test_an_uploaded_object_is_a_file(simulated, bucket):
    """And goes with it, with the folders that only it needed."""
    await blocking(bucket.blob("media/dog.png").upload_from_string, b"woof")
    path = folder(simulated) / "media" / "dog.png"
    assert path.read_bytes() == b"woof"
    await blocking(bucket.blob("media/dog.png").delete)
    assert list(folder(simulated).iterdir()) == []


async def test_a_name_that_leaves_the_folder_stays_in_the_bucket(simulated, bucket):
    """Dots are letters to Cloud Storage."""
    await blocking(bucket.blob("../../escaped").upload_from_string, b"x")
    assert await blocking(bucket.blob("../../escaped").download_as_bytes) == b"x"
    assert list(folder(simulated).iterdir()) == []
    assert not (simulated.runtime.buckets.parent / "escaped").exists()


# types, over REST


async def _status(simulated, verb, path, body=None):
    headers = {"Host": "storage.googleapis.com", "Authorization": "Bearer any"}
    async with (
        aiohttp.ClientSession(simulated.rest, headers=headers) as session,
        session.request(verb, path, json=body) as answer,
    ):
        return answer.status, (await answer.json()) if answer.status != 204 else {}


@pytest.mark.parametrize(
    "body",
    [
        {"labels": "x"},
        {"labels": {"a": 1}},
        {"lifecycle": []},
        {"lifecycle": {"rule": {}}},
        {"lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": "abc"}}]}},
        {"softDeletePolicy": {"retentionDurationSeconds": "abc"}},
        {"retentionPolicy": {"retentionPeriod": -1}},
        {"iamConfiguration": {"uniformBucketLevelAccess": "x"}},
        {"versioning": {"enabled": "yes"}},
        {"cors": [None]},
    ],
)
async def test_a_field_of_another_type_is_invalid_and_changes_nothing(simulated, bucket, body):
    """In a PATCH and in an insert."""
    _, before = await _status(simulated, "GET", "/storage/v1/b/demo-media")
    status, answer = await _status(simulated, "PATCH", "/storage/v1/b/demo-media", body)
    assert (status, answer["error"]["errors"][0]["reason"]) == (400, "invalid")
    assert await _status(simulated, "GET", "/storage/v1/b/demo-media") == (200, before)
    assert (await _status(simulated, "POST", "/storage/v1/b?project=demo", {"name": "demo-two", **body}))[0] == 400


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("GET", "/storage/v1/b?project=demo&maxResults=abc", None),
        ("GET", "/storage/v1/b/demo-media/o?maxResults=abc", None),
        ("GET", "/storage/v1/b/demo-media?ifMetagenerationMatch=abc", None),
        ("POST", "/storage/v1/b/demo-media/o/x/compose", {"sourceObjects": 5}),
        ("POST", "/storage/v1/b/demo-media/o/x/compose", {"sourceObjects": [{}]}),
        ("POST", "/storage/v1/b?project=demo", {"name": 5}),
    ],
)
async def test_numbers_and_lists_are_judged_too(simulated, bucket, verb, path, body):
    """400, never an error of the server."""
    assert (await _status(simulated, verb, path, body))[0] == 400


async def test_null_clears_a_field_whatever_its_type(simulated, bucket):
    """Back to the default where the field has one; an insert takes null for what is not said."""
    nulls = {"labels": None, "lifecycle": None, "iamConfiguration": None, "storageClass": None, "versioning": None}
    status, answer = await _status(simulated, "PATCH", "/storage/v1/b/demo-media", nulls)
    assert (status, answer["storageClass"]) == (200, "STANDARD")
    assert (await _status(simulated, "POST", "/storage/v1/b?project=demo", {"name": "demo-two", **nulls}))[0] == 200


async def test_a_deleted_bucket_is_not_shown_as_the_living_one(simulated, bucket):
    """Soft-deleted buckets are not modelled, and refused by name."""
    status, answer = await _status(simulated, "GET", "/storage/v1/b/demo-media?softDeleted=true&generation=1")
    assert (status, "soft-deleted buckets" in answer["error"]["message"]) == (501, True)
