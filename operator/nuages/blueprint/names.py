"""Names in Google Cloud: deterministic, so that a create whose answer was lost is found, never repeated.

`<deploymentId>-<app>[-<part>]`, shortened with a hash of the whole to each service's limit.
"""

from __future__ import annotations

import hashlib
import re

from nuages.api import values
from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant

SERVICE = 37  # tag + name at most 46 characters (behaviour-runtime.md, section 3), for the tag "candidate"
TOKEN = 24  # that starts a job: a hash, a wish or the mark of a check, another try, and an attempt's number
JOB = 62 - len("-") - TOKEN  # job + "-" + start token under 63 characters (behaviour-runtime.md, section 3)
ACCOUNT = 30
SOCKET = 107  # bytes of a socket's path on Linux; longer ones no client can open
BUCKET = 63
LABEL = 63
ROLE = 63  # PostgreSQL's identifiers, in bytes
JOB_PARTS = ("db-init", "migrate", "superuser")
SECRET_PARTS = ("database-url", "db-password-a", "db-password-b", "secret-key", "secret-key-b", "superuser-password")


def shorten(name: str, limit: int) -> str:
    """The name, or as much of it as fits before a hash of the whole."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - 7].rstrip('-')}-{_hash(name)}"


def prefix(app: DjangoApp, tenant: DjangoTenant) -> str:
    return f"{tenant.deployment_id}-{app.metadata.name}"


def service_id(app: DjangoApp, tenant: DjangoTenant) -> str:
    return shorten(prefix(app, tenant), SERVICE)


def service_name(app: DjangoApp, tenant: DjangoTenant) -> str:
    """Full name of the Cloud Run service."""
    return f"{location(tenant)}/services/{service_id(app, tenant)}"


def job_name(app: DjangoApp, tenant: DjangoTenant, part: str) -> str:
    """Full name of one of the app's jobs."""
    return f"{location(tenant)}/jobs/{shorten(f'{prefix(app, tenant)}-{part}', JOB)}"


def secret_name(app: DjangoApp, tenant: DjangoTenant, part: str) -> str:
    """Full name of one of the app's secrets."""
    return f"{project(tenant)}/secrets/{shorten(f'{prefix(app, tenant)}-{part}', 255)}"


def is_remade(app: DjangoApp, tenant: DjangoTenant, secret_id: str) -> bool:
    """Whether one of the app's secrets is a copy or is made of others: it can go, and come again as it was."""
    part = secret_id.removeprefix(f"{prefix(app, tenant)}-")
    return part != secret_id and (part == "database-url" or part.startswith("env-"))


def connection_title(instance: str) -> str:
    """Of the condition that narrows roles/cloudsql.client to an instance (full name)."""
    return shorten(f"nuages-{instance.rsplit('/', 1)[-1]}", 100)


def key_part(letter: str) -> str:
    """Which of the app's secrets a SECRET_KEY is: "b" comes with the first rotation."""
    return "secret-key" if letter == "a" else f"secret-key-{letter}"


def login_part(letter: str) -> str:
    """Which of the app's secrets a login role's password is."""
    return f"db-password-{letter}"


def account_name(tenant: DjangoTenant, name: str) -> str:
    """Full name of a service account; ids are 6 to 30 characters long."""
    account = shorten(name if len(name) >= 6 else f"{name}-{_hash(name)}", ACCOUNT)
    return f"{project(tenant)}/serviceAccounts/{account}@{tenant.spec.project}.iam.gserviceaccount.com"


def db_init_account(tenant: DjangoTenant) -> str:
    """Full name of the identity of db-init, one a tenant.

    Two dashes: an app's name begins with a letter, so that none, not even "dbinit", runs as this identity.
    """
    return account_name(tenant, f"{shorten(tenant.deployment_id, 22)}{values.DB_INIT_ACCOUNT}")


def runtime_account(app: DjangoApp, tenant: DjangoTenant) -> str:
    """Email of the identity that the app runs as."""
    return app.spec.service_account.existing or account_name(tenant, prefix(app, tenant)).rsplit("/", 1)[-1]


def administrator_secret(project: str, instance: str) -> str:
    """Full name of the secret with the password of an instance's administrator; `instance` is its id."""
    return f"projects/{project}/secrets/{shorten(f'{values.ADMINISTRATOR_SECRET}{instance}', 255)}"


def instance_name(app: DjangoApp, tenant: DjangoTenant) -> str:
    """With a hash of the uid: an instance's name is not reusable soon after deletion (behaviour.md, section 2).

    As long as the path of its socket allows; Google's own limit, 98 with the project, is wider.
    """
    suffix = f"-{_hash(app.metadata.uid)}"
    rest = f"/cloudsql/{tenant.spec.project}:{tenant.spec.region}:{suffix}/.s.PGSQL.5432"
    return f"{project(tenant)}/instances/{shorten(prefix(app, tenant), SOCKET - len(rest))}{suffix}"


def bucket_name(app: DjangoApp, tenant: DjangoTenant, part: str) -> str:
    """The project's id comes first, for bucket names are global."""
    name = shorten(f"{tenant.spec.project}-{prefix(app, tenant)}-{part}", BUCKET)
    return f"{project(tenant)}/buckets/{name}"


def is_given(app: DjangoApp, tenant: DjangoTenant, name: str) -> bool:
    """Whether the app has this full name for something, under whatever spec.

    What bears its labels under any other is somebody's copy: a clone of a Cloud SQL instance has the labels of it.
    """
    fixed = (
        service_name(app, tenant),
        account_name(tenant, prefix(app, tenant)),
        bucket_name(app, tenant, "media"),
        instance_name(app, tenant),
        *(job_name(app, tenant, part) for part in JOB_PARTS),
        *(secret_name(app, tenant, part) for part in SECRET_PARTS),
    )
    copied = re.escape(secret_name(app, tenant, "env-")) + "[A-Za-z_][A-Za-z0-9_]*"
    administrator = f"{project(tenant)}/secrets/{values.ADMINISTRATOR_SECRET}"
    opened = name.removeprefix(administrator) if name.startswith(administrator) else ""
    instance = f"{project(tenant)}/instances/{opened}"
    return name in fixed or bool(re.fullmatch(copied, name)) or is_instance_of_a_life(app, tenant, instance)


def is_instance_of_a_life(app: DjangoApp, tenant: DjangoTenant, name: str) -> bool:
    """Whether an app of this namespace and name, with some uid, has this full name for its instance."""
    stem, _, own_hash = instance_name(app, tenant).rpartition("-")
    return bool(re.fullmatch(f"{re.escape(stem)}-[0-9a-f]{{{len(own_hash)}}}", name))


def role(database: str, part: str) -> str:
    """A role inside the instance, named after the database, of which an instance has but one."""
    return shorten(f"{database}-{part}", ROLE)


def project(tenant: DjangoTenant) -> str:
    return f"projects/{tenant.spec.project}"


def location(tenant: DjangoTenant) -> str:
    return f"projects/{tenant.spec.project}/locations/{tenant.spec.region}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
