"""Identities, and who may do what to one resource."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import ClassVar

from nuages.desired.resource import Resource

ADDRESSED = ("user", "group", "serviceAccount", "domain")  # kinds of members that go by an e-mail address or a domain


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectService(Resource):
    """A Google API turned on in a project: `projects/P/services/run.googleapis.com`. Never turned off."""

    kind: ClassVar[str] = "serviceusage.googleapis.com/Service"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount(Resource):
    """`projects/P/serviceAccounts/EMAIL`; its description is the owner's marker."""

    kind: ClassVar[str] = "iam.googleapis.com/ServiceAccount"
    display_name: str

    @property
    def email(self) -> str:
        return self.id

    @property
    def account_id(self) -> str:
        return self.id.split("@")[0]

    @property
    def member(self) -> str:
        return f"serviceAccount:{self.email}"


def canonical_member(member: str) -> str:
    """As IAM keeps it, whatever case a person wrote an address in; parts of federated identities differ by case."""
    kind, _, address = member.partition(":")
    return f"{kind}:{address.lower()}" if kind in ADDRESSED else member


@dataclass(frozen=True, slots=True)
class Condition:
    """An IAM condition; two bindings of one role differ by it."""

    title: str
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IamMember(Resource):
    """One member of one role on one resource; the rest of the policy is not ours to touch.

    Its name is `<target>#<role>#<member>`, made by `of`, with the member as IAM keeps it.
    """

    kind: ClassVar[str] = "iam.googleapis.com/PolicyMember"
    target: str  # full name of a project, secret, bucket, service account, service or job
    role: str
    member: str
    condition: Condition | None = None

    @property
    def shown(self) -> str:
        """ "run.invoker on acme-shop for user:jo@acme.example"."""
        return f"{self.role.removeprefix('roles/')} on {self.target.rsplit('/', 1)[-1]} for {self.member}"

    @classmethod
    def of(
        cls,
        target: str,
        role: str,
        member: str,
        condition: Condition | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> IamMember:
        """The texts are shared: of thousands of members a few roles and identities are all there is."""
        suffix, member = f"#{condition.title}" if condition else "", canonical_member(member)
        return cls(
            name=sys.intern(f"{target}#{role}#{member}{suffix}"),
            target=sys.intern(target),
            role=sys.intern(role),
            member=sys.intern(member),
            condition=condition,
            needs=needs,
        )
