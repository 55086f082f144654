"""Each constraint of the API with an accepted and a refused twin, and what is said of the refused one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IMAGE = "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v4"
DIGEST = "sha256:" + "a" * 64
Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """Two spec fragments; `cause` is the sentence of a rule, in the API server's answer and in ours alike."""

    name: str
    accepted: Spec
    refused: Spec
    field: str
    cause: str = ""


def app(spec: Spec, name: str = "shop") -> dict[str, Any]:
    """A DjangoApp with an image and the fragment."""
    return {
        "apiVersion": "nuages.dev/v1alpha1",
        "kind": "DjangoApp",
        "metadata": {"name": name},
        "spec": {"image": IMAGE, **spec},
    }


def tenant(spec: Spec, name: str = "default") -> dict[str, Any]:
    """A DjangoTenant with project and region and the fragment."""
    return {
        "apiVersion": "nuages.dev/v1alpha1",
        "kind": "DjangoTenant",
        "metadata": {"name": name},
        "spec": {"project": "acme-prod", "region": "europe-west1", **spec},
    }


def _env(name: str) -> Spec:
    return {"env": [{"name": name, "value": "x"}]}


def _create(**fields: Any) -> Spec:
    return {"database": {"instance": {"create": fields}}}


def _mount(path: str) -> Spec:
    return {"storage": {"media": {"mountPath": path}}}


PLATFORM = "Cloud Run sets this name itself. Choose another."
SOURCES = "Has not exactly one source. Give one of value, secret and kubernetesSecret."
FITS = (
    "Does not fit cpu. Cloud Run takes at least 128Mi (2Gi with 4 cpu, 4Gi with 6 or 8) and at most 512Mi below 0.5 "
    "cpu, 1Gi below 1, 4Gi with 1, 8Gi with 2, 16Gi with 4, 24Gi with 6 and 32Gi with 8."
)
ANSWERED = "Google answers such paths itself. Use one that does not end in z and is neither /_ah/* nor /eventlog."
SYSTEM = "A mount there hides files of the system. Use a folder of the app, such as /app/media."
FOLDER = 'Is no folder. Give an absolute path below /, without .. and without / at its end, or "" for no mount.'
TWO_CREATED = "Has not exactly one of existing and create. Give one."

IMAGES = (
    Case(
        "image-without-tag",
        {"image": f"localhost:5000/shop@{DIGEST}"},
        {"image": "localhost:5000/shop"},
        "spec.image",
        "Names neither a tag nor a digest. Add one, such as :v4; a tag is resolved and pinned to its digest.",
    ),
    Case(
        "image-form",
        {"image": "gcr.io/acme/shop:v4"},
        {"image": "gcr.io/acme/Shop Front:v4"},
        "spec.image",
        "Is no image reference. Write registry/path/name:tag or registry/path/name@sha256:digest.",
    ),
)

