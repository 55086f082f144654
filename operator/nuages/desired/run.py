"""Cloud Run: services and jobs, with the template that their revisions and executions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from nuages.desired.resource import Resource
from nuages.desired.secretmanager import SecretRef

Environment = tuple[tuple[str, str | SecretRef], ...]  # sorted by name


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe; all times in seconds. `host`: the Host header, or Django refuses the request."""

    path: str
    host: str
    initial_delay: int = 0
    period: int = 10
    timeout: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class BucketMount:
    """A bucket as a folder (Cloud Storage FUSE)."""

    bucket: str  # short name
    path: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class NetworkAccess:
    """How the instances reach a VPC: through a connector, or with an address in a subnetwork."""

    egress: str  # "PRIVATE_RANGES_ONLY" | "ALL_TRAFFIC"
    connector: str = ""  # full name
    network: str = ""
    subnetwork: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One container and where it runs. `image` is pinned by digest, environment values to numeric secret versions."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    environment: Environment = ()
    cpu: str  # "1", "0.5"
    memory: str  # "512Mi"
    service_account: str  # email
    timeout: int  # seconds
    cloud_sql: tuple[str, ...] = ()  # connection names, each mounted under /cloudsql
    buckets: tuple[BucketMount, ...] = ()
    network: NetworkAccess | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def bind(self, versions: Mapping[str, str]) -> Template | None:
        """With every secret pinned to its current version; None while one has none."""
        bound: list[tuple[str, str | SecretRef]] = []
        for name, value in self.environment:
            if isinstance(value, SecretRef) and value.version is None:
                version = versions.get(value.secret)
                if not version:
                    return None
                bound.append((name, SecretRef(value.secret, version)))
            else:
                bound.append((name, value))
        return replace(self, environment=tuple(bound))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob(Resource):
    """`projects/P/locations/L/jobs/J`: one task, no retries, since a migration must not run twice by itself."""

    kind: ClassVar[str] = "run.googleapis.com/Job"
    template: Template

    def bind(self, versions: Mapping[str, str]) -> RunJob | None:
        template = self.template.bind(versions)
        return None if template is None else replace(self, template=template)


@dataclass(frozen=True, slots=True)
class TrafficTarget:
    """Always a named revision, never "latest"; `percent` 0 with a tag is reachable by the tag's URL only."""

    revision: str
    percent: int
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunService(Resource):
    """`projects/P/locations/L/services/S`. A blueprint leaves `revision` and `traffic` to the release."""

    kind: ClassVar[str] = "run.googleapis.com/Service"
    template: Template
    port: int
    concurrency: int
    min_instances: int
    max_instances: int
    cpu_idle: bool  # CPU only while a request is served
    startup_cpu_boost: bool
    startup_probe: Probe
    liveness_probe: Probe
    ingress: str  # "ALL" | "INTERNAL_ONLY" | "INTERNAL_LOAD_BALANCER"
    open_access: bool  # no IAM check before the container
    service_scaling: str = ""  # what overrides the revisions' own scaling: "MANUAL 0", say; never ours
    revision: str = ""
    traffic: tuple[TrafficTarget, ...] = ()

    def bind(self, versions: Mapping[str, str]) -> RunService | None:
        template = self.template.bind(versions)
        return None if template is None else replace(self, template=template)
