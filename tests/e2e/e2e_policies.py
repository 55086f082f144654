"""IAM policies by hand, as the console and gcloud change them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2


async def members(client: Any, resource: str, role: str) -> set[str]:
    """Who has the role on the resource itself."""
    policy = await _policy(client, resource)
    return {member for binding in policy.bindings if binding.role == role for member in binding.members}


async def grant(client: Any, resource: str, role: str, member: str) -> None:
    """One more."""
    await grant_all(client, resource, [role], member)


async def grant_all(client: Any, resource: str, roles: Iterable[str], member: str) -> None:
    """Some more, at once. Raises Aborted where somebody else changed the policy meanwhile."""
    policy = await _policy(client, resource)
    for role in roles:
        policy.bindings.add(role=role, members=[member])
    await client.set_iam_policy(iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy))


async def revoke(client: Any, resource: str, role: str, member: str) -> None:
    """One less."""
    policy = await _policy(client, resource)
    for binding in policy.bindings:
        if binding.role == role and member in binding.members:
            binding.members.remove(member)
    await client.set_iam_policy(iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy))


async def _policy(client: Any, resource: str) -> policy_pb2.Policy:
    options = options_pb2.GetPolicyOptions(requested_policy_version=3)
    found: policy_pb2.Policy = await client.get_iam_policy(
        iam_policy_pb2.GetIamPolicyRequest(resource=resource, options=options)
    )
    return found
