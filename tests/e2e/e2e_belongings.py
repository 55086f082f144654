"""All that Google has of an app besides its data, so that two looks can be compared."""

from __future__ import annotations

import asyncio
from typing import Any

from e2e_release import Deployment
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.run_v2 import ServicesAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.storage import Client as StorageClient


async def belongings(app: Deployment) -> dict[str, Any]:
    """Its secrets with their versions, its bucket, account and service, and who may do what with each; by name."""
    found = {**await _secrets(app), **await asyncio.to_thread(_bucket, app), **await _account(app)}
    services, service = app.world.google(ServicesAsyncClient), await app.service()
    policy = await services.get_iam_policy(request={"resource": service.name})
    # What its revisions do (conditions, instances) is no concern here: the generation counts what was asked.
    return {**found, service.name: (dict(service.labels), service.generation, policy)}


async def _secrets(app: Deployment) -> dict[str, Any]:
    client, found = app.world.google(SecretManagerServiceAsyncClient), {}
    mine = f"labels.nuages-namespace={app.world.namespace} AND labels.nuages-app={app.name}"
    request = {"parent": f"projects/{app.world.site.project}", "filter": mine}
    async for secret in await client.list_secrets(request=request):
        versions = [item async for item in await client.list_secret_versions(parent=secret.name)]
        found[secret.name] = (secret, versions, await client.get_iam_policy(request={"resource": secret.name}))
    return found


def _bucket(app: Deployment) -> dict[str, Any]:
    site = app.world.site
    client = StorageClient(project=site.project, credentials=site.credentials())
    bucket = client.get_bucket(f"{site.project}-{app.world.google_id(app.name, 'media')}")
    policy = bucket.get_iam_policy(requested_policy_version=3).to_api_repr()
    return {bucket.name: (bucket.labels, bucket.metageneration, policy)}


async def _account(app: Deployment) -> dict[str, Any]:
    client = app.world.google(IAMAsyncClient)
    name = f"projects/-/serviceAccounts/{(await app.service()).template.service_account}"
    account = await client.get_service_account(name=name)
    return {account.name: (account, await client.get_iam_policy(request={"resource": account.name}))}
