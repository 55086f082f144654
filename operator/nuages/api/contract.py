"""The environment contract: the variables that Nuages sets in every app. `spec.django.envNames` renames any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nuages.api.app import DjangoAppSpec

DJANGO = (
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "DEBUG",
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "CORS_ALLOWED_ORIGINS",
    "DJANGO_SETTINGS_MODULE",
    "CLOUDRUN_SERVICE_URLS",
    "LOG_FORMAT",
    "USE_REDIS",
)
DATABASE = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD", "DATABASE_URL")
"""Set where there is a database; an app with `engine: None` may bring its own."""
STORAGE = ("USE_GCP", "GS_PROJECT_ID", "GS_BUCKET_NAME", "MEDIA_ROOT", "STATIC_URL", "GOOGLE_CLOUD_PROJECT")

ALWAYS = DJANGO + STORAGE
CONTRACT = ALWAYS + DATABASE
"""All names that `envNames` may rename."""


def taken_names(spec: DjangoAppSpec) -> frozenset[str]:
    """The names under which Nuages sets variables in this app, after renaming: `env` and `envFrom` may have none."""
    used = CONTRACT if spec.database.enabled else ALWAYS
    renamed = spec.django.env_names
    return frozenset(name for name in used if name not in renamed) | frozenset(renamed.values())
