"""What IAM makes of the policies that it is sent, and how it shows them (gcp/behaviour.md, section 5). Pure.

Sources: the comments of iam_policy.proto, options.proto and policy.proto in google/iam/v1 (masks, versions); public
threads of Terraform's Google provider (refusals of roles).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator

from google.iam.v1 import policy_pb2

from localcloud.core.errors import ApiError, Code

DEFAULT_MASK = frozenset({"bindings", "etag"})  # "If no mask is provided, the following default mask is used"
FIELDS = frozenset({"audit_configs", "bindings", "etag", "version"})
VERSIONS = (0, 1, 3)
ROLE = re.compile(r"(roles|organizations/[^/]+/roles|projects/[^/]+/roles)/[A-Za-z0-9_.]+")
BASIC_ROLES = frozenset(
    {"roles/admin", "roles/browser", "roles/editor", "roles/owner", "roles/reader", "roles/viewer", "roles/writer"}
)
# Identifiers of federated identities keep their case; e-mails and domains do not.
LOWERED = re.compile(r"(?P<kind>(deleted:)?(user|serviceAccount|group|domain):)(?P<value>[^?]*)(?P<uid>\?uid=.*)?")


def masked(sent: policy_pb2.Policy, current: policy_pb2.Policy, mask: Collection[str]) -> policy_pb2.Policy:
    """`sent` as far as the mask names it, the rest as it is now. Raises INVALID_ARGUMENT for no field of a policy."""
    paths = {path.partition(".")[0] for path in mask} or DEFAULT_MASK
    for path in paths - FIELDS:
        raise ApiError(Code.INVALID_ARGUMENT, f"Invalid update mask: a policy has no field '{path}'.")
    bindings, audits = (sent if name in paths else current for name in ("bindings", "audit_configs"))
    return policy_pb2.Policy(
        version=sent.version if "bindings" in paths else current.version,
        bindings=bindings.bindings,
        audit_configs=audits.audit_configs,
        etag=sent.etag if "etag" in paths else b"",
    )


def at_version(policy: policy_pb2.Policy, requested: int) -> policy_pb2.Policy:
    """The policy as a caller sees it who can read up to this version. Raises INVALID_ARGUMENT for no version.

    Below 3 conditions are dropped, and the roles that they limit are renamed so that nobody takes them for whole.
    """
    if requested not in VERSIONS:
        raise ApiError(Code.INVALID_ARGUMENT, f"Invalid policy version {requested}: valid are 0, 1 and 3.")
    if requested == 3 or policy.version < 3:
        return policy
    shown = policy_pb2.Policy(version=1, etag=policy.etag, audit_configs=policy.audit_configs)
    for binding in policy.bindings:
        role = binding.role
        if binding.HasField("condition"):
            condition = binding.condition.SerializeToString(deterministic=True)
            role += f"_withcond_{hashlib.sha256(condition).hexdigest()[:20]}"
        shown.bindings.add(role=role, members=binding.members)
    return shown


def check_roles(policy: policy_pb2.Policy) -> None:
    """Raise Google's 400 for what can be no role.

    Predefined roles are not judged by name: Google has some two thousand, and no list of them is complete for long.
    """
    for role in (binding.role for binding in policy.bindings):
        if not ROLE.fullmatch(role):
            raise ApiError(
                Code.INVALID_ARGUMENT,
                'The role name must be in the form "roles/{role}", "organizations/{organization_id}/roles/{role}", '
                'or "projects/{project_id}/roles/{role}".',
            )
        predefined = role.startswith("roles/") and role not in BASIC_ROLES
        if predefined and ("." not in role or "_withcond_" in role):
            raise ApiError(Code.INVALID_ARGUMENT, f"Role {role} is not supported for this resource.")


def merged(bindings: Iterable[policy_pb2.Binding]) -> Iterator[policy_pb2.Binding]:
    """One binding per role and condition, members normalised and once each, none empty."""
    kept: dict[tuple[str, bytes], policy_pb2.Binding] = {}
    for binding in bindings:
        key = (binding.role, binding.condition.SerializeToString(deterministic=True))
        made = kept.setdefault(key, policy_pb2.Binding(role=binding.role))
        if binding.HasField("condition"):
            made.condition.CopyFrom(binding.condition)
        members = dict.fromkeys(normalised(member) for member in binding.members)
        made.members.extend(member for member in members if member not in made.members)
    yield from (binding for binding in kept.values() if binding.members)


def normalised(member: str) -> str:
    """The member as IAM keeps it: e-mails and domains in lower case."""
    found = LOWERED.fullmatch(member)
    return member if found is None else f"{found['kind']}{found['value'].lower()}{found['uid'] or ''}"
