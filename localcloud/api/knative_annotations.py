"""What v2 has fields for and v1 keeps in annotations: one table, read in both directions.

The keys and where each is allowed: ObjectMeta.annotations in the reference of Cloud Run's v1 API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localcloud.core.errors import ApiError, Code, not_modelled

RUN = "run.googleapis.com/"
SYSTEM = ("run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev")
CLOUDSQL = RUN + "cloudsql-instances"
THROTTLING = RUN + "cpu-throttling"
BOOST = RUN + "startup-cpu-boost"
DEPENDENCIES = RUN + "container-dependencies"
# Google's to write: a client that sends back what it read changes nothing.
OUTPUT_ONLY = frozenset(
    {
        RUN + "ingress-status",
        RUN + "urls",
        RUN + "operation-id",
        RUN + "creator",
        RUN + "lastModifier",
        "serving.knative.dev/creator",
        "serving.knative.dev/lastModifier",
    }
)


@dataclass(frozen=True)
class Annotation:
    """One key, the field of v2 (camelCase, dotted) that it stands for, and how its text is read and shown."""

    key: str
    field: str
    read: Callable[[str], Any]
    show: Callable[[Any], str]


def _number(key: str, field: str) -> Annotation:
    return Annotation(key, field, int, str)


def _text(key: str, field: str) -> Annotation:
    return Annotation(key, field, str, str)


def _flag(key: str, field: str) -> Annotation:
    return Annotation(key, field, is_true, lambda value: "true" if value else "false")


def _json(key: str, field: str) -> Annotation:
    return Annotation(key, field, json.loads, lambda value: json.dumps(value, separators=(",", ":")))


def _choice(key: str, field: str, names: Mapping[str, str], *also: tuple[str, str]) -> Annotation:
    """`names`: text -> enum name; `also`: further texts that are read, never shown."""
    texts = {name: text for text, name in names.items()}
    return Annotation(key, field, {**names, **dict(also)}.__getitem__, lambda name: texts.get(name, name))


def is_true(text: str) -> bool:
    """gcloud writes Python's "True", people "true"; anything else raises KeyError."""
    return {"true": True, "false": False}[text.lower()]


CLIENT = (_text(RUN + "client-name", "client"), _text(RUN + "client-version", "clientVersion"))
STAGE = _text(RUN + "launch-stage", "launchStage")
SERVICE = (
    *CLIENT,
    STAGE,
    _text(RUN + "description", "description"),
    _choice(
        RUN + "ingress",
        "ingress",
        {
            "all": "INGRESS_TRAFFIC_ALL",
            "internal": "INGRESS_TRAFFIC_INTERNAL_ONLY",
            "internal-and-cloud-load-balancing": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
            "none": "INGRESS_TRAFFIC_NONE",
        },
    ),
    _number(RUN + "minScale", "scaling.minInstanceCount"),
    _number(RUN + "maxScale", "scaling.maxInstanceCount"),
    _number(RUN + "manualInstanceCount", "scaling.manualInstanceCount"),
    _choice(RUN + "scalingMode", "scaling.scalingMode", {"automatic": "AUTOMATIC", "manual": "MANUAL"}),
    _flag(RUN + "invoker-iam-disabled", "invokerIamDisabled"),
    _flag(RUN + "default-url-disabled", "defaultUriDisabled"),
    _flag(RUN + "iap-enabled", "iapEnabled"),
    _json(RUN + "custom-audiences", "customAudiences"),
)
JOB = (*CLIENT, STAGE)
TASK = (
    _choice(
        RUN + "execution-environment",
        "executionEnvironment",
        {"gen1": "EXECUTION_ENVIRONMENT_GEN1", "gen2": "EXECUTION_ENVIRONMENT_GEN2"},
    ),
    _text(RUN + "vpc-access-connector", "vpcAccess.connector"),
    _choice(
        RUN + "vpc-access-egress",
        "vpcAccess.egress",
        {"all-traffic": "ALL_TRAFFIC", "private-ranges-only": "PRIVATE_RANGES_ONLY"},
        ("all", "ALL_TRAFFIC"),
    ),
    _json(RUN + "network-interfaces", "vpcAccess.networkInterfaces"),
    _text(RUN + "encryption-key", "encryptionKey"),
)
REVISION = (
    *TASK,
    _number("autoscaling.knative.dev/minScale", "scaling.minInstanceCount"),
    _number("autoscaling.knative.dev/maxScale", "scaling.maxInstanceCount"),
    _flag(RUN + "sessionAffinity", "sessionAffinity"),
    _flag(RUN + "health-check-disabled", "healthCheckDisabled"),
)
CONTAINERS = frozenset({CLOUDSQL, THROTTLING, BOOST, DEPENDENCIES})  # of templates, read with their containers


def shown(fields: Mapping[str, Any], table: Sequence[Annotation]) -> dict[str, str]:
    """The annotations for a v2 message as JSON: its own, and those that stand for fields."""
    made = dict(fields.get("annotations", {}))
    for annotation in table:
        value: Any = fields
        for part in annotation.field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and (annotation is not STAGE or value != "GA"):  # shown for previews only
            made[annotation.key] = annotation.show(value)
    return made


def read(annotations: Mapping[str, str], table: Sequence[Annotation], *ignored: str) -> dict[str, Any]:
    """The v2 fields that annotations ask for, `annotations` with the client's own among them.

    Raises INVALID_ARGUMENT on a value that cannot be read, UNIMPLEMENTED on a system key that is not modelled.
    """
    known, made = {annotation.key: annotation for annotation in table}, dict[str, Any]()
    for key, text in annotations.items():
        if key in known:
            _put(made, known[key].field.split("."), _value(known[key], text))
        elif key in OUTPUT_ONLY or key in ignored:
            continue
        elif key.partition("/")[0] in SYSTEM:
            raise not_modelled(f"the annotation {key} of Cloud Run's v1 API")
        else:
            made.setdefault("annotations", {})[key] = text
    return made


def flag(annotations: Mapping[str, str], key: str, default: bool) -> bool:
    """A true-or-false annotation. Raises INVALID_ARGUMENT."""
    try:
        return is_true(annotations[key]) if key in annotations else default
    except KeyError:
        raise invalid(key, annotations[key]) from None


def labels_read(labels: Mapping[str, str]) -> dict[str, str]:
    """The client's own labels: those of the system are Google's to write."""
    return {key: value for key, value in labels.items() if key.partition("/")[0] not in SYSTEM}


def invalid(key: str, text: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, f"metadata.annotations[{key}]: Invalid value '{text}'.")


def _value(annotation: Annotation, text: str) -> Any:
    try:
        return annotation.read(text)
    except (KeyError, ValueError):
        raise invalid(annotation.key, text) from None


def _put(fields: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        fields = fields.setdefault(part, {})
    fields[path[-1]] = value