ENVIRONMENT = (
    *(
        Case(f"env-{name}", _env("PORTAL"), _env(name), "spec.env[0].name", PLATFORM)
        for name in ("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION", "CLOUD_RUN_JOB")
    ),
    Case(
        "env-superuser",
        _env("DJANGO_ADMIN_URL"),
        _env("DJANGO_SUPERUSER_PASSWORD"),
        "spec.env[0].name",
        "Nuages sets this name, for one job alone. Use spec.superuser.",
    ),
    Case(
        "env-name",
        _env("_private2"),
        _env("2FA-KEY"),
        "spec.env[0].name",
        "Is no environment variable name. Use letters, digits and _ only.",
    ),
    Case("env-contract", _env("SECRET_KEY_OF_STRIPE"), _env("SECRET_KEY"), "spec.env"),
    Case(
        "env-contract-database",
        {"database": {"engine": "None"}, **_env("DATABASE_URL")},
        _env("DATABASE_URL"),
        "spec.env",
    ),
    Case(
        "env-contract-renamed",
        {"django": {"envNames": {"LOG_FORMAT": "NUAGES_LOG_FORMAT"}}, **_env("LOG_FORMAT")},
        {"django": {"envNames": {"SECRET_KEY": "DJANGO_SECRET_KEY"}}, **_env("DJANGO_SECRET_KEY")},
        "spec.env",
    ),
    Case(
        "env-names-key",
        {"django": {"envNames": {"DB_HOST": "PGHOST"}}},
        {"django": {"envNames": {"DBHOST": "PGHOST"}}},
        "spec.django.envNames",
        "Renames a variable that Nuages does not set. Use the names of the environment contract as keys.",
    ),
    Case(
        "env-names-twice",
        {"django": {"envNames": {"DB_HOST": "DB_PORT", "DB_PORT": "DB_HOST"}}},
        {"django": {"envNames": {"DB_HOST": "DB_PORT"}}},
        "spec.django.envNames",
        "Two variables would bear the same name. Give each its own.",
    ),
    Case("env-no-source", _env("A"), {"env": [{"name": "A"}]}, "spec.env[0]", SOURCES),
    Case(
        "env-two-sources",
        {"env": [{"name": "A", "secret": {"name": "stripe", "version": "3"}}]},
        {"env": [{"name": "A", "value": "x", "secret": {"name": "stripe", "version": "3"}}]},
        "spec.env[0]",
        SOURCES,
    ),
    Case("env-twice", {"env": [*_env("A")["env"], *_env("B")["env"]]}, {"env": _env("A")["env"] * 2}, "spec.env[1]"),
    Case(
        "secret-version",
        {"env": [{"name": "A", "secret": {"name": "stripe", "version": "12"}}]},
        {"env": [{"name": "A", "secret": {"name": "stripe", "version": "latest"}}]},
        "spec.env[0].secret.version",
        'Is no version number. Pin one, such as "3".',
    ),
    Case(
        "secret-name",
        {"env": [{"name": "A", "secret": {"name": "Stripe_1", "version": "1"}}]},
        {"env": [{"name": "A", "secret": {"name": "projects/other/secrets/stripe", "version": "1"}}]},
        "spec.env[0].secret.name",
        "Is no secret of the tenant's project. Give its short name: letters, digits, - and _ only.",
    ),
    Case(
        "kubernetes-secret-name",
        {"env": [{"name": "A", "kubernetesSecret": {"name": "openai.keys", "key": "TOKEN_1"}}]},
        {"env": [{"name": "A", "kubernetesSecret": {"name": "OpenAI", "key": "TOKEN_1"}}]},
        "spec.env[0].kubernetesSecret.name",
        "Is no Kubernetes name. Use small letters, digits, - and . between them.",
    ),
    Case(
        "kubernetes-secret-key",
        {"env": [{"name": "A", "kubernetesSecret": {"name": "openai", "key": "a.b-c_d"}}]},
        {"env": [{"name": "A", "kubernetesSecret": {"name": "openai", "key": "a/b"}}]},
        "spec.env[0].kubernetesSecret.key",
        "Is no key of a Kubernetes Secret. Use letters, digits, -, _ and . only.",
    ),
)

