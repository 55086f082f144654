# ruff: noqa: E501 - sentences are tested whole, each on its line
"""What a blueprint needs from cluster and cloud, and the sentence for each thing that is not there."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from memory_cloud import MemoryCloud
from unit_support import REGISTRY, a_tenant, an_app

from nuages.api import DjangoApp
from nuages.blueprint.facts import ExistingInstance, Facts
from nuages.cloud import errors
from nuages.cloud.access import CloudAccess
from nuages.cloud.driver import Observed
from nuages.cloud.errors import CloudError
from nuages.desired.iam import ServiceAccount
from nuages.desired.resource import Owner, Resource
from nuages.desired.secretmanager import Copied, Random, Secret
from nuages.desired.sql import ExistingSqlInstance
from nuages.reconcile.cluster import Body, Cluster
from nuages.reconcile.gather import copies, find_own_instance, gather, resolve_image
from nuages.reconcile.trouble import Trouble

COPY = {"env": [{"name": "A", "value": "x"}, {"name": "TOKEN", "kubernetesSecret": {"name": "openai", "key": "token"}}]}
MAP = {"envFrom": [{"configMap": {"name": "shop-env"}}]}
EXISTING = {"database": {"instance": {"existing": "acme-pg"}}}
NO_DATABASE = {"database": {"engine": "None"}}
INSTANCE = "projects/acme-prod/instances/acme-pg"
PAYLOAD = {"token": base64.b64encode(b"a-secret").decode()}
LARGE = base64.b64encode(b"x" * 65_537).decode()
NUL, BINARY = (base64.b64encode(payload).decode() for payload in (b"a-secret\0", b"\xff\xfe"))
GOOGLE_SECRET = {"env": [{"name": "A", "secret": {"name": "stripe", "version": "3"}}]}
ACCOUNT = {"serviceAccount": {"existing": "shop@acme-prod.iam.gserviceaccount.com"}}
SECRET = {"metadata": {"uid": "s-1", "resourceVersion": "17"}, "data": PAYLOAD}


class Namespace:
    """Secrets and ConfigMaps by name."""

    def __init__(self, **objects: Body) -> None:
        self._objects = {name.replace("_", "-"): body for name, body in objects.items()}

    async def secret(self, namespace: str, name: str) -> Body | None:
        return self._objects.get(name)

    async def config_map(self, namespace: str, name: str) -> Body | None:
        return self._objects.get(name)


def _cloud(memory: MemoryCloud | None = None, number: str | Exception = "187635794409") -> CloudAccess:
    async def ask(project: str) -> str:
        if isinstance(number, Exception):
            raise number
        return number

    made = SimpleNamespace(
        projects=SimpleNamespace(number=ask),
        inventory=(memory or MemoryCloud()).inventory,
        identity=SimpleNamespace(principal="nuages@ops"),
    )
    return cast(CloudAccess, made)


TENANT = a_tenant({"allow": {"instances": ["*"]}})


async def _gather(app: DjangoApp, namespace: Namespace, cloud: CloudAccess | None = None) -> Facts:
    return await gather(app, TENANT, cast(Cluster, namespace), cloud or _cloud(), "operator:1", None, "", 0.0)


async def test_what_the_cluster_holds_is_known_by_fingerprint() -> None:
    """A Secret by its version, never by its payload; a ConfigMap by its values."""
    namespace = Namespace(openai=SECRET, shop_env={"data": {"THEME": "dark"}})
    facts = await _gather(an_app({**COPY, **MAP, **NO_DATABASE}), namespace)
    assert facts.kubernetes_secrets == {("openai", "token"): "s-1/17/token"}
    assert facts.config_maps == {"shop-env": {"THEME": "dark"}}
    assert "a-secret" not in repr(facts)


@pytest.mark.parametrize(
    ("spec", "namespace", "reason", "message"),
    [
        (COPY, Namespace(), "SecretMissing", "spec.env[1].kubernetesSecret: there is no Secret openai in namespace acme. Create it or correct the name."),
        (COPY, Namespace(openai={**SECRET, "data": None}), "SecretKeyMissing", 'spec.env[1].kubernetesSecret: openai has no key "token". Add it or name another.'),
        (COPY, Namespace(openai={**SECRET, "data": {"token": ""}}), "SecretUnusable", 'spec.env[1].kubernetesSecret: key "token" of openai is empty. Put another value in.'),
        (COPY, Namespace(openai={**SECRET, "data": {"token": LARGE}}), "SecretUnusable", 'spec.env[1].kubernetesSecret: key "token" of openai has 65537 bytes, and Secret Manager takes 65536. Put another value in.'),
        (COPY, Namespace(openai={**SECRET, "data": {"token": NUL}}), "SecretUnusable", 'spec.env[1].kubernetesSecret: key "token" of openai holds the character NUL, which no variable can. Put another value in.'),
        (COPY, Namespace(openai={**SECRET, "data": {"token": BINARY}}), "SecretUnusable", 'spec.env[1].kubernetesSecret: key "token" of openai is no text in UTF-8, as a variable has to be. Put another value in.'),
        (GOOGLE_SECRET, Namespace(), "SecretMissing", "spec.env[0].secret: secret stripe is not in Secret Manager of project acme-prod. Create it or correct the name."),
        (ACCOUNT, Namespace(), "ServiceAccountNotFound", "spec.serviceAccount.existing: shop@acme-prod.iam.gserviceaccount.com is not in project acme-prod. Create it or correct the address."),
        (MAP, Namespace(shop_env={"data": {"PORT": "80"}}), "ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "PORT". Cloud Run sets this name itself. Choose another.'),
        (MAP, Namespace(shop_env={"data": {"lower-case": "x"}}), "ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "lower-case", which is no environment variable name. Begin with a letter or _, then letters, digits and _.'),
        (MAP, Namespace(shop_env={"data": {"": "x"}}), "ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "", which is too short. Give 1 or more characters.'),
        (MAP, Namespace(shop_env={"data": {"A": "x", "MOTTO": "a-secret\0"}}), "ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "MOTTO". Its value holds the character NUL, which no process can be given. Remove it.'),
        (MAP, Namespace(shop_env={"data": {"MOTTO": "x" * 32_769}}), "ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "MOTTO". Its value is too long. Use at most 32768 characters.'),
        (MAP, Namespace(shop_env={"data": {"MOTTO": "é" * 16_385}}), "ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "MOTTO". Its value has more than the 32768 bytes that Cloud Run takes. Shorten it.'),
        (MAP, Namespace(shop_env={"data": {"X_GOOGLE_A": "1"}}), "ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "X_GOOGLE_A". Google keeps names that begin so for its own tools. Choose another.'),
        (MAP, Namespace(shop_env={"data": {f"A{n}": "" for n in range(965)}}), "ConfigMapInvalid", "spec.envFrom: the app would have 981 variables, and Cloud Run takes 1000 with the 20 that a job may add. Take keys out of the ConfigMaps."),
        (MAP, Namespace(), "ConfigMapMissing", "spec.envFrom[0].configMap: there is no ConfigMap shop-env in namespace acme. Create it or correct the name."),
        (EXISTING, Namespace(), "InstanceNotFound", "spec.database.instance.existing: instance acme-pg is not in project acme-prod. Create it or correct the name."),
    ],
)  # fmt: skip
async def test_what_is_not_there_is_named(
    spec: dict[str, Any], namespace: Namespace, reason: str, message: str
) -> None:
    """Field, cause, remedy; a deletion asks for none of it: the namespace may be going too."""
    with pytest.raises(Trouble) as caught:
        await _gather(an_app({**NO_DATABASE, **spec}), namespace)
    assert (caught.value.reason, caught.value.message, caught.value.stalled) == (reason, message, True)
    going = an_app({**NO_DATABASE, **spec}, deletionTimestamp="2026-11-21T10:00:00Z")
    facts = await _gather(going, namespace)
    assert (facts.kubernetes_secrets, facts.config_maps, facts.existing_instance) == ({}, {}, None)


@pytest.mark.parametrize(
    ("owner", "whose"),
    [
        (Owner("acme", "blog", "u-2"), "it belongs to acme/blog"),
        (Owner("acme", "blog", "u-2", retained=True), "it was kept when acme/blog was deleted"),
        (Owner("other", "shop", "u-1"), "it belongs to other/shop"),
        (Owner("acme"), "the apps of acme share it"),
        (Owner(instance="acme-pg"), "all apps on instance acme-pg share it"),
    ],
)
async def test_what_was_made_for_another_app_is_not_to_be_had(owner: Owner, whose: str) -> None:
    """Whatever the tenant's globs say."""
    secret = Secret(name="projects/acme-prod/secrets/stripe", owner=owner, payload=Random(20))
    email = "shop@acme-prod.iam.gserviceaccount.com"
    account = ServiceAccount(name=f"projects/acme-prod/serviceAccounts/{email}", owner=owner, display_name="shop")
    cloud = _cloud(MemoryCloud({item.name: Observed(item) for item in (secret, account)}))
    for spec, shown in (
        (GOOGLE_SECRET, "spec.env[0].secret: Secret stripe"),
        (ACCOUNT, f"spec.serviceAccount.existing: ServiceAccount {email}"),
    ):
        with pytest.raises(Trouble) as caught:
            await _gather(an_app({**NO_DATABASE, **spec}), Namespace(), cloud)
        said = f"{shown} was made by Nuages, and {whose}. Name one that Nuages did not make."
        assert (caught.value.reason, caught.value.message) == ("NotAllowed", said)


