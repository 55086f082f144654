"""Revisions that really run: instances on demand, scaled between none and the maximum (gcp/behaviour-runtime.md §3)."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.api.messages import run as pb
from localcloud.core.errors import Code, not_modelled
from localcloud.runtime.background import Background
from localcloud.runtime.imagereference import BadReference
from localcloud.runtime.instances import Instances
from localcloud.runtime.pool import Pool, PoolTimes
from localcloud.runtime.probes import ProbeTimes
from localcloud.runtime.secretvalues import SecretRef, SecretValues
from localcloud.runtime.workload import StartAborted, Workload

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

TROUBLESHOOTING = "https://cloud.google.com/run/docs/troubleshooting"
IDLE_FLOOR_S, PENDING_FLOOR_S = 5.0, 2.0  # wall-clock: real processes need real time to start and to answer


@dataclass
class RevisionFailure(Exception):
    """A revision did not come up: the condition's reason (which of its fields, and the value) and Google's text."""

    field: str
    reason: int
    message: str
    code: Code = Code.FAILED_PRECONDITION

    def __str__(self) -> str:
        return self.message


class Revisions:
    """The instances of all revisions of the cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        speed = cloud.clock.speed
        self.probe_times = ProbeTimes(speed)
        self.pool_times = PoolTimes(
            idle_s=max(cloud.clock.real_seconds("run.instances.idle") / speed, IDLE_FLOOR_S),
            pending_s=max(cloud.clock.real_seconds("run.requests.pending") / speed, PENDING_FLOOR_S),
        )
        self._instances: Instances | None = None
        self.background = Background()
        self._pools: dict[str, Pool] = {}
        self._routes: dict[str, set[str]] = {}  # service -> the revisions that it may send requests to

    @property
    def instances(self) -> Instances:
        """Made late, when the runtime that it uses is complete."""
        if self._instances is None:
            self._instances = Instances(self._cloud)
        return self._instances

    async def bring_up(self, revision: Any) -> None:
        """Pin the revision's images to digests (written into it) and start a first instance. Raises RevisionFailure."""
        for container in revision.containers:
            container.image = pinned(self._cloud, container.image)
        await self._check_secrets(revision)
        await self._check_account(revision)
        pool = self._pool(revision)
        try:
            await pool.start_first()
        except StartAborted as error:
            raise self._unhealthy(revision, pool, error) from None

    def pool(self, revision: Any) -> Pool:
        """Where requests to the (ready) revision go; made when it is first asked for."""
        return self._pool(revision)

    def route(self, service: str, shares: dict[str, int], minimum: int) -> None:
        """Follow a service's traffic: `shares` are percents by revision, tag-only ones have 0; `minimum` is the
        service's own least number of instances, spread over the revisions that have traffic.
        """
        for left in self._routes.get(service, set()) - shares.keys():
            if left in self._pools:
                self._pools[left].keep(0)
        self._routes[service] = set(shares)
        for name, percent in shares.items():
            revision = self._revision(name)
            if revision is not None:
                least = max(revision.scaling.min_instance_count, math.ceil(minimum * percent / 100))
                if least or name in self._pools:
                    self._pool(revision).keep(least)

    async def remove(self, name: str) -> None:
        """The revision is deleted: its instances end."""
        pool = self._pools.pop(name, None)
        if pool is not None:
            await pool.close()

    async def close(self) -> None:
        """End all instances."""
        await self.background.close()
        pools, self._pools = list(self._pools.values()), {}
        await asyncio.gather(*(pool.close() for pool in pools))

    def counts(self) -> dict[str, int]:
        """Running instances by revision, for `localcloud status`."""
        return {name: pool.running for name, pool in self._pools.items()}

    def _pool(self, revision: Any) -> Pool:
        found = self._pools.get(revision.name)
        if found is None:
            found = self._pools[revision.name] = Pool(
                self.instances,
                workload(self._cloud, revision),
                revision,
                self.pool_times,
                self.probe_times,
            )
        return found

    def _revision(self, name: str) -> Any | None:
        return self._cloud.store.collection("run.revisions", pb.Revision, KeyError).find(name)

    async def _check_secrets(self, revision: Any) -> None:
        """Existence and access are judged at deploy time, for each reference (behaviour-runtime.md, section 7)."""
        number = self._cloud.projects.get(revision.name.split("/")[1]).number
        problem = await denied_secret(self._cloud, revision, number)
        if problem:
            raise RevisionFailure(
                "reason",
                int(pb.CommonReason.SECRETS_ACCESS_CHECK_FAILED),
                f"Revision '{_id(revision)}' is not ready and cannot serve traffic. spec.template.{problem}",
            )

    async def _check_account(self, revision: Any) -> None:
        if not self._cloud.accounts.usable(revision.service_account):
            raise RevisionFailure(
                "reason",
                int(pb.CommonReason.INTERNAL),
                f"Revision '{_id(revision)}' is not ready and cannot serve traffic. Service account "
                f"{revision.service_account} does not exist or is disabled.",
            )

    def _unhealthy(self, revision: Any, pool: Pool, error: StartAborted) -> RevisionFailure:
        container = revision.containers[0]
        probed = pool.failed_probe and not _is_default(container)
        if probed:
            what = "The user-provided container failed the configured startup probe checks."
        else:
            what = (
                "The user-provided container failed to start and listen on the port defined provided by the "
                f"PORT={pool.container_port} environment variable within the allocated timeout. This can happen when "
                "the container port is misconfigured or if the timeout is too short. The health check timeout can be "
                "extended."
            )
        if not pool.had_process:
            what = str(error)
        anchor = "" if probed or not pool.had_process else "#container-failed-to-start"
        return RevisionFailure(
            "revision_reason",
            int(pb.RevisionReason.HEALTH_CHECK_CONTAINER_ERROR),
            f"Revision '{_id(revision)}' is not ready and cannot serve traffic. {what} Logs for this revision might "
            f"contain more information.\n\nLogs URL: {revision.log_uri}\nFor more troubleshooting guidance, see "
            f"{TROUBLESHOOTING}{anchor}",
        )


