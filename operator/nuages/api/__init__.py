"""What a user writes: DjangoApp and DjangoTenant, their defaults, their rules and their CRDs."""

from nuages.api.app import DjangoApp, DjangoAppSpec, Metadata
from nuages.api.permission import Violation, check_allowed
from nuages.api.tenant import DjangoTenant, DjangoTenantSpec
from nuages.api.validate import InvalidSpec, default_tenant, parse_app, parse_tenant

__all__ = [
    "DjangoApp",
    "DjangoAppSpec",
    "DjangoTenant",
    "DjangoTenantSpec",
    "InvalidSpec",
    "Metadata",
    "Violation",
    "check_allowed",
    "default_tenant",
    "parse_app",
    "parse_tenant",
]
