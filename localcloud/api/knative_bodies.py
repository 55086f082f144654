"""What a client of the v1 API sends, as the messages of v2: what v2 has no field for is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from localcloud.api import knative_annotations as known
from localcloud.api.knative_scope import Scope
from localcloud.api.knative_template import read_template
from localcloud.api.messages import run as pb
from localcloud.core.errors import ApiError, Code, not_modelled

M = TypeVar("M", bound=Message)
Json = dict[str, Any]

OF_CONTAINERS = tuple(known.CONTAINERS)
OF_CLIENT = tuple(annotation.key for annotation in known.CLIENT)
LATEST, REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"


def name_in(body: Mapping[str, Any], group: str, kind: str, scope: Scope, expected: str = "") -> str:
    """metadata.name of an object of that kind in that project. Raises INVALID_ARGUMENT."""
    if (body.get("apiVersion"), body.get("kind")) != (f"{group}/v1", kind):
        raise _invalid("kind", f"apiVersion and kind must be {group}/v1 {kind}.")
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        raise _invalid("metadata", "must be an object.")
    if metadata.get("namespace") not in (None, "", scope.project, scope.number):
        raise _invalid("metadata.namespace", f"'{metadata['namespace']}' is not the project of the request.")
    name = str(metadata.get("name") or "")
    if not name or (expected and name != expected):
        raise _invalid("metadata.name", f"'{name}' must be the name of the {kind.lower()}.")
    return name


def service_message(body: Mapping[str, Any], name: str) -> pb.Service:
    """The v2 service that a v1 Service asks for. Raises INVALID_ARGUMENT, UNIMPLEMENTED."""
    return _message(lambda: _service(body, name), pb.Service())


def job_message(body: Mapping[str, Any], name: str) -> pb.Job:
    """The same for a Job."""
    return _message(lambda: _job(body, name), pb.Job())


def run_message(body: Mapping[str, Any], name: str) -> pb.RunJobRequest:
    """`:run` with overrides, whose timeout is a number of seconds here."""
    return _message(lambda: _run(body, name), pb.RunJobRequest())


def _service(body: Mapping[str, Any], name: str) -> Json:
    metadata, spec = body.get("metadata") or {}, _known(body.get("spec") or {}, "spec", "template", "traffic")
    fields = known.read(metadata.get("annotations") or {}, known.SERVICE)
    fields |= {"name": name, "labels": known.labels_read(metadata.get("labels") or {})}
    fields["template"] = _revision(spec.get("template") or {})
    fields["traffic"] = [_target(target) for target in spec.get("traffic") or []]
    return fields


def _job(body: Mapping[str, Any], name: str) -> Json:
    metadata = body.get("metadata") or {}
    spec = _known(body.get("spec") or {}, "spec", "template", "startExecutionToken", "runExecutionToken")
    fields = known.read(metadata.get("annotations") or {}, known.JOB)
    fields |= {"name": name, "labels": known.labels_read(metadata.get("labels") or {})}
    fields |= {key: spec[key] for key in ("startExecutionToken", "runExecutionToken") if spec.get(key)}
    fields["template"] = _execution(spec.get("template") or {})
    return fields


def _run(body: Mapping[str, Any], name: str) -> Json:
    fields: Json = {"name": name}
    _known(body, "", "overrides")
    if body.get("overrides"):
        overrides = {key: value for key, value in body["overrides"].items() if value not in (None, [], "")}
        if "timeoutSeconds" in overrides:
            overrides["timeout"] = f"{overrides.pop('timeoutSeconds')}s"
        fields["overrides"] = overrides
    return fields


def _revision(template: Mapping[str, Any]) -> Json:
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    modelled = ("containerConcurrency", "timeoutSeconds", "serviceAccountName", "containers", "volumes")
    _known(spec, "spec.template.spec", *modelled)
    marks = metadata.get("annotations") or {}
    fields = known.read(marks, known.REVISION, *OF_CONTAINERS, *OF_CLIENT)
    fields |= {"labels": known.labels_read(metadata.get("labels") or {}), "revision": metadata.get("name") or ""}
    if spec.get("containerConcurrency"):
        fields["maxInstanceRequestConcurrency"] = spec["containerConcurrency"]
    return fields | _common(spec) | read_template(spec, marks, of_service=True)


def _execution(template: Mapping[str, Any]) -> Json:
    metadata = template.get("metadata") or {}
    spec = _known(template.get("spec") or {}, "spec.template.spec", "parallelism", "taskCount", "template")
    marks = metadata.get("annotations") or {}
    task = (spec.get("template") or {}).get("spec") or {}
    modelled = ("containers", "volumes", "maxRetries", "serviceAccountName", "timeoutSeconds")
    _known(task, "spec.template.spec.template.spec", *modelled)
    fields = known.read(marks, known.TASK, *OF_CONTAINERS, *OF_CLIENT)
    own = {"annotations": fields.pop("annotations", {})}
    own |= {"labels": known.labels_read(metadata.get("labels") or {})}
    own |= {key: spec[key] for key in ("parallelism", "taskCount") if spec.get(key) is not None}
    if task.get("maxRetries") is not None:
        fields["maxRetries"] = task["maxRetries"]
    return own | {"template": fields | _common(task) | read_template(task, marks, of_service=False)}


def _common(spec: Mapping[str, Any]) -> Json:
    made: Json = {}
    if spec.get("timeoutSeconds"):
        made["timeout"] = f"{spec['timeoutSeconds']}s"
    if spec.get("serviceAccountName"):
        made["serviceAccount"] = spec["serviceAccountName"]
    return made


def _target(target: Mapping[str, Any]) -> Json:
    _known(target, "spec.traffic", "latestRevision", "revisionName", "percent", "tag", "url", "configurationName")
    latest = bool(target.get("latestRevision"))
    if latest is bool(target.get("revisionName")):
        raise _invalid("spec.traffic", "each target names a revision, or has latestRevision: true.")
    made: Json = {"type": LATEST if latest else REVISION, "percent": target.get("percent") or 0}
    if not latest:
        made["revision"] = target["revisionName"]
    return made | ({"tag": target["tag"]} if target.get("tag") else {})


def _known(fields: Mapping[str, Any], where: str, *known: str) -> Mapping[str, Any]:
    """Empty values are what gcloud fills its requests with; anything else that is not known is refused."""
    for key, value in fields.items():
        if key not in known and value not in (None, "", [], {}):
            raise not_modelled(f"{where}.{key}".lstrip(".") + " of Cloud Run's v1 API")
    return fields


def _message(fields: Callable[[], Json], message: M) -> M:
    """A value of another type than the API's (text for an object, say) is the client's error wherever it shows."""
    try:
        return ParseDict(fields(), message)
    except ParseError as error:
        raise ApiError(Code.INVALID_ARGUMENT, f"Invalid JSON payload received. {error}") from None
    except (AttributeError, KeyError, TypeError):
        raise ApiError(Code.INVALID_ARGUMENT, "Invalid JSON payload received. A value has another type.") from None


def _invalid(field: str, description: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, f"{field}: {description}")
