"""What the operator was started with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nuages.api.tenant import DjangoTenant
from nuages.reconcile.patience import PATIENCE, Patience


@dataclass(frozen=True)
class Settings:
    """`operator_image` is what db-init runs; `default_tenant` serves namespaces without a DjangoTenant.

    `patience` is for identities and grants that are not known everywhere yet.
    """

    operator_image: str
    default_tenant: Callable[[str], DjangoTenant] | None = None
    patience: Patience = PATIENCE
