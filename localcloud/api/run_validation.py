"""What Cloud Run refuses at once, before anything is made (behaviour.md §1, behaviour-runtime.md §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from localcloud.api.messages import run as pb
from localcloud.api.run_names import pattern_fits
from localcloud.core.errors import ApiError, Code, not_modelled

SERVICE_ID_LIMIT, JOB_ID_LIMIT, REVISION_LIMIT = 49, 63, 63
TAG_AND_SERVICE_LIMIT = 46
RESERVED_SERVICE_ENV = frozenset({"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"})
RESERVED_JOB_ENV = frozenset(
    ["CLOUD_RUN_JOB", "CLOUD_RUN_EXECUTION", "CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_ATTEMPT", "CLOUD_RUN_TASK_COUNT"]
)
RESERVED_POOL_ENV = frozenset({"CLOUD_RUN_WORKER_POOL", "CLOUD_RUN_REVISION"})
# run/docs/configuring/services/overview-environment-variables, cloud.google.com/run/quotas
RESERVED_PREFIX, MOST_VARIABLES, LARGEST_VARIABLE = "X_GOOGLE_", 1000, 32_768
SYSTEM_PREFIXES = (
    "run.googleapis.com",
    "cloud.googleapis.com",
    "serving.knative.dev",
    "autoscaling.knative.dev",
)
LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
LABEL_VALUE = re.compile(r"[-_a-z0-9]{0,63}")
MEMORY_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
MOST_MEMORY_GIB = {1: 4, 2: 8, 4: 16, 6: 24, 8: 32}  # by whole CPUs
LEAST_MEMORY_MIB = {4: 2048, 6: 4096, 8: 4096}


def violation(field: str, description: str) -> ApiError:
    """Google's form for a bad field of a request."""
    return ApiError(Code.INVALID_ARGUMENT, f"Violation in {field}: {description}")


def check_id(field: str, resource_id: str, limit: int) -> None:
    """Raise INVALID_ARGUMENT unless the id may be one."""
    if not pattern_fits(resource_id, limit):
        raise violation(
            field,
            "must use only lowercase alphanumeric characters and dashes, must begin with a letter and cannot end with "
            f"a dash; the maximum length is {limit} characters.",
        )


def check_service(service: pb.Service, service_id: str, simulate: bool) -> None:
    """Raise INVALID_ARGUMENT (or UNIMPLEMENTED by name) on a service, defaults filled in, that Google would refuse."""
    template = service.template
    _check_labels("Service", service)
    _check_labels("Service.template", template)
    if template.revision:
        check_revision_name(template.revision, service_id)
    path = "spec.template.spec"
    _check_containers("Service.template", template.containers, template.volumes, path, RESERVED_SERVICE_ENV)
    if not 1 <= template.max_instance_request_concurrency <= 1000:
        raise violation("Service.template.max_instance_request_concurrency", "must be between 1 and 1000.")
    if not 1 <= template.timeout.seconds <= 3600:
        raise violation("Service.template.timeout", "must be between 1 and 3600 seconds.")
    least, most = template.scaling.min_instance_count, template.scaling.max_instance_count
    if least < 0 or most < 0 or least > most:
        raise violation("Service.template.scaling", f"min_instance_count {least} exceeds max_instance_count {most}.")
    for probe in (c.startup_probe for c in template.containers if c.HasField("startup_probe")):
        if probe.period_seconds * probe.failure_threshold > 240 or probe.initial_delay_seconds > 240:
            raise violation(
                "Service.template.containers.startup_probe",
                "period_seconds times failure_threshold, and initial_delay_seconds, must not exceed 240 seconds.",
            )
    check_traffic(service, service_id)
    if not simulate:
        refuse_service(service)


def check_job(job: pb.Job, job_id: str, simulate: bool) -> None:
    """The same for a job."""
    execution, task = job.template, job.template.template
    _check_labels("Job", job)
    _check_labels("Job.template", execution)
    path = "spec.template.spec.template.spec"
    _check_containers("Job.template.template", task.containers, task.volumes, path, RESERVED_JOB_ENV)
    if not 1 <= execution.task_count <= 10_000:
        raise violation("Job.template.task_count", "must be between 1 and 10000.")
    if execution.parallelism < 0:
        raise violation("Job.template.parallelism", "must not be negative.")
    if not 0 <= task.max_retries <= 10:
        raise violation("Job.template.template.max_retries", "must be between 0 and 10.")
    if not 1 <= task.timeout.seconds <= 168 * 3600:
        raise violation("Job.template.template.timeout", "must be between 1 second and 168 hours.")
    token = job.start_execution_token or job.run_execution_token
    if token and not pattern_fits(f"{job_id}-{token}", 62):
        raise violation(
            "Job.start_execution_token", "the job's name and the token together must be under 63 characters."
        )
    if not simulate:
        _refuse_template(task)


