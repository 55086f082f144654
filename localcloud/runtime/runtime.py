"""What really runs behind the APIs: processes, images, databases, instances, jobs, files, logs, metadata servers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud.runtime.processes import Processes

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud
    from localcloud.runtime.databases import Servers
    from localcloud.runtime.images import ImageStore
    from localcloud.runtime.logs import LogStore
    from localcloud.runtime.metadata import MetadataServers
    from localcloud.runtime.revisions import Revisions, SimulatedRevisions
    from localcloud.runtime.tasks import SimulatedTasks, Tasks


@dataclass
class Runtime:
    """One for each local cloud. Composed in two steps, since most parts see the cloud that they belong to."""

    dir: Path
    simulate: bool
    processes: Processes | None  # None when simulated
    buckets: Path  # a folder for each bucket
    images: ImageStore = field(init=False)
    logs: LogStore = field(init=False)
    metadata: MetadataServers = field(init=False)
    databases: Servers = field(init=False)
    revisions: Revisions | SimulatedRevisions = field(init=False)
    tasks: Tasks | SimulatedTasks = field(init=False)
    # What a process needs to reach Google's names here: HTTPS_PROXY, NO_PROXY, CA files; set once the proxy listens.
    client_environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, simulate: bool, seeded: bool = False) -> Runtime:
        """The part that needs no cloud; `attach` makes the rest.

        A simulation forgets its state when it ends: what an earlier one left of its objects goes with it, unless
        this one is `seeded` with a state that knows them.
        """
        buckets = folder / ("simulated-buckets" if simulate else "buckets")
        if simulate and not seeded:
            shutil.rmtree(buckets, ignore_errors=True)
        buckets.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder, simulate, None if simulate else Processes(), buckets)

    def attach(self, cloud: Cloud) -> None:
        """Make what works for this cloud; nothing is started yet."""
        from localcloud.runtime.databases import Databases, SimulatedDatabases
        from localcloud.runtime.images import ImageStore
        from localcloud.runtime.logs import LogStore
        from localcloud.runtime.metadata import MetadataServers
        from localcloud.runtime.revisions import Revisions, SimulatedRevisions
        from localcloud.runtime.tasks import SimulatedTasks, Tasks

        self.images = ImageStore(self.dir / "images")
        self.logs = LogStore(cloud)
        self.metadata = MetadataServers(cloud)
        self.databases = SimulatedDatabases(cloud) if self.simulate else Databases(cloud)
        self.revisions = SimulatedRevisions(cloud) if self.simulate else Revisions(cloud)
        self.tasks = SimulatedTasks(cloud) if self.simulate else Tasks(cloud)

    async def close(self) -> None:
        """End every process and server, those first that use the others."""
        for part in (self.revisions, self.tasks, self.databases, self.metadata):
            await part.close()
        if self.processes is not None:
            await self.processes.close()
        await self.logs.close()
