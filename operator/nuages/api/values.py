"""The strings that specs are made of: each with its length, its rules and the sentence for whoever broke one."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from nuages.api.resources import MEMORY
from nuages.api.rules import Rule


def matching(pattern: str, message: str) -> Rule:
    """The whole string matches `pattern`, written so that RE2 (the API server) and Python read it alike."""
    compiled = re.compile(pattern, re.ASCII)  # as RE2 reads its classes
    escaped = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return Rule(
        cel=f"self.matches('^(?:{escaped})$')",
        message=message,
        check=lambda value: compiled.fullmatch(value) is not None,
    )


def one_of(names: tuple[str, ...]) -> str:
    """A CEL list of strings."""
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


NUL_REFUSED = "Holds the character NUL, which no process can be given. Remove it."
NO_NUL = Rule(cel=r"!self.contains('\u0000')", message=NUL_REFUSED, check=lambda value: "\0" not in value)
Words = Annotated[tuple[Annotated[str, Field(max_length=4096), NO_NUL], ...], Field(max_length=64)]
"""A command, or its arguments."""

DNS_LABEL = r"[a-z]([-a-z0-9]*[a-z0-9])?"
DNS_LABEL_FORM = re.compile(DNS_LABEL)
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]*")
FLAG_NAME = re.compile(r"[a-z][a-z0-9_.]*")
# What opens every database of an instance: the beginning of a secret's name, the end of an account's.
ADMINISTRATOR_SECRET = "nuages-admin-"  # noqa: S105 - then the instance's id
DB_INIT_ACCOUNT = "--dbinit"
SYSTEM_DATABASES = ("postgres", "template0", "template1", "cloudsqladmin")
TAG_OR_DIGEST = re.compile(r"[:@][^/]*$")

Image = Annotated[
    str,
    Field(min_length=1, max_length=512),
    matching(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[a-f0-9]{64})?",
        "Is no image reference. Write registry/path/name:tag or registry/path/name@sha256:digest.",
    ),
    Rule(
        cel="!self.contains('/') || self.matches('[:@][^/]*$')",  # the rest is the rule above's
        message="Names neither a tag nor a digest. Add one, such as :v4; a tag is resolved and pinned to its digest.",
        check=lambda value: "/" not in value or TAG_OR_DIGEST.search(value) is not None,
    ),
]

Email = Annotated[
    str,
    Field(min_length=3, max_length=254),
    matching(r"[^@\s\x00]+@[^@\s\x00]+", "Is no e-mail address. Write name@domain."),  # the rest is Django's to judge
]

# What Cloud Run sets and refuses to be given, in services or in jobs, which have the same variables here
# (gcp/behaviour-runtime.md §3, "Environment"). X_GOOGLE_ is refused by the documentation
# (run/docs/configuring/services/overview-environment-variables) and by gcloud (EnvVarKeyType). No other name is.
PLATFORM_NAMES = ("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION")
PLATFORM_PREFIX, DEPLOYMENT_PREFIX = "CLOUD_RUN_", "X_GOOGLE_"
# Others that begin so are createsuperuser's own way to a user model's further fields.
SUPERUSER_NAMES = ("DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD")
LARGEST_VARIABLE = 32_768  # bytes ("Maximum variable length, in Kb: 32", cloud.google.com/run/quotas)

VariableName = Annotated[
    str,
    Field(min_length=1, max_length=128),
    matching(
        r"[A-Za-z_][A-Za-z0-9_]*",
        "Is no environment variable name. Begin with a letter or _, then letters, digits and _.",
    ),
    Rule(
        cel=f"!(self in {one_of(PLATFORM_NAMES)}) && !self.startsWith('{PLATFORM_PREFIX}')",
        message="Cloud Run sets this name itself. Choose another.",
        check=lambda value: value not in PLATFORM_NAMES and not value.startswith(PLATFORM_PREFIX),
    ),
    Rule(
        cel=f"!self.startsWith('{DEPLOYMENT_PREFIX}')",
        message="Google keeps names that begin so for its own tools. Choose another.",
        check=lambda value: not value.startswith(DEPLOYMENT_PREFIX),
    ),
    Rule(
        cel=f"!(self in {one_of(SUPERUSER_NAMES)})",
        message="Nuages sets this name, for one job alone. Use spec.superuser.",
        check=lambda value: value not in SUPERUSER_NAMES,
    ),
]

KubernetesName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "Is no Kubernetes name. Use small letters, digits, - and . between them."
    ),
]
SecretKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(r"[-._a-zA-Z0-9]+", "Is no key of a Kubernetes Secret. Use letters, digits, -, _ and . only."),
]
SecretName = Annotated[
    str,
    Field(min_length=1, max_length=255),
    matching(
        r"[A-Za-z0-9_-]+",
        "Is no secret of the tenant's project. Give its short name: letters, digits, - and _ only.",
    ),
]
SecretVersion = Annotated[
    str,
    Field(min_length=1, max_length=10),
    matching(r"[1-9][0-9]*", 'Is no version number. Pin one, such as "3".'),
]
ServiceAccount = Annotated[
    str,
    Field(max_length=256),
    matching(
        r"[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com",
        "Is no service account. Give its e-mail address, such as name@project.iam.gserviceaccount.com.",
    ),
]

Path = Annotated[
    str,
    Field(min_length=1, max_length=512),
    matching(r"/[^\s\x00?#]*", "Is no path. Begin it with /, without spaces, query or fragment."),
    Rule(
        cel="!self.endsWith('z') && self != '/_ah' && !self.startsWith('/_ah/') && self != '/eventlog'",
        message="Google answers such paths itself. Use one that does not end in z and is neither /_ah/* nor /eventlog.",
        check=lambda value: not value.endswith("z") and value not in ("/_ah", "/eventlog") and value[:5] != "/_ah/",
    ),
]
Host = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        r"\*|\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?",  # Django compares without the port: validate_host
        "Is no host name. Write it without scheme, port and path, such as shop.acme.example or .acme.example.",
    ),
]
Origin = Annotated[
    str,
    Field(min_length=1, max_length=261),
    matching(
        r"https?://(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?",
        "Is no origin. Write scheme and host without a path, such as https://shop.acme.example.",
    ),
]
SettingsModule = Annotated[
    str,
    Field(max_length=255),
    matching(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "Is no Python module. Write its dotted name, such as config.settings."),
]
Member = Annotated[
    str,
    Field(max_length=512),
    matching(
        r"(user|group|serviceAccount|domain|principal|principalSet):\S+",
        "Is no member. Write user:, group:, serviceAccount:, domain:, principal: or principalSet: before the name.",
    ),
]

# Longer than any right one, for the API server says nothing of the form of what is too long: "1000m", "1048576Ki".
LONGEST_ATTEMPT = 32

WebCpu = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_ATTEMPT),
    matching(
        r"1|2|4|6|8|0\.(0[89]|[1-9][0-9]?)",
        'Cloud Run has no such size. Use "1", "2", "4", "6", "8" or "0.08" to "0.99".',
    ),
]
JobCpu = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_ATTEMPT),
    matching(r"[12468]", 'Cloud Run jobs have no such size. Use "1", "2", "4", "6" or "8".'),
]
Memory = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_ATTEMPT),
    matching(MEMORY, "Is no amount of memory. Use Mi or Gi, such as 512Mi or 1Gi."),
]

SYSTEM_FOLDERS = ("bin", "boot", "cloudsql", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr")
SHARED_FOLDERS = ("/home", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var")  # noqa: S108 - refused, not used


def _hides_the_system(path: str) -> bool:
    first = path.removeprefix("/").split("/")[0]
    return path.startswith("/") and first in SYSTEM_FOLDERS and not path.startswith("/usr/src/")


MountPath = Annotated[
    str,
    Field(max_length=255),
    Rule(
        cel=r"self == '' || self.matches('^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$')",
        message='Is no folder. Give an absolute path below /, without .. and without / at its end, or "" for no mount.',
        check=lambda value: value == "" or re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", value) is not None,
    ),
    Rule(
        cel=f"!self.matches('^/({'|'.join(SYSTEM_FOLDERS)})(/|$)') || self.startsWith('/usr/src/')",
        message="A mount there hides files of the system. Use a folder of the app, such as /app/media.",
        check=lambda value: not _hides_the_system(value),
    ),
    Rule(
        cel=f"!(self in {one_of(SHARED_FOLDERS)})",
        message="A mount there hides other programs' files. Use a folder below it or of the app, such as /app/media.",
        check=lambda value: value not in SHARED_FOLDERS,
    ),
]

DatabaseName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(
        r"[a-z_][a-z0-9_-]*",
        "Is no database name for Nuages. Begin with a small letter, then small letters, digits, _ and -.",
    ),
    Rule(
        cel=f"!(self in {one_of(SYSTEM_DATABASES)})",
        message="The instance itself uses this database. Choose another name.",
        check=lambda value: value not in SYSTEM_DATABASES,
    ),
]
Extension = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(r"[a-z][a-z0-9_-]*", "Is no extension name. Use small letters, digits, _ and -, such as pg_trgm."),
]
InstanceName = Annotated[
    str,
    Field(min_length=1, max_length=98),
    matching(
        r"[a-z]([-a-z0-9]*[a-z0-9])?",
        "Is no Cloud SQL instance of the tenant's project. Give its short name, not its connection name.",
    ),
]
Tier = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(r"db-[a-z0-9]+(-[A-Za-z0-9]+)*", "Is no tier. Use db-custom-<cpus>-<MiB>, such as db-custom-1-3840."),
]
TimeOfDay = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_ATTEMPT),
    matching(r"([01][0-9]|2[0-3]):[0-5][0-9]", 'Is no time of day. Write hours and minutes in UTC, such as "03:00".'),
]

# Google asks for six characters of a new project; whether a shorter one is there is for Google to say.
ProjectId = Annotated[
    str,
    Field(min_length=1, max_length=30),
    matching(
        r"[a-z][-a-z0-9]{2,28}[a-z0-9]", "Is no project id. Give the id, neither the number nor the display name."
    ),
]
Region = Annotated[
    str,
    Field(min_length=1, max_length=40),
    matching(r"[a-z]+-[a-z]+[0-9]+", "Is no Google Cloud region. Write it as in europe-west1, without a zone."),
]
DeploymentId = Annotated[
    str,
    Field(min_length=1, max_length=30),
    matching(
        DNS_LABEL, "Is no prefix for Google's names. Begin with a small letter, then small letters, digits and -."
    ),
]
ResourceName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(DNS_LABEL, "Is no Google resource name. Give the short name: small letters, digits and -."),
]
Glob = Annotated[str, Field(min_length=1, max_length=512)]
