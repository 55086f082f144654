"""`status`: a cache of what Google says, written by the operator alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from nuages.api.rules import Part

Phase = Literal[
    "Pending", "Provisioning", "Migrating", "Releasing", "Ready", "Degraded", "Paused", "Observing", "Deleting"
]


class StatusPart(Part):
    """A piece of a status; what an older or newer operator left there is passed over."""

    model_config = ConfigDict(extra="ignore")


class Condition(StatusPart):
    """A condition as kstatus and kubectl wait read it."""

    type: str = Field(description="Ready, Reconciling, Stalled or a part's, such as DatabaseReady.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="Documented CamelCase constant.")
    message: str = Field("", description="Field, cause, remedy.")
    last_transition_time: str = Field(
        description="When status last changed, RFC 3339.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int = Field(0, description="Generation that it speaks of.")


class Traffic(StatusPart):
    """A revision's share of requests."""

    revision: str = Field(description="Name of the revision.")
    percent: int = Field(0, description="Percent of all requests.")
    tag: str | None = Field(None, description="Tag, if it has one.")


class ResourceStatus(StatusPart):
    """A Google resource that the app owns or uses."""

    kind: str = Field(description="Such as sqladmin.googleapis.com/Instance.")
    name: str = Field(description="Google's name of it.")
    state: str = Field(description="Such as Ready, Creating or Retained.")
    link: str | None = Field(None, description="Its page in Google's console.")


class OperationStatus(StatusPart):
    """A long-running operation under way, resumed by name after a restart."""

    name: str = Field(description="Google's name of the operation.")
    service: str = Field(description="API to ask: run, sql or serviceusage.")
    resource: str = Field(description="Name of the resource.")
    started_at: str = Field(description="RFC 3339.", json_schema_extra={"format": "date-time"})


class MigrationStatus(StatusPart):
    """The migration of a release."""

    execution: str | None = Field(None, description="Name of the job's execution.")
    state: str = Field(description="Running, Succeeded or Failed.")
    image_digest: str = Field("", description="Digest of the image that migrated.")
    database: str = Field("", description="What stands for the database that it was run on.")
    log_uri: str | None = Field(None, description="Where its log is.")


class FailureStatus(StatusPart):
    """What an execution or a revision has failed for: it is not looked for again."""

    reason: str = Field(description="Of the conditions.")
    message: str = Field(description="Of the conditions, without the link.")
    execution: str | None = Field(None, description="Full name of the execution.")
    revision: str | None = Field(None, description="Name of the revision.")
    log_uri: str | None = Field(None, description="Where its log is.")


class SuperuserStatus(StatusPart):
    """The superuser that a release has made, or found."""

    id: str = Field(description="Stands for username and database: such a one is not made again.")
    username: str = Field(description="spec.superuser.username.")
    state: str = Field(description="Creating, Created, Failed, or Found: it was there, with a password of its own.")
    secret: str | None = Field(None, description="Full name of the secret that its password was made in.")


class ReleaseRecord(StatusPart):
    """A release that came to serve."""

    id: str = Field(description="Made from the digest and the template.")
    revision: str = Field("", description="Its revision.")
    image_digest: str = Field("", description="Digest of its image.")
    finished_at: str | None = Field(None, description="RFC 3339.", json_schema_extra={"format": "date-time"})


class ReleaseStatus(StatusPart):
    """The release under way, or the last."""

    stage: str = Field(description="Step that it is in, or Done.")
    id: str = Field("", description="Made from the digest and the template.")
    revision: str = Field("", description="Its revision.")
    inputs: str = Field("", description="Made from what db-init, access, superuser and clean-up depend on.")
    image: str = Field("", description="spec.image that it was made from.")
    image_digest: str = Field("", description="Digest that the image was resolved to.")
    checked: str = Field("", description="Execution of db-init, run as a check, that was told of last.")
    wanted: str = Field("", description="Made from all that was asked for, when the last release was through.")
    reconcile_at: str = Field("", description="Annotation nuages.dev/reconcile-at when it was last heeded.")
    stage_started_at: str | None = Field(
        None, description="When the step began, RFC 3339.", json_schema_extra={"format": "date-time"}
    )
    superuser: SuperuserStatus | None = Field(None, description="The superuser, made by this release or one before.")
    migration: MigrationStatus | None = Field(None, description="Its migration.")
    failure: FailureStatus | None = Field(None, description="What has failed, until something else is tried.")
    started_at: str | None = Field(None, description="RFC 3339.", json_schema_extra={"format": "date-time"})
    history: tuple[ReleaseRecord, ...] = Field((), description="Releases before, newest first.")