class SimulatedRevisions:
    """Nothing runs: every revision is ready as soon as its operation's time has passed."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.background = Background()

    async def bring_up(self, revision: Any) -> None:
        """Any image is good."""

    def route(self, service: str, shares: dict[str, int], minimum: int) -> None:
        """There is nothing to scale."""

    def pool(self, revision: Any) -> Pool:
        """Refused by name: nothing could answer."""
        raise not_modelled("requests to services under --simulate")

    async def remove(self, name: str) -> None:
        """There is nothing to end."""

    async def close(self) -> None:
        await self.background.close()

    def counts(self) -> dict[str, int]:
        return {}


def pinned(cloud: Cloud, image: str) -> str:
    """The image by digest: Google resolves tags once, at deploy. Raises RevisionFailure where the registry has none."""
    try:
        found = cloud.runtime.images.resolve(image)
    except BadReference:
        found = None
    if found is None:
        raise RevisionFailure(
            "reason", int(pb.CommonReason.CONTAINER_MISSING), f"Image '{image}' not found.", Code.NOT_FOUND
        )
    return str(found.reference)


async def denied_secret(cloud: Cloud, template: Any, number: str) -> str:
    """The first secret that the template's account may not read: where it stands and why; "" where all is well.

    `number`: that of the project that short secret names are in.
    """
    values = SecretValues(cloud)
    for index, container in enumerate(template.containers):
        for at, variable in enumerate(container.env):
            if variable.WhichOneof("values") == "value_source":
                source = variable.value_source.secret_key_ref
                denied = await values.check(
                    template.service_account, SecretRef.of(number, source.secret, source.version)
                )
                if denied is not None:
                    return f"spec.containers[{index}].env[{at}].value_from.secret_key_ref.name: {denied.text}"
    for at, volume in enumerate(template.volumes):
        if volume.WhichOneof("volume_type") == "secret":
            denied = await values.check(template.service_account, SecretRef.of(number, volume.secret.secret, "latest"))
            if denied is not None:
                return f"spec.volumes[{at}].secret.secret_name: {denied.text}"
    return ""


def workload(cloud: Cloud, revision: Any) -> Workload:
    """What an instance of the revision runs."""
    parts = revision.name.split("/")
    project, region, service, revision_id = cloud.projects.get(parts[1]), parts[3], parts[5], parts[7]
    container = revision.containers[0]
    name = container.name or f"{service}-1"  # what Google calls an unnamed container
    return Workload(
        project=project.id,
        number=project.number,
        region=region,
        account=revision.service_account,
        image=container.image,
        container=container,
        volumes=tuple(revision.volumes),
        environment={
            "K_SERVICE": service,
            "K_REVISION": revision_id,
            "K_CONFIGURATION": service,
            "CLOUD_RUN_TIMEOUT_SECONDS": str(revision.timeout.seconds),
        },
        name=revision_id,
        resource_type="cloud_run_revision",
        resource_labels={
            "project_id": project.id,
            "location": region,
            "service_name": service,
            "revision_name": revision_id,
            "configuration_name": service,
        },
        entry_labels={"container_name": name},
        port=container.ports[0].container_port if container.ports else 8080,
    )


def _id(revision: Any) -> str:
    return str(revision.name.rsplit("/", 1)[-1])


def _is_default(container: Any) -> bool:
    """Whether the startup probe is the one that Google fills in."""
    probe = container.startup_probe
    return bool(probe.timeout_seconds == 240 and probe.failure_threshold == 1 and probe.HasField("tcp_socket"))
