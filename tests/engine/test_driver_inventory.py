"""The inventory: few calls at rest, nothing stale after a write."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from google.cloud import secretmanager_v1
from google.oauth2.credentials import Credentials

from localcloud.core.errors import Code
from nuages.cloud.driver import differences
from nuages.cloud.errors import Transient
from nuages.cloud.inventory import LEAST_KEPT, Inventory, Looks
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Owner
from nuages.desired.secretmanager import Random, Secret
from nuages.desired.sql import ExistingSqlInstance, SqlInstance
from nuages.desired.storage import Bucket

OWNER = Owner("shop", "web", "uid-1")
LONG = 1000.0
API = "SecretManagerService"
LOCATION = "projects/demo/locations/europe-west1"


def secret(number: int = 1, owner: Owner = OWNER) -> Secret:
    return Secret(name=f"projects/demo/secrets/s{number}", owner=owner, payload=Random(20))


@pytest.fixture
def inventory(scene) -> Inventory:
    return scene.access.inventory


@pytest.fixture
async def secrets(scene):
    """Three secrets, made before anybody looks."""
    driver = scene.access.drivers.of(Secret)
    await asyncio.gather(*(driver.create(secret(number)) for number in range(3)))
    scene.cloud.core.requests.clear()
    return driver


async def test_one_list_serves_all_who_ask(scene, inventory, secrets):
    """At once or later: one list, however many resources and apps; each deep look is made once."""
    for _ in range(3):
        found = await asyncio.gather(
            *(inventory.get(Secret, secret(number).name, LONG, LONG) for number in (0, 1, 2, 0, 1, 2))
        )
        assert all(item is not None and item.deep for item in found)
        assert differences(secret(0), found[0], secrets.owned) == ()
    assert scene.asked(f"{API}.ListSecrets") == 1
    assert (scene.asked(f"{API}.GetSecret"), scene.asked(f"{API}.GetSecretVersion")) == (0, 3)


async def test_what_a_list_does_not_show_is_not_there(scene, inventory, secrets):
    """Without a call of its own: the executor looks again before it creates."""
    assert await inventory.get(Secret, secret(9).name, LONG, LONG) is None
    assert (scene.asked(f"{API}.ListSecrets"), scene.asked(f"{API}.GetSecret")) == (1, 0)


async def test_after_a_write_it_is_looked_at_afresh(scene, inventory, secrets):
    """That one resource, until the next list; the others are still known."""
    first, other = secret(0), secret(1)
    found = await inventory.get(Secret, first.name, LONG, LONG)
    await inventory.get(Secret, other.name, LONG, LONG)
    scene.cloud.core.requests.clear()
    changed = replace(first, labels=(("a", "b"),))
    await secrets.update(changed, found, ("labels",))
    inventory.forget(first.name)
    scene.cloud.core.requests.clear()
    for _ in range(2):
        assert (await inventory.get(Secret, first.name, LONG, LONG)).state.labels == (("a", "b"),)
        await inventory.get(Secret, other.name, LONG, LONG)
    assert (scene.asked(f"{API}.ListSecrets"), scene.asked(f"{API}.GetSecret")) == (0, 1)
    await secrets.delete(first.name)
    inventory.forget(first.name)
    assert await inventory.get(Secret, first.name, LONG, LONG) is None


async def test_a_look_is_newer_than_the_list_before_it(scene, inventory, secrets):
    """What others changed, and a look has shown, is not asked for again until the next list."""
    name = "projects/demo/serviceAccounts/web-app@demo.iam.gserviceaccount.com"
    account = ServiceAccount(name=name, owner=OWNER, display_name="web")
    assert await inventory.get(ServiceAccount, account.name, LONG, LONG) is None
    await scene.access.drivers.of(ServiceAccount).create(account)
    assert await inventory.get(ServiceAccount, account.name, LONG, LONG) is None
    seen = await inventory.fresh(ServiceAccount, account.name)
    scene.cloud.core.requests.clear()
    assert seen is not None
    assert await inventory.get(ServiceAccount, account.name, LONG, LONG) == seen
    assert scene.cloud.core.requests.counts == {}


async def test_no_age_at_all_looks_each_time(scene, inventory, secrets):
    """What people get who ask to look now."""
    for _ in range(2):
        await inventory.get(Secret, secret(0).name, 0.0, 0.0)
    assert (scene.asked(f"{API}.ListSecrets"), scene.asked(f"{API}.GetSecret")) == (0, 2)


async def test_an_old_list_is_made_again(scene, inventory, secrets):
    """Older than asked for."""
    await inventory.get(Secret, secret(0).name, LONG, LONG)
    await inventory.get(Secret, secret(0).name, 1e-9, LONG)
    assert (scene.asked(f"{API}.ListSecrets"), scene.asked(f"{API}.GetSecretVersion")) == (2, 1)


async def test_a_change_that_the_list_shows_ends_the_deep_look(scene, inventory, secrets):
    """Another etag: somebody has been there."""
    name = secret(0).name
    await inventory.get(Secret, name, LONG, LONG)
    client = secretmanager_v1.SecretManagerServiceAsyncClient(credentials=Credentials("any"))
    changed = {"secret": {"name": name, "annotations": {}}, "update_mask": {"paths": ["annotations"]}}
    await client.update_secret(request=changed, retry=None)
    await client.transport.close()
    found = await inventory.get(Secret, name, 0.0001, LONG)
    assert differences(secret(0), found, secrets.owned) == ("source",)


async def test_policies_have_an_age_of_their_own(scene, inventory, secrets):
    """One read for all members of a policy, and none while it is young enough for a deep look."""
    drivers = scene.access.drivers
    email = "web-one@demo.iam.gserviceaccount.com"
    await drivers.of(ServiceAccount).create(
        ServiceAccount(name=f"projects/demo/serviceAccounts/{email}", display_name="")
    )
    name = secret(0).name
    grants = [IamMember.of(name, role, f"serviceAccount:{email}") for role in ("roles/viewer", "roles/editor")]
    await drivers.of(IamMember).create(grants[0])
    scene.cloud.core.requests.clear()
    for _ in range(2):
        found = await asyncio.gather(*(inventory.get(IamMember, grant.name, 0.001, LONG) for grant in grants))
        assert [item is not None for item in found] == [True, False]
    assert scene.asked(f"{API}.GetIamPolicy") == 1
    await drivers.of(IamMember).create(grants[1])
    inventory.forget(grants[1].name)
    assert await inventory.get(IamMember, grants[1].name, LONG, LONG) is not None


async def test_all_of_an_owner_is_found(scene, inventory, secrets):
    """Whatever its kind; others' and unmarked ones are not."""
    drivers = scene.access.drivers
    bucket = Bucket(name="projects/demo/buckets/demo-b1", owner=OWNER, location="EUROPE-WEST1", versioning=False)
    await drivers.of(Bucket).create(bucket)
    await drivers.of(Secret).create(secret(7, Owner("shop", "other", "uid-2")))
    found = await inventory.owned_by(OWNER, "demo", "europe-west1")
    assert {item.state.name for item in found} == {bucket.name, *(secret(number).name for number in range(3))}


