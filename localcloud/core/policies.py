"""IAM policies of all resources, and whether a caller may do a thing (gcp/behaviour.md, section 5).

A policy stands on a resource name; it holds for everything below it in the path, and a project's for the whole project.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from google.iam.v1 import iam_policy_pb2, policy_pb2

from localcloud.core.bindings import VERSIONS, at_version, check_roles, masked, merged
from localcloud.core.clock import Clock
from localcloud.core.errors import ApiError, Code
from localcloud.core.identity import Caller, current_caller
from localcloud.core.past import reading_the_present
from localcloud.core.roles import permits
from localcloud.core.state import Store

EMPTY_ETAG = base64.b64decode("ACAB")
ETAG_MARK = b"\x07"  # Google's etags of policies all begin so ("Bw…")
SERVICES = {"cloudsql": "sqladmin"}  # by the first word of a permission, where it is not the service's own
TEAM = re.compile(r"project(Owner|Editor|Viewer):(.+)")
NAME_CONDITION = re.compile(r"resource\.name\s*==\s*['\"]([^'\"]+)['\"]")
PREFIX_CONDITION = re.compile(r"resource\.name\.startsWith\(['\"]([^'\"]+)['\"]\)")
SERVICE_CONDITION = re.compile(r"resource\.service\s*==\s*['\"]([a-z0-9.]+)['\"]")


def _missing(name: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, f"No policy on '{name}'.")


class Policies:
    """Read and replaced whole, as Google does; etags make read-modify-write safe."""

    def __init__(self, store: Store, canonical: Callable[[str], str], clock: Clock) -> None:
        """`canonical` names a resource by its project's id where the caller gave the number."""
        self._fresh = store.records("policies.fresh")  # resource -> grant -> when it was made
        self._settings = store.records("policies.settings")
        self._clock = clock
        self._items = store.collection("policies", policy_pb2.Policy, _missing)
        self._canonical = canonical
        self.validators: list[Callable[[str], None]] = []  # each raises for a member that no policy may name

    def configure(self, *, propagation_s: float = 0.0) -> None:
        """Seconds of Google's time until a new grant counts; until then its policy shows it and it allows nothing.

        A shorter time holds at once for the grants that are on their way.
        """
        self._settings.put("iam", {"propagationSeconds": propagation_s})

    @property
    def propagation_s(self) -> float:
        return float((self._settings.find("iam") or {}).get("propagationSeconds", 0.0))

    def get(self, resource: str) -> policy_pb2.Policy:
        """The policy that stands on this very resource; empty with an etag where none does."""
        return self._items.find(self._canonical(resource)) or policy_pb2.Policy(etag=EMPTY_ETAG)

    def shown(self, resource: str, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        """The answer to getIamPolicy: the policy at the version asked for."""
        return at_version(self.get(resource), request.options.requested_policy_version)

    def change(self, resource: str, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        """The answer to setIamPolicy: what its mask names is replaced. Raises what `set` raises."""
        return self.set(resource, masked(request.policy, self.get(resource), request.update_mask.paths))

    def tested(
        self, resource: str, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        """Those of the permissions asked for that the caller has on the resource."""
        caller = current_caller.get()
        allowed = [item for item in request.permissions if self.allows(caller, item, resource)]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=allowed)

    def set(self, resource: str, policy: policy_pb2.Policy) -> policy_pb2.Policy:
        """Replace it. Raises ABORTED on a stale etag, INVALID_ARGUMENT on what no policy may name or be.

        What is no policy's etag (an account's, say) is not judged: it counts as none.
        """
        current = self.get(resource)
        if _is_etag(policy.etag) and policy.etag != current.etag:
            raise ApiError(
                Code.ABORTED,
                "There were concurrent policy changes. Please retry the whole read-modify-write with exponential "
                "backoff.",
            )
        if policy.version not in VERSIONS:
            raise ApiError(Code.INVALID_ARGUMENT, f"Invalid policy version {policy.version}: valid are 0, 1 and 3.")
        check_roles(policy)
        conditional = any(binding.HasField("condition") for binding in policy.bindings)
        if conditional and policy.version != 3:
            raise ApiError(Code.INVALID_ARGUMENT, "A policy with a condition must have version 3.")
        for member in {member for binding in policy.bindings for member in binding.members}:
            for validate in self.validators:
                validate(member)
        made = policy_pb2.Policy(version=3 if conditional else 1, etag=ETAG_MARK + secrets.token_bytes(7))
        made.bindings.extend(merged(policy.bindings))
        made.audit_configs.extend(policy.audit_configs)
        self._delay_grants(self._canonical(resource), current, made)
        return self._items.put(self._canonical(resource), made)

    def remove(self, resource: str) -> None:
        """The resource is gone, and its policy with it."""
        self._items.remove(self._canonical(resource))
        self._fresh.remove(self._canonical(resource))

    def rename_member(self, old: str, new: str) -> None:
        """A deleted account's bindings stay, under the name `deleted:…?uid=…`."""
        for resource in self._items:
            policy = self._items.get(resource)
            touched = [b for b in policy.bindings if old in b.members]
            for binding in touched:
                members = [new if member == old else member for member in binding.members]
                del binding.members[:]
                binding.members.extend(members)
            if touched:
                self._items.put(resource, policy)

    @reading_the_present()
    def allows(self, caller: Caller, permission: str, resource: str, parent: str = "") -> bool:
        """Whether any policy on the resource or above it grants the permission to the caller.

        `parent`: what is above it where its name does not say so (buckets: `projects/_/buckets/B` in `projects/P`).
        """
        if caller.owner:
            return True
        resource = self._canonical(resource)
        return any(
            permits(binding.role, permission)
            and self._names(self._settled(where, binding), caller)
            and _holds(binding.condition.expression, resource, permission)
            for where, policy in (*self._above(resource), *self._above(self._canonical(parent)))
            for binding in policy.bindings
        )

    def has_basic_role(self, caller: Caller, team: str, project: str) -> bool:
        """Whether the caller is of a project's `owners`, `editors` or `viewers`, by the project's own policy."""
        resource = self._canonical(f"projects/{project}")
        policy = self._items.find(resource) or policy_pb2.Policy()
        return any(
            _is_named(self._settled(resource, binding), caller)
            for binding in policy.bindings
            if binding.role == f"roles/{team[:-1]}" and not binding.HasField("condition")
        )

    def _names(self, members: Collection[str], caller: Caller) -> bool:
        """By name, as one of all, or as one who has a basic role in a project (`projectEditor:P`)."""
        if _is_named(members, caller):
            return True
        teams = filter(None, map(TEAM.fullmatch, members))
        return any(self.has_basic_role(caller, f"{team[1].lower()}s", team[2]) for team in teams)

    def _above(self, resource: str) -> Iterator[tuple[str, policy_pb2.Policy]]:
        parts = resource.split("/")
        for end in range(len(parts), 0, -1):
            policy = self._items.find("/".join(parts[:end]))
            if policy is not None:
                yield "/".join(parts[:end]), policy

    def _delay_grants(self, resource: str, before: policy_pb2.Policy, after: policy_pb2.Policy) -> None:
        """Remember since when the grants are there that do not count yet; one that went and came back is new."""
        known, settled = set(_grants(before)), self._settled_before()
        waiting = {
            grant: made
            for grant, made in (self._fresh.find(resource) or {}).items()
            if made > settled and grant in known
        }
        if self.propagation_s:
            waiting.update({grant: time.time() for grant in _grants(after) if grant not in known})
        if waiting or self._fresh.find(resource) is not None:
            self._fresh.put(resource, waiting)

    def _settled(self, resource: str, binding: policy_pb2.Binding) -> Collection[str]:
        """The members whose grant counts already."""
        fresh = self._fresh.find(resource)
        if not fresh:
            return list(binding.members)
        settled = self._settled_before()
        if max(fresh.values()) <= settled:
            self._fresh.remove(resource)
        return [member for member in binding.members if fresh.get(_grant(binding, member), 0) <= settled]

    def _settled_before(self) -> float:
        return time.time() - self.propagation_s / self._clock.speed


def _grant(binding: policy_pb2.Binding, member: str) -> str:
    return f"{binding.role} {binding.condition.expression} {member.lower()}"


def _grants(policy: policy_pb2.Policy) -> list[str]:
    return [_grant(binding, member) for binding in policy.bindings for member in binding.members]


def _is_etag(etag: bytes) -> bool:
    return etag == EMPTY_ETAG or (len(etag) == 8 and etag.startswith(ETAG_MARK))


def _is_named(members: Iterable[str], caller: Caller) -> bool:
    mine = {caller.member.lower(), "allusers"} | ({"allauthenticatedusers"} if caller.email else set())
    return any(member.lower() in mine for member in members)


def _holds(expression: str, resource: str, permission: str) -> bool:
    """The clauses in use, joined by &&; with any other nothing is granted, so that none is granted by mistake."""
    return not expression or all(_is_so(clause.strip(), resource, permission) for clause in expression.split("&&"))


def _is_so(clause: str, resource: str, permission: str) -> bool:
    if name := NAME_CONDITION.fullmatch(clause):
        return resource == name[1] or resource.startswith(name[1] + "/")
    if prefix := PREFIX_CONDITION.fullmatch(clause):
        return resource.startswith(prefix[1])
    service = SERVICE_CONDITION.fullmatch(clause)
    family = permission.partition(".")[0]
    return bool(service and service[1] == f"{SERVICES.get(family, family)}.googleapis.com")
