"""DjangoApp: the one resource that a developer writes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from nuages.api import defaults, values
from nuages.api.contract import ALWAYS, CONTRACT, DATABASE, taken_names
from nuages.api.database import Database
from nuages.api.group import API_VERSION
from nuages.api.lists import BY_NAME
from nuages.api.resources import MEMORY, memory_bytes
from nuages.api.rules import Part, Rule, given
from nuages.api.web import Django, Jobs, Variable, VariableSource, Web


class Media(Part):
    """The bucket for uploaded files, mounted by Cloud Storage FUSE."""

    mount_path: values.MountPath = Field(
        defaults.MEDIA_MOUNT_PATH, description='Folder in the container; "" for a bucket only. Default: /app/media.'
    )
    uid: int = Field(defaults.MEDIA_UID, ge=0, le=4294967294, description="Owner of the files. Default: 2000.")
    gid: int = Field(defaults.MEDIA_GID, ge=0, le=4294967294, description="Group of the files. Default: 2000.")
    versioning: bool = Field(defaults.MEDIA_VERSIONING, description="Keep replaced files. Default: true.")


class Storage(Part):
    """Files outside the image."""

    media: Media = Field(Media(), description="Uploaded files.")


class Migrations(Part):
    """How the schema follows the code."""

    policy: Literal["BeforeTraffic", "Manual", "Never"] = Field(
        defaults.MIGRATION_POLICY, description="BeforeTraffic: each new image migrates before it serves."
    )
    lock_timeout_seconds: int = Field(
        defaults.LOCK_TIMEOUT_SECONDS, ge=0, le=3600, description="PostgreSQL's lock_timeout; 0 for none. Default: 10."
    )
    statement_timeout_seconds: int = Field(
        defaults.STATEMENT_TIMEOUT_SECONDS, ge=0, le=86400, description="0 for none, the default."
    )


class Verify(Part):
    """What a candidate must answer before it has traffic."""

    path: values.Path | None = Field(
        None, description="Path that a candidate must answer. Default: spec.django.healthPath."
    )
    successes: int = Field(defaults.VERIFY_SUCCESSES, ge=1, le=100, description="Good answers in a row. Default: 3.")


class Release(Part):
    """How a new revision comes to serve."""

    verify: Verify = Field(Verify(), description="What a candidate must answer.")
    keep_revisions: int = Field(
        defaults.KEEP_REVISIONS, ge=1, le=100, description="Revisions that are kept. Default: 5."
    )


class Superuser(Part):
    """Django's administrator, created once; its password goes to Secret Manager."""

    username: Annotated[str, Field(min_length=1, max_length=150), values.NO_NUL] = Field(
        description="DJANGO_SUPERUSER_USERNAME."
    )
    email: values.Email = Field(description="DJANGO_SUPERUSER_EMAIL.")
    command: Annotated[values.Words, Field(min_length=1)] = Field(
        defaults.SUPERUSER_COMMAND, description="Management command. Default: createsuperuser --noinput."
    )


class RuntimeAccount(Part):
    """The identity that the app runs as."""

    existing: values.ServiceAccount | None = Field(
        None, description="A service account that the tenant allows. Default: one of its own."
    )


class AppNetwork(Part):
    """The app's way out."""

    egress: Literal["PrivateRangesOnly", "AllTraffic"] | None = Field(
        None,
        description="What goes through the tenant's network; narrower than the tenant's only. Default: the tenant's.",
    )


_TAKEN = (
    f"((e.name in {values.one_of(ALWAYS)} || (e.name in {values.one_of(DATABASE)} && "
    "!(has(self.database) && has(self.database.engine) && self.database.engine == 'None'))) && "
    "!(has(self.django) && has(self.django.envNames) && e.name in self.django.envNames)) || "
    "(has(self.django) && has(self.django.envNames) && "
    "self.django.envNames.exists(k, self.django.envNames[k] == e.name))"
)


def _taken(spec: Any) -> bool | str:
    taken = taken_names(spec)
    return next((variable.name for variable in spec.env if variable.name in taken), True)


def _mount_needs(spec: Any) -> bool:
    whole = not spec.web.cpu.startswith("0") and memory_bytes(spec.web.memory) >= memory_bytes("512Mi")
    return whole or spec.storage.media.mount_path == ""


