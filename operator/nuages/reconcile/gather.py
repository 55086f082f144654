"""The facts that a blueprint needs: from the cluster, from Google, from the status of an earlier pass."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nuages.api.app import DjangoApp
from nuages.api.contract import taken_names
from nuages.api.tenant import DjangoTenant, instance_of
from nuages.api.validate import fault_of_variable
from nuages.blueprint import names
from nuages.blueprint.facts import ExistingInstance, Facts, ImageFacts
from nuages.cloud import errors
from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Observed
from nuages.desired.iam import ServiceAccount
from nuages.desired.resource import Owner, Resource
from nuages.desired.secretmanager import Copied, Secret
from nuages.desired.sql import ExistingSqlInstance, SqlInstance
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Cluster
from nuages.reconcile.plan import whose
from nuages.reconcile.trouble import Trouble, of_error

LARGEST_SECRET = 65_536  # bytes
MOST_VARIABLES = 1000  # of a container (run/docs/configuring/services/environment-variables)
JOBS_OWN = 20  # as many at most has a job of Nuages's besides the app's and the contract's


async def gather(
    app: DjangoApp,
    tenant: DjangoTenant,
    cluster: Cluster,
    cloud: CloudAccess,
    operator_image: str,
    image: ImageFacts | None,
    own_instance: str,
    max_age: float,
) -> Facts:
    """Everything but the image, which the caller resolved or found pinned, and the app's instance. Raises Trouble.

    A deletion needs nothing of what the spec names: the namespace's Secrets may be gone before the app.
    """
    number = await project_number(tenant, cloud)
    if not app.is_deleting:
        await _check_named(app, tenant, cloud, max_age)
    return Facts(
        project_number=number,
        operator_image=operator_image,
        image=image,
        existing_instance=await _existing_instance(app, tenant, cloud, max_age),
        own_instance=own_instance,
        kubernetes_secrets={} if app.is_deleting else await _secret_fingerprints(app, cluster),
        config_maps={} if app.is_deleting else await _config_maps(app, cluster),
    )


async def project_number(tenant: DjangoTenant, cloud: CloudAccess) -> str:
    """Of the tenant's project; Google does not tell strangers whether it is there. Raises Trouble."""
    project = tenant.spec.project
    try:
        return await cloud.projects.number(project)
    except (errors.PermissionDenied, errors.NotFound) as error:
        who = cloud.identity.principal or "the operator's identity"  # a first call may be what makes it known
        raise Trouble(
            reasons.PERMISSION_DENIED,
            f"DjangoTenant spec.project: {who} lacks resourcemanager.projects.get in {project}, or there is no such "
            f'project. Grant it the roles of an operator there, or correct the id. Google says: "{error.cause}".',
            heals=True,
        ) from error
    except errors.CloudError as error:
        raise of_error(error, f"DjangoTenant spec.project: {project}", cloud.identity.principal) from error


async def resolve_image(app: DjangoApp, cloud: CloudAccess, pinned: str = "") -> ImageFacts:
    """The digest behind spec.image, or the image that it was pinned to. Raises Trouble."""
    reference = pinned or app.spec.image
    try:
        found = await cloud.images.resolve(reference)
    except errors.NotFound as error:
        raise Trouble(
            reasons.IMAGE_NOT_FOUND,
            f'spec.image: {reference} is not in its registry. Push it or correct the tag. It says: "{error.cause}".',
        ) from error
    except errors.Invalid as error:
        raise Trouble(
            reasons.IMAGE_UNUSABLE,
            f"spec.image: Cloud Run cannot use {reference}. Push an image for linux/amd64, or correct the name. It "
            f'says: "{error.cause}".',
        ) from error
    except errors.PermissionDenied as error:
        raise Trouble(
            reasons.IMAGE_UNREACHABLE,
            f"spec.image: the registry of {reference} refused the operator. Grant it roles/artifactregistry.reader, or "
            f'correct the name. It says: "{error.cause}".',
        ) from error
    except errors.Unreachable as error:  # a misspelt host, more often than not: Stalled, and tried again all the same
        raise Trouble(
            reasons.IMAGE_UNREACHABLE,
            f"spec.image: no connection to the registry of {reference}. Correct the name, or open the operator's way "
            f'to it. It says: "{error.cause}".',
        ) from error
    except errors.CloudError as error:
        raise Trouble(
            reasons.IMAGE_UNREACHABLE,
            f'spec.image: the registry of {reference} cannot be reached. It says: "{error.cause}".',
            stalled=False,
        ) from error
    return ImageFacts(found.reference, found.digest, found.working_dir, found.user)


