"""The driver of single IAM members, against policies of every kind that we write."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.cloud import secretmanager_v1
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.oauth2.credentials import Credentials

from localcloud.core.errors import Code
from localcloud.core.faults import Fault, Kind
from nuages.cloud.driver import differences
from nuages.cloud.errors import Conflict, Invalid, PermissionDenied, Propagating, Transient
from nuages.cloud.policy import MOST_LACKING
from nuages.desired.iam import Condition, IamMember, ServiceAccount
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Random, Secret
from nuages.desired.storage import Bucket

EMAIL = "web-one@demo.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
ACCOUNT = ServiceAccount(name=f"projects/demo/serviceAccounts/{EMAIL}", display_name="Web")
SECRET = Secret(name="projects/demo/secrets/shop-key", payload=Random(40))
BUCKET = Bucket(name="projects/demo/buckets/demo-media", location="EUROPE-WEST1", versioning=False)
ACCESSOR = IamMember.of(SECRET.name, "roles/secretmanager.secretAccessor", MEMBER)
CONDITION = Condition("nuages-pg", 'resource.name == "projects/demo/instances/pg"')


@pytest.fixture
async def driver(scene):
    await scene.access.drivers.of(ServiceAccount).create(ACCOUNT)
    await scene.access.drivers.of(Secret).create(SECRET)
    return scene.access.drivers.of(IamMember)


@pytest.fixture
async def google(scene):
    """What people do with gcloud or the console."""
    client = secretmanager_v1.SecretManagerServiceAsyncClient(credentials=Credentials("any"))
    yield client
    await client.transport.close()


async def policy(google) -> policy_pb2.Policy:
    return await google.get_iam_policy(request=iam_policy_pb2.GetIamPolicyRequest(resource=SECRET.name))


async def grant_theirs(google, member: str = "user:ann@example.com") -> None:
    found = await policy(google)
    found.bindings.add(role="roles/secretmanager.viewer", members=[member])
    await google.set_iam_policy(request=iam_policy_pb2.SetIamPolicyRequest(resource=SECRET.name, policy=found))


async def test_every_kind_of_target(scene, driver):
    """Project, secret, service account, bucket, service and job: granted, seen, taken away."""
    from test_driver_run import JOB, SERVICE

    await scene.access.drivers.of(Bucket).create(BUCKET)
    await scene.done(await scene.access.drivers.of(RunService).create(SERVICE))
    await scene.done(await scene.access.drivers.of(RunJob).create(JOB))
    grants = (
        IamMember.of("projects/demo", "roles/cloudsql.client", MEMBER, CONDITION),
        ACCESSOR,
        IamMember.of(ACCOUNT.name, "roles/iam.serviceAccountTokenCreator", MEMBER),
        IamMember.of(BUCKET.name, "roles/storage.objectAdmin", MEMBER),
        IamMember.of(SERVICE.name, "roles/run.invoker", MEMBER),
        IamMember.of(JOB.name, "roles/run.invoker", MEMBER),
    )
    for grant in grants:
        assert await driver.observe(grant.name) is None, grant
        await driver.create(grant)
        found = await driver.observe(grant.name)
        assert found.state == grant
        assert differences(grant, found, driver.owned) == ()
        assert grant in [item.state for item in await driver.observe_all(driver.scope(grant.name))]
        for _ in range(2):
            await driver.delete(grant.name)
            assert await driver.observe(grant.name) is None, grant


async def test_other_members_stay(driver, google):
    """Granting and revoking touch the one member, of its role and condition alone."""
    await grant_theirs(google)
    other = IamMember.of(SECRET.name, ACCESSOR.role, "user:bob@example.com")
    for grant in (ACCESSOR, other):
        await driver.create(grant)
    await driver.delete(ACCESSOR.name)
    roles = {binding.role: list(binding.members) for binding in (await policy(google)).bindings}
    assert roles == {"roles/secretmanager.viewer": ["user:ann@example.com"], other.role: ["user:bob@example.com"]}


async def test_a_condition_is_a_binding_of_its_own(driver):
    """The same role with and without it; its expression can be changed."""
    plain = IamMember.of("projects/demo", "roles/cloudsql.client", MEMBER)
    bound = IamMember.of("projects/demo", "roles/cloudsql.client", MEMBER, CONDITION)
    await driver.create(plain)
    assert await driver.observe(bound.name) is None
    await driver.create(bound)
    changed = replace(bound, condition=replace(CONDITION, expression="true"))
    found = await driver.observe(bound.name)
    assert differences(changed, found, driver.owned) == ("condition",)
    await driver.update(changed, found, ("condition",))
    assert (await driver.observe(bound.name)).state == changed
    assert (await driver.observe(plain.name)).state == plain
    await driver.delete(bound.name)
    assert (await driver.observe(plain.name)).state == plain


async def test_an_address_is_found_in_any_case_and_an_identifier_in_its_own(driver):
    """IAM keeps addresses in lower case; a federated identity is another one with another case."""
    ann = IamMember.of(SECRET.name, ACCESSOR.role, "user:Ann@Example.com")
    await driver.create(ann)
    assert [item.state for item in await driver.observe_all(SECRET.name)] == [ann]
    pool = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/subject"
    main, other = (IamMember.of(SECRET.name, ACCESSOR.role, f"{pool}/{name}") for name in ("Main", "main"))
    await driver.create(main)
    assert await driver.observe(other.name) is None
    assert (await driver.observe(main.name)).state == main


async def test_a_change_in_between_is_read_again(scene, driver, google):
    """Both members are there in the end."""

    async def somebody_writes() -> None:
        await grant_theirs(google)

    scene.before("SecretManagerService.SetIamPolicy", somebody_writes)
    await driver.create(ACCESSOR)
    members = {member for binding in (await policy(google)).bindings for member in binding.members}
    assert members == {MEMBER, "user:ann@example.com"}


async def test_somebody_who_always_writes_first_is_a_conflict(scene, driver):
    """Bounded: the engine comes again."""
    fault = scene.fail("SecretManagerService.SetIamPolicy", Code.ABORTED, "There were concurrent policy changes.", -1)
    with pytest.raises(Conflict):
        await driver.create(ACCESSOR)
    fault.times = 0
    await driver.create(ACCESSOR)


async def test_a_grant_with_lost_answer_is_found(scene, driver):
    """Granting it again changes nothing."""
    scene.lose_answer("SecretManagerService.SetIamPolicy")
    with pytest.raises(Transient):
        await driver.create(ACCESSOR)
    assert (await driver.observe(ACCESSOR.name)).state == ACCESSOR
    await driver.create(ACCESSOR)


async def test_a_policy_is_read_once_for_all_who_ask_at_once(scene, driver):
    """Two members of one policy, one read."""
    import asyncio

    fault = scene.fail("SecretManagerService.GetIamPolicy", Code.UNAVAILABLE, "unavailable")
    fault.skip = 1  # a second read would fail
    names = [ACCESSOR.name, IamMember.of(SECRET.name, "roles/viewer", MEMBER).name]
    assert await asyncio.gather(*(driver.observe(name) for name in names)) == [None, None]


async def test_what_an_old_answer_does_not_show_is_taken_away(scene, driver):
    """The policy as it was before the grant: its etag tells, when it is written."""
    await driver.create(ACCESSOR)
    scene.cloud.core.faults.add(Fault("*SecretManagerService.GetIamPolicy", Kind.STALE))
    await driver.delete(ACCESSOR.name)
    assert await driver.observe(ACCESSOR.name) is None


async def test_a_missing_target_has_no_members(driver):
    """Neither to see nor to take away; granting says that it is not there."""
    missing = IamMember.of("projects/demo/secrets/none", ACCESSOR.role, MEMBER)
    assert await driver.observe(missing.name) is None
    await driver.delete(missing.name)


async def test_an_account_that_is_not_known_yet_is_waited_for(driver):
    """Google's 400 on a fresh account."""
    ghost = IamMember.of(SECRET.name, ACCESSOR.role, "serviceAccount:ghost1@demo.iam.gserviceaccount.com")
    with pytest.raises(Propagating):
        await driver.create(ghost)


async def test_a_denial_names_the_permission(scene, driver):
    """So that people know what to grant."""
    access = await scene.as_nobody()
    with pytest.raises(PermissionDenied) as denied:
        await access.drivers.of(IamMember).observe(ACCESSOR.name)
    assert denied.value.permission == "secretmanager.secrets.getIamPolicy"


async def test_an_unknown_kind_of_target_is_refused(driver):
    """By name."""
    with pytest.raises(Invalid, match="projects/demo/topics/t"):
        await driver.observe("projects/demo/topics/t#roles/x#user:a@b.c")


async def test_what_is_remembered_of_policies_is_bounded(scene, driver):
    """Neither a lock that nobody holds nor a policy that nobody changes stays for good."""
    driver._remember("projects/first", policy_pb2.Policy())
    for number in range(MOST_LACKING):
        driver._remember(f"projects/p{number}", policy_pb2.Policy())
    assert len(driver._lacking) == MOST_LACKING
    assert "projects/first" not in driver._lacking
    await driver.create(IamMember.of("projects/demo", "roles/viewer", "user:jo@acme.example"))
    assert len(driver._writers) == 0
