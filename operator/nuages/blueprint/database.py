"""The Cloud SQL instance, its one administrator, and what db-init makes inside."""

from __future__ import annotations

from urllib.parse import quote

from nuages.api.database import CreateInstance
from nuages.api.permission import matches_any
from nuages.api.tenant import instance_of
from nuages.blueprint import names
from nuages.blueprint.blueprint import Capability
from nuages.blueprint.budget import budget
from nuages.blueprint.scope import Scope
from nuages.dbinit.spec import DOCUMENT, Action, DbInitSpec, Login, Marker
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.run import Environment, RunJob, Template
from nuages.desired.secretmanager import Composed, Random, Secret, SecretRef
from nuages.desired.sql import Backups, ExistingSqlInstance, SqlInstance, SqlUser

ADMINISTRATOR = "nuages-admin"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PASSWORD_LENGTH = 40
DB_INIT_SECONDS = 600
PASSWORD_VARIABLE = "LOGIN_PASSWORD_"  # noqa: S105 - the name of a variable


def database(scope: Scope) -> Capability:
    if not scope.app.spec.database.enabled:
        return Capability()
    login, url = _passwords(scope)
    account = ServiceAccount(name=scope.db_init_account, owner=scope.shared, display_name="Nuages db-init")
    administrator = administrator_secret(scope)
    user = SqlUser(name=f"{scope.instance}/users/{ADMINISTRATOR}", password=administrator.name)
    resources: tuple[Resource, ...] = (_instance(scope), account, administrator, user, *login, url)
    return Capability(
        resources=resources,
        environment=_environment(scope, url),
        condition="DatabaseReady",
        problems=budget(scope),
    )


def administrator_secret(scope: Scope) -> Secret:
    """One an instance; an instance of the app's own takes its administrator along.

    That of an instance for many tenants bears no tenant's labels: no two would agree on them.
    """
    own = instance_of(scope.app, scope.tenant).create is not None
    return Secret(
        name=names.administrator_secret(scope.tenant.spec.project, scope.instance.rsplit("/", 1)[-1]),
        owner=scope.owner if own else scope.instance_owner,
        payload=Random(PASSWORD_LENGTH),
        labels=scope.labels if own else (),
        named_by=_named_by(scope),
    )


def db_init(scope: Scope, action: Action = "ensure") -> RunJob | None:
    """The job under an identity of its own; the only one that sees the administrator's password."""
    if not scope.app.spec.database.enabled:
        return None
    logins = tuple(
        Login(names.role(scope.app.database_name, letter), f"{PASSWORD_VARIABLE}{letter.upper()}")
        for letter in _letters(scope)
    )
    # Whoever owns the instance owns the database: it may bear the uid of an earlier life of the app.
    own = instance_of(scope.app, scope.tenant).create is not None
    adopts = scope.app.metadata.annotations.get("nuages.dev/adopt") == "true"
    document = DbInitSpec(
        database=scope.app.database_name,
        owner=names.role(scope.app.database_name, "owner"),
        marker=Marker(scope.app.key, scope.app.metadata.uid),
        logins=logins,
        extensions=scope.app.spec.database.extensions,
        action=action,
        adopt=own or adopts,
        adopt_unmarked=own or (adopts and matches_any(scope.app.database_name, scope.tenant.spec.allow.databases)),
    )
    environment: dict[str, str | SecretRef] = {
        "PGHOST": f"/cloudsql/{scope.connection_name}",
        "PGUSER": ADMINISTRATOR,
        "PGPASSWORD": SecretRef(administrator_secret(scope).name),
        DOCUMENT: document.to_json(),
    }
    for letter in _letters(scope) if action == "ensure" else ():
        environment[f"{PASSWORD_VARIABLE}{letter.upper()}"] = SecretRef(scope.secret(names.login_part(letter)))
    template = Template(
        image=scope.facts.operator_image,
        command=("python", "-m", "nuages.dbinit"),
        environment=tuple(sorted(environment.items())),
        cpu="1",
        memory="512Mi",
        service_account=scope.db_init_account.rsplit("/", 1)[-1],
        timeout=DB_INIT_SECONDS,
        cloud_sql=(scope.connection_name,),
        labels=scope.template_labels,
    )
    return RunJob(name=names.job_name(scope.app, scope.tenant, "db-init"), owner=scope.owner, template=template)