WEB = (
    Case(
        "cpu-size",
        {"web": {"cpu": "2"}},
        {"web": {"cpu": "3"}},
        "spec.web.cpu",
        'Cloud Run has no such size. Use "1", "2", "4", "6", "8" or "0.08" to "0.99".',
    ),
    Case("cpu-number", {"web": {"cpu": "4", "memory": "2Gi"}}, {"web": {"cpu": 4, "memory": "2Gi"}}, "spec.web.cpu"),
    Case(
        "memory-unit",
        {"web": {"memory": "1024Mi"}},
        {"web": {"memory": "1G"}},
        "spec.web.memory",
        "Is no amount of memory. Use Mi or Gi, such as 512Mi or 1Gi.",
    ),
    Case(
        "memory-least",
        {"web": {"cpu": "4", "memory": "2Gi"}},
        {"web": {"cpu": "4", "memory": "1Gi"}},
        "spec.web.memory",
        FITS,
    ),
    Case("memory-default", {"web": {"cpu": "2"}}, {"web": {"cpu": "8"}}, "spec.web.memory", FITS),
    Case("memory-most", {"web": {"memory": "4Gi"}}, {"web": {"memory": "4097Mi"}}, "spec.web.memory", FITS),
    Case(
        "memory-fraction",
        {"web": {"cpu": "0.5", "concurrency": 1}, **_mount("")},
        {"web": {"cpu": "0.49", "concurrency": 1}, **_mount("")},
        "spec.web.memory",
        FITS,
    ),
    Case("job-memory", {"jobs": {"cpu": "8", "memory": "32Gi"}}, {"jobs": {"cpu": "6"}}, "spec.jobs.memory", FITS),
    Case(
        "job-cpu",
        {"jobs": {"cpu": "2"}},
        {"jobs": {"cpu": "5"}},
        "spec.jobs.cpu",
        'Cloud Run jobs have no such size. Use "1", "2", "4", "6" or "8".',
    ),
    Case(
        "job-timeout",
        {"jobs": {"timeoutSeconds": 604800}},
        {"jobs": {"timeoutSeconds": 604801}},
        "spec.jobs.timeoutSeconds",
    ),
    Case(
        "fraction-concurrency",
        {"web": {"cpu": "0.5", "concurrency": 1}, **_mount("")},
        {"web": {"cpu": "0.5", "concurrency": 2}, **_mount("")},
        "spec.web.concurrency",
        'Cloud Run takes less than one cpu with a concurrency of 1 only. Set it to 1, or cpu to "1".',
    ),
    Case(
        "fraction-always",
        {"web": {"cpu": "1", "cpuAlwaysAllocated": True}},
        {"web": {"cpu": "0.5", "concurrency": 1, "cpuAlwaysAllocated": True}, **_mount("")},
        "spec.web.cpuAlwaysAllocated",
        'Cloud Run always allocates whole cpus only. Set cpu to "1" or more, or leave this false.',
    ),
    Case(
        "instances",
        {"web": {"minInstances": 4, "maxInstances": 4}},
        {"web": {"minInstances": 4}},
        "spec.web.minInstances",
        "Is more than maxInstances. Lower it, or raise maxInstances (3 by default).",
    ),
    Case(
        "invokers",
        {"web": {"access": "Authenticated", "invokers": ["group:staff@acme.example"]}},
        {"web": {"invokers": ["group:staff@acme.example"]}},
        "spec.web.invokers",
        "Has no effect while access is Public. Set access: Authenticated, or remove the invokers.",
    ),
    Case(
        "invoker-form",
        {"web": {"access": "Authenticated", "invokers": ["domain:acme.example"]}},
        {"web": {"access": "Authenticated", "invokers": ["allUsers"]}},
        "spec.web.invokers[0]",
        "Is no member. Write user:, group:, serviceAccount:, domain:, principal: or principalSet: before the name.",
    ),
    Case("timeout", {"web": {"timeoutSeconds": 3600}}, {"web": {"timeoutSeconds": 3601}}, "spec.web.timeoutSeconds"),
    Case("port", {"web": {"port": 65535}}, {"web": {"port": 65536}}, "spec.web.port"),
    Case("access", {"web": {"access": "Authenticated"}}, {"web": {"access": "Private"}}, "spec.web.access"),
    Case("ingress", {"web": {"ingress": "Internal"}}, {"web": {"ingress": "internal"}}, "spec.web.ingress"),
    Case("words", {"web": {"command": ["gunicorn"]}}, {"web": {"command": "gunicorn"}}, "spec.web.command"),
    Case("unknown-field", {"web": {"args": ["a"]}}, {"web": {"arg": ["a"]}}, "spec.web.arg"),
    Case(
        "probe-timeout",
        {"web": {"startupProbe": {"periodSeconds": 5, "timeoutSeconds": 5}}},
        {"web": {"startupProbe": {"periodSeconds": 5, "timeoutSeconds": 6}}},
        "spec.web.startupProbe.timeoutSeconds",
        "Is longer than periodSeconds, which Cloud Run refuses. Shorten it.",
    ),
    Case(
        "probe-timeout-default",
        {"web": {"livenessProbe": {"timeoutSeconds": 30}}},
        {"web": {"livenessProbe": {"timeoutSeconds": 31}}},
        "spec.web.livenessProbe.timeoutSeconds",
        "Is longer than periodSeconds, which Cloud Run refuses. Shorten it.",
    ),
    Case(
        "probe-window",
        {"web": {"startupProbe": {"failureThreshold": 48}}},
        {"web": {"startupProbe": {"failureThreshold": 49}}},
        "spec.web.startupProbe.failureThreshold",
        "periodSeconds times failureThreshold is over Cloud Run's 240 s. Lower one, or use initialDelaySeconds.",
    ),
)

