"""The state of Cloud Run that its five gRPC services share, and the marks that every write leaves."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from localcloud.api.listing import page
from localcloud.api.messages import run as pb
from localcloud.api.run_names import Place, etag, missing
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, permission_denied
from localcloud.core.identity import current_caller

M = TypeVar("M", bound=Message)

KEPT_DAYS = 30  # expireTime of what was deleted (behaviour.md, section 1)
PAGE, LARGEST_PAGE = 100, 1000


class RunState:
    """Services, revisions, jobs, executions and tasks, by full resource name."""

    def __init__(self, cloud: Cloud) -> None:
        store = cloud.store
        self.cloud = cloud
        self.services = store.collection("run.services", pb.Service, missing("SERVICE"))
        self.revisions = store.collection("run.revisions", pb.Revision, missing("REVISION"))
        self.jobs = store.collection("run.jobs", pb.Job, missing("JOB"))
        self.executions = store.collection("run.executions", pb.Execution, missing("EXECUTION"))
        self.tasks = store.collection("run.tasks", pb.Task, missing("TASK"))
        self.deleted_services = store.collection("run.services.deleted", pb.Service, missing("SERVICE"))
        self.deleted_jobs = store.collection("run.jobs.deleted", pb.Job, missing("JOB"))
        self.internal = store.records("run.internal")  # what Google keeps to itself: counters, pinned images

    def born(self, resource: Any, name: str) -> None:
        """Name, uid, generation, creator and times of something new."""
        resource.name = name
        resource.uid = str(uuid.uuid4())
        resource.generation = 1
        if "creator" in resource.DESCRIPTOR.fields_by_name:
            resource.creator = current_caller.get().email
        resource.create_time.CopyFrom(self.cloud.clock.timestamp())
        self.touched(resource)

    def touched(self, resource: Any) -> None:
        """Update time, etag and last modifier."""
        resource.update_time.CopyFrom(self.cloud.clock.timestamp())
        resource.etag = etag(resource.name, resource.update_time)
        if "last_modifier" in resource.DESCRIPTOR.fields_by_name:
            resource.last_modifier = current_caller.get().email

    def pending(self, resource: Any) -> None:
        """In flight: the Ready condition waits; on something new it has neither type nor time (behaviour.md §1)."""
        resource.reconciling = True
        ready = resource.terminal_condition
        ready.state = pb.State.CONDITION_PENDING
        ready.ClearField("message")
        _clear_reason(ready)

    def condition(self, condition: Any, kind: str, state: int, message: str = "", **reason: int) -> None:
        """Set a condition; its time moves only with its state. `reason`: one of the three kinds, by field name."""
        if condition.state != state or not condition.HasField("last_transition_time"):
            condition.last_transition_time.CopyFrom(self.cloud.clock.timestamp())
        condition.type_, condition.state, condition.message = kind, state, message
        _clear_reason(condition)
        for field, value in reason.items():
            setattr(condition, field, value)

    def named(self, resource: Any, kind: str, state: int, message: str = "", **reason: int) -> None:
        """The same for an entry of `conditions`, made where it is not there yet."""
        found = next((c for c in resource.conditions if c.type_ == kind), None)
        entry = resource.conditions.add() if found is None else found
        self.condition(entry, kind, state, message, **reason)

    def deleting(self, resource: Any) -> None:
        """The soft delete: one more generation, and the time after which Google forgets it."""
        resource.generation += 1
        now = self.cloud.clock.timestamp()
        resource.delete_time.CopyFrom(now)
        resource.expire_time.CopyFrom(now)
        resource.expire_time.seconds += KEPT_DAYS * 86_400
        self.pending(resource)
        self.touched(resource)

    def deleted(self, resource: Any) -> None:
        """The deletion is done."""
        resource.observed_generation = resource.generation
        resource.reconciling = False
        self.condition(resource.terminal_condition, "Ready", pb.State.CONDITION_SUCCEEDED)
        self.touched(resource)

    def page(self, items: Sequence[M], request: Any) -> tuple[list[M], str]:
        """One page of a list call. Raises INVALID_ARGUMENT for all locations at once (API reference: `parent`)."""
        if Place.of(request.parent).location == "-":
            raise ApiError(Code.INVALID_ARGUMENT, 'The location must be a region, and cannot be the "-" wildcard.')
        return page(items, request.page_size, request.page_token, PAGE, LARGEST_PAGE)

    def require(self, permission: str, resource: str) -> None:
        """Raise PERMISSION_DENIED where the caller may not, for what only the request's content asks for."""
        if not self.cloud.policies.allows(current_caller.get(), permission, resource):
            raise permission_denied(permission, resource)

    def require_act_as(self, resource: str, account: str) -> None:
        """The caller must be allowed to run things as this account (behaviour.md, section 1)."""
        project, caller = Place.of(resource).project, current_caller.get()
        found = self.cloud.accounts.find(account)
        name = found.name if found is not None else f"projects/{project}/serviceAccounts/{account}"
        exists = found is not None or self.cloud.simulate  # recordings name accounts of their own projects
        if not exists or not self.cloud.policies.allows(caller, "iam.serviceAccounts.actAs", name):
            raise ApiError(
                Code.PERMISSION_DENIED,
                f"Permission 'iam.serviceaccounts.actAs' denied on service account {account} (or it may not exist).",
            )

    def number(self, resource: str) -> str:
        """The number of the project that the resource is in."""
        return self.cloud.projects.get(Place.of(resource).project).number


def is_ready(resource: Any) -> bool:
    """Whether its condition Ready succeeded."""
    return state_of(resource) == pb.State.CONDITION_SUCCEEDED


def state_of(resource: Any, kind: str = "Ready") -> int:
    """The state of a condition in `conditions`; pending where it is not there."""
    found = next((c.state for c in resource.conditions if c.type_ == kind), None)
    return int(pb.State.CONDITION_PENDING if found is None else found)


def message_of(resource: Any, kind: str = "Ready") -> str:
    return next((str(c.message) for c in resource.conditions if c.type_ == kind), "")


def _clear_reason(condition: Any) -> None:
    which = condition.WhichOneof("reasons")
    if which:
        condition.ClearField(which)
