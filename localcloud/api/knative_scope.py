"""What every call of Cloud Run's v1 API is about: a project and a region; and what its lists have in common.

v1 is Knative's API: namespaces are projects, and the region is in the host's name (europe-west1-run.googleapis.com);
the global name serves only what spans all regions, which is all that gcloud asks of it.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localcloud.api.listing import page
from localcloud.api.run_names import etag_version, last
from localcloud.api.run_services import Services
from localcloud.api.run_state import RunState
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family, not_modelled
from localcloud.core.rest import RestRequest, RestResponse, RestService

Object = dict[str, Any]  # of Kubernetes' shape: apiVersion, kind, metadata, spec, status

REGION = r"(?P<region>[a-z]+-[a-z]+\d+)"
REGIONAL_HOSTS = (
    re.compile(rf"{REGION}-run\.googleapis\.com"),
    re.compile(rf"run\.{REGION}\.rep\.googleapis\.com"),
)
ALL_REGIONS = "-"
SERVING, RUN = "serving.knative.dev", "run.googleapis.com"
PAGE, LARGEST_PAGE = 100, 1000
TERM = re.compile(
    r"\s*(?:!(?P<absent>[^\s,!=()]+)"
    r"|(?P<key>[^\s,!=()]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[^\s,()]*)"
    r"|(?P<set>in|notin|notIn)\s*\((?P<values>[^()]*)\))?)\s*"
)


@dataclass(frozen=True)
class Scope:
    """A project and a region, or all regions (`-`)."""

    project: str
    number: str
    location: str

    @classmethod
    def of(cls, cloud: Cloud, request: RestRequest) -> Scope:
        """Of a path `namespaces/P/…`, with the region in the host, or `projects/P/locations/L/…`; P may be a number."""
        named = request.variables
        project = cloud.projects.get(named["project"])
        regional = next((found for form in REGIONAL_HOSTS if (found := form.fullmatch(request.host.lower()))), None)
        location = named.get("location") or (regional["region"] if regional else ALL_REGIONS)
        return cls(project.id, project.number, location)

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    def require_region(self) -> None:
        """Raise INVALID_ARGUMENT where one resource is asked for by the global name: no region, no resource."""
        if self.location == ALL_REGIONS:
            raise ApiError(
                Code.INVALID_ARGUMENT,
                "The global endpoint of the v1 API only lists: call REGION-run.googleapis.com for a single resource.",
            )


class V1(RestService):
    """What the services of the v1 API have in common.

    Permissions are judged on the v2 name of what is asked for, so that a grant on one service counts here too.
    """

    host = Services.host
    title = Services.title
    errors = Family.ONE_PLATFORM

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.state = cloud.shared(RunState)

    def scope(self, request: RestRequest, permission: str) -> Scope:
        """Where the call is about, once the caller may do there what it asks."""
        scope = Scope.of(self.cloud, request)
        self.state.require(permission, f"projects/{scope.project}")
        return scope

    def named(self, request: RestRequest, kind: str, permission: str) -> tuple[str, Scope]:
        """The v2 name of the one `kind` ("services") that the path ends in, and its scope."""
        scope = Scope.of(self.cloud, request)
        scope.require_region()
        name = f"{scope.parent}/{kind}/{request.variables['name']}"
        self.state.require(permission, name)
        return name, scope


def listed(items: Sequence[Object], request: RestRequest, group: str, kind: str) -> RestResponse:
    """A list as Kubernetes answers it: label selector, limit and continue token. Raises INVALID_ARGUMENT."""
    selector, query = request.query.get("labelSelector", ""), request.query
    if query.get("fieldSelector"):
        raise not_modelled("fieldSelector in lists of Cloud Run's v1 API")
    if query.get("watch") == "true":
        raise ApiError(Code.INVALID_ARGUMENT, "Watch is not supported by Cloud Run.")
    terms = _terms(selector)
    found = [item for item in items if all(_fits(item["metadata"]["labels"], term) for term in terms)]
    limit = query.get("limit") or "0"
    if not limit.isdigit():
        raise ApiError(Code.INVALID_ARGUMENT, f"limit: '{limit}' is not a number.")
    shown, following = page(found, int(limit), query.get("continue", ""), PAGE, LARGEST_PAGE)
    metadata = {"continue": following} if following else {}
    return RestResponse.of(
        {"apiVersion": f"{group}/v1", "kind": f"{kind}List", "metadata": metadata, "items": list(shown)}
    )


def resource_version(etag: str) -> str:
    """Google's form: the microseconds of the last write, eight bytes in base64."""
    version = etag_version(etag)
    number = int(version) if version.isdigit() else 0
    return base64.urlsafe_b64encode(struct.pack(">Q", number)).decode().rstrip("=")


def require_version(body: Object, etag: str, name: str) -> None:
    """Raise ABORTED where the object that is sent back is not the one that is there."""
    sent, current = str((body.get("metadata") or {}).get("resourceVersion") or ""), resource_version(etag)
    if sent and sent != current:
        raise ApiError(
            Code.ABORTED,
            f"Conflict for resource '{last(name)}': version '{sent}' was specified but current version is '{current}'.",
        )


def is_dry_run(request: RestRequest) -> bool:
    """Whether only validation is asked for. Raises INVALID_ARGUMENT."""
    value = request.query.get("dryRun", "")
    if value not in ("", "all"):
        raise ApiError(Code.INVALID_ARGUMENT, f"dryRun: '{value}' must be 'all' or empty.")
    return value == "all"


def _terms(selector: str) -> list[re.Match[str]]:
    """`a=b,c in (d,e),f,!g`: all must hold."""
    terms, position = [], 0
    while position < len(selector):
        found = TERM.match(selector, position)
        end = found.end() if found else position
        if found is None or (end < len(selector) and selector[end] != ","):
            raise ApiError(Code.INVALID_ARGUMENT, f"labelSelector: '{selector}' cannot be read.")
        terms.append(found)
        position = end + 1
    return terms


def _fits(labels: dict[str, str], term: re.Match[str]) -> bool:
    if term["absent"]:
        return term["absent"] not in labels
    value = labels.get(term["key"])
    if term["op"]:
        return (value == term["value"]) is (term["op"] != "!=")
    if term["set"]:
        values = [each.strip() for each in term["values"].split(",")]
        return (value in values) is (term["set"] == "in")
    return value is not None
