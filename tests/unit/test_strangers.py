"""Strangers: who has a role of ours on what is the app's own, and is nobody that the app or its tenant knows."""

from __future__ import annotations

import pytest
from unit_support import a_tenant, an_app, some_facts

from nuages.blueprint import names
from nuages.blueprint.compose import compose
from nuages.desired.iam import Condition, IamMember
from nuages.reconcile.strangers import own_grants, strangers

APP, TENANT = an_app(), a_tenant({"allow": {"serviceAccounts": ["runner-*@acme-prod.iam.gserviceaccount.com"]}})
BLUEPRINT = compose(APP, TENANT, some_facts())
OPERATOR = "nuages@acme-ops.iam.gserviceaccount.com"
ACCESSOR, ADMIN = "roles/secretmanager.secretAccessor", "roles/storage.objectAdmin"
READER, SIGNER = "roles/storage.legacyBucketReader", "roles/iam.serviceAccountTokenCreator"
KEY, PASSWORD = (names.secret_name(APP, TENANT, part) for part in ("secret-key", "db-password-a"))
BUCKET = names.bucket_name(APP, TENANT, "media")
ACCOUNT = next(item.target for item in BLUEPRINT.resources if isinstance(item, IamMember) and item.role == SIGNER)
EVE = "user:eve@acme.example"


def told(*found: IamMember) -> list[str]:
    return [str(item) for item in strangers(found, BLUEPRINT, TENANT, OPERATOR)]


@pytest.mark.parametrize(
    ("target", "role"), [(KEY, ACCESSOR), (PASSWORD, ACCESSOR), (BUCKET, ADMIN), (BUCKET, READER), (ACCOUNT, SIGNER)]
)
@pytest.mark.parametrize("member", [EVE, "allUsers", "serviceAccount:another@acme-prod.iam.gserviceaccount.com"])
def test_a_stranger_is_named_with_role_and_resource(target: str, role: str, member: str) -> None:
    """On each resource of the app's own, in each role that the app has there."""
    role_shown, target_shown = role.removeprefix("roles/"), target.rpartition("/")[2]
    expected = f"{role_shown} on {target_shown} for {member}: not the app's, left as it is"
    assert told(IamMember.of(target, role, member)) == [expected]


def test_a_condition_does_not_hide_a_stranger() -> None:
    """What is granted for some hours is granted."""
    assert len(told(IamMember.of(KEY, ACCESSOR, EVE, Condition("for a day", "true")))) == 1


def test_what_nuages_grants_is_nobody_strange() -> None:
    """The whole blueprint: the app's identity and that of db-init."""
    assert told(*(item for item in BLUEPRINT.resources if isinstance(item, IamMember))) == []


@pytest.mark.parametrize(
    "grant",
    [
        IamMember.of(KEY, ACCESSOR, f"serviceAccount:{OPERATOR}"),
        IamMember.of(KEY, ACCESSOR, "serviceAccount:runner-1@acme-prod.iam.gserviceaccount.com"),
        IamMember.of(KEY, ACCESSOR, "deleted:serviceAccount:gone@acme-prod.iam.gserviceaccount.com?uid=1"),
        IamMember.of(KEY, "roles/secretmanager.viewer", EVE),
        IamMember.of(BUCKET, READER, "projectViewer:acme-prod"),
        IamMember.of(names.project(TENANT), "roles/cloudsql.client", EVE),
    ],
    ids=["operator", "allowed-account", "deleted", "another-role", "google's-default", "project"],
)
def test_whom_others_may_have_let_in_is_not_told(grant: IamMember) -> None:
    """The tenant allows it, Google does it by itself, or it is none of the app's business."""
    assert told(grant) == []


def test_google_lowers_the_case_of_addresses() -> None:
    """The app's own identity is found in whatever case."""
    grant = next(item for item in own_grants(BLUEPRINT) if item.role == ACCESSOR)
    assert (
        told(IamMember.of(grant.target, grant.role, grant.member.upper().replace("SERVICEACCOUNT", "serviceAccount")))
        == []
    )


def test_what_others_share_is_not_looked_at() -> None:
    """An instance for many tenants has their db-inits on its administrator's secret."""
    tenant = a_tenant({"database": {"existing": "acme-pg"}})
    blueprint = compose(an_app(), tenant, some_facts())
    administrator = names.administrator_secret("acme-prod", "acme-pg")
    assert administrator in {item.name for item in blueprint.resources}
    assert administrator not in {item.target for item in own_grants(blueprint)}