async def test_a_list_follows_our_writes(scene, inventory, secrets):
    """What was made or deleted since is in it, or not in it."""
    assert len(await inventory.list(Secret, "projects/demo", LONG)) == 3
    await secrets.create(secret(5))
    inventory.forget(secret(5).name)
    assert len(await inventory.list(Secret, "projects/demo", LONG)) == 4
    assert len(await inventory.list(Secret, "projects/demo", LONG)) == 4
    assert scene.asked(f"{API}.ListSecrets") == 2


async def test_one_name_of_two_kinds(scene, inventory):
    """An instance of ours and an existing one are kept apart, though their names are alike."""
    name = "projects/demo/instances/pg"
    for kind in (SqlInstance, ExistingSqlInstance):
        assert await inventory.get(kind, name, LONG, LONG) is None
        assert await inventory.get(kind, name, 0.0, 0.0) is None


async def test_a_failed_look_is_not_kept(scene, inventory, secrets):
    """All who waited hear of it; the next one looks again."""
    scene.fail(f"{API}.ListSecrets", Code.UNAVAILABLE, "The service is currently unavailable.")
    waiting = [inventory.get(Secret, secret(number).name, LONG, LONG) for number in range(3)]
    assert [type(item) for item in await asyncio.gather(*waiting, return_exceptions=True)] == [Transient] * 3
    assert await inventory.get(Secret, secret(0).name, LONG, LONG) is not None