@pytest.mark.parametrize("owner", [None, Owner("acme", "shop", "u-1"), Owner("acme", "shop", "u-0", retained=True)])
async def test_what_is_nobodys_or_the_apps_own_may_be_named(owner: Owner | None) -> None:
    """In any life of the app."""
    secret = Secret(name="projects/acme-prod/secrets/stripe", owner=owner, payload=Random(20))
    cloud = _cloud(MemoryCloud({secret.name: Observed(secret)}))
    assert await _gather(an_app({**NO_DATABASE, **GOOGLE_SECRET}), Namespace(), cloud)


async def test_an_existing_instance_is_read() -> None:
    """What the budget and the socket need of it."""
    outputs = {
        "region": "europe-west4",
        "database_version": "POSTGRES_15",
        "tier": "db-f1-micro",
        "max_connections": "30",
    }
    found = Observed(ExistingSqlInstance(name=INSTANCE), outputs=outputs)
    facts = await _gather(an_app(EXISTING), Namespace(), _cloud(MemoryCloud({INSTANCE: found})))
    assert facts.existing_instance == ExistingInstance("europe-west4", "POSTGRES_15", 30, "db-f1-micro")


OURS, OLD = Owner("acme", "shop", "u-1"), Owner("acme", "shop", "u-0")
KEPT = Owner("acme", "shop", "u-0", retained=True)
OWN, LAST_LIFE, CLONE = "acme-shop-a24a7f", "acme-shop-0a1b2c", "a-clone"
TWO = (
    "spec.database.instance.create: a-clone and acme-shop-0a1b2c bear this app's labels, as clones do, and nothing "
    "tells the app's own instance. Give that one the label nuages-retained=true, and take the label nuages-app off any "
    "other."
)
DELETING = {"deletionTimestamp": "2026-11-21T10:00:00Z"}


