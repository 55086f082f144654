"""Every condition type and reason, with its meaning and its remedy: docs/reference.md is made from these tables.

A reason that code of this package gives is a constant. Those that arrive as data have none: the blueprint's problems
(it may not import this package), and the verdicts of jobs, which come out of a log.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import partial

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
SUPERUSER_EXISTS = "SuperuserExists"
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

    kind: Kind
    word: str
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

_under_way, _stalled, _event = (partial(Reason, kind) for kind in (Kind.UNDER_WAY, Kind.STALLED, Kind.EVENT))

_UNDER_WAY = (
    _under_way(PROVISIONING, "Google resources are being made."),
    _under_way(CREATING_INSTANCE, "Google is making the Cloud SQL instance: 4 to 10 minutes."),
    _under_way(
        WAITING,
        "A new identity or grant is not known everywhere at Google yet: minutes. Stalled after seven of them.",
        "Nothing at first. Where it is Stalled, see that what Google's words name is there.",
    ),
    _under_way(
        GOOGLE_UNAVAILABLE,
        "A call failed in a way that heals: 429, 5xx, no connection. An app at rest stays Ready for seven minutes.",
        "Nothing. Where it stays, check the operator's way out.",
    ),
    _under_way(
        INTERNAL_ERROR,
        "A bug of the operator's; the pass is tried again.",
        "Read the operator's log, and report it.",
    ),
    _under_way(INITIALISING_DATABASE, "db-init makes the database, its roles and its extensions."),
    _under_way(
        MIGRATION_PENDING,
        "`spec.migrations.policy` is Manual, and this image has not migrated.",
        "Annotate `nuages.dev/migrate` with the value of `spec.image`.",
    ),
    _under_way(MIGRATING, "The new image migrates. The old revision serves meanwhile."),
    _under_way(DEPLOYING_CANDIDATE, "The new revision starts, without traffic."),
    _under_way(VERIFYING, "The new revision is asked for the health path, by its own URL."),
    _under_way(SHIFTING_TRAFFIC, "Traffic moves to the new revision, and access is opened."),
    _under_way(CREATING_SUPERUSER, "The job that makes `spec.superuser` runs."),
    _under_way(CLEANING_UP, "What the spec no longer wants is being deleted. The new revision serves."),
    _under_way(SUPERSEDED, "The spec changed during a release. The newer one is taken up at once."),
    _under_way(ROTATING, "A rotation takes two releases: a new SECRET_KEY is accepted before it signs."),
    _under_way(BACKING_UP, "Deletion with `deletionPolicy: Snapshot`: the instance is being backed up."),
    _under_way(LEAVING_DATABASE, "Deletion: a job drops the database, or marks it as retained."),
    _under_way(
        EMPTYING_BUCKET,
        "Deletion with `deletionPolicy: Delete`: the bucket's objects go, 1,000 a pass, one pass after the other.",
    ),
    _under_way(
        DELETING,
        "Deletion: Google resources go, in reverse order; a tenant waits for those of its apps.",
    ),
)

_WRONG_INPUT = (
    _stalled(
        INVALID_SPEC,
        "The object breaks a rule that admission did not check: it is older than the rule.",
        "Correct the field that the message names.",
    ),
    _stalled(TENANT_MISSING, "The namespace has no project.", "Create a DjangoTenant named `default`."),
    _stalled(TENANT_INVALID, "The namespace's DjangoTenant breaks a rule.", "Correct the field named."),
    _stalled(
        TENANT_MOVED,
        "The app was deployed to another project, region or name than its tenant says now.",
        "Delete the tenant and make one with the old project, region and deploymentId.",
    ),
    _stalled(
        DATABASE_MOVED,
        "App or tenant name another instance than the data is on.",
        "Set it as it was, or name the old one in the app's `spec.database.instance`.",
    ),
    _stalled(
        NOT_ALLOWED,
        "The app names something that its tenant does not allow.",
        "Name another, or have it added to `spec.allow` of the DjangoTenant.",
    ),
    _stalled(
        "ConnectionBudgetExceeded",
        "Two revisions at full size would open more connections than the instance has.",
        "Lower `spec.web.maxInstances` or `connectionsPerInstance`, or raise `max_connections`.",
    ),
    _stalled(
        "MountHidesImage",
        "The media folder is the image's working directory, or above it: the mount would hide the project.",
        "Use a folder below the working directory.",
    ),
    _stalled(
        NAME_CONFLICT,
        "A Google resource, database or role of this name is somebody else's.",
        "Read `nuages plan`; adopt it, or choose another name.",
    ),
    _stalled(
        NAME_RESERVED,
        "The app's instance was deleted by somebody, and Google keeps its name for a week.",
        "Wait for the end of that week, or delete the app and apply it again; then restore a backup.",
    ),
    _stalled(
        IMMUTABLE_FIELD,
        "A changed field is one that Google cannot change once the resource is there.",
        "Set the old value again.",
    ),
    _stalled(IMAGE_NOT_FOUND, "The registry has no such image.", "Push it, or correct the tag."),
    _stalled(
        IMAGE_UNREACHABLE,
        "The registry refused the operator, or is not to be reached. With Reconciling: it is tried again.",
        "Grant the operator roles/artifactregistry.reader, or correct the name.",
    ),
    _stalled(
        IMAGE_UNUSABLE,
        "The registry has the image, but Cloud Run could not run it.",
        "Push an image for linux/amd64.",
    ),
    _stalled(INSTANCE_NOT_FOUND, "The existing Cloud SQL instance is not there.", "Create it, or name another."),
    _stalled(
        ACCOUNT_NOT_FOUND,
        "The service account of `spec.serviceAccount.existing` is not there.",
        "Create it, or correct the e-mail address.",
    ),
    _stalled(
        SECRET_MISSING,
        "A secret of `spec.env` is not there: in the namespace, or in Secret Manager.",
        "Create it, or correct the name.",
    ),
    _stalled(SECRET_KEY_MISSING, "A Kubernetes Secret has no such key.", "Add it, or name another."),
    _stalled(
        SECRET_UNUSABLE,
        "The value of a Kubernetes Secret is empty, too large for Secret Manager, or no text that a variable can hold.",
        "Put another value in.",
    ),
    _stalled(
        SECRET_VERSION_DISABLED,
        "Somebody disabled the version of a generated secret that new instances of the app, or a job, need.",
        "Enable it again, then rotate twice to be rid of it: see there.",
    ),
    _stalled(CONFIG_MAP_MISSING, "A ConfigMap of `spec.envFrom` is not there.", "Create it."),
    _stalled(
        CONFIG_MAP_INVALID,
        "A key of a ConfigMap of `spec.envFrom`, or its value, cannot be a variable of the app.",
        "Rename the key, or correct its value.",
    ),
)

_REFUSED = (
    _stalled(
        PERMISSION_DENIED,
        "The operator's Google identity or ClusterRole lacks a permission; of db-init: the database refuses its user.",
        "Grant a role that has the permission named.",
    ),
    _stalled(
        API_DISABLED,
        "A Google API is turned off in the project.",
        "Enable it, or set `enableServices: true` in the DjangoTenant.",
    ),
    _stalled(QUOTA_EXCEEDED, "A limit of the Google project is reached.", "Have it raised, or tidy up."),
    _stalled(
        REFUSED_BY_GOOGLE,
        "Google refuses a request as it is, or a policy of the organisation forbids it.",
        "Correct the spec as Google's words say, or have the project excepted from the policy.",
    ),
    _stalled(RESOURCE_FAILED, "A Google resource is there, and broken.", "Read it in Google's console."),
)

_FAILED_STEPS = (
    _stalled(
        DATABASE_INITIALISATION_FAILED,
        "db-init ended without saying why.",
        "Read its log: the link is in the message.",
    ),
    _stalled(
        MIGRATION_FAILED,
        "A migration failed, or ran longer than `spec.jobs.timeoutSeconds`. The old revision keeps all traffic.",
        "Release a fixed image, correct `spec.env` or `spec.django`, or annotate `nuages.dev/retry-migration`.",
    ),
    _stalled(
        REVISION_FAILED,
        "The new revision did not start. The old one keeps all traffic.",
        "Read the event `RevisionFailedLog`; release a fixed image, or correct the field that the message names.",
    ),
    _stalled(
        VERIFY_FAILED,
        "The new revision starts, but its health path answers with an error. The old one keeps all traffic.",
        "Release a fixed image, or correct `spec.release.verify.path`.",
    ),
    _stalled(ACCESS_FAILED, "Google refuses a member of `spec.web.invokers`.", "Correct the member."),
    _stalled(
        SUPERUSER_FAILED,
        "The superuser's command failed. The new revision serves.",
        "Correct `spec.superuser`, or give further fields of the user model by `DJANGO_SUPERUSER_…` in `spec.env`.",
    ),
    _stalled(
        DATABASE_NOT_LEFT,
        "Deletion: the job that drops or marks the database failed.",
        "Read its log: the link is in the message.",
    ),
    _stalled(
        BACKUP_FAILED,
        "Deletion with `deletionPolicy: Snapshot`: the last backup failed, so the database is still there.",
        "Have another one made, or choose another policy.",
    ),
)

# As nuages.dbinit.verdict and blueprint/scripts/migrate.py write them.
_VERDICTS = (
    _stalled(
        "ExtensionNotAvailable",
        "The instance does not have an extension, or refuses to create it.",
        "Correct `spec.database.extensions`.",
    ),
    _stalled("Unreachable", "db-init did not reach the database.", "See that the instance runs."),
    _stalled(
        "LoginRefused",
        "The instance refuses its administrator's password, though the operator has set it anew.",
        "See who else sets the password of `nuages-admin`.",
    ),
    _stalled("BadInput", "db-init does not understand the operator.", "Run one version of both."),
    _stalled("Busy", "db-init waited for a lock for too long.", "End the session that holds it."),
    _stalled("StillInUse", "Something still uses a role or the database.", "Remove what uses it."),
    _stalled(
        "NotAsAsked",
        "Something undoes or overrules what db-init does.",
        "See who else changes these roles, or this database.",
    ),
    _stalled("Failed", "The database refused a statement of db-init.", "Read the database's words."),
    _stalled(
        "SettingsModuleMissing",
        "Neither the environment nor `manage.py` names the settings.",
        "Set `spec.django.settingsModule`.",
    ),
    _stalled(
        "MigrationLocked",
        "Another migration has held the lock for 10 minutes.",
        "End it, then annotate `nuages.dev/retry-migration`.",
    ),
    _stalled(
        "MigrationLockTimeout",
        "Another session kept a table locked for longer than `spec.migrations.lockTimeoutSeconds`, five times.",
        "End that session, then annotate `nuages.dev/retry-migration`.",
    ),
    _stalled("DjangoMissing", "The image's Python has no Django.", "Release an image that has."),
)

_EVENTS = (
    _event(CREATED, "A Google resource was created."),
    _event(UPDATED, "A Google resource was changed."),
    _event(ADOPTED, "A Google resource was taken over, as `nuages.dev/adopt` asks."),
    _event(DELETED, "A Google resource was deleted."),
    _event(TAKEN_BACK, "What an earlier app of this name left behind is used again."),
    _event(SUPERUSER_EXISTS, "`spec.superuser` was in the database already, and keeps its own password."),
    _event(DRIFT_CORRECTED, "Somebody else's change of a Google resource was found, and is set back."),
    _event(
        DRIFT_DETECTED,
        "Somebody else's change was found that is not set back, or that has lost data. What they granted on the app's "
        "own secrets, bucket or identity is left: whether it was meant, only people can say.",
        "Remove such a grant where nobody meant it.",
    ),
    _event(RETAINED, "Kept when the app was deleted, as `spec.deletionPolicy` says."),
    _event(
        LEFT_ALONE,
        "Deletion: a clone or a copy that bears the app's labels is not of its making, and stays under every policy.",
        "Delete it by hand where nobody needs it, or take the labels off it.",
    ),
    _event(ABANDONED, "The app went without its Google resources, as `nuages.dev/abandon` asks."),
)

TABLE = (
    Reason(
        Kind.READY,
        AVAILABLE,
        "The app is deployed and serves; of a part: all of it is there; of a tenant: its project answers.",
    ),
    Reason(Kind.READY, APPLIED, "Of MigrationsApplied: the database is up to date."),
    *_UNDER_WAY,
    Reason(
        Kind.HELD,
        PAUSED,
        "`spec.paused` is true: nothing is written at Google, and a deletion waits.",
        "Set it to false, while it is being deleted too.",
    ),
    Reason(
        Kind.HELD,
        OBSERVED,
        "With `management: Observe` or the annotation `nuages.dev/plan` nothing is written, and something differs.",
        "Read `status.plan`; set `management: Manage`, or remove the annotation, to have it done.",
    ),
    *_WRONG_INPUT,
    *_REFUSED,
    *_FAILED_STEPS,
    *_VERDICTS,
    *_EVENTS,
)
