"""Every condition type and reason in one place, as docs/reference lists them."""

from __future__ import annotations

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"

# Ready=True
AVAILABLE = "Available"
# Ready=False while Reconciling
PROVISIONING, RESOLVING_IMAGE, WAITING = "Provisioning", "ResolvingImage", "Waiting"
CREATING_INSTANCE = "InstanceCreating"
PAUSED, DELETING = "Paused", "Deleting"
# Stalled=True
INVALID_SPEC = "InvalidSpec"
TENANT_INVALID, TENANT_MISSING = "TenantInvalid", "TenantMissing"
NOT_ALLOWED = "NotAllowed"
NAME_CONFLICT = "NameConflict"
IMMUTABLE_FIELD = "ImmutableField"
IMAGE_NOT_FOUND, IMAGE_UNREACHABLE = "ImageNotFound", "ImageUnreachable"
INSTANCE_NOT_FOUND = "InstanceNotFound"
SECRET_MISSING, SECRET_KEY_MISSING, CONFIG_MAP_MISSING = "SecretMissing", "SecretKeyMissing", "ConfigMapMissing"
PERMISSION_DENIED, API_DISABLED, QUOTA_EXCEEDED = "PermissionDenied", "ApiDisabled", "QuotaExceeded"
REFUSED_BY_GOOGLE, RESOURCE_FAILED = "RefusedByGoogle", "ResourceFailed"
# Ready=False, neither Stalled nor news: tried again with backoff
GOOGLE_UNAVAILABLE = "GoogleUnavailable"
