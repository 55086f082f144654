"""Services and revisions of v2 as Knative's objects: Service, Revision, Configuration, Route (v1 API reference)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from localcloud.api import knative_annotations as known
from localcloud.api.knative_scope import RUN, SERVING, Object, Scope, resource_version
from localcloud.api.knative_template import shown_containers, shown_marks, shown_volumes
from localcloud.api.messages import run as pb
from localcloud.api.run_names import Place, last

STATUS = {"CONDITION_SUCCEEDED": "True", "CONDITION_FAILED": "False"}
SEVERITY = {"WARNING": "Warning", "INFO": "Info"}
REASONS = ("reason", "revisionReason", "executionReason")
LOCATION = "cloud.googleapis.com/location"
COMPLETION_ORDER = ("Ready", "Completed")  # the condition that sums up comes first


def service_object(service: pb.Service, scope: Scope) -> Object:
    """What `gcloud run services describe` reads."""
    fields = as_json(service)
    marks = known.shown(fields, known.SERVICE)
    marks[f"{RUN}/ingress-status"] = marks.get(f"{RUN}/ingress", "all")
    if fields.get("urls"):
        marks[f"{RUN}/urls"] = json.dumps(fields["urls"], separators=(",", ":"))
    spec = {"template": _template(fields), "traffic": _traffic(fields.get("traffic", []))}
    status = {
        "observedGeneration": int(fields.get("observedGeneration", 0)),
        "conditions": conditions(_service_conditions(fields)),
        "latestReadyRevisionName": last(service.latest_ready_revision),
        "latestCreatedRevisionName": last(service.latest_created_revision),
        "traffic": _traffic(fields.get("trafficStatuses", []), last(service.latest_ready_revision)),
        "url": fields.get("uri", ""),
        "address": {"url": fields["uri"]} if fields.get("uri") else {},
    }
    made = head(SERVING, "Service", fields, scope, {}, {**marks, **_authors(fields, SERVING)})
    return {**made, "spec": dense(spec), "status": dense(status)}


def configuration_object(service: pb.Service, scope: Scope) -> Object:
    """The half of a service that makes revisions."""
    whole, fields = service_object(service, scope), as_json(service)
    ready = [c for c in _service_conditions(fields) if c["type"] == "ConfigurationsReady"]
    status = {
        "observedGeneration": whole["status"].get("observedGeneration"),
        "conditions": conditions([{**condition, "type": "Ready"} for condition in ready]),
        "latestReadyRevisionName": last(service.latest_ready_revision),
        "latestCreatedRevisionName": last(service.latest_created_revision),
    }
    made = _part(whole, "Configuration", fields)
    return {**made, "spec": {"template": whole["spec"]["template"]}, "status": dense(status)}


def route_object(service: pb.Service, scope: Scope) -> Object:
    """The half of a service that sends requests to revisions."""
    whole, fields = service_object(service, scope), as_json(service)
    ready = [c for c in _service_conditions(fields) if c["type"] == "RoutesReady"]
    kept = {key: whole["status"][key] for key in ("observedGeneration", "traffic", "url") if key in whole["status"]}
    status = {
        **kept,
        "address": whole["status"].get("address", {}),
        "conditions": conditions([{**condition, "type": "Ready"} for condition in ready]),
    }
    made = _part(whole, "Route", fields)
    return {**made, "spec": {"traffic": whole["spec"].get("traffic", [])}, "status": dense(status)}


def revision_object(revision: pb.Revision, service: pb.Service | None, scope: Scope) -> Object:
    """`service` as it is now, which decides whether the revision is active; None where it is gone."""
    fields = as_json(revision)
    owner = last(revision.name.rsplit("/", 2)[0])
    labels = {
        f"{SERVING}/service": owner,
        f"{SERVING}/configuration": owner,
        f"{SERVING}/route": owner,
        f"{SERVING}/configurationGeneration": str(fields.get("generation", 1)),
    }
    if service is not None:
        labels[f"{SERVING}/serviceUid"] = service.uid
    marks = known.shown(fields, known.REVISION) | shown_marks(fields, of_service=True)
    made = head(SERVING, "Revision", fields, scope, labels, {**marks, **_authors(fields, SERVING)})
    made["metadata"]["ownerReferences"] = [_owner("Configuration", owner, service)]
    own = conditions(fields.get("conditions", []))
    status = {
        "observedGeneration": int(fields.get("observedGeneration", 0)),
        "conditions": [*own, _activity(revision, service, own)],
        "serviceName": owner,
        "logUrl": fields.get("logUri", ""),
        "imageDigest": next((c.image for c in revision.containers if "@sha256:" in c.image), ""),
    }
    return {**made, "spec": _revision_spec(fields), "status": dense(status)}


def as_json(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = MessageToDict(message)
    return fields


def head(
    group: str, kind: str, fields: Mapping[str, Any], scope: Scope, labels: dict[str, str], marks: dict[str, str]
) -> Object:
    """apiVersion, kind and metadata; what is deleted says since when."""
    place = Place.of(fields["name"])
    plural = f"{kind.lower()}s"
    metadata = {
        "name": place.id,
        "namespace": scope.number,
        "selfLink": f"/apis/{group}/v1/namespaces/{scope.number}/{plural}/{place.id}",
        "uid": fields.get("uid", ""),
        "resourceVersion": resource_version(fields.get("etag", "")),
        "generation": int(fields.get("generation", 0)),
        "creationTimestamp": fields.get("createTime", ""),
        "labels": {**fields.get("labels", {}), **labels, LOCATION: place.location},
        "annotations": marks,
    }
    if "deleteTime" in fields:
        metadata["deletionTimestamp"] = fields["deleteTime"]
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata}


def conditions(found: Iterable[Mapping[str, Any]]) -> list[Object]:
    """v2's conditions, the one that sums up first: states become True, False, Unknown, reasons CamelCase."""
    ordered = sorted(found, key=lambda condition: condition.get("type") not in COMPLETION_ORDER)
    return [_condition(condition) for condition in ordered]


