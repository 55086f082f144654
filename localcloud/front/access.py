"""Who may call a service: ingress first, then IAM with ID tokens (gcp/behaviour-runtime.md, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from localcloud.api.messages import run as pb
from localcloud.api.run_names import hosts
from localcloud.core.cloud import Cloud
from localcloud.core.identity import ANONYMOUS
from localcloud.core.keys import InvalidToken

INVOKE = "run.routes.invoke"
GCLOUD_CLIENT = "32555940559.apps.googleusercontent.com"  # the audience of `gcloud auth print-identity-token`
SIGNATURE_REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
UNAUTHENTICATED = (
    "The request was not authenticated. Either allow unauthenticated invocations or set the proper Authorization "
    "header. Read more at https://cloud.google.com/run/docs/securing/authenticating"
)
UNAUTHORIZED = (
    "The request was not authorized to invoke this service. Read more at "
    "https://cloud.google.com/run/docs/securing/authenticating Additional troubleshooting documentation can be found "
    "at: https://cloud.google.com/run/docs/troubleshooting#401 The access token could not be verified."
)
TROUBLESHOOTING = (
    " Additional troubleshooting documentation can be found at: "
    "https://cloud.google.com/run/docs/troubleshooting#unauthorized-client"
)


@dataclass(frozen=True)
class Denied:
    """The status to answer and the text for the requests log."""

    status: int
    log: str


def reachable(service: pb.Service) -> bool:
    """Whether the internet may come in at all, on the run.app names."""
    return service.ingress == pb.Ingress.INGRESS_TRAFFIC_ALL and not service.default_uri_disabled


def judge(cloud: Cloud, service: pb.Service, headers: Mapping[str, str]) -> Denied | None:
    """Whether this request may invoke the service; None where it may."""
    if service.invoker_iam_disabled or cloud.policies.allows(ANONYMOUS, INVOKE, service.name):
        return None
    token = bearer(headers)
    if not token:
        return Denied(403, f"{UNAUTHENTICATED}{TROUBLESHOOTING}. Empty Authorization header value.")
    audiences = {f"https://{host}" for host in hosts(cloud.projects, service.name)}
    audiences |= {audience + "/" for audience in audiences} | set(service.custom_audiences) | {GCLOUD_CLIENT}
    try:
        caller = cloud.id_tokens.verify(token, audiences)
    except InvalidToken:
        return Denied(401, UNAUTHORIZED)
    if not cloud.policies.allows(caller, INVOKE, service.name):
        return Denied(403, f"{UNAUTHENTICATED}{TROUBLESHOOTING}. The IAM principal lacks {{{INVOKE}}} permission.")
    return None


def bearer(headers: Mapping[str, str]) -> str:
    """The token that counts: X-Serverless-Authorization wins over Authorization."""
    value = headers.get("X-Serverless-Authorization") or headers.get("Authorization", "")
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def without_signature(value: str) -> str:
    """The header as the container may see it: it must not be able to call others with it."""
    scheme, _, token = value.partition(" ")
    parts = token.split(".")
    return f"{scheme} {parts[0]}.{parts[1]}.{SIGNATURE_REMOVED}" if len(parts) == 3 else value
