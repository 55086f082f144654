"""What Google says of the things that a status names, read with Google's own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.api_core.exceptions import NotFound
from google.cloud import (
    iam_admin_v1,
    resourcemanager_v3,
    run_v2,
    secretmanager_v1,
    service_usage_v1,
    sqladmin_v1,
    storage,
)
from google.oauth2.credentials import Credentials

ASYNC = (
    run_v2.ServicesAsyncClient,
    run_v2.JobsAsyncClient,
    run_v2.ExecutionsAsyncClient,
    secretmanager_v1.SecretManagerServiceAsyncClient,
    sqladmin_v1.SqlInstancesServiceAsyncClient,
    sqladmin_v1.SqlUsersServiceAsyncClient,
    iam_admin_v1.IAMAsyncClient,
    resourcemanager_v3.ProjectsAsyncClient,
    service_usage_v1.ServiceUsageAsyncClient,
)


class Google:
    """As the project's owner sees it."""

    def __init__(self, project: str) -> None:
        credentials = Credentials("owner")  # type: ignore[no-untyped-call]
        self._clients: dict[Any, Any] = {kind: kind(credentials=credentials) for kind in ASYNC}
        self._storage = storage.Client(project=project, credentials=credentials)
        self._looks: dict[str, Callable[[str], Awaitable[str]]] = {
            "sqladmin.googleapis.com/Instance": self._instance,
            "sqladmin.googleapis.com/User": self._user,
            "secretmanager.googleapis.com/Secret": self._secret,
            "iam.googleapis.com/ServiceAccount": self._account,
            "iam.googleapis.com/PolicyMember": self._member,
            "storage.googleapis.com/Bucket": self._bucket,
            "run.googleapis.com/Service": self._service,
            "run.googleapis.com/Job": self._job,
            "serviceusage.googleapis.com/Service": self._api,
        }

    async def close(self) -> None:
        for client in self._clients.values():
            await client.transport.close()
        self._storage.close()  # type: ignore[no-untyped-call]

    async def wrong(self, kind: str, name: str) -> str:
        """What is wrong with a resource, by the kind and name of status.resources; "" where it is there and usable."""
        try:
            return await self._looks[kind](name)
        except NotFound:
            return "is not there"

    async def markers(self, location: str, prefix: str) -> dict[str, str]:
        """The uid that each resource bears whose name has the prefix, by its full name."""
        project, _, place = location.partition("/locations/")
        runs, instances = {"parent": f"{project}/locations/{place}"}, {"project": project.removeprefix("projects/")}
        services = await self._clients[run_v2.ServicesAsyncClient].list_services(runs)
        jobs = await self._clients[run_v2.JobsAsyncClient].list_jobs(runs)
        secrets = await self._clients[secretmanager_v1.SecretManagerServiceAsyncClient].list_secrets(parent=project)
        accounts = await self._clients[iam_admin_v1.IAMAsyncClient].list_service_accounts(name=project)
        listed = await self._clients[sqladmin_v1.SqlInstancesServiceAsyncClient].list(request=instances)
        buckets = await asyncio.to_thread(lambda: list(self._storage.list_buckets()))
        labels = {item.name: dict(item.labels) for page in (services, jobs, secrets) async for item in page}
        labels |= {item.name: dict(item.settings.user_labels) for item in listed.items}
        labels |= {item.name: dict(item.labels) for item in buckets}
        found = {name: values.get("nuages-uid", "") for name, values in labels.items()}
        found |= {item.name: item.description.rpartition("uid=")[2] async for item in accounts}
        return {name: uid for name, uid in found.items() if prefix in name}

    async def payloads(self, secret: str) -> list[bytes]:
        """Of all versions, the newest first."""
        client = self._clients[secretmanager_v1.SecretManagerServiceAsyncClient]
        versions = [item.name async for item in await client.list_secret_versions(parent=secret)]
        return [bytes((await client.access_secret_version(name=name)).payload.data) for name in versions]

    async def make_job(self, name: str, image: str) -> None:
        """Somebody's, without a marker."""
        template = {"template": {"containers": [{"image": image}]}}
        parent, _, id_ = name.partition("/jobs/")
        request = {"parent": parent, "job_id": id_, "job": {"template": template}}
        operation = await self._clients[run_v2.JobsAsyncClient].create_job(request)
        await operation.result()

    async def delete_service(self, name: str) -> None:
        operation = await self._clients[run_v2.ServicesAsyncClient].delete_service(name=name)
        await operation.result()

    async def executions(self, job: str) -> list[run_v2.Execution]:
        """Of a job by its full name, also where the job is gone."""
        parent = f"{job.rpartition('/')[0]}/-"
        found = await self._clients[run_v2.ExecutionsAsyncClient].list_executions(parent=parent)
        return [item async for item in found if item.name.startswith(f"{job}/")]

    async def service(self, name: str) -> run_v2.Service:
        found: run_v2.Service = await self._clients[run_v2.ServicesAsyncClient].get_service(name=name)
        return found

    async def _service(self, name: str) -> str:
        service = await self.service(name)
        return "" if service.latest_ready_revision and not service.reconciling else "is not ready"

    async def _job(self, name: str) -> str:
        await self._clients[run_v2.JobsAsyncClient].get_job(name=name)
        return ""

    async def _api(self, name: str) -> str:
        found = await self._clients[service_usage_v1.ServiceUsageAsyncClient].get_service(request={"name": name})
        return "" if found.state == service_usage_v1.State.ENABLED else "is not enabled"

    async def _instance(self, name: str) -> str:
        _, project, _, instance = name.split("/")
        asked = {"project": project, "instance": instance}
        found = await self._clients[sqladmin_v1.SqlInstancesServiceAsyncClient].get(request=asked)
        state = sqladmin_v1.DatabaseInstance.SqlInstanceState(found.state).name
        runs = found.settings.activation_policy == sqladmin_v1.Settings.SqlActivationPolicy.ALWAYS
        return "" if state == "RUNNABLE" and runs else f"is {state}"

    async def _user(self, name: str) -> str:
        _, project, _, instance, _, user = name.split("/")
        asked = {"project": project, "instance": instance}
        found = await self._clients[sqladmin_v1.SqlUsersServiceAsyncClient].list(request=asked)
        return "" if user in {item.name for item in found.items} else "is not there"

    async def _secret(self, name: str) -> str:
        client = self._clients[secretmanager_v1.SecretManagerServiceAsyncClient]
        versions = [item async for item in await client.list_secret_versions(parent=name)]
        enabled = secretmanager_v1.SecretVersion.State.ENABLED
        return "" if any(item.state == enabled for item in versions) else "has no enabled version"

    async def _account(self, name: str) -> str:
        found = await self._clients[iam_admin_v1.IAMAsyncClient].get_service_account(name=name)
        return "is disabled" if found.disabled else ""

    async def _bucket(self, name: str) -> str:
        found = await asyncio.to_thread(self._storage.lookup_bucket, name.rpartition("/")[2])
        return "is not there" if found is None else ""

    async def _member(self, name: str) -> str:
        target, role, member = name.split("#")[:3]
        is_given = any(item["role"] == role and member in item["members"] for item in await self._policy(target))
        return "" if is_given else "is not given"

    async def _policy(self, target: str) -> list[dict[str, Any]]:
        if "/buckets/" in target:
            bucket = self._storage.bucket(target.rpartition("/")[2])
            policy = await asyncio.to_thread(bucket.get_iam_policy, requested_policy_version=3)
            return list(policy.bindings)
        kinds = {
            "secrets": secretmanager_v1.SecretManagerServiceAsyncClient,
            "serviceAccounts": iam_admin_v1.IAMAsyncClient,
        }
        kinds |= {"services": run_v2.ServicesAsyncClient}
        kind = next(
            (kinds[part] for part in target.split("/") if part in kinds), resourcemanager_v3.ProjectsAsyncClient
        )
        asked = {"resource": target, "options": {"requested_policy_version": 3}}
        policy = await self._clients[kind].get_iam_policy(request=asked)
        return [{"role": item.role, "members": set(item.members)} for item in policy.bindings]