def check_worker_pool(pool: pb.WorkerPool, pool_id: str) -> None:
    """The same for a worker pool."""
    template = pool.template
    _check_labels("WorkerPool", pool)
    _check_labels("WorkerPool.template", template)
    if template.revision:
        check_revision_name(template.revision, pool_id)
    path = "spec.template.spec"
    _check_containers("WorkerPool.template", template.containers, template.volumes, path, RESERVED_POOL_ENV)
    total = sum(split.percent for split in pool.instance_splits)
    if total != 100:
        raise violation("WorkerPool.instance_splits", f"instance split percents must sum to 100, got {total}.")


def check_revision_name(revision: str, service_id: str) -> None:
    """Google names it `<service>-…`, and so must who chooses it."""
    if not revision.startswith(f"{service_id}-") or not pattern_fits(revision, REVISION_LIMIT):
        raise violation(
            "Service.template.revision",
            f"revision name '{revision}' must be prefixed with the name of the service, '{service_id}-', use only "
            f"lowercase alphanumeric characters and dashes, and have at most {REVISION_LIMIT} characters.",
        )


def check_traffic(service: pb.Service, service_id: str) -> None:
    """Percents, tags and targets by themselves; whether revisions exist is known later."""
    tags: set[str] = set()
    for target in service.traffic:
        by_revision = target.type_ == pb.Allocation.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
        if by_revision != bool(target.revision):
            raise violation("Service.traffic", "a revision must be named with type REVISION, and only with it.")
        if not target.type_:
            raise violation("Service.traffic", "each target needs a type.")
        if not 0 <= target.percent <= 100:
            raise violation("Service.traffic", f"percent {target.percent} is not between 0 and 100.")
        if target.tag:
            _check_tag(target.tag, service_id, tags)
    total = sum(target.percent for target in service.traffic)
    if total != 100:
        raise violation("Service.traffic", f"traffic percents must sum to 100, got {total}.")


def check_first_traffic(service: pb.Service) -> None:
    """At creation nothing else exists that could be named (behaviour-runtime.md, section 3)."""
    for target in service.traffic:
        if target.revision and target.revision != service.template.revision:
            raise violation(
                "Service.traffic",
                f"revision '{target.revision}' does not exist; a new service may only name its own template.revision.",
            )


def refuse_service(service: pb.Service) -> None:
    """Refuse by name what a service asks for and nothing here would do."""
    template = service.template
    asked = {
        "Identity-Aware Proxy (Service.iap_enabled)": service.iap_enabled,
        "binary authorization": service.HasField("binary_authorization"),
        "multi-region services": service.HasField("multi_region_settings"),
        "builds by Cloud Run (Service.build_config)": service.HasField("build_config"),
        "manual scaling (Service.scaling.scaling_mode)": service.scaling.scaling_mode == 2,
        "threat detection": service.threat_detection_enabled,
        "service mesh": template.HasField("service_mesh"),
        "session affinity (Service.template.session_affinity)": template.session_affinity,
        "HTTP/2 to the container (port name h2c)": any(p.name == "h2c" for c in template.containers for p in c.ports),
    }
    for what, is_asked in asked.items():
        if is_asked:
            raise not_modelled(f"{what} of Cloud Run")
    _refuse_template(template)


def _refuse_template(template: pb.RevisionTemplate | pb.TaskTemplate) -> None:
    asked = {
        "customer-managed encryption keys": bool(template.encryption_key),
        "accelerators (node_selector)": template.HasField("node_selector"),
        "several containers in one instance (sidecars)": len(template.containers) > 1,
        "NFS volumes": any(v.WhichOneof("volume_type") == "nfs" for v in template.volumes),
        "gRPC probes": any(
            getattr(c, field).HasField("grpc")
            for c in template.containers
            for field in ("startup_probe", "liveness_probe", "readiness_probe")
        ),
        "readiness probes": any(c.HasField("readiness_probe") for c in template.containers),
        "source deployments (Container.source_code)": any(c.HasField("source_code") for c in template.containers),
        "automatic base images": any(c.base_image_uri for c in template.containers),
        "sub-paths of volumes": any(m.sub_path for c in template.containers for m in c.volume_mounts),
    }
    for what, is_asked in asked.items():
        if is_asked:
            raise not_modelled(f"{what} of Cloud Run")


def _check_tag(tag: str, service_id: str, tags: set[str]) -> None:
    if len(tag) + len(service_id) > TAG_AND_SERVICE_LIMIT:
        raise ApiError(
            Code.INVALID_ARGUMENT,
            f"traffic tag '{tag}' and service name '{service_id}' together are too long. Combined traffic tag and "
            f"service name cannot exceed {TAG_AND_SERVICE_LIMIT} characters.",
        )
    if not re.fullmatch(r"[a-z][-a-z0-9]+[a-z0-9]", tag) or "---" in tag:
        raise violation(
            "Service.traffic",
            f"traffic tag '{tag}' must have at least 3 characters, lowercase alphanumeric or dashes, and begin with a "
            "letter.",
        )
    if tag in tags:
        raise violation("Service.traffic", f"traffic tag '{tag}' is used more than once.")
    tags.add(tag)


