"""One release: what is to be deployed, and what is deployed now. Made anew in every pass, from Google's answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nuages.api.app import DjangoApp
from nuages.blueprint.blueprint import Blueprint
from nuages.cloud.driver import Observed
from nuages.cloud.errors import CloudError
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import SecretRef
from nuages.reconcile.patience import PATIENCE, Patience
from nuages.reconcile.release.outcome import Failed
from nuages.reconcile.surplus import NO_SURPLUS, Surplus

CANDIDATE_TAG = "candidate"
ADOPT = "nuages.dev/adopt"
RETRY_MIGRATION = "nuages.dev/retry-migration"
MIGRATE = "nuages.dev/migrate"
DOORS = ("ingress", "open_access", "service_scaling")


@dataclass(frozen=True)
class Release:
    """`service` and the jobs are bound: image by digest, secrets by version. `attempt` counts failed revisions."""

    app: DjangoApp
    blueprint: Blueprint
    id: str
    digest: str
    service: RunService
    db_init: RunJob | None
    migrate: RunJob
    superuser: RunJob | None
    live: Observed[RunService] | None
    began: float  # wall-clock time of the current step, from status: the only clock of a release
    now: float
    instance_created: str = ""  # RFC 3339: an instance that was made again under its name is another one
    resumed: bool = False  # whether an earlier pass came as far as the current step, and no further
    migration: Mapping[str, Any] = field(default_factory=dict)  # what the status tells of the last one
    told: Failed | None = None  # what the status tells of an execution or revision that failed
    attempt: int = 0
    heals_in: float = 0.0  # seconds until the next attempt of a revision that failed for a reason which heals
    patience: Patience = PATIENCE
    surplus: Surplus = NO_SURPLUS
    known_superuser: Mapping[str, Any] = field(default_factory=dict)  # what the status tells of the last one
    failed: Mapping[str, CloudError] = field(default_factory=dict)  # why operations of earlier passes have failed

    def require_unfailed(self, resource: str) -> None:
        """Before the same is begun again: raises the CloudError that an earlier pass's operation on it ended with."""
        if resource in self.failed:
            raise self.failed[resource]

    @property
    def revision(self) -> str:
        """Ours and deterministic, so that a create whose answer was lost is found again."""
        suffix = f"-{self.attempt + 1}" if self.attempt else ""
        return f"{self.service.id}-{self.id}{suffix}"

    @property
    def inputs(self) -> str:
        """What the steps besides the revision are made from: the app is at rest only where all of it is as it was."""
        jobs = [str(job.template) if job else "" for job in (self.db_init, self.superuser)]
        password = [self.blueprint.superuser_grant] if self.blueprint.superuser_grant is not None else []
        grants = sorted(grant.name for grant in (*self.blueprint.access, *password))
        asked = [self.annotation(name) for name in (RETRY_MIGRATION, MIGRATE)]
        return fingerprint([*jobs, grants, self.app.spec.release.keep_revisions, *asked, self.migrates, self.database])

    @property
    def migrates(self) -> bool:
        """Whether there is a database, and the spec wants it migrated."""
        return self.db_init is not None and self.app.spec.migrations.policy != "Never"

    @property
    def database(self) -> str:
        """What stands for the database; "" without one. An instance made again under its name has another one."""
        if self.db_init is None:
            return ""
        return fingerprint([self.migrate.template.cloud_sql, self.app.database_name, self.instance_created])

    @property
    def is_migrated(self) -> bool:
        """Whether the status knows it: Google forgets executions."""
        return self.migration.get("state") == "Succeeded" and self.is_of_this(self.migration)

    def is_of_this(self, migration: Mapping[str, Any]) -> bool:
        """Whether a status tells of this image on this database, which older operators did not name."""
        same_database = migration.get("database") in (None, "", self.database)
        return migration.get("imageDigest") == self.digest and same_database

    @property
    def serving(self) -> str:
        """The revision that has the traffic and can answer; "" before the first release is through."""
        if self.live is None or not self.live.outputs.get("latest_ready_revision"):
            return ""
        return max(self.live.state.traffic, key=lambda t: t.percent).revision if self.live.state.traffic else ""

    @property
    def is_serving(self) -> bool:
        """Whether all traffic is on this release's revision already."""
        return self.serving == self.revision

    @property
    def retry(self) -> str:
        """What the user's wish to prepare and migrate the database again adds to a token; "" where there is none."""
        asked = self.annotation(RETRY_MIGRATION)
        return f"r{fingerprint(asked)[:5]}" if asked else ""

    @property
    def seconds(self) -> float:
        """How long the current step has taken."""
        return self.now - self.began

    def annotation(self, name: str) -> str:
        return self.app.metadata.annotations.get(name, "")


@dataclass(frozen=True)
class Parts:
    """The bound pieces of a blueprint, or which secret is still missing."""

    service: RunService
    db_init: RunJob | None
    migrate: RunJob
    superuser: RunJob | None


def bind(blueprint: Blueprint, versions: Mapping[str, str]) -> Parts | None:
    """The release's resources with secret versions filled in; None while the image or a version is unknown."""
    if blueprint.service is None or blueprint.migrate is None:
        return None
    service, migrate = blueprint.service.bind(versions), blueprint.migrate.bind(versions)
    db_init = blueprint.db_init.bind(versions) if blueprint.db_init else None
    password = blueprint.superuser_password  # made by its step, which alone needs it
    known = {**versions, password.name: "latest"} if password is not None else versions
    superuser = blueprint.superuser.bind(known) if blueprint.superuser else None
    incomplete = (blueprint.db_init and not db_init) or (blueprint.superuser and not superuser)
    if service is None or migrate is None or incomplete:
        return None
    return Parts(service, db_init, migrate, superuser)


def identity(service: RunService, hash_host: str) -> str:
    """Ten hexadecimal digits that stand for everything a revision is made of.

    Labels, and the host that is only known after the first deploy, join with the next release and cause none. Nor does
    an operator that knows more fields: what is empty does not count.
    """
    return fingerprint(_set(asdict(made_of(service, hash_host))))


def unlike_doors(service: RunService, live: RunService) -> tuple[str, ...]:
    """Of what a service has beside its revisions and their traffic, the fields that are live as something else."""
    return tuple(name for name in DOORS if getattr(live, name) != getattr(service, name))


def made_of(service: RunService, hash_host: str) -> RunService:
    """The service without what makes no revision."""
    environment = tuple((name, _without(value, hash_host)) for name, value in service.template.environment)
    template = replace(service.template, environment=environment, labels=())
    return replace(
        service,
        template=template,
        owner=None,
        open_access=False,
        service_scaling="",
        revision="",
        traffic=(),
        ingress="",
        needs=frozenset(),
    )


def _set(value: Any) -> Any:
    """Without fields that are empty, however deep."""
    if isinstance(value, dict):
        return {key: _set(item) for key, item in value.items() if item not in (None, False, 0, "", (), {}, frozenset())}
    return [_set(item) for item in value] if isinstance(value, (list, tuple)) else value


def _without(value: str | SecretRef, host: str) -> str | SecretRef:
    """A comma-separated list without the entries that name the host."""
    if not host or not isinstance(value, str) or host not in value:
        return value
    return ",".join(item for item in value.split(",") if host not in item)


def fingerprint(value: Any) -> str:
    """A short hash of a value that JSON can write; no secret payload is ever part of one."""
    text = json.dumps(value, sort_keys=True, default=lambda item: sorted(item))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
