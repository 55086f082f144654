"""How a service comes to run what was asked: revisions are made and judged, then traffic follows.

What is true is derived from the service, its revisions and their conditions each time, so that it does not matter which
of several updates under way ends first, or whether localcloud was stopped in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from localcloud.api.messages import run as pb
from localcloud.api.run_names import hosts, last, random_suffix, revision_log_uri
from localcloud.api.run_state import RunState, is_ready, message_of, state_of
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code
from localcloud.runtime.revisions import RevisionFailure

COPIED = [
    "vpc_access",
    "service_account",
    "execution_environment",
    "encryption_key",
    "max_instance_request_concurrency",
    "session_affinity",
    "encryption_key_revocation_action",
]
MADE_UP = [
    "uid",
    "creator",
    "etag",
    "create_time",
    "update_time",
    "conditions",
    "reconciling",
    "generation",
    "observed_generation",
]
HEALTHY = ("Ready", "ContainerHealthy", "ContainerReady", "ResourcesAvailable")


@dataclass(frozen=True)
class Target:
    """What an operation on a service is about: the service and, where it made one, the revision."""

    service: str
    revision: str = ""  # full name

    @classmethod
    def of(cls, text: str) -> Target:
        service, _, revision = text.partition("|")
        return cls(service, revision)

    def __str__(self) -> str:
        return f"{self.service}|{self.revision}" if self.revision else self.service


class Rollouts:
    """One for all services of the cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._state, self._running = cloud.shared(RunState), cloud.runtime.revisions
        self._checks: dict[str, asyncio.Task[None]] = {}

    def revise(self, service: pb.Service) -> str:
        """The revision that the service's template asks for, made where it is not there; its full name.

        Raises ALREADY_EXISTS where the template names one that is there with another configuration.
        """
        record = self._state.internal.find(service.name) or {"configuration": 0}
        record["configuration"] += 1
        wanted = service.template.revision
        revision_id = wanted or f"{last(service.name)}-{record['configuration']:05d}-{random_suffix(3)}"
        name = f"{service.name}/revisions/{revision_id}"
        there = self._state.revisions.find(name)
        made = self._made(service, name)
        if there is not None and not self._is_same(there, made):
            raise ApiError(
                Code.ALREADY_EXISTS, f"Revision named '{revision_id}' with different configuration already exists."
            )
        self._state.internal.put(service.name, record)
        if there is None:
            self._state.internal.put(f"{name}#template", {"images": [c.image for c in made.containers]})
            self._state.revisions.put(name, made)
        return name

    def judge(self, revision: str) -> None:
        """Start finding out whether the revision comes up."""
        if revision not in self._checks:
            self._checks[revision] = self._running.background.spawn(f"check {revision}", self._judge(revision))

    async def settle(self, target: str) -> pb.Service:
        """The end of a create or update: the service as it then is. Raises the failure, which also stays on it."""
        wanted = Target.of(target)
        if wanted.revision and self._state.revisions.find(wanted.revision) is not None:
            self.judge(wanted.revision)
            await self._checks[wanted.revision]
        service = self._state.services.find(wanted.service)
        if service is None:
            raise ApiError(Code.ABORTED, f"Service '{last(wanted.service)}' was deleted.")
        self._settle(service, wanted)
        self._state.services.put(service.name, service)
        self.apply(service)
        self._raise_failure(service, wanted)
        return service

    def apply(self, service: pb.Service) -> None:
        """Let the processes follow the traffic."""
        self._running.route(service.name, self.shares(service), service.scaling.min_instance_count)

    def shares(self, service: pb.Service) -> dict[str, int]:
        """Percent by revision (full name) that requests to the service's own name go to; tag-only ones have 0."""
        found: dict[str, int] = {}
        for target in service.traffic_statuses:
            named = f"{service.name}/revisions/{target.revision}"
            revision = named if target.revision else service.latest_ready_revision
            if revision:
                found[revision] = found.get(revision, 0) + target.percent
        return found

    def _made(self, service: pb.Service, name: str) -> pb.Revision:
        template, project = service.template, name.split("/")[1]
        made = pb.Revision(
            labels=dict(template.labels),
            annotations=dict(template.annotations),
            launch_stage=service.launch_stage,
            service=last(service.name),
            containers=template.containers,
            volumes=template.volumes,
            scaling=template.scaling,
            timeout=template.timeout,
            reconciling=True,
            log_uri=revision_log_uri(project, last(service.name), last(name)),
        )
        for field in COPIED:
            value = getattr(template, field)
            if hasattr(value, "DESCRIPTOR"):
                if template.HasField(field):
                    getattr(made, field).CopyFrom(value)
            else:
                setattr(made, field, value)
        self._state.born(made, name)
        self._state.named(made, "Ready", pb.State.CONDITION_RECONCILING)
        return made

    async def _judge(self, name: str) -> None:
        revision = self._state.revisions.get(name)
        if state_of(revision) in (pb.State.CONDITION_SUCCEEDED, pb.State.CONDITION_FAILED):
            return
        failure: RevisionFailure | None = None
        try:
            await self._running.bring_up(revision)
        except RevisionFailure as error:
            failure = error
        if self._state.revisions.find(name) is None:
            return  # deleted meanwhile
        revision.reconciling, revision.observed_generation = False, revision.generation
        if failure is None:
            for kind in HEALTHY:
                self._state.named(revision, kind, pb.State.CONDITION_SUCCEEDED)
        else:
            reason = {failure.field: failure.reason}
            self._state.named(revision, "Ready", pb.State.CONDITION_FAILED, failure.message, **reason)
            kind = "ContainerHealthy" if failure.field == "revision_reason" else "ContainerReady"
            self._state.named(revision, kind, pb.State.CONDITION_FAILED, failure.message, **reason)
            self._state.internal.put(f"{name}#failure", {"code": failure.code.name})
        self._state.revisions.put(name, revision)

    def _settle(self, service: pb.Service, wanted: Target) -> None:
        newest = self._state.revisions.find(service.latest_created_revision)
        own = self._state.revisions.find(wanted.revision) if wanted.revision else None
        for revision in (own, newest):
            if revision is not None and is_ready(revision) and self._is_newer(revision, service.latest_ready_revision):
                service.latest_ready_revision = revision.name
        if newest is not None and state_of(newest) == pb.State.CONDITION_RECONCILING:
            return  # a later update is under way, and will say how things are
        good, bad = pb.State.CONDITION_SUCCEEDED, pb.State.CONDITION_FAILED
        problem, reason = "", {"reason": int(pb.CommonReason.REVISION_FAILED)}
        if newest is not None and not is_ready(newest):
            problem, reason = message_of(newest), _reason(newest)
        why = reason if problem else {}
        self._state.named(service, "ConfigurationsReady", bad if problem else good, problem, **why)
        blocked = next(self._blockers(service), "")
        if blocked:
            self._state.named(service, "RoutesReady", bad, blocked, reason=int(pb.CommonReason.REVISION_FAILED))
        else:
            self._state.named(service, "RoutesReady", good)
            self._mirror_traffic(service)
        text = problem or blocked
        self._state.condition(
            service.terminal_condition, "Ready", bad if text else good, text, **(reason if text else {})
        )
        service.reconciling, service.observed_generation = False, service.generation
        if not service.default_uri_disabled:
            names = hosts(self._state.cloud.projects, service.name)
            service.uri = f"https://{names[-1]}"
            service.urls[:] = [f"https://{host}" for host in names]
        else:
            service.ClearField("uri")
            service.ClearField("urls")

    def _blockers(self, service: pb.Service) -> Iterator[str]:
        """Why traffic cannot go where it was told to."""
        for target in service.traffic:
            if not target.revision:
                if not service.latest_ready_revision:
                    yield f"Revision '{last(service.latest_created_revision)}' is not ready and cannot serve traffic."
                continue
            revision = self._state.revisions.find(f"{service.name}/revisions/{target.revision}")
            if revision is None:
                yield (
                    f"Revision '{target.revision}' does not exist or is deleted. Update all traffic to route to "
                    "currently available revisions."
                )
            elif not is_ready(revision):
                yield message_of(revision) or f"Revision '{target.revision}' is not ready and cannot serve traffic."

    def _mirror_traffic(self, service: pb.Service) -> None:
        del service.traffic_statuses[:]
        for target in service.traffic:
            status = service.traffic_statuses.add(
                type_=target.type_, revision=target.revision, percent=target.percent, tag=target.tag
            )
            if target.tag and not service.default_uri_disabled:
                status.uri = f"https://{hosts(self._state.cloud.projects, service.name, target.tag)[-1]}"

    def _is_same(self, there: pb.Revision, made: pb.Revision) -> bool:
        """Whether two revisions ask for the same; the first's images were pinned to digests since."""
        images = (self._state.internal.find(f"{there.name}#template") or {}).get("images", [])
        same_images = images == [container.image for container in made.containers]
        return same_images and bool(_configuration(there) == _configuration(made))

    def _is_newer(self, revision: pb.Revision, than: str) -> bool:
        other = self._state.revisions.find(than) if than else None
        return other is None or revision.create_time.ToNanoseconds() > other.create_time.ToNanoseconds()

    def _raise_failure(self, service: pb.Service, wanted: Target) -> None:
        own = self._state.revisions.find(wanted.revision) if wanted.revision else None
        if own is not None and state_of(own) == pb.State.CONDITION_FAILED:
            kept = self._state.internal.find(f"{own.name}#failure") or {"code": "FAILED_PRECONDITION"}
            raise ApiError(Code[kept["code"]], message_of(own))
        if service.observed_generation == service.generation and state_of(service, "RoutesReady") == (
            pb.State.CONDITION_FAILED
        ):
            raise ApiError(Code.INTERNAL, message_of(service, "RoutesReady"))

    def forget(self, revision: str) -> None:
        """The revision is deleted: nobody waits for it any more."""
        task = self._checks.pop(revision, None)
        if task is not None:
            task.cancel()
        for mark in ("template", "failure"):
            self._state.internal.remove(f"{revision}#{mark}")
        self._state.revisions.remove(revision)

    def resume(self) -> None:
        """After a start: judge again what was being judged, and let traffic flow to what was ready."""
        for name in self._state.revisions:
            revision = self._state.revisions.get(name)
            if state_of(revision) == pb.State.CONDITION_RECONCILING:
                self.judge(name)
        for name in self._state.services:
            self.apply(self._state.services.get(name))


def _reason(revision: pb.Revision) -> dict[str, int]:
    """The service shows why its revision failed (behaviour.md, section 1)."""
    ready = next(c for c in revision.conditions if c.type_ == "Ready")
    which = ready.WhichOneof("reasons")
    return {which: getattr(ready, which)} if which else {}


def _configuration(revision: pb.Revision) -> pb.Revision:
    """What a client chose, without images."""
    copy = pb.Revision()
    copy.CopyFrom(revision)
    for field in MADE_UP:
        copy.ClearField(field)
    for container in copy.containers:
        container.image = ""
    return copy
