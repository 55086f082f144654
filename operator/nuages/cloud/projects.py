"""What Google says of a project: its number, and what we may do in it."""

from __future__ import annotations

from collections.abc import Iterable

from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.iam.v1 import iam_policy_pb2

from nuages.cloud.call import Call


class Projects:
    def __init__(self, api: ProjectsAsyncClient, call: Call) -> None:
        self._api, self._call = api, call
        self._numbers: dict[str, str] = {}

    async def number(self, project: str) -> str:
        """Of a project's id; it never changes, so it is asked for once. Raises CloudError."""
        if project not in self._numbers:
            found = await self._call(self._api.get_project, {"name": f"projects/{project}"})
            self._numbers[project] = found.name.rsplit("/", 1)[1]
        return self._numbers[project]

    async def allowed(self, project: str, permissions: Iterable[str]) -> frozenset[str]:
        """Those of the permissions (at most 100, of projects) that we have. Raises CloudError."""
        request = iam_policy_pb2.TestIamPermissionsRequest(
            resource=f"projects/{project}", permissions=sorted(permissions)
        )
        answer = await self._call(self._api.test_iam_permissions, request)
        return frozenset(answer.permissions)