def _instances(**owners: Owner | None) -> CloudAccess:
    """Instances by id, with _ for -."""
    there: dict[str, Observed[Any]] = {}
    for id_, owner in owners.items():
        name = f"projects/acme-prod/instances/{id_.replace('_', '-')}"
        there[name] = Observed(cast(Any, SqlName(name=name, owner=owner)))
    return _cloud(MemoryCloud(there))


@dataclass(frozen=True, kw_only=True)
class SqlName(Resource):
    """Of an instance, its name and its owner."""


@pytest.mark.parametrize(
    ("there", "known", "chosen"),
    [
        ({}, "", ""),
        ({"acme_shop_a24a7f": OURS}, "", OWN),
        ({"acme_shop_a24a7f": OURS, "a_clone": OURS}, "", OWN),
        ({"acme_shop_0a1b2c": OURS, "a_clone": OURS}, LAST_LIFE, LAST_LIFE),
        ({"acme_shop_0a1b2c": OURS, "a_clone": OURS}, "", LAST_LIFE),  # taken back; the status was lost since
        ({"a_clone": OURS, "renamed": KEPT}, "", "renamed"),
        ({"acme_shop_0a1b2c": KEPT}, "", LAST_LIFE),
        ({"acme_shop_0a1b2c": OLD}, "", LAST_LIFE),  # of another cluster: the plan says whether it is adopted
        ({"renamed": OLD}, "renamed", "renamed"),
        ({"acme_shop_0a1b2c": OLD, "a_clone": OLD}, "", LAST_LIFE),
        ({"acme_shop_0a1b2c": OLD, "acme_shop_a24a7f": OURS}, "", OWN),
        ({"acme_shop_0a1b2c": OLD, "renamed": KEPT}, "", "renamed"),
        ({"a_clone": OLD}, "", ""),  # an app that is gone has left it, and its clone is nobody's
        ({"acme_shop_0a1b2c": Owner("acme", "other", "u-0"), "acme_shop_1a1b2c": None}, "", ""),
    ],
)
async def test_the_instance_of_an_app_is_never_a_clone_of_it(
    there: dict[str, Owner | None], known: str, chosen: str
) -> None:
    """What the status has, then the name with the app's uid, then the only one of an earlier life."""
    found = await find_own_instance(an_app(), TENANT, _instances(**there), 0.0, known)
    assert found.rpartition("/")[2] == chosen


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({"acme_shop_0a1b2c": KEPT, "a_clone": KEPT}, TWO),
        (
            {"acme_shop_0a1b2c": OLD, "acme_shop_1a1b2c": OLD},
            TWO.replace("a-clone and acme-shop-0a1b2c", "acme-shop-0a1b2c and acme-shop-1a1b2c"),
        ),
        ({"a_clone": OURS}, TWO.replace("a-clone and acme-shop-0a1b2c bear", "a-clone bears")),
    ],
)
async def test_an_instance_that_may_be_a_clone_is_not_taken(there: dict[str, Owner], message: str) -> None:
    """Nor is an empty one made beside it; a deletion leaves it alone."""
    with pytest.raises(Trouble) as caught:
        await find_own_instance(an_app(), TENANT, _instances(**there), 0.0)
    assert (caught.value.reason, caught.value.message, caught.value.stalled) == ("NameConflict", message, True)
    assert await find_own_instance(an_app(**DELETING), TENANT, _instances(**there), 0.0) == ""