def db_init_grants(scope: Scope) -> tuple[IamMember, ...]:
    """What the db-init identity may read: the administrator's password, and those that it sets."""
    member = f"serviceAccount:{scope.db_init_account.rsplit('/', 1)[-1]}"
    secrets = [
        administrator_secret(scope).name,
        *(scope.secret(names.login_part(letter)) for letter in _letters(scope)),
    ]
    return tuple(IamMember.of(name, "roles/secretmanager.secretAccessor", member) for name in secrets)


def _letters(scope: Scope) -> tuple[str, ...]:
    """The login roles that have a password: B comes with the first rotation, and then both stay."""
    return scope.facts.logins.letters


def _passwords(scope: Scope) -> tuple[tuple[Secret, ...], Secret]:
    made = tuple(
        Secret(
            name=scope.secret(names.login_part(letter)),
            owner=scope.owner,
            payload=Random(PASSWORD_LENGTH),
            source=scope.facts.logins.sources[letter],
            labels=scope.labels,
        )
        for letter in _letters(scope)
    )
    host, name = quote(f"/cloudsql/{scope.connection_name}", safe=""), quote(scope.app.database_name, safe="")
    url = Secret(
        name=scope.secret("database-url"),
        owner=scope.owner,
        payload=Composed(
            f"postgresql://{quote(scope.login, safe='')}:{{password}}@/{name}?host={host}",
            (("password", scope.secret(names.login_part(scope.facts.logins.newest))),),
        ),
        source="",
        labels=scope.labels,
    )
    return made, url


def _environment(scope: Scope, url: Secret) -> Environment:
    return (
        ("DATABASE_URL", SecretRef(url.name)),
        ("DB_HOST", f"/cloudsql/{scope.connection_name}"),
        ("DB_NAME", scope.app.database_name),
        ("DB_PASSWORD", SecretRef(scope.secret(names.login_part(scope.facts.logins.newest)))),
        ("DB_PORT", "5432"),
        ("DB_USER", scope.login),
    )


def _instance(scope: Scope) -> Resource:
    wanted = instance_of(scope.app, scope.tenant)
    if wanted.create is None:
        return ExistingSqlInstance(name=scope.instance, named_by=_named_by(scope))
    create = wanted.create
    private_network = _private_network(scope, create)
    return SqlInstance(
        name=scope.instance,
        owner=scope.owner,
        region=scope.tenant.spec.region,
        database_version=f"POSTGRES_{scope.app.spec.database.version}",
        tier=create.tier,
        edition="ENTERPRISE_PLUS" if create.edition == "EnterprisePlus" else "ENTERPRISE",
        availability=create.availability.upper(),
        disk_gb=create.storage_gib,
        disk_limit_gb=create.storage_limit_gib,
        backups=Backups(create.backups.retained, create.backups.start_time, create.backups.point_in_time_recovery_days),
        maintenance_day=DAYS.index(create.maintenance_window.day) + 1,
        maintenance_hour=create.maintenance_window.hour,
        query_insights=create.query_insights,
        flags=tuple(sorted(create.flags.items())),
        deletion_protection=create.deletion_protection,
        private_network=private_network,
        connectors_only=not private_network,
        labels=scope.labels,
    )


def _named_by(scope: Scope) -> str:
    """The field with the existing instance's name; "" for an instance of the app's own."""
    if instance_of(scope.app, scope.tenant).create is not None:
        return ""
    by_app = scope.app.spec.database.instance is not None
    return "spec.database.instance.existing" if by_app else "DjangoTenant spec.database.existing"


def _private_network(scope: Scope, create: CreateInstance) -> str:
    """Auto is private where the tenant has private services access, else public for connectors only."""
    network = scope.tenant.spec.network
    has_access = network.private_services_access != "None"
    if create.ip == "Public" or (create.ip == "Auto" and not has_access):
        return ""
    short = network.direct.network if network.direct is not None else "default"
    return f"projects/{scope.tenant.spec.project}/global/networks/{short}"
