"""clean-up: old revisions beyond those that are kept, then the secret versions that only they had needed."""

from __future__ import annotations

from collections.abc import Iterable

from nuages.cloud.access import CloudAccess
from nuages.cloud.revisions import Revision
from nuages.desired.run import RunJob, RunService
from nuages.desired.secretmanager import Secret, SecretRef
from nuages.reconcile.release.outcome import DONE, Done, Outcome
from nuages.reconcile.release.release import Release


async def clean_up(release: Release, cloud: CloudAccess) -> Outcome:
    """spec.release.keepRevisions counts the ready ones besides the serving one. What serves, is tagged or is the newest
    is never touched."""
    revisions = await cloud.revisions.list(release.service.name)
    live = release.live
    in_use = {target.revision for target in live.state.traffic} if live is not None else set()
    in_use |= {release.revision}
    spare = [item for item in revisions if item.name not in in_use]
    kept = [item for item in spare if item.ready][: release.app.spec.release.keep_revisions]
    surplus = [item for item in spare if item not in kept]
    for item in surplus:
        await cloud.revisions.delete(release.service.name, item.name)
    retired = await _retire(release, [item for item in revisions if item not in surplus], cloud)
    told = [f"Deleted {len(surplus)} old revision(s)."] if surplus else []
    told += [f"Disabled {retired} old secret version(s)."] if retired else []
    return Done(" ".join(told)) if told else DONE


async def _retire(release: Release, left: Iterable[Revision], cloud: CloudAccess) -> int:
    """Of the app's own secrets. A first version has none before it, so that nothing is asked about it."""
    workloads = (release.service, release.db_init, release.migrate, release.superuser)
    current = dict(reference for item in workloads if item is not None for reference in _references(item))
    needed = {reference for item in left for reference in item.secret_versions} | set(current.items())
    own = [item for item in release.blueprint.resources if isinstance(item, Secret) and item.owner and item.owner.app]
    driver, count = cloud.drivers.secrets(), 0
    for name in (item.name for item in own if int(current.get(item.name, "1")) > 1):
        count += await driver.retire(
            name, int(current[name]), {version for secret, version in needed if secret == name}
        )
    return count


def _references(workload: RunService | RunJob) -> Iterable[tuple[str, str]]:
    for _, value in workload.template.environment:
        if isinstance(value, SecretRef) and value.version is not None:
            yield value.secret, value.version
