"""What Google says of a project: its number, and what we may do in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.iam.v1 import iam_policy_pb2

from nuages.cloud.call import Call


class Projects:
    def __init__(self, api: ProjectsAsyncClient, call: Call) -> None:
        self._api, self._call = api, call
        self._numbers: dict[str, asyncio.Task[str]] = {}
        self._allowed: dict[str, frozenset[str]] = {}

    async def number(self, project: str) -> str:
        """Of a project's id; it never changes, so it is asked for once. Raises CloudError."""
        known = self._numbers.get(project)
        if known is None or (known.done() and (known.cancelled() or known.exception() is not None)):
            known = self._numbers[project] = asyncio.create_task(self._number(project))
        return await asyncio.shield(known)

    async def _number(self, project: str) -> str:
        found = await self._call(self._api.get_project, {"name": f"projects/{project}"})
        return found.name.rsplit("/", 1)[1]

    async def allowed(self, project: str, permissions: Iterable[str]) -> frozenset[str]:
        """Those of the permissions (at most 100, of projects) that we have, or once had. Raises CloudError."""
        wanted, known = frozenset(permissions), self._allowed.get(project, frozenset())
        if not wanted <= known:
            request = iam_policy_pb2.TestIamPermissionsRequest(
                resource=f"projects/{project}", permissions=sorted(wanted - known)
            )
            answer = await self._call(self._api.test_iam_permissions, request)
            known = self._allowed[project] = known | frozenset(answer.permissions)
        return wanted & known
