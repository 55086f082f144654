# ruff: noqa: E501 - sentences are tested whole, each on its line
"""Objects of the cluster into models: what is said of the first thing wrong."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from nuages.api import InvalidSpec, default_tenant, parse_app, parse_tenant
from nuages.api.contract import taken_names
from nuages.api.tenant import egress_of, instance_of
from nuages.api.validate import PREDICATES, parse_status

IMAGE = "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v4"
PAYLOAD = "sk_live_4242"
CRDS = Path(__file__).parents[2] / "crds"


def app(**spec: Any) -> dict[str, Any]:
    """A DjangoApp with an image and these fields."""
    return {
        "apiVersion": "nuages.dev/v1alpha1",
        "kind": "DjangoApp",
        "metadata": {"name": "shop", "namespace": "acme"},
        "spec": {"image": IMAGE, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"web": {"port": "8080"}}, "spec.web.port: Is no whole number. Write one, without quotes."),
        ({"web": {"port": True}}, "spec.web.port: Is no whole number. Write one, without quotes."),
        ({"web": {"port": 0}}, "spec.web.port: Is too small. Use at least 1."),
        ({"web": {"timeoutSeconds": 9999}}, "spec.web.timeoutSeconds: Is too large. Use at most 3600."),
        ({"web": {"cpu": 1}}, "spec.web.cpu: Is no string. Put quotes around the value."),
        ({"web": {"startupCpuBoost": "no"}}, "spec.web.startupCpuBoost: Is neither true nor false. Write one of them, without quotes."),
        ({"web": {"access": "Open"}}, "spec.web.access: Is none of the values that there are. Use 'Public' or 'Authenticated'."),
        ({"web": {"args": "x"}}, "spec.web.args: Is no list. Write its entries below it, each after a dash."),
        ({"web": "big"}, "spec.web: Is no object. Write its fields below it."),
        ({"django": {"envNames": []}}, "spec.django.envNames: Is no object. Write its fields below it."),
        ({"django": {"manage": []}}, "spec.django.manage: Has too few entries. Give at least 1."),
        ({"web": {"args": ["x"] * 65}}, "spec.web.args: Has too many entries. Give at most 64."),
        ({"image": ""}, "spec.image: Is too short. Give 1 or more characters."),
        ({"superuser": {"username": "u" * 151, "email": "a@b.c"}}, "spec.superuser.username: Is too long. Use at most 150 characters."),
        ({"web": {"minInstance": 1}}, "spec.web.minInstance: There is no such field. Write minInstances, or remove it."),
        ({"web": {"min_instances": 1}}, "spec.web.min_instances: There is no such field. Write minInstances, or remove it."),
        ({"web": {"zebra": 1}}, "spec.web.zebra: There is no such field. Remove it."),
        ({"web": {"replicas": 2}}, "spec.web.replicas: There is no such field. Remove it."),
        ({"replicas": 2}, "spec.replicas: There is no such field. Remove it."),
        ({"env": [{"name": "A", "secrets": {}}]}, "spec.env[0].secrets: There is no such field. Write secret, or remove it."),
        ({"image": "registry/shop"}, 'spec.image: "registry/shop" names neither a tag nor a digest. Add one, such as :v4; a tag is resolved and pinned to its digest.'),
        ({"env": [{"name": "A", "value": "x"}] * 2}, 'spec.env[1].name: "A" appears twice. Remove one.'),
        ({"env": [{"name": "DEBUG", "value": "x"}]}, "spec.env: Nuages sets DEBUG itself. Remove it, and use spec.django where that has a field for it, or rename ours by spec.django.envNames."),
        ({"web": {"minInstances": 4}}, "spec.web.minInstances: Is more than maxInstances. Lower it, or raise maxInstances (3 by default)."),
    ],
)  # fmt: skip
def test_first_violation_is_one_sentence(spec: dict[str, Any], sentence: str) -> None:
    """Field, cause and remedy, exactly."""
    with pytest.raises(InvalidSpec) as error:
        parse_app(app(**spec))
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "STRIPE", "value": PAYLOAD, "secret": {"name": "s", "version": "1"}},
        {"name": "STRIPE", "value": PAYLOAD, "versoin": "1"},
        {"name": "STRIPE", "value": [PAYLOAD]},
        {"name": "SECRET_KEY", "value": PAYLOAD},
        {"name": "PORT", "value": PAYLOAD},
        {"name": "STRIPE", "value": PAYLOAD * 4000},
        {"name": "STRIPE", "value": f"{PAYLOAD}\0"},
        {"name": "STRIPE", "value": PAYLOAD + "é" * 16_384},
    ],
)
def test_values_of_env_are_never_told(entry: dict[str, Any]) -> None:
    """Neither the message nor the traceback holds what may be a secret."""
    with pytest.raises(InvalidSpec) as error:
        parse_app(app(env=[entry]))
    assert PAYLOAD not in "".join(traceback.format_exception(error.value))
    assert PAYLOAD not in repr(error.value)


def test_values_of_env_are_not_in_repr() -> None:
    """A model that is logged by mistake hides them."""
    parsed = parse_app(app(env=[{"name": "STRIPE", "value": PAYLOAD}]))
    assert PAYLOAD not in repr(parsed)
    assert parsed.spec.env[0].value == PAYLOAD


def test_views_of_the_cluster_are_parsed() -> None:
    """Any mapping will do, and what Kubernetes adds to metadata is passed over."""
    obj: Mapping[str, Any] = MappingProxyType(
        {
            **app(),
            "metadata": MappingProxyType({"name": "shop", "namespace": "acme", "uid": "u", "managedFields": [{}]}),
        }
    )
    parsed = parse_app(obj)
    assert (parsed.key, parsed.metadata.uid) == ("acme/shop", "u")


def test_defaults_are_in_the_models() -> None:
    """An app with an image alone has every default."""
    spec = parse_app(app()).spec
    assert (spec.web.cpu, spec.web.memory, spec.web.max_instances, spec.web.concurrency) == ("1", "1Gi", 3, 80)
    assert (spec.verify_path, spec.release.keep_revisions) == ("/health/", 5)
    assert (spec.web.startup_probe.timeout, spec.web.liveness_probe.timeout) == (5, 5)
    assert spec.database.extensions == ("pg_trgm", "unaccent", "hstore", "citext")
    assert parse_app(app()).database_name == "shop"


def test_taken_names_follow_renaming_and_engine() -> None:
    """A renamed variable frees its name and takes another; without a database its variables are free."""
    spec = parse_app(app(django={"envNames": {"SECRET_KEY": "KEY"}}, database={"engine": "None"})).spec
    taken = taken_names(spec)
    assert "KEY" in taken
    assert not {"SECRET_KEY", "DATABASE_URL", "DB_HOST"} & taken
    assert "DATABASE_URL" in taken_names(parse_app(app()).spec)


@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": "x"}, {"conditions": "x"}, []])
def test_unreadable_status_is_an_empty_one(status: Any) -> None:
    """Status is a cache: what is not readable is as if it had been wiped."""
    parsed = parse_status({**app(), "status": status})
    assert parsed.observed_generation == -1
    assert parsed.conditions == ()


def test_status_of_another_version_is_read() -> None:
    """Fields of a newer or older operator are passed over."""
    parsed = parse_status({"status": {"observedGeneration": 3, "cost": {"monthly": "1"}, "url": "https://x"}})
    assert (parsed.observed_generation, parsed.url) == (3, "https://x")


def test_broken_status_does_not_stop_the_app() -> None:
    """The spec is parsed whatever the status says."""
    assert parse_app({**app(), "status": 5}).metadata.name == "shop"


def test_split_is_made_from_traffic() -> None:
    """What `kubectl get -o wide` shows cannot differ from the traffic."""
    traffic = [{"revision": "a-2", "percent": 90}, {"revision": "a-3", "percent": 10}, {"revision": "a-4", "tag": "x"}]
    dumped = parse_status({"status": {"traffic": traffic, "trafficSplit": "stale"}}).dump()
    assert dumped["trafficSplit"] == "a-2=90%,a-3=10%"
    assert "url" not in dumped


def test_default_tenant_serves_a_namespace_without_one() -> None:
    """It has the operator-wide project and the namespace's own prefix."""
    tenant = default_tenant("acme", {"project": "acme-prod", "region": "europe-west1"})
    assert (tenant.deployment_id, tenant.spec.project, tenant.metadata.name) == ("acme", "acme-prod", "default")