DJANGO = (
    *(
        Case(
            f"health-path{path.replace('/', '-')}",
            {"django": {"healthPath": "/healthz/"}},
            {"django": {"healthPath": path}},
            "spec.django.healthPath",
            ANSWERED,
        )
        for path in ("/healthz", "/_ah/health", "/eventlog")
    ),
    Case(
        "health-path-form",
        {"django": {"healthPath": "/"}},
        {"django": {"healthPath": "health/"}},
        "spec.django.healthPath",
        "Is no path. Begin it with /, without spaces, query or fragment.",
    ),
    Case(
        "verify-path",
        {"release": {"verify": {"path": "/up/"}}},
        {"release": {"verify": {"path": "/readyz"}}},
        "spec.release.verify.path",
        ANSWERED,
    ),
    Case(
        "settings-module",
        {"django": {"settingsModule": "config.settings.production"}},
        {"django": {"settingsModule": "config/settings.py"}},
        "spec.django.settingsModule",
        "Is no Python module. Write its dotted name, such as config.settings.",
    ),
    Case(
        "allowed-host",
        {"django": {"allowedHosts": [".acme.example", "shop.acme.example"]}},
        {"django": {"allowedHosts": ["https://shop.acme.example"]}},
        "spec.django.allowedHosts[0]",
        "Is no host name. Write it without scheme and path, such as shop.acme.example or .acme.example.",
    ),
    Case(
        "csrf-origin",
        {"django": {"csrfTrustedOrigins": ["https://*.acme.example"]}},
        {"django": {"csrfTrustedOrigins": ["shop.acme.example"]}},
        "spec.django.csrfTrustedOrigins[0]",
        "Is no origin. Write scheme and host without a path, such as https://shop.acme.example.",
    ),
    Case(
        "cors-origin",
        {"django": {"corsAllowedOrigins": ["http://localhost:3000"]}},
        {"django": {"corsAllowedOrigins": ["https://acme.example/"]}},
        "spec.django.corsAllowedOrigins[0]",
        "Is no origin. Write scheme and host without a path, such as https://shop.acme.example.",
    ),
    Case(
        "manage", {"django": {"manage": ["uv", "run", "manage.py"]}}, {"django": {"manage": []}}, "spec.django.manage"
    ),
)

