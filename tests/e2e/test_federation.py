"""The operator in a cluster outside Google Cloud: a ServiceAccount's token becomes a Google identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import google.auth.jwt
import pytest
from e2e_release import eventually
from e2e_world import World

from nuages.cloud.access import Clouds
from nuages.cloud.errors import CloudError, PermissionDenied
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.secretmanager import Secret

RUN_URL = "https://shop-1.europe-west1.run.app"
IAM_CREDENTIALS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"


async def no_copies(secret: Secret) -> bytes:
    raise AssertionError(secret.id)


async def test_a_service_account_of_the_cluster_acts_as_one_of_google(
    world: World, local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the file that Google documents for it, `external_account`: nobody before, calls and ID tokens after its grant.

    The grant is the one that is documented, too: roles/iam.workloadIdentityUser on the account. Where ID tokens alone
    are denied, the permission for these is told, and no other.
    """
    project = f"projects/{local.project}"
    owner = Clouds(no_copies, local.credentials())
    access = await owner.for_tenant("")
    email = f"{world.namespace}@{local.project}.iam.gserviceaccount.com"
    account = ServiceAccount(name=f"{project}/serviceAccounts/{email}", display_name="")
    await access.drivers.of(ServiceAccount).create(account)
    await access.drivers.of(IamMember).create(IamMember.of(project, "roles/viewer", f"serviceAccount:{email}"))
    number = await access.projects.number(local.project)
    pool = f"//iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/localcloud"
    file = _external_account(world, f"{pool}/providers/kubernetes", email, tmp_path)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    clouds = Clouds(no_copies)
    federated = await clouds.for_tenant("")
    with pytest.raises(PermissionDenied):
        await federated.projects.number(local.project)
    subject = f"principal:{pool}/subject/system:serviceaccount:{world.namespace}:operator"
    await access.drivers.of(IamMember).create(IamMember.of(account.name, "roles/iam.workloadIdentityUser", subject))
    await eventually(lambda: _sees(federated, local.project), "the grant")
    identity = await federated.identity.id_token(RUN_URL)
    claims = google.auth.jwt.decode(identity, verify=False)  # type: ignore[no-untyped-call]
    assert (claims["aud"], claims["email"]) == (RUN_URL, email)
    for refused in (federated, await owner.for_tenant(email)):  # through the pool, and as a tenant
        _deny_id_token(local)
        with pytest.raises(PermissionDenied) as told:
            await refused.identity.id_token("https://other.run.app")
        assert told.value.cause == f"No ID token can be made for the service account {email}, or it is not there."
        assert told.value.permission == "iam.serviceAccounts.getOpenIdToken"
    await clouds.close()
    await owner.close()


def _external_account(world: World, audience: str, email: str, folder: Path) -> Path:
    """The file of a pool's provider that trusts a ServiceAccount of this cluster, whose token is beside it."""
    world.kubectl("create", "serviceaccount", "operator")
    token = folder / "token"
    token.write_text(world.kubectl("create", "token", "operator", f"--audience={audience}").strip())
    told = {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(token)},
        "service_account_impersonation_url": f"{IAM_CREDENTIALS}/{email}:generateAccessToken",
    }
    file = folder / "external.json"
    file.write_text(json.dumps(told))
    return file


def _deny_id_token(local: Any) -> None:
    """To the next who asks, who may have access tokens all the same."""
    from localcloud.api.iam import denied
    from localcloud.core.faults import Fault, Kind

    refusal = denied("iam.serviceAccounts.getOpenIdToken")
    local.cloud.faults.add(Fault("*.GenerateIdToken", Kind.FAIL, refusal))


async def _sees(access: Any, project: str) -> bool:
    try:
        return bool(await access.projects.number(project))
    except CloudError:
        return False
