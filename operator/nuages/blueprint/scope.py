"""What every capability is given: the app, its tenant, the facts, and what follows from them for all alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant, instance_of
from nuages.blueprint import names
from nuages.blueprint.facts import Facts
from nuages.desired.resource import Owner


@dataclass(frozen=True)
class Scope:
    app: DjangoApp
    tenant: DjangoTenant
    facts: Facts

    @property
    def owner(self) -> Owner:
        """The app."""
        return Owner(self.app.metadata.namespace, self.app.metadata.name, self.app.metadata.uid)

    @property
    def shared(self) -> Owner:
        """The namespace, for what its apps share."""
        return Owner(self.app.metadata.namespace)

    @property
    def instance_owner(self) -> Owner:
        """The instance that is there already, for what all apps on it share, whatever their namespaces."""
        return Owner(instance=names.shorten(self.instance.rsplit("/", 1)[-1], names.LABEL))

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """The tenant's labels, sorted."""
        return tuple(sorted(self.tenant.spec.labels.items()))

    @property
    def template_labels(self) -> tuple[tuple[str, str], ...]:
        """What revisions and executions bear: the owner, and which spec.image they were made from."""
        image = hashlib.sha256(self.app.spec.image.encode()).hexdigest()[:16]
        return tuple(sorted({**dict(self.labels), **self.owner.labels(), "nuages-image": image}.items()))

    @property
    def runtime_account(self) -> str:
        """Email of the identity that the app runs as."""
        return names.runtime_account(self.app, self.tenant)

    @property
    def db_init_account(self) -> str:
        """Full name of the identity that alone of its tenant's may read the administrator's secret."""
        return names.db_init_account(self.tenant)

    @property
    def instance(self) -> str:
        """Full name of the Cloud SQL instance."""
        existing = instance_of(self.app, self.tenant).existing
        if existing:
            return f"{names.project(self.tenant)}/instances/{existing}"
        return self.facts.own_instance or names.instance_name(self.app, self.tenant)

    @property
    def connection_name(self) -> str:
        """What is mounted under /cloudsql."""
        known = self.facts.existing_instance
        region = known.region if known is not None else self.tenant.spec.region
        return f"{self.tenant.spec.project}:{region}:{self.instance.rsplit('/', 1)[-1]}"

    @property
    def login(self) -> str:
        """The login role that the app uses."""
        return names.role(self.app.database_name, self.facts.logins.newest)

    def secret(self, part: str) -> str:
        return names.secret_name(self.app, self.tenant, part)

    @property
    def host(self) -> str:
        """The number-based host, known before the first deploy."""
        service = names.service_id(self.app, self.tenant)
        return f"{service}-{self.facts.project_number}.{self.tenant.spec.region}.run.app"

    @property
    def candidate_host(self) -> str:
        return f"candidate---{self.host}"

    @property
    def hash_host(self) -> str:
        """The hash-based host, once Google has made it."""
        return self.facts.hash_url.removeprefix("https://")