class DatabaseStatus(StatusPart):
    """Where the app's data is; while it is set, the spec may not name another place."""

    instance: str = Field(max_length=98, description="Cloud SQL instance.")
    name: str = Field(max_length=63, description="Database.")
    own: bool | None = Field(None, description="Whether the instance was made for this app alone.")


class PlannedStatus(StatusPart):
    """What would be done about one resource."""

    verb: str = Field(
        description="create, update, adopt, delete or run (of a job); conflict and the like where it cannot be."
    )
    kind: str = Field(description="Google's type.")
    name: str = Field(description="Full name.")
    fields: tuple[str, ...] = Field((), description="What differs.")


class DriftStatus(StatusPart):
    """The last change by somebody else that was found; it stays until the app is wanted otherwise."""

    last_detected: str = Field(description="RFC 3339.", json_schema_extra={"format": "date-time"})
    fields: tuple[str, ...] = Field((), description="What differed: <Kind> <name>: <path>.")


class WaitingStatus(StatusPart):
    """What heals by itself within minutes, and is Stalled after that."""

    reason: str = Field(description="Of the conditions.")
    since: str = Field(description="RFC 3339.", json_schema_extra={"format": "date-time"})


def _conditions() -> Any:
    extra: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return Field((), description="Ready, Reconciling, Stalled, then the parts'.", json_schema_extra=extra)


class DjangoAppStatus(StatusPart):
    """What is, as last observed."""

    observed_generation: int = Field(-1, description="Generation that was processed last; -1 before the first.")
    phase: Phase | None = Field(None, description="One word for people; programs read the conditions.")
    url: str | None = Field(None, description="Where the app answers.")
    urls: tuple[str, ...] = Field((), description="Its addresses that are in the serving revision's ALLOWED_HOSTS.")
    image: str | None = Field(None, description="Image that serves, with its digest.")
    revision: str | None = Field(None, description="Revision that serves.")
    traffic: tuple[Traffic, ...] = Field((), description="Shares of the revisions.")
    traffic_split: str | None = Field(None, description="The shares in one line; made from traffic.")
    conditions: tuple[Condition, ...] = _conditions()
    database: DatabaseStatus | None = Field(None, description="Where the data is.")
    release: ReleaseStatus | None = Field(None, description="The release under way, or the last.")
    resources: tuple[ResourceStatus, ...] = Field((), description="Google resources of the app.")
    operations: tuple[OperationStatus, ...] = Field((), description="Long-running operations under way.")
    plan: tuple[PlannedStatus, ...] = Field(
        (), max_length=100, description="What it would do: with management Observe, or annotated nuages.dev/plan."
    )
    drift: DriftStatus | None = Field(None, description="What was changed by hand: set back, to be set back, or left.")
    waiting: WaitingStatus | None = Field(None, description="What heals by itself, such as a grant that is fresh.")

    def dump(self) -> dict[str, Any]:
        """The status as Kubernetes stores it; what is unset is left out."""
        # A printer column shows only the first match of a path, so the split needs a field of its own.
        shares = ",".join(f"{share.revision}={share.percent}%" for share in self.traffic if share.percent)
        return _dump(self.model_copy(update={"traffic_split": shares or None}))


class LimitStatus(StatusPart):
    """How much of one of Google's limits is used, by whomever."""

    used: int = Field(description="As the operator's lists show it.")
    limit: int = Field(description="Google's default; that it was raised for this project is not known here.")


class LimitsStatus(StatusPart):
    """How near the project is to Google's limits; what the operator has not listed yet is left out."""

    service_accounts: LimitStatus | None = Field(None, description="Of the project: one for each app.")
    services: LimitStatus | None = Field(None, description="Cloud Run services of the project in the region.")


class DjangoTenantStatus(StatusPart):
    """What is, as last observed."""

    observed_generation: int = Field(-1, description="Generation that was processed last; -1 before the first.")
    conditions: tuple[Condition, ...] = _conditions()
    limits: LimitsStatus | None = Field(None, description="How near the project is to Google's limits.")

    def dump(self) -> dict[str, Any]:
        """The status as Kubernetes stores it; what is unset is left out."""
        return _dump(self)


def _dump(status: StatusPart) -> dict[str, Any]:
    dumped: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
