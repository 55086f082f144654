"""The driver of secrets against a Secret Manager that speaks Google's protocol."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from google.cloud import secretmanager_v1
from google.oauth2.credentials import Credentials

from localcloud.core.errors import Code
from nuages.cloud.driver import Driver, Observed, differences
from nuages.cloud.errors import ApiDisabled, Conflict, PermissionDenied, Transient, VersionDisabled
from nuages.cloud.payloads import Payloads
from nuages.desired.resource import Owner
from nuages.desired.secretmanager import Composed, Copied, Random, Secret

API = "SecretManagerService"
OWNER = Owner("shop", "web", "uid-1")
NAME = "projects/demo/secrets/shop-key"


SHARED = Secret(name="projects/demo/secrets/nuages-admin-pg", owner=Owner(instance="pg"), payload=Random(40))


def random_secret(name: str = NAME, **fields: object) -> Secret:
    return replace(
        Secret(name=name, owner=OWNER, payload=Random(40), labels=(("cost", "shop"),)),
        **fields,  # type: ignore[arg-type]
    )


@pytest.fixture
def driver(scene) -> Driver[Secret]:
    return scene.access.drivers.of(Secret)


@pytest.fixture
def payloads(scene) -> Payloads:
    return scene.access.drivers.payloads()


@pytest.fixture
async def google(scene):
    """What people do with gcloud or the console."""
    client = secretmanager_v1.SecretManagerServiceAsyncClient(credentials=Credentials("any"))
    yield client
    await client.transport.close()


async def seen(driver: Driver[Secret], name: str = NAME) -> Observed[Secret]:
    found = await driver.observe(name)
    assert found is not None
    return found


async def versions(google, name: str = NAME) -> list[str]:
    return [item.name.rsplit("/", 1)[1] async for item in await google.list_secret_versions(parent=name)]


async def healed(driver: Driver[Secret], desired: Secret) -> Observed[Secret]:
    """What the executor does after a failure: look again, and write what differs."""
    found = await driver.observe(desired.name)
    if found is None:
        await driver.create(desired)
    elif paths := differences(desired, found, driver.owned):
        await driver.update(desired, found, paths)
    return await seen(driver, desired.name)


async def test_what_was_created_is_what_was_wanted(driver, payloads):
    """Owner, labels, source and version are there; the payload has the length and needs no quoting."""
    await driver.create(random_secret())
    found = await seen(driver)
    assert differences(random_secret(), found, driver.owned) == ()
    assert (found.owner, found.outputs["version"], found.deep) == (OWNER, "1", True)
    payload = (await payloads.current(NAME)).decode()
    assert len(payload) == 40
    assert payload.isalnum()


async def test_absent_and_deleted_are_none(driver):
    """A deletion that is repeated is done as well."""
    assert await driver.observe(NAME) is None
    await driver.create(random_secret())
    for _ in range(2):
        await driver.delete(NAME)
        assert await driver.observe(NAME) is None


@pytest.mark.parametrize("lost", ["CreateSecret", "AddSecretVersion", "UpdateSecret"])
async def test_a_lost_answer_makes_no_second_payload(scene, driver, google, payloads, lost):
    """After a crash at any point there is one version, and it is the current one."""
    scene.lose_answer(f"{API}.{lost}")
    with pytest.raises(Transient):
        await driver.create(random_secret())
    found = await healed(driver, random_secret())
    assert differences(random_secret(), found, driver.owned) == ()
    assert await versions(google) == ["1"]
    assert len(await payloads.current(NAME)) == 40


@pytest.mark.parametrize("failing", ["AddSecretVersion", "UpdateSecret"])
async def test_a_crash_between_two_steps_heals(scene, driver, google, failing):
    """The next pass goes on where the last one stopped."""
    scene.fail(f"{API}.{failing}", Code.UNAVAILABLE, "The service is currently unavailable.")
    with pytest.raises(Transient):
        await driver.create(random_secret())
    assert (await healed(driver, random_secret())).outputs["version"] == "1"
    assert await versions(google) == ["1"]


async def test_a_disabled_random_version_is_left_to_whoever_disabled_it(driver, google):
    """After a leak it must not be enabled again, and what it opened knows no other: it is never generated anew."""
    await driver.create(random_secret())
    await google.disable_secret_version(name=f"{NAME}/versions/1")
    found = await seen(driver)
    assert differences(random_secret(), found, driver.owned) == ("source",)
    assert "version" not in found.outputs
    with pytest.raises(VersionDisabled, match=r"version 1 is disabled\."):
        await healed(driver, random_secret())
    assert await versions(google) == ["1"]
    await google.enable_secret_version(name=f"{NAME}/versions/1")
    assert (await seen(driver)).outputs["version"] == "1"


async def test_a_destroyed_random_version_is_replaced(driver, google):
    """Nothing is left to be saved."""
    await driver.create(random_secret())
    await google.destroy_secret_version(name=f"{NAME}/versions/1")
    assert (await healed(driver, random_secret())).outputs["version"] == "2"


async def test_another_source_of_a_random_secret_adds_one_version(scene, driver, google):
    """A rotation; the answer that was lost in it makes no third version."""
    await driver.create(random_secret())
    rotated = random_secret(source="random-2")
    scene.lose_answer(f"{API}.AddSecretVersion")
    with pytest.raises(Transient):
        await healed(driver, rotated)
    assert (await healed(driver, rotated)).outputs["version"] == "2"
    assert await versions(google) == ["2", "1"]


async def test_a_version_that_somebody_added_is_not_taken_up(driver, google):
    """The annotation pins the version that is used."""
    await driver.create(random_secret())
    await google.add_secret_version(parent=NAME, payload={"data": b"theirs"})
    found = await seen(driver)
    assert differences(random_secret(), found, driver.owned) == ()
    assert found.outputs["version"] == "1"


async def test_an_adopted_secret_keeps_its_payload(driver, google, payloads):
    """Somebody's secret without our marker: its newest version becomes ours as it is."""
    await google.create_secret(
        parent="projects/demo", secret_id="shop-key", secret={"replication": {"automatic": {}}, "labels": {"a": "b"}}
    )
    await google.add_secret_version(parent=NAME, payload={"data": b"theirs"})
    found = await seen(driver)
    assert found.owner is None
    await driver.update(random_secret(), found, ("owner", *differences(random_secret(), found, driver.owned)))
    found = await seen(driver)
    assert (found.owner, found.outputs["version"]) == (OWNER, "1")
    assert await payloads.current(NAME) == b"theirs"
    assert dict((await google.get_secret(name=NAME)).labels)["a"] == "b"


