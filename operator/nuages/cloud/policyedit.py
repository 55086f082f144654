"""One member more or less in an IAM policy; nothing else in it is touched. Pure."""

from __future__ import annotations

from google.iam.v1 import policy_pb2
from google.type import expr_pb2

from nuages.desired.iam import Condition, IamMember, canonical_member


def find(policy: policy_pb2.Policy, role: str, member: str, title: str = "") -> policy_pb2.Binding | None:
    """The binding that has the member; "" as title stands for the one without a condition."""
    for binding in policy.bindings:
        if binding.role == role and _title(binding) == title and _index(binding, member) is not None:
            return binding
    return None


def condition_of(binding: policy_pb2.Binding) -> Condition | None:
    if not binding.HasField("condition"):
        return None
    return Condition(binding.condition.title, binding.condition.expression)


def with_member(policy: policy_pb2.Policy, desired: IamMember) -> bool:
    """Add the member to the binding of its role and condition; False where it is there already."""
    for binding in policy.bindings:
        if binding.role == desired.role and condition_of(binding) == desired.condition:
            if _index(binding, desired.member) is not None:
                return False
            binding.members.append(desired.member)
            return True
    made = policy.bindings.add(role=desired.role, members=[desired.member])
    if desired.condition is not None:
        condition = desired.condition
        made.condition.CopyFrom(expr_pb2.Expr(title=condition.title, expression=condition.expression))
    return True


def without_member(policy: policy_pb2.Policy, role: str, member: str, title: str = "") -> bool:
    """Take the member out, and the binding with its last one; False where it is not there."""
    binding = find(policy, role, member, title)
    if binding is None:
        return False
    index = _index(binding, member)
    if index is not None:
        del binding.members[index]
    if not binding.members:
        policy.bindings.remove(binding)
    return True


def _index(binding: policy_pb2.Binding, member: str) -> int | None:
    wanted = canonical_member(member)
    return next((i for i, found in enumerate(binding.members) if canonical_member(found) == wanted), None)


def _title(binding: policy_pb2.Binding) -> str:
    return str(binding.condition.title) if binding.HasField("condition") else ""
