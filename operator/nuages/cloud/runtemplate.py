"""Our template of a container and Google's messages of Cloud Run v2, both ways (gcp/behaviour.md, section 1). Pure.

What Google fills in, and what the console or gcloud add, has no place in our type: it is never drift.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from google.cloud import run_v2 as run
from google.protobuf.duration_pb2 import Duration

from nuages.cloud.labels import FoundLabels
from nuages.desired.run import BucketMount, Environment, NetworkAccess, Probe, Template
from nuages.desired.secretmanager import SecretRef

SQL_VOLUME, SQL_PATH = "cloudsql", "/cloudsql"
HOST = "Host"
GEN2 = run.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2

# What revision and task templates have in common, in both of Google's messages.
SHARED = ("containers", "volumes", "timeout", "service_account", "vpc_access", "execution_environment")


def container(template: Template, project: str) -> run.Container:
    """The one container; a service adds its port and probes."""
    return run.Container(
        image=template.image,
        command=list(template.command),
        args=list(template.args),
        env=[_variable(name, value, project) for name, value in template.environment],
        resources=run.ResourceRequirements(limits={"cpu": template.cpu, "memory": template.memory}),
        volume_mounts=_mounts(template),
    )


def shared(template: Template, made: run.Container) -> dict[str, Any]:
    """The fields of SHARED. Cloud Storage FUSE needs the second generation."""
    return {
        "containers": [made],
        "volumes": _volumes(template),
        "timeout": Duration(seconds=template.timeout),
        "service_account": template.service_account,
        "vpc_access": _vpc_access(template.network) if template.network else None,
        "execution_environment": GEN2 if template.buckets else None,
    }


def from_pb(found: run.RevisionTemplate | run.TaskTemplate, project: str, labels: Mapping[str, str]) -> Template:
    """What there is, as far as our type can say it; `labels` are those of the template that bears them.

    The texts are shared: each app's jobs carry the same scripts of several kilobytes.
    """
    first = found.containers[0] if found.containers else run.Container()
    limits = first.resources.limits
    volumes = {volume.name: volume for volume in found.volumes}
    mounted = [(volumes[m.name], m.mount_path) for m in first.volume_mounts if m.name in volumes]
    return Template(
        image=sys.intern(first.image),
        command=tuple(map(sys.intern, first.command)),
        args=tuple(map(sys.intern, first.args)),
        environment=environment(first.env, project),
        cpu=_cpus(limits.get("cpu", "")),
        memory=limits.get("memory", ""),
        service_account=found.service_account,
        timeout=duration(found.timeout),
        cloud_sql=tuple(name for volume, _ in mounted for name in volume.cloud_sql_instance.instances),
        buckets=tuple(_bucket(volume, path) for volume, path in mounted if "gcs" in volume),
        network=_network(found.vpc_access) if "vpc_access" in found else None,
        labels=FoundLabels(labels.items()),
    )


def environment(found: Iterable[run.EnvVar], project: str) -> Environment:
    """By name; secrets under their full names, whichever form they were written in."""
    values: dict[str, str | SecretRef] = {}
    for variable in found:
        if "value_source" in variable:
            ref = variable.value_source.secret_key_ref
            name = ref.secret if "/" in ref.secret else f"projects/{project}/secrets/{ref.secret}"
            values[sys.intern(variable.name)] = SecretRef(sys.intern(name), sys.intern(ref.version))
        else:
            values[sys.intern(variable.name)] = sys.intern(variable.value)
    return tuple(sorted(values.items()))


def probe(wanted: Probe, port: int) -> run.Probe:
    header = run.HTTPHeader(name=HOST, value=wanted.host)
    return run.Probe(
        initial_delay_seconds=wanted.initial_delay,
        period_seconds=wanted.period,
        timeout_seconds=wanted.timeout,
        failure_threshold=wanted.failure_threshold,
        http_get=run.HTTPGetAction(path=wanted.path, port=port, http_headers=[header]),
    )


def found_probe(found: run.Probe) -> Probe:
    """One that is not by HTTP has no path."""
    headers = {header.name.lower(): header.value for header in found.http_get.http_headers}
    return Probe(
        path=found.http_get.path,
        host=headers.get(HOST.lower(), ""),
        initial_delay=found.initial_delay_seconds,
        period=found.period_seconds,
        timeout=found.timeout_seconds,
        failure_threshold=found.failure_threshold,
    )


def _variable(name: str, value: str | SecretRef, project: str) -> run.EnvVar:
    if isinstance(value, str):
        return run.EnvVar(name=name, value=value)
    prefix = f"projects/{project}/secrets/"
    ref = run.SecretKeySelector(secret=value.secret.removeprefix(prefix), version=value.version or "latest")
    return run.EnvVar(name=name, value_source=run.EnvVarSource(secret_key_ref=ref))


def _mounts(template: Template) -> list[run.VolumeMount]:
    made = [
        run.VolumeMount(name=_bucket_volume(index), mount_path=bucket.path)
        for index, bucket in enumerate(template.buckets)
    ]
    if template.cloud_sql:
        made.append(run.VolumeMount(name=SQL_VOLUME, mount_path=SQL_PATH))
    return made


def _volumes(template: Template) -> list[run.Volume]:
    made = [
        run.Volume(
            name=_bucket_volume(index),
            gcs=run.GCSVolumeSource(bucket=bucket.bucket, mount_options=[f"uid={bucket.uid}", f"gid={bucket.gid}"]),
        )
        for index, bucket in enumerate(template.buckets)
    ]
    if template.cloud_sql:
        instances = run.CloudSqlInstance(instances=list(template.cloud_sql))
        made.append(run.Volume(name=SQL_VOLUME, cloud_sql_instance=instances))
    return made


def _bucket_volume(index: int) -> str:
    return f"bucket-{index + 1}"


def _bucket(volume: run.Volume, path: str) -> BucketMount:
    options = dict(option.partition("=")[::2] for option in volume.gcs.mount_options)
    return BucketMount(
        volume.gcs.bucket.rsplit("/", 1)[-1], path, _number(options.get("uid")), _number(options.get("gid"))
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _vpc_access(wanted: NetworkAccess) -> run.VpcAccess:
    egress = getattr(run.VpcAccess.VpcEgress, wanted.egress)
    if wanted.connector:
        return run.VpcAccess(connector=wanted.connector, egress=egress)
    interface = run.VpcAccess.NetworkInterface(network=wanted.network, subnetwork=wanted.subnetwork)
    return run.VpcAccess(network_interfaces=[interface], egress=egress)


def _network(found: run.VpcAccess) -> NetworkAccess:
    interface = found.network_interfaces[0] if found.network_interfaces else run.VpcAccess.NetworkInterface()
    return NetworkAccess(
        found.egress.name,
        connector=found.connector,
        network=interface.network,
        subnetwork=interface.subnetwork,
    )


def duration(timeout: Any) -> int:
    """In seconds, 0 for none; proto-plus gives a timedelta where the type says Duration."""
    return int(timeout.total_seconds()) if timeout else 0


def _cpus(limit: str) -> str:
    """Google writes its own default as "1000m"; ours is "1"."""
    if not limit.endswith("m") or not limit[:-1].isdigit():
        return limit
    return f"{int(limit[:-1]) / 1000:g}"
