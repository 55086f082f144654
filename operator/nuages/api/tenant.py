"""DjangoTenant: the Google project, identity and network of a namespace's apps, and what they may name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nuages.api import defaults, values
from nuages.api.app import DjangoApp, Metadata
from nuages.api.database import CreateInstance, Instance
from nuages.api.group import API_VERSION, TENANT_NAME
from nuages.api.lists import SET
from nuages.api.rules import Part, Rule, given

Globs = Annotated[tuple[values.Glob, ...], Field(max_length=100), SET]


class Allow(Part):
    """What an app may name besides its own. `*` stands for anything but /, `**` for anything."""

    images: Globs | None = Field(None, description="Images, with or without their tag. Default: any.")
    secrets: Globs = Field((), description="Secrets of the project, by short name. Default: none.")
    instances: Globs = Field((), description="Cloud SQL instances besides the tenant's. Default: none.")
    service_accounts: Globs = Field((), description="Service accounts that apps may run as. Default: none.")
    databases: Globs = Field(
        (), description="Databases on existing instances, not made by Nuages, that apps may adopt. Default: none."
    )


class Connector(Part):
    """A Serverless VPC Access connector that is there."""

    name: values.ResourceName = Field(description="Its short name, in the tenant's project and region.")


class DirectEgress(Part):
    """Direct VPC egress."""

    network: values.ResourceName = Field(description="Short name of the network.")
    subnetwork: values.ResourceName = Field(description="Short name of the subnetwork, in the tenant's region.")


class TenantNetwork(Part):
    """How apps reach the tenant's network."""

    rules = (
        Rule(
            cel="!has(self.egress) || self.egress != 'AllTraffic' || has(self.connector) || has(self.direct)",
            message="AllTraffic has no network to go through. Give connector or direct.",
            check=lambda network: (
                network.egress != "AllTraffic" or network.connector is not None or network.direct is not None
            ),
            field="egress",
        ),
    )

    egress: Literal["PrivateRangesOnly", "AllTraffic"] = Field(
        defaults.TENANT_EGRESS, description="What goes through the network. Default: PrivateRangesOnly."
    )
    connector: Connector | None = Field(None, description="For services and jobs.")
    direct: DirectEgress | None = Field(None, description="For services and jobs without connector.")
    private_services_access: Literal["None", "Existing"] = Field(
        defaults.PRIVATE_SERVICES_ACCESS, description="Whether Cloud SQL can have private addresses in the network."
    )


_RESERVED_LABELS = (
    "managed-by",
    "nuages-namespace",
    "nuages-app",
    "nuages-uid",
    "nuages-retained",
    "nuages-instance",
)
Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]


def _fixed(field: str) -> Rule:
    """A transition: what exists in Google Cloud would stay behind under the old value."""
    return Rule(
        cel=f"{given(field, '')} == {given(field, '', 'oldSelf')}",
        message="What exists would stay behind under the old value. Delete apps and tenant, then create them anew.",
        field=field,
    )


class DjangoTenantSpec(Part):
    """Where the namespace's apps live and what they may use."""

    rules = (
        Rule(
            cel="!has(self.labels) || self.labels.all(k, k.matches('^[a-z][a-z0-9_-]{0,62}$') && "
            "self.labels[k].matches('^[a-z0-9_-]*$'))",
            message="Are no labels for Google. Use small letters, digits, _ and -; begin keys with a letter.",
            check=lambda spec: all(
                values.LABEL_KEY.fullmatch(key) and values.LABEL_VALUE.fullmatch(value)
                for key, value in spec.labels.items()
            ),
            field="labels",
        ),
        Rule(
            cel=f"!has(self.labels) || !self.labels.exists(k, k in {values.one_of(_RESERVED_LABELS)})",
            message="Nuages marks what it owns by managed-by and nuages-*. Choose other labels.",
            check=lambda spec: not set(spec.labels) & set(_RESERVED_LABELS),
            field="labels",
        ),
        Rule(
            cel=f"{given('database.create.ip', defaults.DATABASE_IP)} != 'Private' || "
            f"{given('network.privateServicesAccess', defaults.PRIVATE_SERVICES_ACCESS)} == 'Existing'",
            message="There is no private services access. Use Auto or Public, or set network.privateServicesAccess: "
            "Existing.",
            check=lambda spec: (
                spec.database is None
                or spec.database.create is None
                or spec.database.create.ip != "Private"
                or spec.network.private_services_access == "Existing"
            ),
            field="database.create.ip",
        ),
        _fixed("project"),
        _fixed("region"),
        _fixed("deploymentId"),
    )

    project: values.ProjectId = Field(description="Id of the Google Cloud project.")
    region: values.Region = Field(description="Region of all that has one.")
    deployment_id: values.DeploymentId | None = Field(
        None, description="Google's names are <deploymentId>-<app>. Default: the namespace."
    )
    impersonate_service_account: values.ServiceAccount | None = Field(
        None, description="Identity that the operator takes on. Default: its own."
    )
    labels: Labels = Field({}, description="Labels of all that can have some.")
    enable_services: bool = Field(
        defaults.ENABLE_SERVICES, description="Turn on missing Google APIs; false reports them. Default: true."
    )
    allow: Allow = Field(Allow(), description="What an app may name besides its own.")
    network: TenantNetwork = Field(TenantNetwork(), description="How apps reach the tenant's network.")
    database: Instance | None = Field(None, description="Instance that the apps share. Default: one for each app.")


class DjangoTenant(Part):
    """The Google project of a namespace's apps."""

    rules = (
        Rule(
            cel=f"self.metadata.name == '{TENANT_NAME}'",
            message=f"A namespace has one DjangoTenant. Name it {TENANT_NAME}.",
            check=lambda tenant: tenant.metadata.name == TENANT_NAME,
            field="metadata.name",
        ),
    )

    api_version: Literal["nuages.dev/v1alpha1"] = API_VERSION
    kind: Literal["DjangoTenant"] = "DjangoTenant"
    metadata: Metadata
    spec: DjangoTenantSpec

    @property
    def is_default(self) -> bool:
        """Whether it is the operator-wide default, no object of the cluster."""
        return not self.metadata.uid

    @property
    def deployment_id(self) -> str:
        """What Google's names begin with."""
        return self.spec.deployment_id or self.metadata.namespace


def instance_of(app: DjangoApp, tenant: DjangoTenant) -> Instance:
    """The instance that the app uses: its own choice, else the tenant's, else a default one for itself."""
    return app.spec.database.instance or tenant.spec.database or Instance(create=CreateInstance())


def egress_of(app: DjangoApp, tenant: DjangoTenant) -> Literal["PrivateRangesOnly", "AllTraffic"]:
    """What of the app's traffic goes through the tenant's network."""
    return app.spec.network.egress or tenant.spec.network.egress