class DjangoAppSpec(Part):
    """What is wanted of the app."""

    rules = (
        Rule(
            cel=f"!has(self.env) || !self.env.exists(e, {_TAKEN})",
            message="Nuages sets {} itself. Remove it, and use spec.django where that has a field for it, or rename "
            "ours by spec.django.envNames.",
            check=_taken,
            field="env",
            offender=f"one of these ({', '.join(CONTRACT)})",
        ),
        Rule(
            cel=f"{given('storage.media.mountPath', defaults.MEDIA_MOUNT_PATH)} == '' || "
            f"!{given('web.cpu', defaults.CPU)}.startsWith('0') && "
            f"(!{given('web.memory', defaults.MEMORY)}.matches('^{MEMORY}$') || "
            f"quantity({given('web.memory', defaults.MEMORY)}).compareTo(quantity('512Mi')) >= 0)",
            message='Cloud Run mounts a bucket from one cpu and 512Mi on. Raise spec.web, or set mountPath: "".',
            check=_mount_needs,
            field="storage.media.mountPath",
        ),
        Rule(
            cel=f"!has(self.superuser) || {given('database.engine', defaults.ENGINE)} != 'None'",
            message="Needs a database, and spec.database.engine is None. Remove one of them.",
            check=lambda spec: spec.superuser is None or spec.database.enabled,
            field="superuser",
        ),
    )

    image: values.Image = Field(description="Image with a tag or digest; a tag is resolved once per release.")
    paused: bool = Field(False, description="Write nothing at Google, whatever changes; a deletion waits too.")
    management: Literal["Manage", "Observe"] = Field(
        defaults.MANAGEMENT,
        description="Observe writes nothing and says in status.plan what Manage would do. Default: Manage.",
    )
    deletion_policy: Literal["Retain", "Snapshot", "Delete"] = Field(
        defaults.DELETION_POLICY,
        description="Retain keeps the instance, its database, the bucket and the secrets; Snapshot keeps the bucket, "
        "the secrets and a last backup. Default: Retain.",
    )
    django: Django = Field(Django(), description="The Django project.")
    env: Annotated[tuple[Variable, ...], Field(max_length=200), BY_NAME] = Field(
        (), description="Environment variables."
    )
    env_from: Annotated[tuple[VariableSource, ...], Field(max_length=32)] = Field(
        (), description="Variables from ConfigMaps; a later one wins."
    )
    web: Web = Field(Web(), description="The Cloud Run service.")
    jobs: Jobs = Field(Jobs(), description="The app's jobs.")
    database: Database = Field(Database(), description="The database.")
    storage: Storage = Field(Storage(), description="Files outside the image.")
    migrations: Migrations = Field(Migrations(), description="How the schema follows the code.")
    release: Release = Field(Release(), description="How a new revision comes to serve.")
    superuser: Superuser | None = Field(None, description="Django's administrator, created once.")
    service_account: RuntimeAccount = Field(RuntimeAccount(), description="The identity that the app runs as.")
    network: AppNetwork = Field(AppNetwork(), description="The app's way out.")
    reconcile_interval_seconds: int = Field(
        defaults.RECONCILE_INTERVAL_SECONDS, ge=0, le=604800, description="Drift correction; 0 for none. Default: 600."
    )
    deep_check_interval_seconds: int = Field(
        defaults.DEEP_CHECK_INTERVAL_SECONDS,
        ge=0,
        le=604800,
        description="Checks of what no list shows: policies, secret versions, the database's inside. Default: 3600.",
    )

    @property
    def verify_path(self) -> str:
        """The path that a candidate must answer."""
        return self.release.verify.path or self.django.health_path


class Metadata(Part):
    """The parts of Kubernetes' metadata that Nuages reads."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1)]
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    annotations: dict[str, str] = Field({})
    labels: dict[str, str] = Field({})
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


NAME_LENGTH = 40
_UNCLAIMED = "!has(oldSelf.status) || !has(oldSelf.status.database)"


_CREATES = "has(self.spec.database) && has(self.spec.database.instance) && has(self.spec.database.instance.create)"


def _database_name(side: str) -> str:
    return given("spec.database.name", f"{side}.metadata.name", side).replace("'", "")


def _existing(side: str) -> str:
    return given("spec.database.instance.existing", "", side)


class DjangoApp(Part):
    """A Django project on Google Cloud."""

    rules = (
        Rule(
            cel=f"self.metadata.name.size() <= {NAME_LENGTH}",
            message=f"Is too long for Google's names. Use at most {NAME_LENGTH} characters.",
            check=lambda app: len(app.metadata.name) <= NAME_LENGTH,
            field="metadata.name",
        ),
        Rule(
            cel=f"self.metadata.name.matches('^{values.DNS_LABEL}$')",
            message="Is no DNS label. Begin with a small letter, then small letters, digits and - between them.",
            check=lambda app: values.DNS_LABEL_FORM.fullmatch(app.metadata.name) is not None,
            field="metadata.name",
        ),
        Rule(
            cel=f"!(self.metadata.name in {values.one_of(values.SYSTEM_DATABASES)}) || "
            "has(self.spec.database) && (has(self.spec.database.name) || "
            f"{given('spec.database.engine', defaults.ENGINE)} == 'None')",
            message="The instance itself uses a database of this name. Set spec.database.name.",
            check=lambda app: app.database_name not in values.SYSTEM_DATABASES or not app.spec.database.enabled,
            field="metadata.name",
        ),
        Rule(
            cel=f"{_UNCLAIMED} || {_database_name('self')} == {_database_name('oldSelf')}",
            message="The data is in the old database and is not moved. Set the old name again, or make another app.",
            field="spec.database.name",
        ),
        Rule(
            cel=f"{_UNCLAIMED} || {_existing('self')} == {_existing('oldSelf')} || "
            f"{_existing('self')} == oldSelf.status.database.instance && "
            f"!{given('status.database.own', False, 'oldSelf')}",
            message="The data is on the old instance and is not moved. Name that one again, or make another app.",
            field="spec.database.instance.existing",
        ),
        Rule(
            cel=f"{_UNCLAIMED} || {given('status.database.own', True, 'oldSelf')} || !({_CREATES})",
            message="The data is on an instance that is not the app's own, and is not moved. Name that one, or make "
            "another app.",
            field="spec.database.instance.create",
        ),
    )

    api_version: Literal["nuages.dev/v1alpha1"] = API_VERSION
    kind: Literal["DjangoApp"] = "DjangoApp"
    metadata: Metadata
    spec: DjangoAppSpec

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def is_deleting(self) -> bool:
        """Whether Kubernetes waits for our finalizer."""
        return self.metadata.deletion_timestamp is not None

    @property
    def reconcile_at(self) -> str:
        """The annotation that asks to look at everything now; any new value does."""
        return self.metadata.annotations.get("nuages.dev/reconcile-at", "")

    @property
    def database_name(self) -> str:
        """The database's name, the app's own by default."""
        return self.spec.database.name or self.metadata.name
