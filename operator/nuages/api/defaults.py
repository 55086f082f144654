"""The one table of defaults.

They live here and not in the CRD: a default there would write into `spec`, which Argo CD reads as a difference.
"""

from __future__ import annotations

from typing import Final

MANAGEMENT: Final = "Manage"
DELETION_POLICY: Final = "Retain"
RECONCILE_INTERVAL_SECONDS: Final = 600
DEEP_CHECK_INTERVAL_SECONDS: Final = 3600

# spec.django
MANAGE: Final = ("python", "manage.py")
HEALTH_PATH: Final = "/health/"

# spec.web
PORT: Final = 8080
CPU: Final = "1"
MEMORY: Final = "1Gi"
MIN_INSTANCES: Final = 0
MAX_INSTANCES: Final = 3
CONCURRENCY: Final = 80
REQUEST_TIMEOUT_SECONDS: Final = 300
CPU_ALWAYS_ALLOCATED: Final = False
STARTUP_CPU_BOOST: Final = True
STARTUP_INITIAL_DELAY_SECONDS: Final = 0
STARTUP_PERIOD_SECONDS: Final = 5
STARTUP_FAILURE_THRESHOLD: Final = 18  # 90 s to come up, no delay on a cold start
LIVENESS_INITIAL_DELAY_SECONDS: Final = 0
LIVENESS_PERIOD_SECONDS: Final = 30
LIVENESS_FAILURE_THRESHOLD: Final = 3
PROBE_TIMEOUT_AT_MOST_SECONDS: Final = 5
ACCESS: Final = "Public"
INGRESS: Final = "All"

# spec.jobs
JOB_CPU: Final = "1"
JOB_MEMORY: Final = "1Gi"
JOB_TIMEOUT_SECONDS: Final = 1800

# spec.database
ENGINE: Final = "PostgreSQL"
DATABASE_VERSION: Final = "15"
TIER: Final = "db-custom-1-3840"
EDITION: Final = "Enterprise"
AVAILABILITY: Final = "Zonal"
STORAGE_GIB: Final = 20
STORAGE_LIMIT_GIB: Final = 100
BACKUPS_RETAINED: Final = 7
BACKUP_START_TIME: Final = "03:00"
POINT_IN_TIME_RECOVERY_DAYS: Final = 7
MAINTENANCE_DAY: Final = "Sunday"
MAINTENANCE_HOUR: Final = 4
QUERY_INSIGHTS: Final = True
DATABASE_FLAGS: Final = {"max_connections": "100"}
DELETION_PROTECTION: Final = True
DATABASE_IP: Final = "Auto"
EXTENSIONS: Final = ("pg_trgm", "unaccent", "hstore", "citext")
CONNECTIONS_PER_INSTANCE: Final = 8
ALLOW_OVER_BUDGET: Final = False

# spec.storage
MEDIA_MOUNT_PATH: Final = "/app/media"
MEDIA_UID: Final = 2000
MEDIA_GID: Final = 2000
MEDIA_VERSIONING: Final = True

# spec.migrations
MIGRATION_POLICY: Final = "BeforeTraffic"
LOCK_TIMEOUT_SECONDS: Final = 10
STATEMENT_TIMEOUT_SECONDS: Final = 0

# spec.release
VERIFY_SUCCESSES: Final = 3
KEEP_REVISIONS: Final = 5

# spec.superuser
SUPERUSER_COMMAND: Final = ("createsuperuser", "--noinput")

# DjangoTenant
ENABLE_SERVICES: Final = True
TENANT_EGRESS: Final = "PrivateRangesOnly"
PRIVATE_SERVICES_ACCESS: Final = "None"
