"""The operator has the permissions that it needs, and no others: what the API server's audit log says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from e2e_audit import Use
from e2e_world import World

if TYPE_CHECKING:
    from e2e_local import LocalSite

BASE = Path(__file__).parents[2] / "deploy" / "kustomize" / "base"


def granted() -> set[Use]:
    """What the base's roles allow."""
    kubectl = Path(sys.executable).parent / "kubectl"
    rendered = subprocess.run([kubectl, "kustomize", BASE], capture_output=True, text=True, check=True).stdout
    roles = (item for item in yaml.safe_load_all(rendered) if item["kind"] in ("ClusterRole", "Role"))
    rules = [rule for role in roles for rule in role["rules"]]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.xdist_group("permissions")
async def test_each_rule_is_used_and_none_is_missing(world: World, local: LocalSite) -> None:
    """An app with a tenant, a ConfigMap and a Secret, made and deleted, uses every rule, and nothing is denied."""
    await world.apply(_object("v1", "ConfigMap", "shop-env", data={"LOG_LEVEL": "INFO"}))
    await world.apply(_object("v1", "Secret", "stripe", stringData={"key": "sk_test_26PHem9AhJZvU623DfE1x4sd"}))
    tenant = {"project": world.site.project, "region": world.site.region, "deploymentId": world.namespace}
    await world.apply(_object("nuages.dev/v1alpha1", "DjangoTenant", "default", spec=tenant))
    spec = {
        "image": await world.site.image("shop", "v1"),
        "deletionPolicy": "Delete",
        "database": {"instance": {"create": {"deletionProtection": False}}},
        "envFrom": [{"configMap": {"name": "shop-env"}}],
        "env": [{"name": "STRIPE_KEY", "kubernetesSecret": {"name": "stripe", "key": "key"}}],
    }
    await world.apply(_object("nuages.dev/v1alpha1", "DjangoApp", "shop", spec=spec))
    await world.wait("shop")
    await world.delete("DjangoApp", "shop")
    assert local.audit.denied() == []
    assert granted() - local.audit.uses == set()


def _object(version: str, kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **content}
