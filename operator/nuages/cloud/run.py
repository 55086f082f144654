"""Drivers of Cloud Run services and jobs (gcp/behaviour.md, section 1; behaviour-runtime.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.cloud import run_v2 as run

from nuages.cloud import runmapping
from nuages.cloud.call import Call
from nuages.cloud.driver import Observed, Operation, Owned
from nuages.cloud.errors import of_operation
from nuages.cloud.paging import all_pages
from nuages.desired.run import RunJob, RunService

# Fields that a revision is made of: any of them among the paths stands for all.
OF_A_REVISION = (
    "template",
    "port",
    "concurrency",
    "min_instances",
    "max_instances",
    "cpu_idle",
    "startup_cpu_boost",
    "startup_probe",
    "liveness_probe",
)
PAGE = 100


class RunServiceDriver:
    """A patch has a mask of what is ours: without one Google takes its defaults for the rest."""

    owned = Owned(mutable=(*OF_A_REVISION, "revision", "traffic", "ingress", "open_access", "service_scaling"))

    def __init__(self, api: run.ServicesAsyncClient, call: Call) -> None:
        self._api, self._call = api, call

    def scope(self, name: str) -> str:
        return "/".join(name.split("/")[:4])

    async def observe_all(self, scope: str) -> Sequence[Observed[RunService]]:
        request = {"parent": scope, "page_size": PAGE}
        found = await all_pages(self._call, self._api.list_services, request, "services")
        return [runmapping.observed_service(item) for item in found]

    async def observe(self, name: str) -> Observed[RunService] | None:
        found = await self._call.or_none(self._api.get_service, {"name": name})
        return None if found is None else runmapping.observed_service(found)

    async def create(self, desired: RunService) -> Operation:
        service = run.Service(
            labels=runmapping.service_labels(desired, {}),
            template=runmapping.revision_template(desired),
            traffic=runmapping.traffic(desired),
            ingress=runmapping.ingress(desired),
            invoker_iam_disabled=desired.open_access,
        )
        request = {"parent": self.scope(desired.name), "service_id": desired.id, "service": service}
        return _operation(await self._call(self._api.create_service, request), desired.name)

    async def update(self, desired: RunService, observed: Observed[RunService], paths: Sequence[str]) -> Operation:
        """Of the observed version: raises Conflict where it has changed since."""
        service = run.Service(name=desired.name, etag=observed.etag)
        mask: list[str] = []
        if "revision" in paths or not set(OF_A_REVISION).isdisjoint(paths):
            service.template = runmapping.revision_template(desired)
            mask += [f"template.{field}" for field in runmapping.TEMPLATE]
        if "traffic" in paths:
            service.traffic = runmapping.traffic(desired)
            mask.append("traffic")
        if "ingress" in paths:
            service.ingress = runmapping.ingress(desired)
            mask.append("ingress")
        if "open_access" in paths:
            service.invoker_iam_disabled = desired.open_access
            mask.append("invoker_iam_disabled")
        if "service_scaling" in paths:  # in the mask and not in the message: cleared
            mask.append("scaling")
        if "owner" in paths:
            found = await self._call(self._api.get_service, {"name": desired.name})
            service.labels = runmapping.service_labels(desired, dict(found.labels))
            mask.append("labels")
        request = {"service": service, "update_mask": {"paths": mask}}
        return _operation(await self._call(self._api.update_service, request), desired.name)

    async def delete(self, name: str, etag: str = "") -> Operation | None:
        gone = await self._call.or_none(self._api.delete_service, {"name": name, "etag": etag})
        return None if gone is None else _operation(gone, name)


class RunJobDriver:
    """A job is read and written whole, for its patch knows no mask; what is not ours in it stays as it was."""

    owned = Owned(mutable=("template",))

    def __init__(self, api: run.JobsAsyncClient, call: Call) -> None:
        self._api, self._call = api, call

    def scope(self, name: str) -> str:
        return "/".join(name.split("/")[:4])

    async def observe_all(self, scope: str) -> Sequence[Observed[RunJob]]:
        request = {"parent": scope, "page_size": PAGE}
        found = await all_pages(self._call, self._api.list_jobs, request, "jobs")
        return [runmapping.observed_job(item) for item in found]

    async def observe(self, name: str) -> Observed[RunJob] | None:
        found = await self._call.or_none(self._api.get_job, {"name": name})
        return None if found is None else runmapping.observed_job(found)

    async def create(self, desired: RunJob, token: str = "") -> Operation:
        """With a token Google starts the execution `<job>-<token>` too, once and for all."""
        job = run.Job(
            labels=runmapping.service_labels(desired, {}),
            template=run.ExecutionTemplate(
                labels=dict(desired.template.labels), task_count=1, template=runmapping.task_template(desired)
            ),
        )
        if token:
            job.start_execution_token = token
        request = {"parent": self.scope(desired.name), "job_id": desired.id, "job": job}
        return _operation(await self._call(self._api.create_job, request), desired.name)

    async def update(
        self, desired: RunJob, observed: Observed[RunJob], paths: Sequence[str], token: str = ""
    ) -> Operation:
        """Of the observed version: raises Conflict where it has changed since, or the token is used."""
        job = await self._call(self._api.get_job, {"name": desired.name})
        job.etag = observed.etag
        _forget_tokens(job)  # one that is sent again would be refused as used
        if token:
            job.start_execution_token = token
        if "template" in paths:
            task = run.TaskTemplate.pb(job.template.template)
            for field in runmapping.TASK:
                task.ClearField(field)
            task.MergeFrom(run.TaskTemplate.pb(runmapping.task_template(desired)))
            job.template.labels = dict(desired.template.labels)
            job.template.task_count = 1
        if "owner" in paths or "template" in paths:
            job.labels = runmapping.service_labels(desired, dict(job.labels))
        return _operation(await self._call(self._api.update_job, {"job": job}), desired.name)

    async def delete(self, name: str, etag: str = "") -> Operation | None:
        gone = await self._call.or_none(self._api.delete_job, {"name": name, "etag": etag})
        return None if gone is None else _operation(gone, name)


def _forget_tokens(job: run.Job) -> None:
    message = run.Job.pb(job)
    message.ClearField("start_execution_token")
    message.ClearField("run_execution_token")


def _operation(started: Any, resource: str) -> Operation:
    found = started.operation
    return Operation("run", found.name, resource, found.done, of_operation(found.error.code, found.error.message))
