"""Driver of single members of IAM policies: read, modify, write with the etag (gcp/behaviour.md, section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from google.iam.v1 import policy_pb2

from nuages.cloud.driver import Observed, Owned
from nuages.cloud.errors import Conflict, NotFound
from nuages.cloud.policies import VERSION, PolicyApis
from nuages.cloud.policyedit import condition_of, find, with_member, without_member
from nuages.desired.iam import IamMember

ATTEMPTS = 6  # at one policy that others write to as well
MOST_LACKING = 256  # policies; one that was dropped costs one more read

Edit = Callable[[policy_pb2.Policy], bool]


class PolicyReads:
    """Policies by target; whoever asks while one is being read shares that read, unless we wrote meanwhile."""

    def __init__(self, apis: PolicyApis) -> None:
        self._apis = apis
        self._under_way: dict[str, asyncio.Task[policy_pb2.Policy]] = {}

    async def read(self, target: str) -> policy_pb2.Policy:
        """Never to be changed by the caller. Raises CloudError."""
        task = self._under_way.get(target)
        if task is None:
            task = asyncio.create_task(self._apis.of(target).read(target), name=f"policy of {target}")
            self._under_way[target] = task
            task.add_done_callback(lambda done: self._ended(target, done))
        return await asyncio.shield(task)

    def forget(self, target: str) -> None:
        """After a write: a read that began before it is nobody's any more."""
        self._under_way.pop(target, None)

    def _ended(self, target: str, task: asyncio.Task[policy_pb2.Policy]) -> None:
        if self._under_way.get(target) is task:
            del self._under_way[target]
        if not task.cancelled():
            task.exception()  # retrieved, also where all who asked have gone


class IamMemberDriver:
    """One writer per policy at a time in this process; against others there is the etag."""

    owned = Owned(mutable=("condition",))

    def __init__(self, apis: PolicyApis) -> None:
        self._apis, self._reads = apis, PolicyReads(apis)
        self._writers: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # for as long as one writes
        # By target, as seen without a member that was looked for: saves the creation that follows a read.
        self._lacking: dict[str, policy_pb2.Policy] = {}

    def scope(self, name: str) -> str:
        """The resource that the policy is on."""
        return name.split("#")[0]

    async def observe_all(self, scope: str) -> Sequence[Observed[IamMember]]:
        """Every member of the policy, for members have no marker."""
        policy = await self._reads.read(scope)
        found = (
            IamMember.of(scope, binding.role, member, condition_of(binding))
            for binding in policy.bindings
            for member in binding.members
        )
        return [Observed(member) for member in found]

    async def observe(self, name: str) -> Observed[IamMember] | None:
        """None as well where the resource itself is not there."""
        target, role, member, title = _parts(name)
        try:
            policy = await self._reads.read(target)
        except NotFound:
            return None
        binding = find(policy, role, member, title)
        if binding is None:
            self._remember(target, policy)
            return None
        return Observed(IamMember.of(target, role, member, condition_of(binding)))

    async def create(self, desired: IamMember) -> None:
        seen = self._lacking.pop(desired.target, None)
        await self._edit(desired.target, lambda policy: with_member(policy, desired), seen)

    async def update(self, desired: IamMember, observed: Observed[IamMember], paths: Sequence[str]) -> None:
        """Another condition of the same title: out of the one binding, into the other, in one write."""

        def edit(policy: policy_pb2.Policy) -> bool:
            removed = without_member(policy, desired.role, desired.member, _title(desired))
            return with_member(policy, desired) or removed

        await self._edit(desired.target, edit)

    async def delete(self, name: str, etag: str = "") -> None:
        """Written though the member is not seen: what was read may be of before it came, which the etag tells."""
        target, role, member, title = _parts(name)

        def edit(policy: policy_pb2.Policy) -> bool:
            without_member(policy, role, member, title)
            return True

        try:
            await self._edit(target, edit)
        except NotFound:
            return

    def _remember(self, target: str, policy: policy_pb2.Policy) -> None:
        self._lacking.pop(target, None)
        self._lacking[target] = policy
        while len(self._lacking) > MOST_LACKING:
            del self._lacking[next(iter(self._lacking))]  # the oldest

    async def _edit(self, target: str, edit: Edit, seen: policy_pb2.Policy | None = None) -> None:
        """Change what was seen just now, or is read, and write it; again where the etag tells that somebody else wrote
        in between. Raises Conflict in the end.
        """
        api = self._apis.of(target)
        async with self._writers.setdefault(target, asyncio.Lock()):
            for attempt in range(ATTEMPTS):
                policy = policy_pb2.Policy()
                policy.CopyFrom(seen if seen is not None and attempt == 0 else await api.read(target))
                if not edit(policy):
                    return
                policy.version = VERSION
                try:
                    await api.write(target, policy)
                except Conflict:
                    if attempt == ATTEMPTS - 1:
                        raise
                else:
                    return
                finally:
                    self._reads.forget(target)


def _parts(name: str) -> tuple[str, str, str, str]:
    target, role, member, *title = name.split("#")
    return target, role, member, title[0] if title else ""


def _title(desired: IamMember) -> str:
    return desired.condition.title if desired.condition is not None else ""
