"""The API group and the kinds in it."""

from __future__ import annotations

from typing import Final

GROUP = "nuages.dev"
VERSION = "v1alpha1"
API_VERSION: Final = "nuages.dev/v1alpha1"
TENANT_NAME = "default"
"""A namespace has one DjangoTenant, of this name."""
