"""Where the IAM policy of each kind of resource is read and written. One table, by the shape of the full name."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from google.api_core import iam as storage_iam
from google.cloud.storage import Bucket, Client
from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2
from google.type import expr_pb2

from nuages.cloud.call import Call
from nuages.cloud.clients import Clients
from nuages.cloud.errors import Invalid

VERSION = 3  # below it, conditions come as role names that must not be written back (behaviour.md, section 5)


@dataclass(frozen=True)
class PolicyApi:
    """Reads and writes the policy of one resource by its full name. Both raise CloudError."""

    read: Callable[[str], Coroutine[Any, Any, policy_pb2.Policy]]
    write: Callable[[str, policy_pb2.Policy], Coroutine[Any, Any, None]]


class PolicyApis:
    """Dispatch by the target's name."""

    def __init__(self, clients: Clients, call: Call) -> None:
        self._call = call
        location = "projects/[^/]+/locations/[^/]+"
        # Clients are made when they are first needed: each costs a channel.
        self._table: tuple[tuple[re.Pattern[str], Callable[[], PolicyApi]], ...] = tuple(
            (re.compile(pattern), make)
            for pattern, make in (
                ("projects/[^/]+", lambda: self._google(clients.projects)),
                ("projects/[^/]+/secrets/[^/]+", lambda: self._google(clients.secrets)),
                ("projects/[^/]+/serviceAccounts/[^/]+", lambda: self._google(clients.iam)),
                (f"{location}/services/[^/]+", lambda: self._google(clients.services)),
                (f"{location}/jobs/[^/]+", lambda: self._google(clients.jobs)),
                ("projects/[^/]+/buckets/[^/]+", lambda: self._storage(clients.storage)),
            )
        )

    def of(self, target: str) -> PolicyApi:
        """Raises Invalid for a name of no known shape."""
        for pattern, make in self._table:
            if pattern.fullmatch(target):
                return make()
        raise Invalid(f"{target} is no resource whose policy can be changed")

    def _google(self, client: Any) -> PolicyApi:
        """All asyncio clients have the same two methods."""

        async def read(target: str) -> policy_pb2.Policy:
            options = options_pb2.GetPolicyOptions(requested_policy_version=VERSION)
            request = iam_policy_pb2.GetIamPolicyRequest(resource=target, options=options)
            return await self._call(client.get_iam_policy, request)

        async def write(target: str, policy: policy_pb2.Policy) -> None:
            request = iam_policy_pb2.SetIamPolicyRequest(resource=target, policy=policy)
            await self._call(client.set_iam_policy, request)

        return PolicyApi(read, write)

    def _storage(self, client: Client) -> PolicyApi:
        """The client of Cloud Storage has a policy type of its own."""

        def bucket(target: str) -> Bucket:
            return client.bucket(target.rsplit("/", 1)[1])

        async def read(target: str) -> policy_pb2.Policy:
            found = await self._call.in_thread(
                "Buckets.getIamPolicy",
                bucket(target).get_iam_policy,
                requested_policy_version=VERSION,
                retry=None,
            )
            return _of_storage(found)

        async def write(target: str, policy: policy_pb2.Policy) -> None:
            wanted = _to_storage(policy)
            await self._call.in_thread("Buckets.setIamPolicy", bucket(target).set_iam_policy, wanted, retry=None)

        return PolicyApi(read, write)


def _of_storage(found: storage_iam.Policy) -> policy_pb2.Policy:
    bindings = [
        policy_pb2.Binding(
            role=item["role"],
            members=sorted(item["members"]),
            condition=expr_pb2.Expr(**item["condition"]) if item.get("condition") else None,
        )
        for item in found.bindings
    ]
    # The etag is text there, bytes elsewhere: it is only handed back.
    return policy_pb2.Policy(version=found.version or 1, etag=(found.etag or "").encode(), bindings=bindings)


def _to_storage(policy: policy_pb2.Policy) -> storage_iam.Policy:
    made = storage_iam.Policy(policy.etag.decode(), policy.version)  # type: ignore[no-untyped-call]
    made.bindings = [
        {"role": item.role, "members": set(item.members)}
        | ({"condition": _expression(item.condition)} if item.HasField("condition") else {})
        for item in policy.bindings
    ]
    return made


def _expression(found: expr_pb2.Expr) -> dict[str, str]:
    return {field.name: value for field, value in found.ListFields()}
