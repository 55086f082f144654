"""Credentials: our own, a tenant's service account through them, tokens of both kinds."""

from __future__ import annotations

import asyncio
import base64
import json
import sys

import pytest
from google.auth import credentials as auth
from google.oauth2.credentials import Credentials

from localcloud.core.errors import Code, plain
from localcloud.core.faults import Fault, Kind
from nuages.cloud.access import Clouds
from nuages.cloud.errors import PermissionDenied, Transient
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.secretmanager import Secret
from nuages.desired.storage import Bucket

EMAIL = "tenant-one@demo.iam.gserviceaccount.com"
ACCOUNT = ServiceAccount(name=f"projects/demo/serviceAccounts/{EMAIL}", display_name="Tenant")
AUDIENCE = "https://shop-1.europe-west1.run.app"


def claims(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


async def no_copies(secret: Secret) -> bytes:
    raise AssertionError(secret)


@pytest.fixture
async def clouds(scene):
    """The operator as an account that may impersonate the tenant's."""
    drivers = scene.access.drivers
    await drivers.of(ServiceAccount).create(ACCOUNT)
    operator = "operator-1@demo.iam.gserviceaccount.com"
    await drivers.of(ServiceAccount).create(
        ServiceAccount(name=f"projects/demo/serviceAccounts/{operator}", display_name="")
    )
    grant = IamMember.of(ACCOUNT.name, "roles/iam.serviceAccountTokenCreator", f"serviceAccount:{operator}")
    await drivers.of(IamMember).create(grant)
    made = Clouds(no_copies, Credentials(scene.cloud.core.tokens.issue(operator)))
    yield made
    await made.close()


async def test_a_tenant_s_calls_are_its_account_s(scene, clouds):
    """Its permissions count, and audit logs name it."""
    access = await clouds.for_tenant(EMAIL)
    assert access.identity.principal == EMAIL
    assert access is await clouds.for_tenant(EMAIL)
    grant = IamMember.of("projects/demo", "roles/secretmanager.admin", f"serviceAccount:{EMAIL}")
    await scene.access.drivers.of(IamMember).create(grant)
    assert await access.drivers.of(Secret).observe("projects/demo/secrets/none") is None
    last = [request for request in scene.cloud.core.requests.last() if request.method.endswith(".GetSecret")]
    assert last[-1].caller == EMAIL
    operator = await clouds.for_tenant("")
    with pytest.raises(PermissionDenied):
        await operator.drivers.of(Secret).observe("projects/demo/secrets/none")


async def test_an_account_that_may_not_be_impersonated_is_told_at_once(clouds):
    """With the permission that is missing; the next try looks again."""
    for _ in range(2):
        with pytest.raises(PermissionDenied, match="somebody") as denied:
            await clouds.for_tenant("somebody@demo.iam.gserviceaccount.com")
        assert denied.value.permission == "iam.serviceAccounts.getAccessToken"


async def test_id_tokens_are_for_their_audience(clouds):
    """With the account's email; kept while they are good."""
    identity = (await clouds.for_tenant(EMAIL)).identity
    token = await identity.id_token(AUDIENCE)
    assert (claims(token)["aud"], claims(token)["email"]) == (AUDIENCE, EMAIL)
    assert await identity.id_token(AUDIENCE) == token
    assert claims(await identity.id_token("https://other.run.app"))["aud"] == "https://other.run.app"


REFUSED = plain(Code.UNAUTHENTICATED)


@pytest.mark.parametrize(
    ("method", "kind", "name", "role"),
    [
        ("*SecretManagerService.GetSecret", Secret, "projects/demo/secrets/none", "roles/secretmanager.admin"),
        ("*GET /storage/v1/b/{bucket}", Bucket, "projects/demo/buckets/none", "roles/storage.admin"),
    ],
)
async def test_a_refused_token_is_replaced_for_the_next_call(scene, clouds, method, kind, name, role):
    """The call that bore it fails, and is not made again; the next one asks for another token first, and only that."""
    access = await clouds.for_tenant(EMAIL)
    await scene.access.drivers.of(IamMember).create(IamMember.of("projects/demo", role, f"serviceAccount:{EMAIL}"))
    assert await access.drivers.of(kind).observe(name) is None
    scene.cloud.core.faults.add(Fault(method, Kind.FAIL, REFUSED))
    scene.cloud.core.requests.clear()
    with pytest.raises(Transient):
        await access.drivers.of(kind).observe(name)
    assert scene.asked("IAMCredentials.GenerateAccessToken") == 0
    for _ in range(2):
        assert await access.drivers.of(kind).observe(name) is None
    assert scene.asked("IAMCredentials.GenerateAccessToken") == 1


class Renewed(auth.Credentials):
    """The owner's, which list their renewals, also those of google-auth's copy of them."""

    def __init__(self):
        super().__init__()
        self.renewals = []

    def refresh(self, request):
        self.token = f"owner-{len(self.renewals)}"
        self.renewals.append(self.token)


async def test_a_refused_token_of_who_impersonates_is_replaced(scene, clouds):
    """Whether it was to make an access token or an ID token: the operator's own is the one that was refused."""
    credentials = Renewed()
    made = Clouds(no_copies, credentials)
    identity = (await made.for_tenant(EMAIL)).identity
    scene.cloud.core.faults.add(Fault("*.GenerateIdToken", Kind.FAIL, REFUSED))
    with pytest.raises(Transient):
        await identity.id_token(AUDIENCE)
    assert await identity.id_token(AUDIENCE)
    assert len(credentials.renewals) == 2
    identity.credentials.token = None
    scene.cloud.core.faults.add(Fault("*.GenerateAccessToken", Kind.FAIL, REFUSED))
    with pytest.raises(Transient):
        await identity.access_token()
    assert await identity.access_token()
    assert len(credentials.renewals) == 3
    await made.close()


OWN_IDENTITY = """
import asyncio, sys
from nuages.cloud.access import Clouds

async def main(audience):
    clouds = Clouds(None)
    access = await clouds.for_tenant("")
    print(await access.projects.number("demo"))
    print(await access.identity.id_token(audience))
    await clouds.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_the_application_s_default_credentials_serve(scene):
    """The metadata server's account, as in a pod with workload identity: calls and ID tokens, without any setting.

    In a process of its own, for google-auth reads the server's address once.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWN_IDENTITY, AUDIENCE, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    number, token = printed.decode().split()
    assert number == await scene.access.projects.number("demo")
    assert claims(token)["aud"] == AUDIENCE


async def test_a_project_s_number_is_asked_for_once(scene):
    """It never changes. What we may do in it is asked each time."""
    scene.cloud.core.requests.clear()
    numbers = {await scene.access.projects.number("demo") for _ in range(3)}
    assert all(number.isdigit() for number in numbers)
    assert scene.asked("Projects.GetProject") == 1
    wanted = ("run.services.create", "secretmanager.secrets.create")
    assert await scene.access.projects.allowed("demo", wanted) == frozenset(wanted)
    nobody = await scene.as_nobody()
    assert await nobody.projects.allowed("demo", wanted) == frozenset()


async def test_every_call_names_the_object_behind_it(scene):
    """For the audit log, over gRPC and over REST."""
    from nuages.cloud.call import request_reason
    from nuages.desired.storage import Bucket

    token = request_reason.set("nuages/shop/web@3")
    await scene.access.drivers.of(Secret).observe("projects/demo/secrets/none")
    await scene.access.drivers.of(Bucket).observe("projects/demo/buckets/none")
    request_reason.reset(token)
    named = list(scene.cloud.core.requests.last("nuages/shop/web@3"))
    assert [request.status for request in named] == [404, 404]
