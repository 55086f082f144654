"""What a failure tells of a revision's log: where it is, and its last lines (behaviour-runtime.md, section 4)."""

from __future__ import annotations

from nuages.cloud.access import CloudAccess
from nuages.cloud.logs import Tail
from nuages.reconcile.release.release import Release


def log_link(release: Release) -> str:
    """Where the console shows the log of the release's revision."""
    service = release.service
    return (
        f"https://console.cloud.google.com/logs/viewer?project={service.project}"
        f"&resource=cloud_run_revision/service_name/{service.id}/revision_name/{release.revision}"
    )


async def last_lines(release: Release, cloud: CloudAccess) -> Tail:
    """What the revision's containers and Cloud Run have said last, without the requests' own lines, which are empty."""
    service = release.service
    query = (
        f'resource.type = "cloud_run_revision" resource.labels.service_name = "{service.id}" '
        f'resource.labels.revision_name = "{release.revision}" '
        f'logName != "projects/{service.project}/logs/run.googleapis.com%2Frequests"'
    )
    return await cloud.logs.tail(service.project, query)
