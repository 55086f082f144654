"""Every condition type and reason, with its meaning and its remedy: docs/reference.md is made from these tables.

A reason that code of this package gives is a constant. Those that arrive as data have none: the blueprint's problems
(it may not import this package), and the verdicts of jobs, which come out of a log.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
MIGRATIONS_APPLIED, WEB_READY = "MigrationsApplied", "WebReady"

AVAILABLE, APPLIED = "Available", "Applied"
PROVISIONING, CREATING_INSTANCE, WAITING = "Provisioning", "InstanceCreating", "Waiting"
GOOGLE_UNAVAILABLE, INTERNAL_ERROR = "GoogleUnavailable", "InternalError"
INITIALISING_DATABASE, MIGRATION_PENDING, MIGRATING = "InitialisingDatabase", "MigrationPending", "Migrating"
DEPLOYING_CANDIDATE, VERIFYING, SHIFTING_TRAFFIC = "DeployingCandidate", "Verifying", "ShiftingTraffic"
CLEANING_UP, OBSERVED = "CleaningUp", "Observed"
CREATING_SUPERUSER, SUPERSEDED, ROTATING = "CreatingSuperuser", "Superseded", "Rotating"
LEAVING_DATABASE, DELETING, PAUSED = "LeavingDatabase", "Deleting", "Paused"
BACKING_UP, BACKUP_FAILED, EMPTYING_BUCKET = "BackingUp", "BackupFailed", "EmptyingBucket"
INVALID_SPEC, NOT_ALLOWED, DATABASE_MOVED = "InvalidSpec", "NotAllowed", "DatabaseMoved"
TENANT_MISSING, TENANT_INVALID, TENANT_MOVED = "TenantMissing", "TenantInvalid", "TenantMoved"
NAME_CONFLICT, IMMUTABLE_FIELD, NAME_RESERVED = "NameConflict", "ImmutableField", "NameReserved"
IMAGE_NOT_FOUND, IMAGE_UNREACHABLE, IMAGE_UNUSABLE = "ImageNotFound", "ImageUnreachable", "ImageUnusable"
INSTANCE_NOT_FOUND, ACCOUNT_NOT_FOUND = "InstanceNotFound", "ServiceAccountNotFound"
CONFIG_MAP_INVALID, SECRET_UNUSABLE = "ConfigMapInvalid", "SecretUnusable"
SECRET_VERSION_DISABLED = "SecretVersionDisabled"  # noqa: S105 - a reason
SECRET_MISSING, SECRET_KEY_MISSING, CONFIG_MAP_MISSING = "SecretMissing", "SecretKeyMissing", "ConfigMapMissing"
PERMISSION_DENIED, API_DISABLED, QUOTA_EXCEEDED = "PermissionDenied", "ApiDisabled", "QuotaExceeded"
REFUSED_BY_GOOGLE, RESOURCE_FAILED = "RefusedByGoogle", "ResourceFailed"
DATABASE_INITIALISATION_FAILED, MIGRATION_FAILED = "DatabaseInitialisationFailed", "MigrationFailed"
REVISION_FAILED, VERIFY_FAILED = "RevisionFailed", "VerifyFailed"
ACCESS_FAILED, SUPERUSER_FAILED, DATABASE_NOT_LEFT = "AccessFailed", "SuperuserFailed", "DatabaseNotLeft"
CREATED, UPDATED, ADOPTED, DELETED = "Created", "Updated", "Adopted", "Deleted"
TAKEN_BACK, RETAINED, ABANDONED, LEFT_ALONE = "TakenBack", "Retained", "Abandoned", "LeftAlone"
DRIFT_CORRECTED, DRIFT_DETECTED = "DriftCorrected", "DriftDetected"


class Kind(enum.Enum):
    """What goes with a reason; the value says so to people."""

    READY = "Ready is True"
    UNDER_WAY = "Reconciling: it goes on by itself, unless the remedy says otherwise"
    HELD = "Ready is False, and neither Reconciling nor Stalled is there"
    STALLED = "Stalled: somebody has to act"
    EVENT = "Events only"


@dataclass(frozen=True)
class Reason:
    """`remedy` is empty where there is nothing to do."""

    word: str
    kind: Kind
    means: str
    remedy: str = ""


@dataclass(frozen=True)
class ConditionType:
    """A condition that an app may have."""

    word: str
    means: str


CONDITIONS = (
    ConditionType(READY, "The spec is carried out and the app serves. Always there."),
    ConditionType(RECONCILING, "Something is under way, or tried again. Only there while it is True."),
    ConditionType(STALLED, "Nothing goes on until somebody acts. Only there while it is True, never with Reconciling."),
    ConditionType("IdentityReady", "The service account that the app runs as, and its grants."),
    ConditionType("SecretsReady", "SECRET_KEY, and the copies of Kubernetes Secrets."),
    ConditionType("DatabaseReady", "The Cloud SQL instance, its administrator, and the app's passwords."),
    ConditionType("StorageReady", "The media bucket and the app's access to it."),
    ConditionType(MIGRATIONS_APPLIED, "The database is prepared, and the release's migrations have run."),
    ConditionType(WEB_READY, "Some revision answers requests; during a release, the old one."),
)

_UNDER_WAY = (
    Reason(PROVISIONING, Kind.UNDER_WAY, "Google resources are being made."),
    Reason(CREATING_INSTANCE, Kind.UNDER_WAY, "Google is making the Cloud SQL instance: 4 to 10 minutes."),
    Reason(
        WAITING,
        Kind.UNDER_WAY,
        "A new identity or grant is not known everywhere at Google yet: minutes. Stalled after seven of them.",
        "Nothing at first. Where it is Stalled, see that what Google's words name is there.",
    ),
    Reason(
        GOOGLE_UNAVAILABLE,
        Kind.UNDER_WAY,
        "A call failed in a way that heals: 429, 5xx, no connection. An app at rest stays Ready for seven minutes.",
        "Nothing. Where it stays, check the operator's way out.",
    ),
    Reason(
        INTERNAL_ERROR,
        Kind.UNDER_WAY,
        "A bug of the operator's; the pass is tried again.",
        "Read the operator's log, and report it.",
    ),
    Reason(INITIALISING_DATABASE, Kind.UNDER_WAY, "db-init makes the database, its roles and its extensions."),
    Reason(
        MIGRATION_PENDING,
        Kind.UNDER_WAY,
        "`spec.migrations.policy` is Manual, and this image has not migrated.",
        "Annotate `nuages.dev/migrate` with the value of `spec.image`.",
    ),
    Reason(MIGRATING, Kind.UNDER_WAY, "The new image migrates. The old revision serves meanwhile."),
    Reason(DEPLOYING_CANDIDATE, Kind.UNDER_WAY, "The new revision starts, without traffic."),
    Reason(VERIFYING, Kind.UNDER_WAY, "The new revision is asked for the health path, by its own URL."),
    Reason(SHIFTING_TRAFFIC, Kind.UNDER_WAY, "Traffic moves to the new revision, and access is opened."),
    Reason(CREATING_SUPERUSER, Kind.UNDER_WAY, "The job that makes `spec.superuser` runs."),
    Reason(CLEANING_UP, Kind.UNDER_WAY, "What the spec no longer wants is being deleted. The new revision serves."),
    Reason(SUPERSEDED, Kind.UNDER_WAY, "The spec changed during a release. The newer one is taken up at once."),
    Reason(ROTATING, Kind.UNDER_WAY, "A rotation takes two releases: a new SECRET_KEY is accepted before it signs."),
    Reason(BACKING_UP, Kind.UNDER_WAY, "Deletion with `deletionPolicy: Snapshot`: the instance is being backed up."),
    Reason(LEAVING_DATABASE, Kind.UNDER_WAY, "Deletion: a job drops the database, or marks it as retained."),
    Reason(
        EMPTYING_BUCKET,
        Kind.UNDER_WAY,
        "Deletion with `deletionPolicy: Delete`: the bucket's objects go, 1,000 a pass, one pass after the other.",
    ),
    Reason(
        DELETING,
        Kind.UNDER_WAY,
        "Deletion: Google resources go, in reverse order; a tenant waits for those of its apps.",
    ),
)

_WRONG_INPUT = (
    Reason(
        INVALID_SPEC,
        Kind.STALLED,
        "The object breaks a rule that admission did not check: it is older than the rule.",
        "Correct the field that the message names.",
    ),
    Reason(TENANT_MISSING, Kind.STALLED, "The namespace has no project.", "Create a DjangoTenant named `default`."),
    Reason(TENANT_INVALID, Kind.STALLED, "The namespace's DjangoTenant breaks a rule.", "Correct the field named."),
    Reason(
        TENANT_MOVED,
        Kind.STALLED,
        "The app was deployed to another project, region or name than its tenant says now.",
        "Delete the tenant and make one with the old project, region and deploymentId.",
    ),
    Reason(
        DATABASE_MOVED,
        Kind.STALLED,
        "App or tenant name another instance than the data is on.",
        "Set it as it was, or name the old one in the app's `spec.database.instance`.",
    ),
    Reason(
        NOT_ALLOWED,
        Kind.STALLED,
        "The app names something that its tenant does not allow.",
        "Name another, or have it added to `spec.allow` of the DjangoTenant.",
    ),
    Reason(
        "ConnectionBudgetExceeded",
        Kind.STALLED,
        "Two revisions at full size would open more connections than the instance has.",
        "Lower `spec.web.maxInstances` or `connectionsPerInstance`, or raise `max_connections`.",
    ),
    Reason(
        "MountHidesImage",
        Kind.STALLED,
        "The media folder is the image's working directory, or above it: the mount would hide the project.",
        "Use a folder below the working directory.",
    ),
    Reason(
        NAME_CONFLICT,
        Kind.STALLED,
        "A Google resource, database or role of this name is somebody else's.",
        "Read `nuages plan`; adopt it, or choose another name.",
    ),
    Reason(
        NAME_RESERVED,
        Kind.STALLED,
        "The app's instance was deleted by somebody, and Google keeps its name for a week.",
        "Wait for the end of that week, or delete the app and apply it again.",
    ),
    Reason(
        IMMUTABLE_FIELD,
        Kind.STALLED,
        "A changed field is one that Google cannot change once the resource is there.",
        "Set the old value again.",
    ),
    Reason(IMAGE_NOT_FOUND, Kind.STALLED, "The registry has no such image.", "Push it, or correct the tag."),
    Reason(
        IMAGE_UNREACHABLE,
        Kind.STALLED,
        "The registry refused the operator, or is not to be reached. With Reconciling: it is tried again.",
        "Grant the operator roles/artifactregistry.reader, or correct the name.",
    ),
    Reason(
        IMAGE_UNUSABLE,
        Kind.STALLED,
        "The registry has the image, but Cloud Run could not run it.",
        "Push an image for linux/amd64.",
    ),
    Reason(
        INSTANCE_NOT_FOUND, Kind.STALLED, "The existing Cloud SQL instance is not there.", "Create it, or name another."
    ),
    Reason(
        ACCOUNT_NOT_FOUND,
        Kind.STALLED,
        "The service account of `spec.serviceAccount.existing` is not there.",
        "Create it, or correct the e-mail address.",
    ),
    Reason(
        SECRET_MISSING,
        Kind.STALLED,
        "A secret of `spec.env` is not there: in the namespace, or in Secret Manager.",
        "Create it, or correct the name.",
    ),
    Reason(SECRET_KEY_MISSING, Kind.STALLED, "A Kubernetes Secret has no such key.", "Add it, or name another."),
    Reason(
        SECRET_UNUSABLE,
        Kind.STALLED,
        "The value of a Kubernetes Secret is empty, too large for Secret Manager, or no text that a variable can hold.",
        "Put another value in.",
    ),
    Reason(
        SECRET_VERSION_DISABLED,
        Kind.STALLED,
        "Somebody disabled the version of a generated secret that the app runs with: no new instance can start.",
        "Enable it again, then annotate `nuages.dev/rotate` to be rid of it.",
    ),
    Reason(CONFIG_MAP_MISSING, Kind.STALLED, "A ConfigMap of `spec.envFrom` is not there.", "Create it."),
    Reason(
        CONFIG_MAP_INVALID,
        Kind.STALLED,
        "A key of a ConfigMap of `spec.envFrom`, or its value, cannot be a variable of the app.",
        "Rename the key, or correct its value.",
    ),
)

_REFUSED = (
    Reason(
        PERMISSION_DENIED,
        Kind.STALLED,
        "The operator's Google identity or ClusterRole lacks a permission; of db-init: the database refuses its user.",
        "Grant a role that has the permission named.",
    ),
    Reason(
        API_DISABLED,
        Kind.STALLED,
        "A Google API is turned off in the project.",
        "Enable it, or set `enableServices: true` in the DjangoTenant.",
    ),
    Reason(QUOTA_EXCEEDED, Kind.STALLED, "A limit of the Google project is reached.", "Have it raised, or tidy up."),
    Reason(
        REFUSED_BY_GOOGLE,
        Kind.STALLED,
        "Google refuses a request as it is, or a policy of the organisation forbids it.",
        "Correct the spec as Google's words say, or have the project excepted from the policy.",
    ),
    Reason(RESOURCE_FAILED, Kind.STALLED, "A Google resource is there, and broken.", "Read it in Google's console."),
)

_FAILED_STEPS = (
    Reason(
        DATABASE_INITIALISATION_FAILED,
        Kind.STALLED,
        "db-init ended without saying why.",
        "Read its log: the link is in the message.",
    ),
    Reason(
        MIGRATION_FAILED,
        Kind.STALLED,
        "A migration failed, or ran longer than `spec.jobs.timeoutSeconds`. The old revision keeps all traffic.",
        "Release a fixed image, correct `spec.env` or `spec.django`, or annotate `nuages.dev/retry-migration`.",
    ),
    Reason(
        REVISION_FAILED,
        Kind.STALLED,
        "The new revision did not start. The old one keeps all traffic.",
        "Read the event `RevisionFailedLog`; release a fixed image, or correct the field that the message names.",
    ),
    Reason(
        VERIFY_FAILED,
        Kind.STALLED,
        "The new revision starts, but its health path answers with an error. The old one keeps all traffic.",
        "Release a fixed image, or correct `spec.release.verify.path`.",
    ),
    Reason(ACCESS_FAILED, Kind.STALLED, "Google refuses a member of `spec.web.invokers`.", "Correct the member."),
    Reason(
        SUPERUSER_FAILED,
        Kind.STALLED,
        "The superuser's command failed. The new revision serves.",
        "Correct `spec.superuser`.",
    ),
    Reason(
        DATABASE_NOT_LEFT,
        Kind.STALLED,
        "Deletion: the job that drops or marks the database failed.",
        "Read its log: the link is in the message.",
    ),
    Reason(
        BACKUP_FAILED,
        Kind.STALLED,
        "Deletion with `deletionPolicy: Snapshot`: the last backup failed, so the database is still there.",
        "Have another one made, or choose another policy.",
    ),
)

# As nuages.dbinit.verdict and blueprint/scripts/migrate.py write them.
_VERDICTS = (
    Reason(
        "ExtensionNotAvailable",
        Kind.STALLED,
        "The instance does not have an extension, or refuses to create it.",
        "Correct `spec.database.extensions`.",
    ),
    Reason("Unreachable", Kind.STALLED, "db-init did not reach the database.", "See that the instance runs."),
    Reason(
        "LoginRefused",
        Kind.STALLED,
        "The instance refuses its administrator's password, though the operator has set it anew.",
        "See who else sets the password of `nuages-admin`.",
    ),
    Reason("BadInput", Kind.STALLED, "db-init does not understand the operator.", "Run one version of both."),
    Reason("Busy", Kind.STALLED, "db-init waited for a lock for too long.", "End the session that holds it."),
    Reason("StillInUse", Kind.STALLED, "Something still uses a role or the database.", "Remove what uses it."),
    Reason(
        "NotAsAsked",
        Kind.STALLED,
        "Something undoes or overrules what db-init does.",
        "See who else changes these roles, or this database.",
    ),
    Reason("Failed", Kind.STALLED, "The database refused a statement of db-init.", "Read the database's words."),
    Reason(
        "SettingsModuleMissing",
        Kind.STALLED,
        "Neither the environment nor `manage.py` names the settings.",
        "Set `spec.django.settingsModule`.",
    ),
    Reason(
        "MigrationLocked",
        Kind.STALLED,
        "Another migration has held the lock for 10 minutes.",
        "End it, then annotate `nuages.dev/retry-migration`.",
    ),
    Reason(
        "MigrationLockTimeout",
        Kind.STALLED,
        "Another session kept a table locked for longer than `spec.migrations.lockTimeoutSeconds`, five times.",
        "End that session, then annotate `nuages.dev/retry-migration`.",
    ),
    Reason("DjangoMissing", Kind.STALLED, "The image's Python has no Django.", "Release an image that has."),
)

_EVENTS = (
    Reason(CREATED, Kind.EVENT, "A Google resource was created."),
    Reason(UPDATED, Kind.EVENT, "A Google resource was changed."),
    Reason(ADOPTED, Kind.EVENT, "A Google resource was taken over, as `nuages.dev/adopt` asks."),
    Reason(DELETED, Kind.EVENT, "A Google resource was deleted."),
    Reason(TAKEN_BACK, Kind.EVENT, "What an earlier app of this name left behind is used again."),
    Reason(DRIFT_CORRECTED, Kind.EVENT, "Somebody else's change of a Google resource was found, and is set back."),
    Reason(
        DRIFT_DETECTED,
        Kind.EVENT,
        "Somebody else's change was found that is not set back, or that has lost data. What they granted on the app's "
        "own secrets, bucket or identity is left: whether it was meant, only people can say.",
        "Remove such a grant where nobody meant it.",
    ),
    Reason(RETAINED, Kind.EVENT, "Kept when the app was deleted, as `spec.deletionPolicy` says."),
    Reason(
        LEFT_ALONE,
        Kind.EVENT,
        "Deletion: a clone or a copy that bears the app's labels is not of its making, and stays under every policy.",
        "Delete it by hand where nobody needs it, or take the labels off it.",
    ),
    Reason(ABANDONED, Kind.EVENT, "The app went without its Google resources, as `nuages.dev/abandon` asks."),
)

TABLE = (
    Reason(
        AVAILABLE,
        Kind.READY,
        "The app is deployed and serves; of a part: all of it is there; of a tenant: its project answers.",
    ),
    Reason(APPLIED, Kind.READY, "Of MigrationsApplied: the database is up to date."),
    *_UNDER_WAY,
    Reason(
        PAUSED,
        Kind.HELD,
        "`spec.paused` is true: nothing is written at Google, and a deletion waits.",
        "Set it to false, while it is being deleted too.",
    ),
    Reason(
        OBSERVED,
        Kind.HELD,
        "With `management: Observe` or the annotation `nuages.dev/plan` nothing is written, and something differs.",
        "Read `status.plan`; set `management: Manage`, or remove the annotation, to have it done.",
    ),
    *_WRONG_INPUT,
    *_REFUSED,
    *_FAILED_STEPS,
    *_VERDICTS,
    *_EVENTS,
)