async def test_a_deletion_knows_no_instance_of_another_cluster() -> None:
    """Not even by its name: what is inside would be taken for the app's own."""
    there = _instances(acme_shop_0a1b2c=OLD)
    assert await find_own_instance(an_app(**DELETING), TENANT, there, 0.0, LAST_LIFE) == ""


async def test_a_project_that_cannot_be_read_is_the_tenants_matter() -> None:
    """With the permission and who lacks it."""
    denied = errors.PermissionDenied("No.", permission="resourcemanager.projects.get")
    with pytest.raises(Trouble) as caught:
        await _gather(an_app(NO_DATABASE), Namespace(), _cloud(number=denied))
    assert caught.value.message == (
        "DjangoTenant spec.project: nuages@ops lacks resourcemanager.projects.get in acme-prod, or there is no such "
        'project. Grant it the roles of an operator there, or correct the id. Google says: "No.".'
    )


@pytest.mark.parametrize(
    ("error", "reason", "stalled", "opening"),
    [
        (errors.NotFound("no such tag"), "ImageNotFound", True, f"spec.image: {REGISTRY}/shop:v4 is not in its registry. Push it or correct the tag."),
        (errors.PermissionDenied("denied"), "ImageUnreachable", True, f"spec.image: the registry of {REGISTRY}/shop:v4 refused the operator."),
        (errors.Invalid("arm64"), "ImageUnusable", True, f"spec.image: Cloud Run cannot use {REGISTRY}/shop:v4. Push an image for linux/amd64, or correct the name."),
        (errors.Unreachable("no such host"), "ImageUnreachable", True, f"spec.image: no connection to the registry of {REGISTRY}/shop:v4. Correct the name, or open the operator's way to it."),
        (errors.Transient("no route"), "ImageUnreachable", False, f"spec.image: the registry of {REGISTRY}/shop:v4 cannot be reached."),
    ],
)  # fmt: skip
async def test_an_image_that_cannot_be_resolved_says_why(
    error: CloudError, reason: str, stalled: bool, opening: str
) -> None:
    """A registry out of reach heals; the rest waits for somebody."""

    async def resolve(reference: str) -> Any:
        raise error

    cloud = cast(CloudAccess, SimpleNamespace(images=SimpleNamespace(resolve=resolve)))
    with pytest.raises(Trouble) as caught:
        await resolve_image(an_app(), cloud)
    assert (caught.value.reason, caught.value.stalled) == (reason, stalled)
    assert caught.value.message.startswith(opening)
    assert caught.value.message.endswith(f'It says: "{error.cause}".')


async def test_a_copy_is_read_when_it_is_needed() -> None:
    """From the owner's own namespace; what is no copy, or has gone, is an error without a payload."""
    copy = copies(cast(Cluster, Namespace(openai=SECRET)))
    owner = Owner("acme", "shop", "u-1")
    secret = Secret(name="projects/p/secrets/s", owner=owner, payload=Copied("openai", "token"))
    assert await copy(secret) == b"a-secret"
    with pytest.raises(errors.Transient, match="openai has gone"):
        await copies(cast(Cluster, Namespace()))(secret)
    with pytest.raises(errors.Invalid, match="no copy"):
        await copy(Secret(name="projects/p/secrets/s", owner=owner, payload=Random()))