async def test_a_copy_follows_its_origin(scene, driver, google, payloads):
    """Another source with another payload adds a version; the same payload only moves the annotation."""
    desired = random_secret(payload=Copied("openai", "token"), source="uid/1/token")
    scene.payloads[NAME] = b"one"
    await driver.create(desired)
    touched = replace(desired, source="uid/2/token")
    assert (await healed(driver, touched)).outputs["version"] == "1"
    scene.payloads[NAME] = b"two"
    changed = replace(desired, source="uid/3/token")
    assert (await healed(driver, changed)).outputs["version"] == "2"
    assert await payloads.current(NAME) == b"two"
    assert await versions(google) == ["2", "1"]


async def test_a_composed_secret_holds_its_parts(driver, payloads):
    """A text with the current payload of another secret in it, and a new version when that one has."""
    await driver.create(random_secret())
    url = Secret(
        name="projects/demo/secrets/shop-url",
        owner=OWNER,
        payload=Composed("postgresql://app:{password}@/db", (("password", NAME),)),
        source="",
    )
    bound = url.bind({NAME: "1"})
    assert bound is not None
    await driver.create(bound)
    password = (await payloads.current(NAME)).decode()
    assert await payloads.current(url.name) == f"postgresql://app:{password}@/db".encode()
    rotated = random_secret(source="random-2")
    await healed(driver, rotated)
    rebound = url.bind({NAME: "2"})
    assert rebound is not None
    assert (await healed(driver, rebound)).outputs["version"] == "2"


async def test_labels_of_others_are_no_drift_and_stay(driver, google):
    """Ours are written over what is there, and the owner's marker can be marked as retained and taken back."""
    await driver.create(random_secret())
    secret = await google.get_secret(name=NAME)
    labels = {**secret.labels, "team": "blue"}
    await google.update_secret(secret={"name": NAME, "labels": labels}, update_mask={"paths": ["labels"]})
    found = await seen(driver)
    assert differences(random_secret(), found, driver.owned) == ()
    changed = random_secret(labels=(("cost", "other"),))
    assert differences(changed, found, driver.owned) == ("labels",)
    retained = replace(changed, owner=replace(OWNER, retained=True))
    await driver.update(retained, found, ("labels", "owner"))
    labels = dict((await google.get_secret(name=NAME)).labels)
    assert (labels["team"], labels["cost"], labels["nuages-retained"]) == ("blue", "other", "true")
    await driver.update(changed, await seen(driver), ("owner",))
    assert "nuages-retained" not in (await google.get_secret(name=NAME)).labels


