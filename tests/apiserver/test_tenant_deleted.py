"""A tenant that is deleted while apps need it: what is said of it, and that its words can be followed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from typing import Any

from gitops_support import KUBECTL
from machine_world import FIRST, Life, Site, said
from test_lives import begun

from localcloud.controlplane.plane import ControlPlane


def test_a_tenant_that_was_deleted_by_mistake_comes_back_by_the_command_told(
    site: Site, controlplane: ControlPlane
) -> None:
    """What runs goes on, what came meanwhile is deployed, and another controller's finalizer is left to it."""
    world, life = site.world, begun(site)
    new, operator = Life(life.namespace, "blog"), world.operator()
    served = site.run(world.app(life))["status"]["revision"]
    manifest = _tenant(controlplane, life)
    tenant = f"djangotenant default -n {life.namespace}"
    theirs = json.dumps([{"op": "add", "path": "/metadata/finalizers/0", "value": "example.com/theirs"}])
    _run(controlplane, f"kubectl patch {tenant} --type=json -p '{theirs}'")
    _run(controlplane, f"kubectl delete {tenant} --wait=false")
    site.run(operator.one_pass(f"{life.namespace}/"))
    site.run(world.apply(new, FIRST))
    missing = said(site.run(world.one_pass(operator, new)), "Stalled")
    assert missing["reason"] == "TenantMissing"
    going = said(_tenant(controlplane, life), "Ready")
    assert (going["reason"], going["status"]) == ("Deleting", "False")
    assert going["message"].startswith("It goes once these apps have nothing at Google any more: shop. ")
    [told] = re.findall(r"run: (kubectl .*?); then apply it again", missing["message"])
    assert told in going["message"]
    _run(controlplane, told)
    assert _tenant(controlplane, life)["metadata"]["finalizers"] == ["example.com/theirs"]
    _run(controlplane, f"kubectl patch {tenant} --type=json -p '{theirs.replace('add', 'remove')}'")
    kept = {name: manifest["metadata"][name] for name in ("name", "namespace")}
    again = {**{name: manifest[name] for name in ("apiVersion", "kind", "spec")}, "metadata": kept}
    _run(controlplane, "kubectl apply -f -", json.dumps(again))
    for each in (life, new):
        assert said(site.run(world.rest(operator, each)), "Ready")["status"] == "True"
    site.run(operator.close())
    assert site.run(world.app(life))["status"]["revision"] == served


def _tenant(controlplane: ControlPlane, life: Life) -> dict[str, Any]:
    found = _run(controlplane, f"kubectl get djangotenant default -n {life.namespace} -o json")
    return dict(json.loads(found))


def _run(controlplane: ControlPlane, command: str, given: str = "") -> str:
    """As a person's shell does it."""
    first, *words = shlex.split(command)
    assert first == "kubectl"
    environment = {**os.environ, "KUBECONFIG": str(controlplane.kubeconfig)}
    return subprocess.run(
        [str(KUBECTL), *words], input=given, text=True, capture_output=True, check=True, env=environment
    ).stdout
