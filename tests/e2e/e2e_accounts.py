"""Who people and services are in the scenarios: passwords and tokens, through Google's own clients."""

from __future__ import annotations

from e2e_world import World
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.iam_credentials_v1 import IAMCredentialsAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient


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