async def test_what_is_there_already_is_a_conflict(driver):
    """The executor then looks again."""
    await driver.create(random_secret())
    with pytest.raises(Conflict):
        await driver.create(random_secret())


async def test_a_denial_names_the_permission(scene):
    """So that people know what to grant."""
    access = await scene.as_nobody()
    with pytest.raises(PermissionDenied) as denied:
        await access.drivers.of(Secret).observe(NAME)
    assert denied.value.permission == "secretmanager.secrets.get"


async def test_a_disabled_api_is_named(scene, driver):
    """With its host, so that it can be turned on."""
    scene.cloud.core.projects.enable("demo", "secretmanager.googleapis.com", on=False)
    with pytest.raises(ApiDisabled) as disabled:
        await driver.observe(NAME)
    assert disabled.value.service == "secretmanager.googleapis.com"


async def test_the_list_shows_all_under_our_names(driver):
    """By the project's id, though Google answers with its number; shallow, for versions are not in it."""
    await driver.create(random_secret())
    await driver.create(random_secret("projects/demo/secrets/other", owner=Owner("else")))
    found = {item.state.name: item for item in await driver.observe_all("projects/demo")}
    assert set(found) == {NAME, "projects/demo/secrets/other"}
    assert not found[NAME].deep
    assert differences(random_secret(), found[NAME], driver.owned) == ()


async def test_no_payload_is_in_any_text(scene, driver, payloads, caplog):
    """Neither in what is observed, nor in an error's words."""
    await driver.create(random_secret())
    payload = (await payloads.current(NAME)).decode()
    scene.fail(f"{API}.AddSecretVersion", Code.INVALID_ARGUMENT, "The payload is refused.")
    with pytest.raises(Exception, match="refused") as refused:
        await healed(driver, random_secret(source="random-2"))
    assert payload not in repr(await seen(driver)) + repr(refused.value) + caplog.text


async def test_what_has_changed_since_is_a_conflict(driver, google):
    """Somebody else's label between our look and our write: neither a version is added nor the secret deleted."""
    await driver.create(random_secret())
    found = await seen(driver)
    labels = {**(await google.get_secret(name=NAME)).labels, "team": "blue"}
    await google.update_secret(secret={"name": NAME, "labels": labels}, update_mask={"paths": ["labels"]})
    for paths in (("labels",), ("source",)):
        with pytest.raises(Conflict):
            await driver.update(random_secret(source="random-2"), found, paths)
    with pytest.raises(Conflict):
        await driver.delete(NAME, found.etag)
    assert await versions(google) == ["1"]
    await driver.delete(NAME, (await seen(driver)).etag)
    assert await driver.observe(NAME) is None


async def test_two_tenants_at_the_same_moment_make_one_version(scene, driver, google) -> None:
    """Of what they share: each with credentials of its own, and both end with the same version."""
    drivers = [driver, (await scene.as_bearer("another")).drivers.of(Secret)]

    async def make(own: Driver[Secret]) -> Observed[Secret]:
        with contextlib.suppress(Conflict):
            await own.create(SHARED)
        return await healed(own, SHARED)

    found = await asyncio.gather(*(make(own) for own in drivers))
    assert [item.outputs for item in found] == [{"version": "1"}] * 2
    assert await versions(google, SHARED.name) == ["1"]


async def test_what_one_tenant_had_is_marked_as_the_instances(driver, google) -> None:
    """The version, and labels of others, stay."""
    await driver.create(replace(SHARED, owner=Owner("acme"), labels=(("team", "blue"),)))
    before = await seen(driver, SHARED.name)
    await driver.update(SHARED, before, ("owner",))
    labels = dict((await google.get_secret(name=SHARED.name)).labels)
    assert labels == {"managed-by": "nuages", "nuages-instance": "pg", "team": "blue"}
    assert (await seen(driver, SHARED.name)).outputs == before.outputs