async def test_who_gives_up_does_not_stop_the_others():
    """A cancelled waiter leaves the shared look running."""
    looking, gate = asyncio.Event(), asyncio.Event()

    async def look() -> int:
        looking.set()
        await gate.wait()
        return 7

    looks: Looks[int] = Looks()
    first, second = (asyncio.create_task(looks.get("key", look, 0.0)) for _ in range(2))
    await looking.wait()  # both had begun before it
    first.cancel()
    gate.set()
    assert (await second).value == 7
    with pytest.raises(asyncio.CancelledError):
        await first


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_what_is_too_old_for_anybody_is_forgotten(scene, secrets):
    """Answers and writes alike, once they are older than the largest age that was asked for."""
    clock = Clock()
    inventory = Inventory(scene.access.drivers, clock)
    for number in range(3):
        await inventory.get(Secret, secret(number).name, LONG, 2 * LEAST_KEPT)
        inventory.forget(secret(number).name)
    known = len(inventory)
    clock.now += 1.5 * LEAST_KEPT
    await inventory.get(ServiceAccount, "projects/demo/serviceAccounts/nobody@demo", LONG, LONG)
    assert len(inventory) == known + 1
    clock.now += LEAST_KEPT
    await inventory.get(ServiceAccount, "projects/demo/serviceAccounts/nobody@demo", LONG, LONG)
    assert len(inventory) == 1


async def test_what_was_seen_of_a_deleted_app_is_dropped(scene, inventory, secrets):
    """And what was seen in it; others' stays."""
    grant = IamMember.of(secret(0).name, "roles/viewer", "user:jo@acme.example")
    await inventory.get(Secret, secret(1).name, 0.0, 0.0)
    known = len(inventory)
    await inventory.get(Secret, secret(0).name, 0.0, 0.0)
    await inventory.get(IamMember, grant.name, 0.0, LONG)
    await inventory.get(IamMember, grant.name, 0.0, 0.0)
    inventory.drop([secret(0).name])
    assert len(inventory) == known


async def test_a_write_to_one_scope_leaves_the_lists_of_others(scene, inventory, secrets):
    """Another project's, another kind's and a policy's."""
    await inventory.list(Secret, "projects/demo", LONG)
    for name in ("projects/other/secrets/s1", "projects/demo/buckets/b", f"{secret(0).name}#roles/viewer#user:a@b.c"):
        inventory.forget(name)
    await inventory.list(Secret, "projects/demo", LONG)
    assert scene.asked(f"{API}.ListSecrets") == 1


async def test_names_are_known_without_asking(scene, inventory, secrets):
    """As the last list shows them, and the looks since at what we wrote to."""
    assert inventory.names(Secret, "projects/demo") is None
    await inventory.list(Secret, "projects/demo", LONG)
    await secrets.create(secret(9))
    found = await inventory.fresh(Secret, secret(0).name)
    assert found is not None
    await secrets.delete(secret(0).name, found.etag)
    for number in (0, 9):
        inventory.forget(secret(number).name)
    assert inventory.names(Secret, "projects/demo") == {secret(number).name for number in (0, 1, 2)}
    for number in (0, 9):
        await inventory.fresh(Secret, secret(number).name)
    scene.cloud.core.requests.clear()
    assert inventory.names(Secret, "projects/demo") == {secret(number).name for number in (1, 2, 9)}
    assert scene.asked("") == 0