DATABASE = (
    Case(
        "instance-both",
        {"database": {"instance": {"existing": "acme-pg"}}},
        {"database": {"instance": {"existing": "acme-pg", "create": {}}}},
        "spec.database.instance",
        TWO_CREATED,
    ),
    Case("instance-none", _create(), {"database": {"instance": {}}}, "spec.database.instance", TWO_CREATED),
    Case(
        "instance-name",
        {"database": {"instance": {"existing": "acme-pg"}}},
        {"database": {"instance": {"existing": "acme-prod:europe-west1:acme-pg"}}},
        "spec.database.instance.existing",
        "Is no Cloud SQL instance of the tenant's project. Give its short name, not its connection name.",
    ),
    Case(
        "storage-limit",
        _create(storageGiB=100),
        _create(storageGiB=101),
        "spec.database.instance.create.storageLimitGiB",
        "Is less than storageGiB. Raise it (100 by default).",
    ),
    Case("storage-least", _create(storageGiB=10), _create(storageGiB=9), "spec.database.instance.create.storageGiB"),
    Case(
        "tier-edition",
        _create(edition="EnterprisePlus", tier="db-perf-optimized-N-2"),
        _create(edition="EnterprisePlus"),
        "spec.database.instance.create.tier",
        "Is no tier of this edition. Use db-perf-optimized-N-<n> with EnterprisePlus, db-custom-<cpus>-<MiB> with "
        "Enterprise.",
    ),
    Case(
        "tier-form",
        _create(tier="db-f1-micro"),
        _create(tier="e2-small"),
        "spec.database.instance.create.tier",
        "Is no tier. Use db-custom-<cpus>-<MiB>, such as db-custom-1-3840.",
    ),
    Case(
        "recovery-days",
        _create(edition="EnterprisePlus", tier="db-perf-optimized-N-2", backups={"pointInTimeRecoveryDays": 35}),
        _create(backups={"pointInTimeRecoveryDays": 8}),
        "spec.database.instance.create.backups.pointInTimeRecoveryDays",
        "Edition Enterprise keeps at most 7 days of log. Lower it, or use EnterprisePlus.",
    ),
    Case(
        "backup-time",
        _create(backups={"startTime": "23:59"}),
        _create(backups={"startTime": "24:00"}),
        "spec.database.instance.create.backups.startTime",
        'Is no time of day. Write hours and minutes in UTC, such as "03:00".',
    ),
    Case(
        "flags",
        _create(flags={"cloudsql.enable_pgaudit": "on"}),
        _create(flags={"max connections": "100"}),
        "spec.database.instance.create.flags",
        "Is no flag of PostgreSQL. Use names such as max_connections.",
    ),
    Case(
        "flag-value",
        _create(flags={"work_mem": "64"}),
        _create(flags={"work_mem": 64}),
        "spec.database.instance.create.flags.work_mem",
    ),
    Case(
        "hour",
        _create(maintenanceWindow={"hour": 23}),
        _create(maintenanceWindow={"hour": 24}),
        "spec.database.instance.create.maintenanceWindow.hour",
    ),
    Case(
        "database-name",
        {"database": {"name": "shop_2-eu"}},
        {"database": {"name": "Shop"}},
        "spec.database.name",
        "Is no database name for Nuages. Begin with a small letter, then small letters, digits, _ and -.",
    ),
    Case(
        "database-system",
        {"database": {"name": "postgres2"}},
        {"database": {"name": "postgres"}},
        "spec.database.name",
        "The instance itself uses this database. Choose another name.",
    ),
    Case(
        "extension",
        {"database": {"extensions": ["uuid-ossp"]}},
        {"database": {"extensions": ["pg_trgm; DROP"]}},
        "spec.database.extensions[0]",
        "Is no extension name. Use small letters, digits, _ and -, such as pg_trgm.",
    ),
    Case(
        "extension-twice",
        {"database": {"extensions": []}},
        {"database": {"extensions": ["hstore", "hstore"]}},
        "spec.database.extensions[1]",
    ),
    Case("engine", {"database": {"engine": "None"}}, {"database": {"engine": "MySQL"}}, "spec.database.engine"),
    Case("version", {"database": {"version": "18"}}, {"database": {"version": "9.6"}}, "spec.database.version"),
    Case("version-number", {"database": {"version": "16"}}, {"database": {"version": 16}}, "spec.database.version"),
    Case(
        "connections",
        {"database": {"connectionsPerInstance": 100}},
        {"database": {"connectionsPerInstance": 101}},
        "spec.database.connectionsPerInstance",
    ),
    Case(
        "superuser",
        {"superuser": {"username": "admin", "email": "admin@acme.example"}},
        {"superuser": {"username": "admin", "email": "admin@acme.example"}, "database": {"engine": "None"}},
        "spec.superuser",
        "Needs a database, and spec.database.engine is None. Remove one of them.",
    ),
    Case(
        "superuser-email",
        {"superuser": {"username": "a", "email": "a@b.c"}},
        {"superuser": {"username": "a"}},
        "spec.superuser.email",
    ),
)

STORAGE = (
    *(
        Case(f"mount-form-{number}", _mount("/code/media"), _mount(path), "spec.storage.media.mountPath", FOLDER)
        for number, path in enumerate(("media", "/", "/app/", "/app/../etc", "//app"))
    ),
    *(
        Case(
            f"mount{path.replace('/', '-')}",
            _mount("/usr/src/app/media"),
            _mount(path),
            "spec.storage.media.mountPath",
            SYSTEM,
        )
        for path in ("/usr", "/usr/lib/media", "/etc/app", "/proc", "/cloudsql", "/dev/shm")
    ),
    Case(
        "mount-shared",
        _mount("/var/www/media"),
        _mount("/var"),
        "spec.storage.media.mountPath",
        "A mount there hides other programs' files. Use a folder below it or of the app, such as /app/media.",
    ),
    Case(
        "mount-small",
        {"web": {"memory": "512Mi"}},
        {"web": {"memory": "511Mi"}},
        "spec.storage.media.mountPath",
        'Cloud Run mounts a bucket from one cpu and 512Mi on. Raise spec.web, or set mountPath: "".',
    ),
)