def _check_labels(kind: str, resource: pb.Service | pb.Job | pb.RevisionTemplate) -> None:
    for field in ("labels", "annotations"):
        for key in getattr(resource, field):
            domain = key.partition("/")[0] if "/" in key else ""
            if domain and any(domain == p or domain.endswith("." + p) for p in SYSTEM_PREFIXES):
                raise violation(f"{kind}.{field}", f"'{key}' is in a namespace that is reserved for the system.")
    for key, value in resource.labels.items():
        if not LABEL_KEY.fullmatch(key.rpartition("/")[2].lower()) or not LABEL_VALUE.fullmatch(value.lower()):
            raise violation(f"{kind}.labels", f"'{key}: {value}' is not a valid label.")


def _check_containers(
    field: str,
    containers: Sequence[pb.Container],
    volumes: Sequence[pb.Volume],
    path: str,
    reserved: frozenset[str],
) -> None:
    if not containers:
        raise violation(f"{field}.containers", "at least one container is required.")
    if sum(bool(container.ports) for container in containers) > 1:
        raise violation(f"{field}.containers", "only one container may have ports.")
    known = _unique(f"{field}.volumes", (volume.name for volume in volumes))
    _unique(f"{field}.containers", (container.name for container in containers if container.name))
    _check_dependencies(field, containers)
    for index, container in enumerate(containers):
        where = f"{field}.containers[{index}]"
        if not container.image:
            raise violation(f"{where}.image", "an image is required.")
        taken = [env.name for env in container.env if env.name in reserved]
        if taken:
            raise ApiError(
                Code.INVALID_ARGUMENT,
                f"{path}.containers[{index}].env: The following reserved env names were provided: "
                f"{', '.join(taken)}. These values are automatically set by the system.",
            )
        _unique(f"{where}.env", (env.name for env in container.env))
        _check_variables(f"{where}.env", container.env)
        _check_resources(f"{where}.resources.limits", container)
        _unique(f"{where}.volume_mounts", (mount.mount_path for mount in container.volume_mounts))
        for mount in container.volume_mounts:
            if mount.name not in known:
                raise violation(f"{where}.volume_mounts", f"volume '{mount.name}' is not defined.")
            if not mount.mount_path.startswith("/"):
                raise violation(f"{where}.volume_mounts", f"mount_path '{mount.mount_path}' must be absolute.")
        for probe in (container.startup_probe, container.liveness_probe):
            if probe.timeout_seconds > probe.period_seconds:
                raise violation(f"{where}.probe", "timeout_seconds must not exceed period_seconds.")


def _check_variables(field: str, variables: Sequence[pb.EnvVar]) -> None:
    if len(variables) > MOST_VARIABLES:
        raise violation(field, f"a container may have {MOST_VARIABLES} environment variables at most.")
    for variable in variables:
        if "=" in variable.name or variable.name.startswith(RESERVED_PREFIX):
            raise violation(field, f"'{variable.name}' must neither contain '=' nor begin with {RESERVED_PREFIX}.")
        if len(variable.value.encode()) > LARGEST_VARIABLE:
            raise violation(field, f"the value of '{variable.name}' is longer than {LARGEST_VARIABLE} bytes.")


def _check_dependencies(field: str, containers: Sequence[pb.Container]) -> None:
    """Who waits for another container waits for its startup probe (behaviour.md, section 1)."""
    probed = {container.name: container.HasField("startup_probe") for container in containers if container.name}
    for index, container in enumerate(containers):
        for name in container.depends_on:
            where = f"{field}.containers[{index}].depends_on"
            if name not in probed or name == container.name:
                raise violation(where, f"'{name}' is not the name of another container.")
            if not probed[name]:
                raise violation(where, f"container '{name}' must have a startup probe, since another depends on it.")


def _unique(field: str, names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            raise violation(field, f"'{name}' must be named, and once only.")
        seen.add(name)
    return seen


def _check_resources(field: str, container: pb.Container) -> None:
    limits = container.resources.limits
    try:
        cpu = float(limits["cpu"][:-1]) / 1000 if limits["cpu"].endswith("m") else float(limits["cpu"])
        number, unit = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]i?|)", limits["memory"]).groups()  # type: ignore[union-attr]
    except (ValueError, AttributeError):
        raise violation(field, f"cpu '{limits['cpu']}' or memory '{limits['memory']}' is no quantity.") from None
    gib = float(number) * MEMORY_BYTES[unit] / 2**30
    if cpu >= 1 and cpu not in MOST_MEMORY_GIB:
        raise ApiError(
            Code.INVALID_ARGUMENT,
            f"Invalid value specified for cpu. Maximum 8 CPUs may be set. The specified value {cpu:g} must be one of: "
            "1, 2, 4, 6, 8.",
        )
    if cpu < 0.08:
        raise violation(field, "cpu must be at least 0.08.")
    if gib > MOST_MEMORY_GIB.get(int(cpu) or 1, 32) or gib * 1024 < LEAST_MEMORY_MIB.get(int(cpu), 128):
        raise ApiError(
            Code.INVALID_ARGUMENT,
            f"Invalid value specified for container memory. For {cpu:g} CPU, memory must be between "
            f"{LEAST_MEMORY_MIB.get(int(cpu), 128)}Mi and {MOST_MEMORY_GIB.get(int(cpu) or 1, 32)}Gi inclusive.",
        )