def test_default_tenant_is_checked() -> None:
    """A wrong default is refused as a tenant would be."""
    with pytest.raises(InvalidSpec, match=r"^spec\.region: Is missing\. Add it\.$"):
        default_tenant("acme", {"project": "acme-prod"})


def test_namespace_with_a_digit_first_needs_a_prefix() -> None:
    """Google's names begin with a letter."""
    with pytest.raises(InvalidSpec, match=r"^spec\.deploymentId: The namespace 2acme begins with no letter"):
        default_tenant("2acme", {"project": "acme-prod", "region": "europe-west1"})
    spec = {"project": "acme-prod", "region": "europe-west1", "deploymentId": "acme"}
    assert default_tenant("2acme", spec).deployment_id == "acme"


@pytest.mark.parametrize(
    ("own", "shared", "existing"),
    [
        (None, None, None),
        (None, {"existing": "acme-pg"}, "acme-pg"),
        ({"create": {}}, {"existing": "acme-pg"}, None),
        ({"existing": "own-pg"}, {"existing": "acme-pg"}, "own-pg"),
    ],
)
def test_instance_is_the_apps_else_the_tenants_else_its_own(own: Any, shared: Any, existing: str | None) -> None:
    """The nearest choice wins; without any, one is created."""
    spec = {"project": "acme-prod", "region": "europe-west1", **({"database": shared} if shared else {})}
    parsed = parse_app(app(database={"instance": own} if own else {}))
    chosen = instance_of(parsed, default_tenant("acme", spec))
    assert chosen.existing == existing
    assert (chosen.create is None) == (existing is not None)


def test_egress_is_the_apps_else_the_tenants() -> None:
    """An app without a word follows its tenant."""
    network = {"egress": "AllTraffic", "connector": {"name": "c1"}}
    tenant = default_tenant("acme", {"project": "acme-prod", "region": "europe-west1", "network": network})
    assert egress_of(parse_app(app()), tenant) == "AllTraffic"
    assert egress_of(parse_app(app(network={"egress": "PrivateRangesOnly"})), tenant) == "PrivateRangesOnly"


def test_kinds_are_not_mixed_up() -> None:
    """A tenant is not parsed as an app, nor an app as a tenant."""
    with pytest.raises(InvalidSpec, match=r"^kind: "):
        parse_tenant(app())


def test_every_cause_without_a_subject_can_be_given_one() -> None:
    """By its verb; Nuages is the one subject that looks like one."""
    words = re.findall(r"message: ['\"]?([A-Z]\w+)", "".join(path.read_text() for path in CRDS.glob("*.yaml")))
    assert len(words) > 50
    assert {word for word in words if re.fullmatch("[A-Z][a-z]+s|Are", word)} - {"Nuages"} <= PREDICATES