def _condition(condition: Mapping[str, Any]) -> Object:
    made: Object = {"type": condition["type"], "status": STATUS.get(condition.get("state", ""), "Unknown")}
    reason = next((condition[key] for key in REASONS if key in condition), "")
    if reason:
        made["reason"] = "".join(word.title() for word in reason.split("_"))
    for key in ("message", "lastTransitionTime"):
        if condition.get(key):
            made[key] = condition[key]
    if condition.get("severity") in SEVERITY:
        made["severity"] = SEVERITY[condition["severity"]]
    return made


def _service_conditions(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Ready, and the two it is made of; all three are unknown while a change is under way."""
    own = {condition["type"]: condition for condition in fields.get("conditions", [])}
    own["Ready"] = {**fields.get("terminalCondition", {}), "type": "Ready"}
    kinds = ("Ready", "ConfigurationsReady", "RoutesReady")
    if fields.get("reconciling"):
        return [{"type": kind} for kind in kinds]
    return [own.get(kind, {"type": kind}) for kind in kinds]


def _template(fields: Mapping[str, Any]) -> Object:
    template = fields.get("template", {})
    marks = known.shown(template, known.REVISION) | shown_marks(template, of_service=True)
    metadata = {
        "name": template.get("revision", ""),
        "labels": template.get("labels", {}),
        "annotations": marks,
    }
    return {"metadata": dense(metadata), "spec": _revision_spec(template)}


def _revision_spec(template: Mapping[str, Any]) -> Object:
    spec = {
        "containerConcurrency": template.get("maxInstanceRequestConcurrency", 0),
        "timeoutSeconds": seconds(template.get("timeout", "")),
        "serviceAccountName": template.get("serviceAccount", ""),
        "containers": shown_containers(template),
        "volumes": shown_volumes(template),
    }
    return dense(spec)


def seconds(duration: str) -> int:
    """`300s` -> 300."""
    return int(float(duration.removesuffix("s") or 0))


def _traffic(targets: Sequence[Mapping[str, Any]], latest: str = "") -> list[Object]:
    """`latest`: the revision that LATEST stands for, named in statuses only."""
    made = []
    for target in targets:
        follows = "revision" not in target
        one = {
            "revisionName": latest if follows else target["revision"],
            "percent": target.get("percent", 0),
            "tag": target.get("tag", ""),
            "url": target.get("uri", ""),
        }
        made.append({**dense(one), **({"latestRevision": True} if follows else {})})
    return made


def _activity(revision: pb.Revision, service: pb.Service | None, own: Sequence[Object]) -> Object:
    """Active: requests can reach it. Knative's condition, which v2 does not have."""
    routed = [] if service is None else list(service.traffic_statuses)
    names = {target.revision or last(service.latest_ready_revision) for target in routed} if service else set()
    made: Object = {"type": "Active", "status": "True" if last(revision.name) in names else "False"}
    since = next((condition.get("lastTransitionTime") for condition in own), None)
    if since:
        made["lastTransitionTime"] = since
    if made["status"] == "False":
        made["reason"] = "Retired"
    return {**made, "severity": "Info"}


def _part(whole: Object, kind: str, fields: Mapping[str, Any]) -> Object:
    metadata = dict(whole["metadata"])
    metadata["selfLink"] = metadata["selfLink"].replace("/services/", f"/{kind.lower()}s/")
    metadata["labels"] = {**metadata["labels"], f"{SERVING}/service": metadata["name"]}
    metadata["ownerReferences"] = [
        {
            "apiVersion": f"{SERVING}/v1",
            "kind": "Service",
            "name": metadata["name"],
            "uid": fields.get("uid", ""),
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    return {"apiVersion": f"{SERVING}/v1", "kind": kind, "metadata": metadata}


def _owner(kind: str, name: str, service: pb.Service | None) -> Object:
    made: Object = {"apiVersion": f"{SERVING}/v1", "kind": kind, "name": name, "controller": True}
    return {**made, "blockOwnerDeletion": True, **({"uid": service.uid} if service is not None else {})}


def _authors(fields: Mapping[str, Any], group: str) -> dict[str, str]:
    found = {f"{group}/creator": fields.get("creator"), f"{group}/lastModifier": fields.get("lastModifier")}
    return {key: value for key, value in found.items() if value}


def dense(fields: Mapping[str, Any]) -> Object:
    """Without what is empty, as Google's JSON leaves it out."""
    return {key: value for key, value in fields.items() if value not in ("", 0, None, [], {})}