async def _check_named(app: DjangoApp, tenant: DjangoTenant, cloud: CloudAccess, max_age: float) -> None:
    """What of the tenant's project the spec names besides the instance is there, and no other app's. Raises Trouble."""
    project = tenant.spec.project
    email = app.spec.service_account.existing
    # Only those of the project are known to be readable; another project's account shows when it is used.
    if email and email.endswith(f"@{project}.iam.gserviceaccount.com"):
        field = "spec.serviceAccount.existing"
        account = await _find(ServiceAccount, email, field, project, cloud, max_age)
        if account is None:
            raise Trouble(
                reasons.ACCOUNT_NOT_FOUND,
                f"{field}: {email} is not in project {project}. Create it or correct the address.",
            )
        _check_owner(app, account, field)
    for index, entry in enumerate(app.spec.env):
        if entry.secret is None:
            continue
        field = f"spec.env[{index}].secret"
        secret = await _find(Secret, entry.secret.name, field, project, cloud, max_age)
        if secret is None:
            raise Trouble(
                reasons.SECRET_MISSING,
                f"{field}: secret {entry.secret.name} is not in Secret Manager of project {project}. Create it or "
                "correct the name.",
            )
        _check_owner(app, secret, field)


def _check_owner(app: DjangoApp, found: Observed[Any], field: str) -> None:
    """However wide a tenant's globs are: what was made for one app opens its data. Raises Trouble."""
    owner, metadata = found.owner, app.metadata
    if owner is not None and (owner.namespace, owner.app) != (metadata.namespace, metadata.name):
        raise Trouble(
            reasons.NOT_ALLOWED,
            f"{field}: {found.state.shown} was made by Nuages, and {whose(found)}. Name one that Nuages did not make.",
        )


async def _find(
    kind: type[Resource], id_: str, field: str, project: str, cloud: CloudAccess, max_age: float
) -> Observed[Any] | None:
    """By the project's list; what an old one lacks may have been made since. Raises Trouble."""
    try:
        for age in (max_age, 0.0):
            for item in await cloud.inventory.list(kind, f"projects/{project}", age):
                if item.state.id == id_:
                    return item
    except errors.CloudError as error:
        raise of_error(error, field, cloud.identity.principal) from error
    return None


async def _existing_instance(
    app: DjangoApp, tenant: DjangoTenant, cloud: CloudAccess, max_age: float
) -> ExistingInstance | None:
    from_app = app.spec.database.instance is not None
    name = instance_of(app, tenant).existing
    if not name or not app.spec.database.enabled:
        return None
    named_by = "spec.database.instance.existing" if from_app else "DjangoTenant spec.database.existing"
    full_name = f"projects/{tenant.spec.project}/instances/{name}"
    try:
        found = await cloud.inventory.get(ExistingSqlInstance, full_name, max_age, max_age)
        if found is None and not app.is_deleting:  # a snapshot may not prove that something is to be done
            found = await cloud.inventory.get(ExistingSqlInstance, full_name, 0.0, 0.0)
    except errors.CloudError as error:
        raise of_error(error, f"{named_by}: {name}", cloud.identity.principal) from error
    if found is None and app.is_deleting:
        return None
    if found is None:
        raise Trouble(
            reasons.INSTANCE_NOT_FOUND,
            f"{named_by}: instance {name} is not in project {tenant.spec.project}. Create it or correct the name.",
        )
    return ExistingInstance(
        found.outputs["region"],
        found.outputs["database_version"],
        int(found.outputs.get("max_connections") or 0),
        found.outputs["tier"],
    )


async def _secret_fingerprints(app: DjangoApp, cluster: Cluster) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for index, entry in enumerate(app.spec.env):
        reference = entry.kubernetes_secret
        if reference is None:
            continue
        place = f"spec.env[{index}].kubernetesSecret"
        body = await cluster.secret(app.metadata.namespace, reference.name)
        if body is None:
            raise Trouble(
                reasons.SECRET_MISSING,
                f"{place}: there is no Secret {reference.name} in namespace {app.metadata.namespace}. Create it or "
                "correct the name.",
            )
        if reference.key not in (body.get("data") or {}):
            raise Trouble(
                reasons.SECRET_KEY_MISSING,
                f'{place}: {reference.name} has no key "{reference.key}". Add it or name another.',
            )
        if fault := _fault_of_payload(str(body["data"][reference.key] or "")):
            raise Trouble(
                reasons.SECRET_UNUSABLE,
                f'{place}: key "{reference.key}" of {reference.name} {fault}. Put another value in.',
            )
        metadata = body["metadata"]
        found[reference.name, reference.key] = f"{metadata['uid']}/{metadata['resourceVersion']}/{reference.key}"
    return found


