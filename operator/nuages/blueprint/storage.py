"""Uploaded files: a bucket, mounted as a folder where the spec gives one."""

from __future__ import annotations

from nuages.blueprint import names
from nuages.blueprint.blueprint import Capability, Problem
from nuages.blueprint.scope import Scope
from nuages.desired.iam import IamMember
from nuages.desired.run import BucketMount, Environment
from nuages.desired.storage import Bucket

# FUSE needs the bucket's own metadata besides its objects.
ROLES = ("roles/storage.objectAdmin", "roles/storage.legacyBucketReader")


def storage(scope: Scope) -> Capability:
    media = scope.app.spec.storage.media
    bucket = Bucket(
        name=names.bucket_name(scope.app, scope.tenant, "media"),
        owner=scope.owner,
        location=scope.tenant.spec.region.upper(),
        versioning=media.versioning,
        labels=scope.labels,
    )
    grants = tuple(IamMember.of(bucket.name, role, f"serviceAccount:{scope.runtime_account}") for role in ROLES)
    environment: Environment = (
        ("GS_BUCKET_NAME", bucket.id),
        ("GS_PROJECT_ID", scope.tenant.spec.project),
        ("USE_GCP", "true"),
    )
    if media.mount_path:
        environment = (*environment, ("MEDIA_ROOT", media.mount_path))
    return Capability(
        resources=(bucket, *grants),
        environment=environment,
        condition="StorageReady",
        problems=_hidden_image(scope),
    )


def media_mount(scope: Scope) -> tuple[BucketMount, ...]:
    media = scope.app.spec.storage.media
    if not media.mount_path:
        return ()
    bucket = names.bucket_name(scope.app, scope.tenant, "media").rsplit("/", 1)[-1]
    return (BucketMount(bucket, media.mount_path, media.uid, media.gid),)


def _hidden_image(scope: Scope) -> tuple[Problem, ...]:
    """A mount over the working directory would hide the project itself."""
    path, image = scope.app.spec.storage.media.mount_path, scope.facts.image
    if not path or image is None or not image.working_dir:
        return ()
    if f"{image.working_dir.rstrip('/')}/".startswith(f"{path}/"):
        message = (
            f"spec.storage.media.mountPath: {path} would hide the image's working directory {image.working_dir}. Use a "
            f"folder below it, such as {image.working_dir.rstrip('/')}/media."
        )
        return (Problem("spec.storage.media.mountPath", "MountHidesImage", message),)
    return ()