REST = (
    Case("paused", {"paused": True}, {"paused": "yes"}, "spec.paused"),
    Case("deletion-policy", {"deletionPolicy": "Snapshot"}, {"deletionPolicy": "Keep"}, "spec.deletionPolicy"),
    Case(
        "lock-timeout",
        {"migrations": {"lockTimeoutSeconds": 0}},
        {"migrations": {"lockTimeoutSeconds": -1}},
        "spec.migrations.lockTimeoutSeconds",
    ),
    Case(
        "successes",
        {"release": {"verify": {"successes": 1}}},
        {"release": {"verify": {"successes": 0}}},
        "spec.release.verify.successes",
    ),
    Case("egress", {"network": {"egress": "AllTraffic"}}, {"network": {"egress": "Everything"}}, "spec.network.egress"),
    Case(
        "service-account",
        {"serviceAccount": {"existing": "shop@acme-prod.iam.gserviceaccount.com"}},
        {"serviceAccount": {"existing": "shop@acme.example"}},
        "spec.serviceAccount.existing",
        "Is no service account. Give its e-mail address, such as name@project.iam.gserviceaccount.com.",
    ),
    Case(
        "config-map",
        {"envFrom": [{"configMap": {"name": "shop-env"}}]},
        {"envFrom": [{"configMap": {}}]},
        "spec.envFrom[0].configMap.name",
    ),
    Case(
        "interval", {"reconcileIntervalSeconds": 0}, {"reconcileIntervalSeconds": -1}, "spec.reconcileIntervalSeconds"
    ),
    Case("web-type", {"web": {}}, {"web": []}, "spec.web"),
    Case("unknown-section", {"jobs": {}}, {"cache": {"enabled": True}}, "spec.cache"),
)

APP_CASES = (*IMAGES, *ENVIRONMENT, *WEB, *DJANGO, *DATABASE, *STORAGE, *REST)

TENANT_CASES = (
    Case(
        "project",
        {"project": "acme-prod-2"},
        {"project": "Acme Production"},
        "spec.project",
        "Is no project id. Give the id, neither the number nor the display name.",
    ),
    Case(
        "project-number",
        {"project": "acme-1"},
        {"project": "187635794409"},
        "spec.project",
        "Is no project id. Give the id, neither the number nor the display name.",
    ),
    Case(
        "region",
        {"region": "us-east4"},
        {"region": "europe-west1-b"},
        "spec.region",
        "Is no Google Cloud region. Write it as in europe-west1, without a zone.",
    ),
    Case(
        "deployment-id",
        {"deploymentId": "acme-2"},
        {"deploymentId": "2acme"},
        "spec.deploymentId",
        "Is no prefix for Google's names. Begin with a small letter, then small letters, digits and -.",
    ),
    Case(
        "impersonate",
        {"impersonateServiceAccount": "nuages@acme-prod.iam.gserviceaccount.com"},
        {"impersonateServiceAccount": "nuages"},
        "spec.impersonateServiceAccount",
        "Is no service account. Give its e-mail address, such as name@project.iam.gserviceaccount.com.",
    ),
    Case(
        "labels",
        {"labels": {"cost-centre": "web"}},
        {"labels": {"Cost": "web"}},
        "spec.labels",
        "Are no labels for Google. Use small letters, digits, _ and -; begin keys with a letter.",
    ),
    Case(
        "labels-reserved",
        {"labels": {"team": "web"}},
        {"labels": {"managed-by": "web"}},
        "spec.labels",
        "Nuages marks what it owns by managed-by and nuages-*. Choose other labels.",
    ),
    Case(
        "all-traffic",
        {"network": {"egress": "AllTraffic", "direct": {"network": "default", "subnetwork": "run"}}},
        {"network": {"egress": "AllTraffic"}},
        "spec.network.egress",
        "AllTraffic has no network to go through. Give connector or direct.",
    ),
    Case(
        "connector",
        {"network": {"connector": {"name": "serverless-conn"}}},
        {"network": {"connector": {"name": "projects/p/connectors/c"}}},
        "spec.network.connector.name",
        "Is no Google resource name. Give the short name: small letters, digits and -.",
    ),
    Case("database", {"database": {"existing": "acme-pg"}}, {"database": {}}, "spec.database", TWO_CREATED),
    Case(
        "allow-twice", {"allow": {"secrets": ["a", "b"]}}, {"allow": {"secrets": ["a", "a"]}}, "spec.allow.secrets[1]"
    ),
    Case("quota", {"quota": {"apps": 0}}, {"quota": {"apps": -1}}, "spec.quota.apps"),
    Case("unknown-field", {"enableServices": False}, {"dnsZones": []}, "spec.dnsZones"),
)

