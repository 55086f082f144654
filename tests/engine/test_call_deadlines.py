"""`--call-timeout` ends every call of Google's, whichever client makes it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials

from localcloud.core.faults import Fault, Kind
from nuages.cloud.access import CloudAccess, Clouds
from nuages.cloud.call import Call
from nuages.cloud.credentials import Identity, impersonated
from nuages.cloud.errors import Transient
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.secretmanager import Secret
from nuages.desired.storage import Bucket

SHORT_S = 2.0  # enough for what leads to the call that is held up
HELD_S = 5.0
SECRET = "projects/demo/secrets/none"
EMAIL = "tenant-one@demo.iam.gserviceaccount.com"


async def no_copies(secret: Secret) -> bytes:
    raise AssertionError(secret)


@pytest.fixture
async def hurried(scene):
    """Clouds whose calls are given little time."""
    made = Clouds(no_copies, Credentials("any"), call_timeout=SHORT_S)
    yield made
    await made.close()


def hold(scene, method: str, resource: str = "*") -> Fault:
    """The next call of the method is answered, but after its deadline."""
    return scene.cloud.core.faults.add(Fault(f"*{method}", Kind.DELAY, seconds=HELD_S, resource=resource))


async def fails_in_time(held: Fault, work) -> str:
    """What the caller is told while Google still holds its answer back."""
    with pytest.raises(Transient) as told:
        await work
    assert held.times == 0, f"{held.method}: {told.value}"
    return str(told.value)


async def connected(access: CloudAccess) -> None:
    """With as many connections as there will be calls: on a busy machine making them all takes seconds."""
    async with asyncio.timeout(20.0):
        while True:
            with contextlib.suppress(Transient):
                await access.drivers.of(Secret).observe(SECRET)
                await asyncio.gather(*(observe(access, bucket(number)) for number, _ in enumerate(STORAGE)))
                return


async def account(scene):
    name = f"projects/demo/serviceAccounts/{EMAIL}"
    await scene.access.drivers.of(ServiceAccount).create(ServiceAccount(name=name, display_name=""))


def bucket(number: int) -> Bucket:
    return Bucket(name=f"projects/demo/buckets/demo-media-{number}", location="EUROPE-WEST1", versioning=False)


async def observe(access, wanted):
    await access.drivers.of(Bucket).observe(wanted.name)


async def observe_all(access, wanted):
    await access.drivers.of(Bucket).observe_all("projects/demo")


async def create(access, wanted):
    await access.drivers.of(Bucket).create(replace(wanted, name="projects/demo/buckets/demo-new"))


async def update(access, wanted):
    buckets = access.drivers.of(Bucket)
    await buckets.update(replace(wanted, versioning=True), await buckets.observe(wanted.name), ("versioning",))


async def delete(access, wanted):
    await access.drivers.of(Bucket).delete(wanted.name)


async def grant(access, wanted):
    member = IamMember.of(wanted.name, "roles/storage.objectUser", f"serviceAccount:{EMAIL}")
    await access.drivers.of(IamMember).create(member)


STORAGE = (
    ("GET /storage/v1/b", observe_all),
    ("POST /storage/v1/b", create),
    ("GET /storage/v1/b/{bucket}", observe),
    ("PATCH /storage/v1/b/{bucket}", update),
    ("DELETE /storage/v1/b/{bucket}", delete),
    ("GET /storage/v1/b/{bucket}/iam", grant),
    ("PUT /storage/v1/b/{bucket}/iam", grant),
    ("GET /storage/v1/b/{bucket}/o", delete),
    ("DELETE /storage/v1/b/{bucket}/o/{object}", delete),
)


async def test_every_call_ends_at_its_deadline(scene, hurried):
    """Over gRPC, in Cloud Storage's threads and for tokens alike; all who wait for a token are told at once."""
    await account(scene)
    google = Client(project="demo", credentials=Credentials("any"))
    for number, _ in enumerate(STORAGE):
        await scene.access.drivers.of(Bucket).create(bucket(number))
        await asyncio.to_thread(google.bucket(bucket(number).id).blob("a").upload_from_string, b"a")
    google.close()
    access, tenant = await hurried.for_tenant(""), await hurried.for_tenant(EMAIL)
    await connected(access)
    held = hold(scene, "SecretManagerService.GetSecret")
    calls = [fails_in_time(held, access.drivers.of(Secret).observe(SECRET))]
    for number, (method, act) in enumerate(STORAGE):
        held = hold(scene, f"storage.googleapis.com/{method}", f"*/demo-media-{number}*" if "{" in method else "*")
        calls.append(fails_in_time(held, act(access, bucket(number))))
    held = hold(scene, "IAMCredentials.GenerateIdToken")
    calls.append(fails_in_time(held, tenant.identity.id_token("https://shop.run.app")))
    tenant.identity.credentials.token = None
    held = hold(scene, "IAMCredentials.GenerateAccessToken")
    calls += [fails_in_time(held, tenant.drivers.of(Secret).observe(SECRET)) for _ in range(20)]
    assert set(await asyncio.gather(*calls)) == {"Deadline Exceeded", "the call took too long"}
    assert await tenant.identity.access_token()


async def test_a_thread_for_a_token_ends_with_its_call(scene):
    """While Google still holds the ID token back: the only thread makes the next token."""
    await account(scene)
    call = Call(1, deadline=1.0)
    identity = Identity(impersonated(Credentials("any"), EMAIL), call)
    await identity.access_token()
    held = hold(scene, "IAMCredentials.GenerateIdToken")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await fails_in_time(held, identity.id_token("https://shop.run.app"))
    await call.all_ended()
    assert not call._threads
    identity.credentials.token = None
    assert await identity.access_token()
    assert loop.time() - began < HELD_S
