"""Every API that this cloud serves, in the order in which a path without a host is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from localcloud.api.iam import Iam
from localcloud.api.iamcredentials import IamCredentials
from localcloud.api.knative import KnativeServices
from localcloud.api.knative_jobs import KnativeJobs
from localcloud.api.logging import Logging
from localcloud.api.oauth import OAuth, Sts
from localcloud.api.registry import Registry
from localcloud.api.resourcemanager import Projects, ProjectsV1
from localcloud.api.run_executions import Executions, Tasks
from localcloud.api.run_jobs import Jobs
from localcloud.api.run_revisions import Revisions
from localcloud.api.run_services import Services
from localcloud.api.run_workerpools import WorkerPools
from localcloud.api.secretmanager import SecretManager
from localcloud.api.serviceusage import ServiceIdentities, ServiceUsage
from localcloud.api.sql_backups import SqlBackupRuns, SqlBackupRunsBeta
from localcloud.api.sql_catalog import SqlFlags, SqlFlagsBeta, SqlOperations, SqlOperationsBeta, SqlTiers, SqlTiersBeta
from localcloud.api.sql_finals import SqlBackups, SqlBackupsBeta
from localcloud.api.sql_inside import SqlDatabases, SqlDatabasesBeta, SqlUsers, SqlUsersBeta
from localcloud.api.sql_instances import SqlInstances, SqlInstancesBeta
from localcloud.api.storage import Storage
from localcloud.core.cloud import Cloud
from localcloud.core.rest import RestService
from localcloud.core.service import Service

Made = Service | RestService

KINDS: tuple[Callable[[Cloud], Made], ...] = (
    # who and where
    Projects,
    ProjectsV1,
    ServiceUsage,
    ServiceIdentities,
    Iam,
    IamCredentials,
    OAuth,
    Sts,
    # what apps are made of
    SecretManager,
    Services,
    Revisions,
    Jobs,
    Executions,
    Tasks,
    WorkerPools,
    SqlInstances,
    SqlDatabases,
    SqlUsers,
    SqlBackupRuns,
    SqlBackups,
    SqlOperations,
    SqlFlags,
    SqlTiers,
    Storage,
    Registry,
    Logging,
    # v1beta4 of Cloud SQL, as gcloud and Terraform speak it
    SqlInstancesBeta,
    SqlDatabasesBeta,
    SqlUsersBeta,
    SqlBackupRunsBeta,
    SqlBackupsBeta,
    SqlOperationsBeta,
    SqlFlagsBeta,
    SqlTiersBeta,
    # v1 of Cloud Run, Knative's, as gcloud speaks it
    KnativeServices,
    KnativeJobs,
)


def method_names(made: Iterable[Made]) -> frozenset[str]:
    """What faults are aimed at: "run.googleapis.com/Services.GetService", "storage.googleapis.com/GET /storage/…"."""
    names = set()
    for service in made:
        if isinstance(service, Service):
            names |= {service.name_of(method) for method in service.methods()}
        else:
            names |= {service.name_of(route) for route in service.routes()}
    return frozenset(names)


def services(cloud: Cloud) -> list[Made]:
    """One of each; what the services of one API share is in the cloud (Cloud.shared)."""
    return [kind(cloud) for kind in KINDS]
