"""Containers and volumes, from v2 to v1 and back: both as JSON, for they differ in few places.

v1 has no volume for Cloud SQL, an annotation on the template instead, and calls bucket volumes CSI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.api import knative_annotations as known
from localcloud.core.errors import ApiError, Code, not_modelled

Json = dict[str, Any]

GCS_DRIVER = "gcsfuse.run.googleapis.com"
CLOUDSQL_VOLUME, CLOUDSQL_FOLDER = "cloudsql", "/cloudsql"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def shown_containers(template: Mapping[str, Any]) -> list[Json]:
    """The containers of a v2 template as v1 shows them."""
    hidden = {volume["name"] for volume in template.get("volumes", []) if "cloudSqlInstance" in volume}
    return [_shown_container(container, hidden) for container in template.get("containers", [])]


def shown_volumes(template: Mapping[str, Any]) -> list[Json]:
    return [_shown_volume(volume) for volume in template.get("volumes", []) if "cloudSqlInstance" not in volume]


def shown_marks(template: Mapping[str, Any], of_service: bool) -> dict[str, str]:
    """The annotations on a template that stand for something in its containers and volumes."""
    containers, made = template.get("containers", []), dict[str, str]()
    instances = [i for v in template.get("volumes", []) for i in v.get("cloudSqlInstance", {}).get("instances", [])]
    if instances:
        made[known.CLOUDSQL] = ",".join(instances)
    resources = [container.get("resources", {}) for container in containers]
    if of_service and not all(each.get("cpuIdle") for each in resources):
        made[known.THROTTLING] = "false"
    if any(each.get("startupCpuBoost") for each in resources):
        made[known.BOOST] = "true"
    order = {c["name"]: c["dependsOn"] for c in containers if c.get("dependsOn")}
    if order:
        made[known.DEPENDENCIES] = json.dumps(order, separators=(",", ":"))
    return made


def read_template(spec: Mapping[str, Any], marks: Mapping[str, str], of_service: bool) -> Json:
    """`containers` and `volumes` of v2 for a v1 spec and its annotations. Raises for what is not modelled."""
    containers = [_read_container(container) for container in spec.get("containers") or []]
    volumes = [_read_volume(volume) for volume in spec.get("volumes") or []]
    instances = [part.strip() for part in marks.get(known.CLOUDSQL, "").split(",") if part.strip()]
    if instances:
        volumes.append({"name": CLOUDSQL_VOLUME, "cloudSqlInstance": {"instances": instances}})
    order = _dependencies(marks)
    for container in containers:
        if instances:
            mounts = container.setdefault("volumeMounts", [])
            mounts.append({"name": CLOUDSQL_VOLUME, "mountPath": CLOUDSQL_FOLDER})
        if of_service:
            resources = container.setdefault("resources", {})
            resources["cpuIdle"] = known.flag(marks, known.THROTTLING, default=True)
            resources["startupCpuBoost"] = known.flag(marks, known.BOOST, default=False)
        if container.get("name") in order:
            container["dependsOn"] = order[container["name"]]
    return {"containers": containers, "volumes": volumes}


def _shown_container(container: Mapping[str, Any], hidden: set[str]) -> Json:
    made = {key: value for key, value in container.items() if key != "dependsOn"}
    if "env" in made:
        made["env"] = [_shown_variable(variable) for variable in container["env"]]
    if "resources" in made:
        made["resources"] = {"limits": container["resources"].get("limits", {})}
    mounts = [mount for mount in container.get("volumeMounts", []) if mount["name"] not in hidden]
    if mounts:
        made["volumeMounts"] = mounts
    else:
        made.pop("volumeMounts", None)
    return made


def _shown_variable(variable: Mapping[str, Any]) -> Json:
    source = variable.get("valueSource", {}).get("secretKeyRef")
    if source is None:
        return {"name": variable["name"], "value": variable.get("value", "")}
    reference = {"name": source["secret"], "key": source.get("version", "latest")}
    return {"name": variable["name"], "valueFrom": {"secretKeyRef": reference}}


def _read_variable(variable: Mapping[str, Any]) -> Json:
    _only(variable, "env", "name", "value", "valueFrom")
    if not variable.get("valueFrom"):
        return {"name": variable.get("name", ""), "value": variable.get("value") or ""}
    _only(variable["valueFrom"], "env.valueFrom", "secretKeyRef")
    reference = variable["valueFrom"]["secretKeyRef"]
    _only(reference, "env.valueFrom.secretKeyRef", "name", "key")
    secret = {"secret": reference.get("name", ""), "version": reference.get("key", "")}
    return {"name": variable.get("name", ""), "valueSource": {"secretKeyRef": secret}}


def _read_container(container: Mapping[str, Any]) -> Json:
    made = {key: value for key, value in container.items() if value not in ("", None, [], {})}
    if "env" in made:
        made["env"] = [_read_variable(variable) for variable in container["env"]]
    if "resources" in made:
        resources = {key: value for key, value in container["resources"].items() if value}
        _only(resources, "resources", "limits")
        made["resources"] = resources
    if "volumeMounts" in made:
        made["volumeMounts"] = [_without(mount, "readOnly") for mount in container["volumeMounts"]]
    if "ports" in made:
        made["ports"] = [_without(port, "protocol") for port in container["ports"]]
    for probe in PROBES:
        if probe in made:
            made[probe] = {k: v for k, v in made[probe].items() if (k, v) != ("successThreshold", 1)}
    return made


def _shown_volume(volume: Mapping[str, Any]) -> Json:
    name = {"name": volume["name"]}
    if "secret" in volume:
        return {**name, "secret": _shown_secret(volume["secret"])}
    if "gcs" in volume:
        gcs = volume["gcs"]
        attributes = {"bucketName": gcs["bucket"]}
        if gcs.get("mountOptions"):
            attributes["mountOptions"] = ",".join(gcs["mountOptions"])
        read_only = {"readOnly": True} if gcs.get("readOnly") else {}
        return {**name, "csi": {"driver": GCS_DRIVER, **read_only, "volumeAttributes": attributes}}
    if "emptyDir" in volume:
        medium = {"medium": "Memory"} if volume["emptyDir"].get("medium") == "MEMORY" else {}
        size = volume["emptyDir"].get("sizeLimit")
        return {**name, "emptyDir": {**medium, **({"sizeLimit": size} if size else {})}}
    return dict(volume)


def _shown_secret(secret: Mapping[str, Any]) -> Json:
    made: Json = {"secretName": secret["secret"]}
    if "defaultMode" in secret:
        made["defaultMode"] = secret["defaultMode"]
    if "items" in secret:
        made["items"] = [
            {**_without(item, "version"), "key": item.get("version", "latest")} for item in secret["items"]
        ]
    return made


def _read_volume(volume: Mapping[str, Any]) -> Json:
    name = {"name": volume.get("name", "")}
    if volume.get("secret"):
        secret = volume["secret"]
        _only(secret, "volumes.secret", "secretName", "items", "defaultMode")
        made = {"secret": secret.get("secretName", ""), **_without(secret, "secretName", "items")}
        if secret.get("items"):
            made["items"] = [{**_without(item, "key"), "version": item.get("key", "")} for item in secret["items"]]
        return {**name, "secret": made}
    if volume.get("csi"):
        return {**name, "gcs": _read_bucket(volume["csi"])}
    if "emptyDir" in volume:
        empty = dict(volume["emptyDir"] or {})
        if empty.get("medium"):
            empty["medium"] = str(empty["medium"]).upper()
        return {**name, "emptyDir": empty}
    return dict(volume)


def _read_bucket(csi: Mapping[str, Any]) -> Json:
    _only(csi, "volumes.csi", "driver", "readOnly", "volumeAttributes")
    attributes = csi.get("volumeAttributes") or {}
    _only(attributes, "volumes.csi.volumeAttributes", "bucketName", "mountOptions")
    if csi.get("driver") != GCS_DRIVER:
        raise ApiError(Code.INVALID_ARGUMENT, f"volumes.csi.driver: '{csi.get('driver')}' must be {GCS_DRIVER}.")
    options = [part for part in attributes.get("mountOptions", "").split(",") if part]
    return {
        "bucket": attributes.get("bucketName", ""),
        "readOnly": bool(csi.get("readOnly")),
        **({"mountOptions": options} if options else {}),
    }


def _dependencies(marks: Mapping[str, str]) -> dict[str, Sequence[str]]:
    text = marks.get(known.DEPENDENCIES, "{}")
    try:
        found: dict[str, Sequence[str]] = json.loads(text)
    except ValueError:
        raise known.invalid(known.DEPENDENCIES, text) from None
    return found


def _only(fields: Mapping[str, Any], where: str, *known: str) -> None:
    """Refuse by name what would otherwise be lost."""
    for key in fields:
        if key not in known:
            raise not_modelled(f"{where}.{key} of Cloud Run's v1 API")


def _without(fields: Mapping[str, Any], *keys: str) -> Json:
    return {key: value for key, value in fields.items() if key not in keys}
