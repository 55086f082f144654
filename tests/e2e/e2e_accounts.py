"""Who people and services are in the scenarios: passwords and tokens, through Google's own clients."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from e2e_policies import grant, grant_all
from e2e_release import eventually
from e2e_world import World
from google.api_core.exceptions import Aborted
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.iam_credentials_v1 import IAMCredentialsAsyncClient
from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient

ROLES = Path(__file__).parents[2] / "deploy" / "roles.txt"


async def superuser_password(world: World, app: str) -> str:
    """As the project's owner reads it from Secret Manager."""
    secrets = world.google(SecretManagerServiceAsyncClient)
    name = f"projects/{world.site.project}/secrets/{world.google_id(app, 'superuser-password')}/versions/latest"
    return str((await secrets.access_secret_version(name=name)).payload.data.decode())


async def make_account(world: World, name: str) -> str:
    """The e-mail of a new service account."""
    accounts = world.google(IAMAsyncClient)
    made = await accounts.create_service_account(
        request={"name": f"projects/{world.site.project}", "account_id": name, "service_account": {}}
    )
    return str(made.email)


async def make_deployer(world: World, name: str) -> str:
    """The e-mail of a new service account with all that the operator needs, which the operator may become."""
    email, site = await make_account(world, name), world.site
    lines = (line.partition("#")[0].strip() for line in ROLES.read_text().splitlines())
    roles, projects = [line for line in lines if line], world.google(ProjectsAsyncClient)

    async def granted() -> bool:
        with suppress(Aborted):  # the operator of another scenario changed the policy meanwhile
            await grant_all(projects, f"projects/{site.project}", roles, f"serviceAccount:{email}")
            return True
        return False

    await eventually(granted, f"the roles of {name}")
    account = f"projects/{site.project}/serviceAccounts/{email}"
    creator = "roles/iam.serviceAccountTokenCreator"
    await grant(world.google(IAMAsyncClient), account, creator, f"serviceAccount:{site.operator_account}")
    return email


async def id_token(world: World, email: str, audience: str) -> str:
    """A token that says to `audience` who is calling."""
    credentials = world.google(IAMCredentialsAsyncClient)
    made = await credentials.generate_id_token(name=f"projects/-/serviceAccounts/{email}", audience=audience)
    return str(made.token)


async def access_token(world: World, email: str) -> str:
    """What the service account `email` calls Google's APIs with."""
    credentials = world.google(IAMCredentialsAsyncClient)
    scope = ["https://www.googleapis.com/auth/cloud-platform"]
    made = await credentials.generate_access_token(name=f"projects/-/serviceAccounts/{email}", scope=scope)
    return str(made.access_token)
