"""The projects of this cloud: ids, numbers, enabled APIs."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from localcloud.core.errors import ApiError, Code, error_info, plain
from localcloud.core.past import reading_the_present
from localcloud.core.state import Store


@dataclass(frozen=True)
class Project:
    id: str
    number: str
    enabled: frozenset[str]


# On in every new project of ours: Google's own default set, less what Django on Cloud Run has no use for.
ALWAYS_ENABLED = frozenset(
    {
        "serviceusage.googleapis.com",
        "cloudresourcemanager.googleapis.com",
        "logging.googleapis.com",
        "storage.googleapis.com",
        "storage-api.googleapis.com",
        "sql-component.googleapis.com",  # gcloud asks for it before it deploys with a SQL instance
        "iamcredentials.googleapis.com",
        "oauth2.googleapis.com",
        "sts.googleapis.com",
    }
)


class Projects:
    """Looked up by id or by number, as Google's APIs allow."""

    def __init__(self, store: Store) -> None:
        self._records = store.records("projects")

    def create(self, project: str, number: str = "", enabled: frozenset[str] = frozenset()) -> Project:
        """A project with `enabled` APIs besides the default ones; its number is made from the id where not given."""
        made = Project(
            project,
            number or str(100_000_000_000 + zlib.crc32(project.encode()) * 97),
            ALWAYS_ENABLED | enabled,
        )
        self._save(made)
        return made

    @reading_the_present()
    def find(self, id_or_number: str) -> Project | None:
        record = self._records.find(id_or_number)
        if record is None and id_or_number.isdigit():
            record = next((r for _, r in self._records.items() if r["number"] == id_or_number), None)
        return None if record is None else Project(record["id"], record["number"], frozenset(record["enabled"]))

    def get(self, id_or_number: str) -> Project:
        """Raises 403: Google does not say whether a project exists (behaviour.md, section 0)."""
        project = self.find(id_or_number)
        if project is None:
            raise plain(Code.PERMISSION_DENIED)
        return project

    def canonical(self, resource: str) -> str:
        """The resource's name with the project's id where a number was given."""
        parts = resource.split("/", 2)
        if len(parts) < 2 or parts[0] != "projects" or not parts[1].isdigit():
            return resource
        project = self.find(parts[1])
        return resource if project is None else "/".join(["projects", project.id, *parts[2:]])

    @reading_the_present()
    def all(self) -> list[Project]:
        return [self.get(name) for name, _ in self._records.items()]

    def enable(self, project: str, service: str, on: bool = True) -> Project:
        """Turn an API on or off at once; the time that it takes is the caller's."""
        found = self.get(project)
        changed = found.enabled | {service} if on else found.enabled - {service}
        made = Project(found.id, found.number, changed)
        self._save(made)
        return made

    def require_enabled(self, resource: str, host: str, title: str) -> None:
        """Raise SERVICE_DISABLED where the resource's project has not turned the API on."""
        found = re.match(r"projects/([^/]+)", resource)
        if not found or found.group(1) == "-" or host in ALWAYS_ENABLED:
            return
        project = self.get(found.group(1))
        if host in project.enabled:
            return
        url = f"https://console.developers.google.com/apis/api/{host}/overview?project={project.number}"
        info = {
            "service": host,
            "consumer": f"projects/{project.number}",
            "serviceTitle": title,
            "activationUrl": url,
        }
        raise ApiError(
            Code.PERMISSION_DENIED,
            f"{title} has not been used in project {project.number} before or it is disabled. Enable it by visiting "
            f"{url} then retry. If you enabled this API recently, wait a few minutes for the action to propagate "
            "to our systems and retry.",
            reason="accessNotConfigured",
            details=(error_info("SERVICE_DISABLED", "googleapis.com", info),),
        )

    def _save(self, project: Project) -> None:
        self._records.put(project.id, {"id": project.id, "number": project.number, "enabled": sorted(project.enabled)})
