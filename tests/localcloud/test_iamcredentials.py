"""Short-lived credentials of service accounts, through Google's clients over gRPC and REST."""

from __future__ import annotations

import asyncio
import json
import time

import google.auth.transport.requests
import pytest
from google.api_core import exceptions
from google.auth import iam, impersonated_credentials, jwt
from google.auth.exceptions import RefreshError
from google.cloud import iam_admin_v1, iam_credentials_v1
from google.iam.v1 import policy_pb2
from google.oauth2 import id_token
from google.oauth2.credentials import Credentials

from localcloud.core.identity import CLOUD_PLATFORM

EMAIL = "web-app@demo.iam.gserviceaccount.com"
NAME = f"projects/-/serviceAccounts/{EMAIL}"
CREATOR = "roles/iam.serviceAccountTokenCreator"


@pytest.fixture
async def account(simulated, clients):
    """An account that exists and that nobody may impersonate."""
    api = clients(iam_admin_v1.IAMAsyncClient)
    await api.create_service_account(request={"name": "projects/demo", "account_id": "web-app"})
    return simulated.core


def grant(core, role=CREATOR, member=f"serviceAccount:{EMAIL}"):
    policy = policy_pb2.Policy(bindings=[policy_pb2.Binding(role=role, members=[member])])
    core.policies.set(f"projects/demo/serviceAccounts/{EMAIL}", policy)


@pytest.fixture
def itself(account, clients):
    """The API as the account itself calls it."""
    return clients(iam_credentials_v1.IAMCredentialsAsyncClient, account.tokens.issue(EMAIL))


async def test_an_account_may_not_sign_for_itself_without_the_role(itself):
    """Signed URLs need Token Creator even on oneself; the refusal is Google's."""
    with pytest.raises(
        exceptions.PermissionDenied, match=r"Permission 'iam\.serviceAccounts\.signBlob' denied"
    ) as error:
        await itself.sign_blob(name=NAME, payload=b"x")
    assert error.value.details[0].metadata["permission"] == "iam.serviceAccounts.signBlob"


async def test_a_missing_account_is_denied_like_a_foreign_one(account, clients):
    """Even to the owner: nobody learns whether it exists."""
    owner = clients(iam_credentials_v1.IAMCredentialsAsyncClient)
    with pytest.raises(exceptions.PermissionDenied, match="or it may not exist"):
        await owner.sign_blob(name="projects/-/serviceAccounts/ghost@demo.iam.gserviceaccount.com", payload=b"x")


async def test_a_signed_blob_verifies_with_the_accounts_published_certificate(account, itself):
    """RSA-SHA256 with the key that the certificate endpoint shows."""
    grant(account)
    answer = await itself.sign_blob(name=NAME, payload=b"hello")
    key = account.keys.find(EMAIL)
    assert answer.key_id == key.id
    assert key.verifies(answer.signed_blob, b"hello")


async def test_an_access_token_lives_as_long_as_was_asked(account, itself):
    """And acts as the account; more than an hour is refused."""
    grant(account)
    answer = await itself.generate_access_token(request={"name": NAME, "scope": [CLOUD_PLATFORM], "lifetime": "600s"})
    assert account.tokens.email(answer.access_token) == EMAIL
    assert 590 <= account.tokens.remaining(answer.access_token) <= 600
    with pytest.raises(exceptions.InvalidArgument):
        await itself.generate_access_token(request={"name": NAME, "scope": [CLOUD_PLATFORM], "lifetime": "7200s"})


async def test_a_jwt_that_the_account_signed_is_itself_a_bearer(account, itself, clients):
    """GAPIC clients send one without exchange."""
    grant(account)
    now = int(time.time())
    claims = {"iss": EMAIL, "sub": EMAIL, "aud": "https://iam.googleapis.com/", "iat": now, "exp": now + 600}
    signed = (await itself.sign_jwt(name=NAME, payload=json.dumps(claims))).signed_jwt
    as_jwt = clients(iam_admin_v1.IAMAsyncClient, signed)
    assert (await as_jwt.get_service_account(name=NAME)).email == EMAIL  # Token Creator may read it
    claims["exp"] = now - 3600
    expired = (await itself.sign_jwt(name=NAME, payload=json.dumps(claims))).signed_jwt
    with pytest.raises(exceptions.Unauthenticated):
        await clients(iam_admin_v1.IAMAsyncClient, expired).get_service_account(name=NAME)


async def test_impersonation_gives_id_tokens_that_google_auth_verifies(account):
    """Over REST, with google-auth's own flags, down to the certificates of www.googleapis.com."""
    grant(account)

    def impersonate():
        source = Credentials(account.tokens.issue(EMAIL))
        target = impersonated_credentials.Credentials(source, EMAIL, [CLOUD_PLATFORM])
        made = impersonated_credentials.IDTokenCredentials(target, "https://shop.run.app", include_email=True)
        request = google.auth.transport.requests.Request()
        made.refresh(request)
        return id_token.verify_oauth2_token(made.token, request, "https://shop.run.app")

    claims = await asyncio.to_thread(impersonate)
    assert claims["email"] == EMAIL
    assert claims["sub"] == account.accounts.find(EMAIL).unique_id


async def test_google_auths_signer_signs_by_this_api(account):
    """What django-storages does for a signed URL."""
    grant(account)

    def sign():
        signer = iam.Signer(google.auth.transport.requests.Request(), Credentials(account.tokens.issue(EMAIL)), EMAIL)
        return signer.sign(b"text")

    assert account.keys.find(EMAIL) is None
    signature = await asyncio.to_thread(sign)
    assert account.keys.find(EMAIL).verifies(signature, b"text")


async def test_impersonation_without_the_role_fails_in_googles_words(account):
    """google-auth shows the permission that is missing."""

    def refresh():
        target = impersonated_credentials.Credentials(Credentials(account.tokens.issue(EMAIL)), EMAIL, [CLOUD_PLATFORM])
        target.refresh(google.auth.transport.requests.Request())

    with pytest.raises(RefreshError, match=r"iam\.serviceAccounts\.getAccessToken"):
        await asyncio.to_thread(refresh)


async def test_an_id_token_is_for_its_audience_only(account):
    """The front door asks this of every call."""
    token = await account.id_tokens.issue(EMAIL, "https://a.run.app")
    assert account.id_tokens.verify(token, ["https://a.run.app", "https://b.run.app"]).email == EMAIL
    with pytest.raises(ValueError, match="The token is for"):
        account.id_tokens.verify(token, ["https://b.run.app"])
    assert jwt.decode(token, verify=False)["iss"] == "https://accounts.google.com"
