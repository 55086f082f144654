"""Signed URLs and public objects of Cloud Storage, as a browser without any other credential asks for them."""

from __future__ import annotations

import datetime as dt

import google.auth.transport.requests
import pytest
import requests
from google.auth import iam
from google.cloud import storage
from google.iam.v1 import policy_pb2
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from storage_support import EMAIL, MEMBER, blocking, grant


def signed(token, name, **options):
    """As django-storages does: signBlob with a token, no key file."""
    signer = iam.Signer(google.auth.transport.requests.Request(), Credentials(token), EMAIL)
    credentials = service_account.Credentials(signer, EMAIL, "https://oauth2.googleapis.com/token")
    blob = storage.Client("demo", Credentials(token)).bucket("demo-media").blob(name)
    return blob.generate_signed_url(version="v4", credentials=credentials, **options)


@pytest.fixture
async def signing(simulated, bucket, app_token):
    """The account may sign for itself and read and write objects."""
    token_creator = policy_pb2.Binding(role="roles/iam.serviceAccountTokenCreator", members=[MEMBER])
    name = f"projects/demo/serviceAccounts/{EMAIL}"
    simulated.core.policies.set(name, policy_pb2.Policy(bindings=[token_creator]))
    await grant(bucket, "roles/storage.objectAdmin")
    return app_token


async def test_a_signed_url_gives_the_object_to_anybody(signing, bucket):
    """Through the proxy, without any other credential; also with what the browser shall call the file."""
    await blocking(bucket.blob("a b/ü.pdf").upload_from_string, b"pdf", content_type="application/pdf")
    url = await blocking(
        signed, signing, "a b/ü.pdf", expiration=dt.timedelta(minutes=5), response_disposition="attachment"
    )
    answer = await blocking(requests.get, url, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"pdf")
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["Content-Type"] == "application/pdf"


async def test_a_signed_url_is_for_its_own_request_only(signing, bucket):
    """Another object, another method: refused in XML."""
    await blocking(bucket.blob("a").upload_from_string, b"a")
    url = await blocking(signed, signing, "a", expiration=dt.timedelta(minutes=5))
    for changed, method in ((url.replace("/a?", "/b?"), "GET"), (url, "PUT")):
        answer = await blocking(requests.request, method, changed, timeout=10)
        assert (answer.status_code, "<Code>SignatureDoesNotMatch</Code>" in answer.text) == (403, True)


async def test_a_signed_url_ends(simulated, signing, bucket):
    """Judged by the signed date: one from yesterday has expired, whatever its signature."""
    await blocking(bucket.blob("a").upload_from_string, b"a")
    url = await blocking(signed, signing, "a", expiration=dt.timedelta(minutes=5))
    today, yesterday = (dt.datetime.now(dt.UTC) - dt.timedelta(days=n) for n in (0, 1))
    answer = await blocking(requests.get, url.replace(f"{today:%Y%m%d}T", f"{yesterday:%Y%m%d}T"), timeout=10)
    assert (answer.status_code, "<Code>ExpiredToken</Code>" in answer.text) == (400, True)


async def test_a_signed_url_can_be_written_to(signing, bucket):
    """With the content type that was signed."""
    url = await blocking(
        signed, signing, "new", method="PUT", content_type="text/plain", expiration=dt.timedelta(minutes=5)
    )
    answer = await blocking(requests.put, url, data=b"hi", headers={"Content-Type": "text/plain"}, timeout=10)
    assert answer.status_code == 200
    assert (await blocking(bucket.get_blob, "new")).content_type == "text/plain"


async def test_a_signed_url_is_worth_what_its_signer_may_do_now(simulated, signing, bucket):
    """The permission is judged when the URL is used."""
    await blocking(bucket.blob("a").upload_from_string, b"a")
    url = await blocking(signed, signing, "a", expiration=dt.timedelta(minutes=5))
    simulated.core.policies.set("projects/_/buckets/demo-media", policy_pb2.Policy())
    answer = await blocking(requests.get, url, timeout=10)
    assert answer.status_code == 403
    assert f"{EMAIL} does not have storage.objects.get access" in answer.text


async def test_an_object_is_public_once_all_users_may_read_it(bucket):
    """And not before: 403 for who shows no credential."""
    await blocking(bucket.blob("logo.svg").upload_from_string, b"<svg/>", content_type="image/svg+xml")
    url = "https://storage.googleapis.com/demo-media/logo.svg"
    answer = await blocking(requests.get, url, timeout=10)
    assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True)
    policy = await blocking(bucket.get_iam_policy)
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
    await blocking(bucket.set_iam_policy, policy)
    assert (await blocking(requests.get, url, timeout=10)).content == b"<svg/>"
    assert (await blocking(requests.get, "https://demo-media.storage.googleapis.com/logo.svg", timeout=10)).ok
    assert (await blocking(requests.head, url, timeout=10)).headers["Content-Type"] == "image/svg+xml"
