"""clean-up: old revisions beyond those that are kept. What serves, is tagged or is the newest is never touched."""

from __future__ import annotations

from nuages.cloud.access import CloudAccess
from nuages.reconcile.release.outcome import DONE, Done, Outcome
from nuages.reconcile.release.release import Release


async def clean_up(release: Release, cloud: CloudAccess) -> Outcome:
    """spec.release.keepRevisions counts the ready ones besides the serving one."""
    revisions = await cloud.revisions.list(release.service.name)
    live = release.live
    in_use = {target.revision for target in live.state.traffic} if live is not None else set()
    in_use |= {release.revision}
    spare = [item for item in revisions if item.name not in in_use]
    kept = [item for item in spare if item.ready][: release.app.spec.release.keep_revisions]
    surplus = [item for item in spare if item not in kept]
    for item in surplus:
        await cloud.revisions.delete(release.service.name, item.name)
    return Done(f"Deleted {len(surplus)} old revision(s).") if surplus else DONE
