"""Cloud Run's names: resource paths, ids that it makes up, URLs, etags (behaviour.md §1, behaviour-runtime.md §3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import urllib.parse
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from localcloud.core.errors import ApiError, Code
from localcloud.core.projects import Projects

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes', which Google's names show
LABEL_LIMIT = 63  # a DNS label: longer ones have no number-based URL (behaviour-runtime.md, section 3)
# The letters in S-HASH-uc.a.run.app; regions that are not here get the same shape, made from their name.
REGION_CODES = {
    "africa-south1": "bq",
    "asia-east1": "de",
    "asia-east2": "df",
    "asia-northeast1": "an",
    "asia-northeast2": "dt",
    "asia-northeast3": "du",
    "asia-south1": "el",
    "asia-south2": "em",
    "asia-southeast1": "as",
    "asia-southeast2": "et",
    "australia-southeast1": "ts",
    "australia-southeast2": "km",
    "europe-central2": "lm",
    "europe-north1": "lz",
    "europe-southwest1": "no",
    "europe-west1": "ew",
    "europe-west10": "oe",
    "europe-west12": "og",
    "europe-west2": "nw",
    "europe-west3": "ey",
    "europe-west4": "ez",
    "europe-west6": "oa",
    "europe-west8": "oc",
    "europe-west9": "od",
    "me-central1": "ww",
    "me-west1": "zf",
    "northamerica-northeast1": "nn",
    "northamerica-northeast2": "pd",
    "southamerica-east1": "rj",
    "southamerica-west1": "tl",
    "us-central1": "uc",
    "us-east1": "ue",
    "us-east4": "uk",
    "us-east5": "ul",
    "us-south1": "vp",
    "us-west1": "uw",
    "us-west2": "wl",
    "us-west3": "wm",
    "us-west4": "wn",
}


@dataclass(frozen=True)
class Place:
    """Where a resource is: `projects/P/locations/L/<kind>/<id>[/<kind>/<id>…]`."""

    project: str
    location: str
    ids: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> Place:
        parts = name.split("/")
        return cls(parts[1], parts[3] if len(parts) > 3 else "-", tuple(parts[5::2]))

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def id(self) -> str:
        return self.ids[-1]


def last(name: str) -> str:
    """The id at the end of a resource name."""
    return name.rsplit("/", 1)[-1]


def location_of(name: str) -> str:
    """projects/P/locations/L: the parent of operations."""
    return "/".join(name.split("/")[:4])


def random_suffix(length: int) -> str:
    return "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(length))


def project_hash(number: str) -> str:
    """The ten characters that all run.app names of a project share."""
    return base64.b32encode(hashlib.sha256(f"run/{number}".encode()).digest())[:10].decode().lower()


def region_code(location: str) -> str:
    found = REGION_CODES.get(location)
    return found or "x" + base64.b32encode(hashlib.sha256(location.encode()).digest())[:2].decode().lower()


def hosts(projects: Projects, service: str, tag: str = "") -> list[str]:
    """The host names of a service, the number-based one first where its label is short enough."""
    place = Place.of(service)
    number, prefix = projects.get(place.project).number, f"{tag}---" if tag else ""
    label = f"{prefix}{place.id}-{number}"
    hashed = f"{prefix}{place.id}-{project_hash(number)}-{region_code(place.location)}.a.run.app"
    return [f"{label}.{place.location}.run.app", hashed] if len(label) <= LABEL_LIMIT else [hashed]


def etag(name: str, updated: Timestamp) -> str:
    """As Google's: the time of the last write and the resource, in quotes."""
    stamp = base64.b64encode(updated.SerializeToString()).rstrip(b"=").decode()
    return f'"{stamp}/{base64.b64encode(name.encode()).rstrip(b"=").decode()}"'


def etag_version(text: str) -> str:
    """What the conflict message calls the version: the microseconds inside an etag."""
    try:
        # The stamp may have a "/" of its own; the name's letters, digits and hyphens never make one.
        stamp = Timestamp.FromString(base64.b64decode(text.strip('"').rsplit("/", 1)[0] + "==="))
    except (binascii.Error, ValueError, DecodeError):
        return text
    return str(stamp.seconds * 1_000_000 + stamp.nanos // 1000)


def require_etag(wanted: str, current: str, name: str) -> None:
    """Raise ABORTED where the caller's etag is not the resource's (behaviour.md, section 1)."""
    if wanted and wanted != current:
        raise ApiError(
            Code.ABORTED,
            f"Conflict for resource '{last(name)}': version '{etag_version(wanted)}' was specified but current "
            f"version is '{etag_version(current)}'.",
        )


def missing(kind: str) -> type[_Missing]:
    """The error maker of a collection: Google's words for what is not there."""
    return type(f"Missing{kind.title()}", (_Missing,), {"kind": kind})


class _Missing(ApiError):
    kind = ""

    def __init__(self, name: str) -> None:
        place = Place.of(name)
        super().__init__(
            Code.NOT_FOUND,
            f"Resource '{last(name)}' of kind '{self.kind}' in region '{place.location}' in project "
            f"'{place.project}' does not exist.",
        )


def already_exists(resource_id: str) -> ApiError:
    return ApiError(Code.ALREADY_EXISTS, f"Resource '{resource_id}' already exists.")


def revision_log_uri(project: str, service: str, revision: str) -> str:
    lines = (
        'resource.type="cloud_run_revision"',
        f'resource.labels.service_name="{service}"',
        f'resource.labels.revision_name="{revision}"',
    )
    return (
        f"https://console.cloud.google.com/logs/viewer?project={project}&resource=cloud_run_revision/"
        f"service_name/{service}/revision_name/{revision}&advancedFilter="
        + "%0A".join(urllib.parse.quote(line, safe="") for line in lines)
    )


def execution_log_uri(project: str, location: str, job: str, execution: str) -> str:
    filter_ = (
        f'resource.type="cloud_run_job"\nresource.labels.job_name="{job}"\nresource.labels.location="{location}"\n'
        f'labels."run.googleapis.com/execution_name"="{execution}"'
    )
    return (
        f"https://console.cloud.google.com/logs/viewer?project={project}"
        f"&advancedFilter={urllib.parse.quote(filter_, safe='')}"
    )


def pattern_fits(text: str, limit: int) -> bool:
    """Lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen."""
    return len(text) <= limit and bool(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", text))