FULL: Spec = {
    "paused": False,
    "deletionPolicy": "Retain",
    "django": {
        "settingsModule": "config.settings.production",
        "manage": ["python", "manage.py"],
        "healthPath": "/health/",
        "allowedHosts": ["shop.acme.example"],
        "csrfTrustedOrigins": ["https://shop.acme.example"],
        "corsAllowedOrigins": ["https://www.acme.example"],
        "envNames": {"SECRET_KEY": "DJANGO_SECRET_KEY"},
    },
    "env": [
        {"name": "FRONTEND_URL", "value": "https://shop.acme.example"},
        {"name": "STRIPE_KEY", "secret": {"name": "stripe-key", "version": "3"}},
        {"name": "OPENAI_API_KEY", "kubernetesSecret": {"name": "openai", "key": "token"}},
    ],
    "envFrom": [{"configMap": {"name": "shop-env"}}],
    "web": {
        "command": ["gunicorn"],
        "args": ["config.wsgi"],
        "port": 8080,
        "cpu": "1",
        "memory": "1Gi",
        "minInstances": 0,
        "maxInstances": 3,
        "concurrency": 80,
        "timeoutSeconds": 300,
        "cpuAlwaysAllocated": False,
        "startupCpuBoost": True,
        "startupProbe": {"initialDelaySeconds": 0, "periodSeconds": 5, "failureThreshold": 18, "timeoutSeconds": 4},
        "livenessProbe": {"initialDelaySeconds": 0, "periodSeconds": 30, "failureThreshold": 3, "timeoutSeconds": 10},
        "access": "Authenticated",
        "invokers": ["group:staff@acme.example"],
        "ingress": "All",
    },
    "jobs": {"cpu": "1", "memory": "1Gi", "timeoutSeconds": 1800},
    "database": {
        "engine": "PostgreSQL",
        "version": "15",
        "instance": {
            "create": {
                "tier": "db-custom-1-3840",
                "edition": "Enterprise",
                "availability": "Zonal",
                "storageGiB": 20,
                "storageLimitGiB": 100,
                "backups": {"retained": 7, "startTime": "03:00", "pointInTimeRecoveryDays": 7},
                "maintenanceWindow": {"day": "Sunday", "hour": 4},
                "queryInsights": True,
                "flags": {"max_connections": "100"},
                "deletionProtection": True,
                "ip": "Auto",
            }
        },
        "name": "shop",
        "extensions": ["pg_trgm", "unaccent", "hstore", "citext"],
        "connection": "Socket",
        "connectionsPerInstance": 8,
        "allowOverBudget": False,
    },
    "storage": {"media": {"mountPath": "/app/media", "uid": 2000, "gid": 2000, "versioning": True}},
    "migrations": {"policy": "BeforeTraffic", "lockTimeoutSeconds": 10, "statementTimeoutSeconds": 0},
    "release": {"verify": {"path": "/health/", "successes": 3}, "keepRevisions": 5},
    "superuser": {"username": "admin", "email": "admin@acme.example", "command": ["createsuperuser", "--noinput"]},
    "serviceAccount": {"existing": "shop@acme-prod.iam.gserviceaccount.com"},
    "network": {"egress": "PrivateRangesOnly"},
    "reconcileIntervalSeconds": 600,
    "deepCheckIntervalSeconds": 3600,
}

FULL_TENANT: Spec = {
    "deploymentId": "acme",
    "impersonateServiceAccount": "nuages@acme-prod.iam.gserviceaccount.com",
    "labels": {"cost-centre": "web"},
    "enableServices": True,
    "allow": {
        "images": ["europe-west1-docker.pkg.dev/acme-prod/apps/*"],
        "secrets": ["stripe-*"],
        "instances": ["acme-pg"],
        "serviceAccounts": ["shop@acme-prod.iam.gserviceaccount.com"],
    },
    "network": {
        "egress": "PrivateRangesOnly",
        "connector": {"name": "serverless-conn"},
        "direct": {"network": "default", "subnetwork": "run"},
        "privateServicesAccess": "Existing",
    },
    "database": {"existing": "acme-pg"},
    "quota": {"apps": 100},
}
