"""Service accounts and their policies, through Google's own client."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import field_mask_pb2

PROJECT = "projects/demo"
EMAIL = "web-app@demo.iam.gserviceaccount.com"
NAME = f"{PROJECT}/serviceAccounts/{EMAIL}"


@pytest.fixture
def iam(simulated, clients):
    return clients(iam_admin_v1.IAMAsyncClient)


async def create(iam, account="web-app"):
    request = {"name": PROJECT, "account_id": account, "service_account": {"display_name": "Web"}}
    return await iam.create_service_account(request=request)


async def test_a_new_account_is_answered_whole_and_found_by_email_and_by_unique_id(iam):
    """Both names, with and without the project, lead to one account."""
    made = await create(iam)
    assert (made.name, made.email, made.project_id, made.display_name) == (NAME, EMAIL, "demo", "Web")
    assert len(made.unique_id) == 21
    assert made.unique_id.isdigit()
    for name in (NAME, f"projects/-/serviceAccounts/{EMAIL}", f"projects/-/serviceAccounts/{made.unique_id}"):
        assert await iam.get_service_account(name=name) == made


async def test_a_second_account_of_the_same_id_is_refused_in_googles_words(iam):
    """409 names the id and the project."""
    await create(iam)
    with pytest.raises(
        exceptions.AlreadyExists, match="Service account web-app already exists within project projects/"
    ):
        await create(iam)


@pytest.mark.parametrize("account", ["short", "Upper-case", "ends-with-", "9starts-with-digit", "x" * 31])
async def test_a_bad_account_id_is_invalid(iam, account):
    """6 to 30 lower-case characters, as Google wants them."""
    with pytest.raises(exceptions.InvalidArgument):
        await create(iam, account)


async def test_patch_answers_the_changed_fields_only(iam):
    """The whole account has to be read again."""
    await create(iam)
    account = iam_admin_v1.ServiceAccount(name=NAME, description="new")
    mask = field_mask_pb2.FieldMask(paths=["description"])
    answer = await iam.patch_service_account(request={"service_account": account, "update_mask": mask})
    assert answer == account
    assert (await iam.get_service_account(name=NAME)).display_name == "Web"


async def test_a_disabled_account_cannot_use_the_tokens_that_it_has(simulated, clients, iam):
    """Its bearer is no credential until it is enabled again."""
    await create(iam)
    as_account = clients(iam_admin_v1.IAMAsyncClient, simulated.core.tokens.issue(EMAIL))
    await iam.disable_service_account(request={"name": NAME})
    assert (await iam.get_service_account(name=NAME)).disabled
    with pytest.raises(exceptions.Unauthenticated):
        await as_account.get_service_account(name=NAME)
    await iam.enable_service_account(request={"name": NAME})
    with pytest.raises(exceptions.PermissionDenied, match=r"Permission 'iam\.serviceAccounts\.get' denied"):
        await as_account.get_service_account(name=NAME)


async def test_a_deleted_account_leaves_its_bindings_under_another_name_and_comes_back_with_them(simulated, iam):
    """deleted:serviceAccount:E?uid=U until undelete; a new account of the name does not inherit them."""
    made = await create(iam)
    member = f"serviceAccount:{EMAIL}"
    policy = policy_pb2.Policy(bindings=[policy_pb2.Binding(role="roles/viewer", members=[member])])
    simulated.core.policies.set(PROJECT, policy)
    await iam.delete_service_account(name=NAME)
    assert simulated.core.policies.get(PROJECT).bindings[0].members == [f"deleted:{member}?uid={made.unique_id}"]
    with pytest.raises(exceptions.NotFound, match="Unknown service account"):
        await iam.get_service_account(name=NAME)
    await iam.undelete_service_account(request={"name": f"projects/-/serviceAccounts/{made.unique_id}"})
    assert simulated.core.policies.get(PROJECT).bindings[0].members == [member]
    assert (await iam.get_service_account(name=NAME)).unique_id == made.unique_id


async def test_a_policy_names_only_members_that_exist(iam):
    """400 in Google's words, as the policy of any resource would get it."""
    await create(iam)
    ghost = "ghost@demo.iam.gserviceaccount.com"
    policy = policy_pb2.Policy(
        bindings=[policy_pb2.Binding(role="roles/iam.serviceAccountUser", members=[f"serviceAccount:{ghost}"])]
    )
    with pytest.raises(exceptions.InvalidArgument, match=f"Service account {ghost} does not exist"):
        await iam.set_iam_policy(request=iam_policy_pb2.SetIamPolicyRequest(resource=NAME, policy=policy))


async def test_a_policy_on_an_account_grants_what_its_role_holds(simulated, clients, iam):
    """testIamPermissions says so to the grantee."""
    await create(iam)
    await create(iam, "caller-app")
    caller = "caller-app@demo.iam.gserviceaccount.com"
    policy = await iam.get_iam_policy(request=iam_policy_pb2.GetIamPolicyRequest(resource=NAME))
    policy.bindings.add(role="roles/iam.serviceAccountUser", members=[f"serviceAccount:{caller}"])
    await iam.set_iam_policy(request=iam_policy_pb2.SetIamPolicyRequest(resource=NAME, policy=policy))
    as_caller = clients(iam_admin_v1.IAMAsyncClient, simulated.core.tokens.issue(caller))
    wanted = ["iam.serviceAccounts.actAs", "iam.serviceAccounts.delete"]
    answer = await as_caller.test_iam_permissions(
        request=iam_policy_pb2.TestIamPermissionsRequest(resource=NAME, permissions=wanted)
    )
    assert answer.permissions == wanted[:1]


async def test_the_quota_of_accounts_is_googles(simulated, iam):
    """One more than the project may have: 429."""
    simulated.core.accounts.configure(quota=1)
    await create(iam)
    with pytest.raises(exceptions.ResourceExhausted, match="Maximum number of service accounts on project reached"):
        await create(iam, "one-too-many")


async def test_a_fresh_account_may_be_unknown_for_a_while(simulated, iam):
    """Where the settings ask for eventual consistency, reads and policies catch up later."""
    await create(iam, "target-app")
    simulated.core.accounts.configure(propagation_s=3600.0 * simulated.core.clock.speed)
    await create(iam)
    with pytest.raises(exceptions.NotFound):
        await iam.get_service_account(name=NAME)
    binding = policy_pb2.Binding(role="roles/iam.serviceAccountUser", members=[f"serviceAccount:{EMAIL}"])
    target = f"{PROJECT}/serviceAccounts/target-app@demo.iam.gserviceaccount.com"
    asked = iam_policy_pb2.SetIamPolicyRequest(resource=target, policy=policy_pb2.Policy(bindings=[binding]))
    with pytest.raises(exceptions.InvalidArgument, match=f"Service account {EMAIL} does not exist"):
        await iam.set_iam_policy(request=asked)
    with pytest.raises(exceptions.AlreadyExists):
        await create(iam)


async def test_lists_come_in_pages_with_the_default_account(simulated, iam):
    """The project's compute account is there without being asked for."""
    for number in range(3):
        await create(iam, f"account-{number}")
    pager = await iam.list_service_accounts(request={"name": PROJECT, "page_size": 2})
    emails = [account.email async for account in pager]
    assert len(emails) == 4
    assert "187635794409-compute@developer.gserviceaccount.com" in emails
