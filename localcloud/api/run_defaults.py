"""What Cloud Run fills in where a client says nothing (gcp/behaviour.md, section 1: defaults seen in recordings)."""

from __future__ import annotations

from collections.abc import Sequence

from localcloud.api.messages import run as pb

HTTP_PORT = 8080
CPU, MEMORY = "1000m", "512Mi"
MANY_CONTAINERS, MEMORY_OF_MANY = 3, "256Mi"  # recorded on jobs alone: what others get is not known to differ
SERVICE_TIMEOUT_S, TASK_TIMEOUT_S = 300, 600
CONCURRENCY = 80
MAX_INSTANCES = 100
MAX_RETRIES = 3
DEFAULT_STARTUP_SECONDS = 240
CLOUD_SQL_MOUNT = "/cloudsql"


def default_account(number: str) -> str:
    """The Compute Engine default service account, under which everything runs that names no other."""
    return f"{number}-compute@developer.gserviceaccount.com"


def fill_service(service: pb.Service, number: str) -> None:
    """The service as Google would answer it."""
    template = service.template
    service.launch_stage = service.launch_stage or pb.GA
    service.ingress = service.ingress or pb.Ingress.INGRESS_TRAFFIC_ALL
    if not service.traffic:
        service.traffic.add(type_=pb.Allocation.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, percent=100)
    if not template.HasField("timeout"):
        template.timeout.seconds = SERVICE_TIMEOUT_S
    template.service_account = template.service_account or default_account(number)
    if not template.scaling.max_instance_count:
        template.scaling.max_instance_count = service.scaling.max_instance_count or MAX_INSTANCES
    ingress = _ingress(template.containers)
    _fill_mounts(template)
    for index, container in enumerate(template.containers):
        if not container.HasField("resources"):  # a client that sends resources must say cpuIdle itself (API reference)
            container.resources.cpu_idle = True
        _fill_limits(container)
        if index == ingress:
            _fill_ports(container)
        port = container.ports[0].container_port if container.ports else HTTP_PORT
        if index == ingress and not container.HasField("startup_probe"):
            container.startup_probe.timeout_seconds = DEFAULT_STARTUP_SECONDS
            container.startup_probe.period_seconds = DEFAULT_STARTUP_SECONDS
            container.startup_probe.failure_threshold = 1
            container.startup_probe.tcp_socket.port = port
        _fill_probes(container, port)
    if not template.max_instance_request_concurrency:
        is_small = template.containers and _is_part_of_a_cpu(template.containers[ingress])
        template.max_instance_request_concurrency = 1 if is_small else CONCURRENCY


def fill_job(job: pb.Job, number: str) -> None:
    """The job as Google would answer it."""
    job.launch_stage = job.launch_stage or pb.GA
    job.template.task_count = job.template.task_count or 1
    task = job.template.template
    if not task.HasField("timeout"):
        task.timeout.seconds = TASK_TIMEOUT_S
    if task.WhichOneof("retries") is None:
        task.max_retries = MAX_RETRIES
    task.service_account = task.service_account or default_account(number)
    task.execution_environment = task.execution_environment or pb.Environment.EXECUTION_ENVIRONMENT_GEN2
    _fill_mounts(task)
    memory = MEMORY if len(task.containers) < MANY_CONTAINERS else MEMORY_OF_MANY
    for container in task.containers:
        _fill_limits(container, memory)
        _fill_probes(container, container.ports[0].container_port if container.ports else HTTP_PORT)
    job.latest_created_execution.SetInParent()  # `{}` before any run


def fill_worker_pool(pool: pb.WorkerPool, number: str) -> None:
    """The worker pool as Google would answer it."""
    template = pool.template
    pool.launch_stage = pool.launch_stage or pb.GA
    if not pool.instance_splits:
        pool.instance_splits.add(type_=pb.SplitAllocation.INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST, percent=100)
    template.service_account = template.service_account or default_account(number)
    _fill_mounts(template)
    for container in template.containers:
        _fill_limits(container)
        _fill_probes(container, container.ports[0].container_port if container.ports else HTTP_PORT)


def _ingress(containers: Sequence[pb.Container]) -> int:
    """Which one answers requests: it has ports, or is the first."""
    return next((index for index, container in enumerate(containers) if container.ports), 0)


def _fill_mounts(template: pb.RevisionTemplate | pb.TaskTemplate) -> None:
    """Sockets of Cloud SQL are at one place, whatever path is asked for (recorded)."""
    sockets = {volume.name for volume in template.volumes if volume.HasField("cloud_sql_instance")}
    for container in template.containers:
        for mount in container.volume_mounts:
            if mount.name in sockets:
                mount.mount_path = CLOUD_SQL_MOUNT


def _fill_limits(container: pb.Container, memory: str = MEMORY) -> None:
    limits = container.resources.limits
    for name, value in (("cpu", CPU), ("memory", memory)):
        if name not in limits:
            limits[name] = value


def _fill_ports(container: pb.Container) -> None:
    if not container.ports:
        container.ports.add(name="http1", container_port=HTTP_PORT)
    port = container.ports[0]
    port.name = port.name or "http1"
    port.container_port = port.container_port or HTTP_PORT


def _fill_probes(container: pb.Container, port: int) -> None:
    for field in ("startup_probe", "liveness_probe", "readiness_probe"):
        if not container.HasField(field):
            continue
        probe = getattr(container, field)
        probe.failure_threshold = probe.failure_threshold or 3
        probe.period_seconds = probe.period_seconds or 10
        probe.timeout_seconds = probe.timeout_seconds or 1
        kind = probe.WhichOneof("probe_type")
        if kind == "http_get":
            probe.http_get.path = probe.http_get.path or "/"
            probe.http_get.port = probe.http_get.port or port
        elif kind == "grpc":
            probe.grpc.port = probe.grpc.port or port
        else:
            probe.tcp_socket.port = probe.tcp_socket.port or port


def _is_part_of_a_cpu(container: pb.Container) -> bool:
    cpu = container.resources.limits["cpu"]
    return (float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)) < 1
