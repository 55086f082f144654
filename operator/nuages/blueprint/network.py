"""The way out: the tenant's connector, or an address in its subnetwork."""

from __future__ import annotations

from nuages.api.tenant import egress_of
from nuages.blueprint import names
from nuages.blueprint.scope import Scope
from nuages.desired.run import NetworkAccess

EGRESS = {"PrivateRangesOnly": "PRIVATE_RANGES_ONLY", "AllTraffic": "ALL_TRAFFIC"}


def network_access(scope: Scope) -> NetworkAccess | None:
    """None where the tenant has no network for its apps."""
    network, egress = scope.tenant.spec.network, EGRESS[egress_of(scope.app, scope.tenant)]
    if network.connector is not None:
        return NetworkAccess(egress, connector=f"{names.location(scope.tenant)}/connectors/{network.connector.name}")
    if network.direct is not None:
        return NetworkAccess(egress, network=network.direct.network, subnetwork=network.direct.subnetwork)
    return None