def _fault_of_payload(encoded: str) -> str:
    """Why Secret Manager would not take a payload, or no container could be started with it; "" where all is well.

    Cloud Run starts nothing with a secret that is no UTF-8 (behaviour.md, section 3; behaviour-runtime.md, section 7).
    """
    payload = base64.b64decode(encoded)
    if not payload:
        return "is empty"
    if len(payload) > LARGEST_SECRET:
        return f"has {len(payload)} bytes, and Secret Manager takes {LARGEST_SECRET}"
    if b"\0" in payload:
        return "holds the character NUL, which no variable can"
    try:
        payload.decode()
    except UnicodeDecodeError:
        return "is no text in UTF-8, as a variable has to be"
    return ""


async def _config_maps(app: DjangoApp, cluster: Cluster) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for index, entry in enumerate(app.spec.env_from):
        name = entry.config_map.name
        body = await cluster.config_map(app.metadata.namespace, name)
        if body is None:
            raise Trouble(
                reasons.CONFIG_MAP_MISSING,
                f"spec.envFrom[{index}].configMap: there is no ConfigMap {name} in namespace {app.metadata.namespace}. "
                "Create it or correct the name.",
            )
        found[name] = dict(body.get("data") or {})
        for key, value in sorted(found[name].items()):
            if fault := fault_of_variable(key, value):
                raise Trouble(
                    reasons.CONFIG_MAP_INVALID, f'spec.envFrom[{index}].configMap: {name} has the key "{key}"{fault}'
                )
    named = {entry.name for entry in app.spec.env}.union(taken_names(app.spec), *found.values())
    if len(named) > MOST_VARIABLES - JOBS_OWN:
        raise Trouble(
            reasons.CONFIG_MAP_INVALID,
            f"spec.envFrom: the app would have {len(named)} variables, and Cloud Run takes {MOST_VARIABLES} with the "
            f"{JOBS_OWN} that a job may add. Take keys out of the ConfigMaps.",
        )
    return found


def copies(cluster: Cluster) -> Callable[[Secret], Awaitable[bytes]]:
    """How the secret driver gets the payload of a Kubernetes Secret: read when it is needed, kept nowhere."""

    async def copy(secret: Secret) -> bytes:
        payload, owner = secret.payload, secret.owner
        if not isinstance(payload, Copied) or owner is None:
            raise errors.Invalid(f"{secret.id} is no copy of a Kubernetes Secret")
        body = await cluster.secret(owner.namespace, payload.secret)
        if body is None or payload.key not in (body.get("data") or {}):
            raise errors.Transient(f"the Kubernetes Secret {payload.secret} has gone")
        return base64.b64decode(body["data"][payload.key])

    return copy


async def find_own_instance(
    app: DjangoApp, tenant: DjangoTenant, cloud: CloudAccess, max_age: float, known: str = ""
) -> str:
    """Full name of the app's instance, "" where there is none; `known`: its id, as the status has it. Raises Trouble.

    An instance's name carries a hash of the uid, so an app that was created again finds its retained one by label, and
    one that came to a new cluster its old one: whether that is adopted, or a conflict, is the plan's to say. But a
    clone has the labels of its origin, so that none is taken for the app's while there is a choice.
    """
    if not app.spec.database.enabled or instance_of(app, tenant).create is None:
        return ""
    ours = Owner(app.metadata.namespace, app.metadata.name, app.metadata.uid)
    project = names.project(tenant)
    try:
        found = await cloud.inventory.list(SqlInstance, project, max_age)
    except errors.ApiDisabled:
        return ""
    mine = [item for item in found if ours.may_have(item.owner)]
    others = [] if app.is_deleting else [item for item in found if item.owner and item not in mine]
    of_old = [item for item in others if ours.may_adopt(item.owner)]
    there = {item.state.name for item in (*mine, *of_old)}
    for name in (f"{project}/instances/{known}", names.instance_name(app, tenant)):
        if name in there:
            return name
    left = [item for item in mine if _is_of_a_life(item, app, tenant)]
    left = left or [item for item in of_old if _is_of_a_life(item, app, tenant)]
    if len(left) == 1:
        return left[0].state.name
    if not (left or mine) or app.is_deleting:  # what may be somebody's clone outlives the app
        return ""
    raise _undecided(left or mine)


def _is_of_a_life(item: Observed[SqlInstance], app: DjangoApp, tenant: DjangoTenant) -> bool:
    """Whether an earlier life of the app seems to have made it, or kept it."""
    is_kept = item.owner is not None and item.owner.retained
    return is_kept or names.is_instance_of_a_life(app, tenant, item.state.name)


def _undecided(found: Sequence[Observed[SqlInstance]]) -> Trouble:
    which = f"{' and '.join(sorted(item.state.id for item in found))} {'bears' if len(found) == 1 else 'bear'}"
    return Trouble(
        reasons.NAME_CONFLICT,
        f"spec.database.instance.create: {which} this app's labels, as clones do, and nothing tells the app's own "
        "instance. Give that one the label nuages-retained=true, and take the label nuages-app off any other.",
    )
