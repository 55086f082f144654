"""The predefined roles that Django on Cloud Run meets, with the permissions that localcloud judges by.

Role contents: the public role reference of Google's IAM documentation (https://cloud.google.com/iam/docs/roles-permissions),
reduced to the modelled services. A pattern that begins with `!` takes away what the others give.
"""

from __future__ import annotations

import fnmatch
from functools import lru_cache

ROLES: dict[str, tuple[str, ...]] = {
    "roles/owner": ("*",),
    # No policies, no secret payloads, no tokens in another's name. Objects and buckets are the projectEditor's and the
    # projectViewer's of bucket policies, not the role's own.
    "roles/editor": (
        "run.*",
        "cloudsql.*",
        "storage.buckets.create",
        "storage.buckets.delete",
        "storage.buckets.list",
        "logging.logEntries.*",
        "logging.logs.*",
        "secretmanager.*",
        "!secretmanager.versions.access",
        "iam.serviceAccounts.actAs",
        "iam.serviceAccounts.create",
        "iam.serviceAccounts.delete",
        "iam.serviceAccounts.disable",
        "iam.serviceAccounts.enable",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.getIamPolicy",
        "iam.serviceAccounts.list",
        "iam.serviceAccounts.update",
        "resourcemanager.projects.get",
        "resourcemanager.projects.getIamPolicy",
        "resourcemanager.projects.list",
        "resourcemanager.projects.update",
        "serviceusage.*",
        "artifactregistry.*",
        "!*.setIamPolicy",
    ),
    "roles/viewer": (
        "*.get",
        "*.list",
        "*.getIamPolicy",
        "!storage.*",
        "storage.buckets.list",
    ),
    "roles/run.admin": ("run.*", "resourcemanager.projects.get"),
    "roles/run.developer": (
        "run.services.[!s]*",
        "run.jobs.[!s]*",
        "run.workerpools.[!s]*",
        "run.executions.*",
        "run.tasks.*",
        "run.revisions.*",
        "run.operations.*",
        "run.locations.*",
        "run.configurations.*",
        "run.routes.*",
        "resourcemanager.projects.get",
    ),
    "roles/run.invoker": ("run.routes.invoke", "run.jobs.run"),
    "roles/run.jobsExecutorWithOverrides": ("run.jobs.run", "run.jobs.runWithOverrides"),
    "roles/run.viewer": ("run.*.get", "run.*.list", "run.*.getIamPolicy"),
    "roles/cloudsql.admin": ("cloudsql.*", "resourcemanager.projects.get"),
    "roles/cloudsql.editor": (  # of instances that are there, without their users and without deletion
        "cloudsql.backupRuns.create",
        "cloudsql.databases.create",
        "cloudsql.databases.update",
        "cloudsql.instances.connect",
        "cloudsql.instances.export",
        "cloudsql.instances.failover",
        "cloudsql.instances.restart",
        "cloudsql.instances.update",
        "cloudsql.*.get",
        "cloudsql.*.list",
        "!cloudsql.users.get",
        "resourcemanager.projects.get",
    ),
    "roles/cloudsql.viewer": (
        "cloudsql.*.get",
        "cloudsql.*.list",
        "cloudsql.instances.export",
        "resourcemanager.projects.get",
    ),
    "roles/cloudsql.client": ("cloudsql.instances.connect", "cloudsql.instances.get"),
    "roles/cloudsql.instanceUser": ("cloudsql.instances.get", "cloudsql.instances.login"),
    "roles/secretmanager.admin": ("secretmanager.*", "resourcemanager.projects.get"),
    "roles/secretmanager.secretAccessor": ("secretmanager.versions.access",),
    "roles/secretmanager.secretVersionAdder": ("secretmanager.versions.add",),
    "roles/secretmanager.secretVersionManager": (
        "secretmanager.versions.[!a]*",
        "secretmanager.versions.add",
    ),
    "roles/secretmanager.viewer": (
        "secretmanager.*.get",
        "secretmanager.*.list",
        "secretmanager.*.getIamPolicy",
    ),
    "roles/storage.admin": ("storage.*",),
    "roles/storage.objectAdmin": ("storage.objects.*", "storage.folders.*", "storage.multipartUploads.*"),
    "roles/storage.objectUser": (
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.get",
        "storage.objects.list",
        "storage.objects.update",
        "storage.folders.*",
    ),
    "roles/storage.objectViewer": ("storage.objects.get", "storage.objects.list"),
    "roles/storage.objectCreator": ("storage.objects.create",),
    "roles/storage.legacyBucketReader": ("storage.buckets.get", "storage.objects.list"),
    "roles/storage.legacyBucketWriter": (
        "storage.buckets.get",
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.list",
    ),
    "roles/storage.legacyObjectOwner": (
        "storage.objects.get",
        "storage.objects.getIamPolicy",
        "storage.objects.setIamPolicy",
        "storage.objects.update",
    ),
    "roles/storage.legacyObjectReader": ("storage.objects.get",),
    "roles/storage.legacyBucketOwner": (
        "storage.buckets.get",
        "storage.buckets.getIamPolicy",
        "storage.buckets.setIamPolicy",
        "storage.buckets.update",
        "storage.managedFolders.*",
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.list",
    ),
    "roles/iam.serviceAccountAdmin": (
        "iam.serviceAccounts.create",
        "iam.serviceAccounts.delete",
        "iam.serviceAccounts.disable",
        "iam.serviceAccounts.enable",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.getIamPolicy",
        "iam.serviceAccounts.list",
        "iam.serviceAccounts.setIamPolicy",
        "iam.serviceAccounts.undelete",
        "iam.serviceAccounts.update",
    ),
    "roles/iam.serviceAccountUser": (
        "iam.serviceAccounts.actAs",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.list",
    ),
    "roles/iam.serviceAccountTokenCreator": (
        "iam.serviceAccounts.getAccessToken",
        "iam.serviceAccounts.getOpenIdToken",
        "iam.serviceAccounts.signBlob",
        "iam.serviceAccounts.signJwt",
        "iam.serviceAccounts.implicitDelegation",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.list",
    ),
    "roles/iam.serviceAccountOpenIdTokenCreator": ("iam.serviceAccounts.getOpenIdToken",),
    "roles/iam.workloadIdentityUser": (
        "iam.serviceAccounts.getAccessToken",
        "iam.serviceAccounts.getOpenIdToken",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.list",
    ),
    "roles/resourcemanager.projectIamAdmin": (
        "resourcemanager.projects.get",
        "resourcemanager.projects.getIamPolicy",
        "resourcemanager.projects.setIamPolicy",
    ),
    "roles/browser": ("resourcemanager.projects.get", "resourcemanager.projects.getIamPolicy"),
    "roles/serviceusage.serviceUsageAdmin": ("serviceusage.*",),
    "roles/serviceusage.serviceUsageViewer": ("serviceusage.services.get", "serviceusage.services.list"),
    "roles/serviceusage.serviceUsageConsumer": (
        "serviceusage.services.get",
        "serviceusage.services.list",
        "serviceusage.services.use",
    ),
    "roles/logging.viewer": ("logging.logEntries.list", "logging.logs.list"),
    "roles/logging.logWriter": ("logging.logEntries.create",),
    "roles/artifactregistry.reader": (
        "artifactregistry.repositories.downloadArtifacts",
        "artifactregistry.*.get",
        "artifactregistry.*.list",
    ),
    "roles/artifactregistry.writer": (
        "artifactregistry.repositories.downloadArtifacts",
        "artifactregistry.repositories.uploadArtifacts",
        "artifactregistry.*.get",
        "artifactregistry.*.list",
    ),
    "roles/artifactregistry.admin": ("artifactregistry.*",),
    "roles/monitoring.metricWriter": ("monitoring.timeSeries.create",),
    "roles/cloudtrace.agent": ("cloudtrace.traces.patch",),
}


@lru_cache(maxsize=4096)
def permits(role: str, permission: str) -> bool:
    """Whether the role holds the permission; custom roles are not modelled and hold none."""
    patterns = ROLES.get(role, ())
    given = any(fnmatch.fnmatchcase(permission, pattern) for pattern in patterns if not pattern.startswith("!"))
    taken = any(fnmatch.fnmatchcase(permission, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    return permission in patterns or (given and not taken)
