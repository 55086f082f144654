"""What of the API server's own troubles an app hears: nothing of those that pass, and all of what is denied."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_gate import NO_ANSWER, Gate, gate
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from machine_world import FIRST, Life, MachineWorld, Operator, Refused, Site, said
from structlog.testing import capture_logs

from localcloud.controlplane.plane import ControlPlane
from nuages.kube import objects
from nuages.kube.objects import KubernetesCluster
from nuages.reconcile.cluster import Body, ClusterDenied
from nuages.reconcile.queue import Next

RBAC = Path(__file__).parents[2] / "deploy" / "kustomize" / "base" / "rbac.yaml"
KEY = {"name": "KEY", "kubernetesSecret": {"name": "stripe", "key": "key"}}
SECRET = {**FIRST, "database": {"engine": "None"}, "env": [KEY]}
NARROW = f"operator-{os.getpid()}-without"  # and what
WAIT_S = 0.3  # of the client's, for an answer


async def ready(world: MachineWorld, operator: Operator) -> Life:
    """An app that is Ready, and names a Secret."""
    life = await world.begin()
    await world.apply(life, SECRET)
    app = await world.rest(operator, life)
    assert said(app, "Ready")["status"] == "True", app["status"]
    return life


def through(site: Site, controlplane: ControlPlane, work: Callable[[Gate, Operator], Awaitable[None]]) -> None:
    """With an operator whose calls go through a gate."""

    async def run() -> None:
        async with gate(Path(controlplane.kubeconfig)) as opened:
            operator = Operator(opened.api)
            try:
                await work(opened, operator)
            finally:
                await operator.close()

    site.run(run())


@pytest.mark.parametrize("status", [NO_ANSWER, 401, 429, 500, 503])
@pytest.mark.parametrize("path", ["djangoapps/shop", "djangotenants/default", "secrets/stripe"])
def test_a_read_that_fails_says_nothing_of_the_app(
    site: Site, controlplane: ControlPlane, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    """The pass comes again; the status of an app that is Ready is not touched, and no event comes."""

    async def work(gate: Gate, operator: Operator) -> None:
        life = await ready(site.world, operator)
        before, told = await site.world.app(life), await events(gate.api, life)
        assert "Available" in {reason for reason, _ in told}
        monkeypatch.setattr(objects, "TIMEOUT", WAIT_S)
        hiccup = gate.fail("GET", path, status)
        assert await operator.one_pass(life.key) == Next(failed=True)
        assert hiccup.struck == 1
        assert await site.world.app(life) == before
        assert await events(gate.api, life) == told

    through(site, controlplane, work)


@pytest.mark.parametrize("status", [NO_ANSWER, 403, 409, 500])
def test_limits_that_are_not_told_are_not_the_apps(
    site: Site, controlplane: ControlPlane, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The tenant's status is written after the pass, which was good."""
    monkeypatch.setattr(objects, "TIMEOUT", WAIT_S)

    async def work(gate: Gate, operator: Operator) -> None:
        life = await site.world.begin()
        await operator.one_pass(f"{life.namespace}/")
        hiccup = gate.fail("PUT", "djangotenants/default/status", status, times=1000)
        await site.world.apply(life, SECRET)
        app = await site.world.rest(operator, life)
        assert hiccup.struck > 0
        assert said(app, "Ready")["status"] == "True"
        assert "InternalError" not in {reason for reason, _ in await events(gate.api, life)}

    through(site, controlplane, work)


def test_a_status_that_is_not_written_is_written_later(site: Site, controlplane: ControlPlane) -> None:
    """What the pass did is found again."""

    async def work(gate: Gate, operator: Operator) -> None:
        life = await site.world.begin()
        gate.fail("PUT", "djangoapps/shop/status", 503, times=3)
        await site.world.apply(life, SECRET)
        app = await site.world.rest(operator, life)
        assert said(app, "Ready")["status"] == "True"

    through(site, controlplane, work)


def test_what_rbac_denies_is_told_by_name(site: Site, controlplane: ControlPlane) -> None:
    """Who, the verb, the resource and the namespace, and which ClusterRole; and it is no bug."""

    async def work() -> None:
        async with await narrowed(controlplane, "secrets") as api:
            operator = Operator(api)
            life = await site.world.begin()
            await site.world.apply(life, SECRET)
            app = await site.world.one_pass(operator, life)
            await operator.close()
        for kind in ("Ready", "Reconciling"):
            assert said(app, kind)["reason"] == "PermissionDenied"
            assert said(app, kind)["message"] == (
                "The operator may not do in the cluster what it has to. Apply the ClusterRole nuages of this version "
                "and bind it; where a policy or webhook is named, keep to it or except the operator from it. The API "
                f'server says: "secrets "stripe" is forbidden: User "{NARROW}-secrets" cannot get resource "secrets" '
                f'in API group "" in the namespace "{life.namespace}"".'
            )

    site.run(work())


def test_a_denial_is_not_told_of_a_spec_that_was_not_looked_at(site: Site, controlplane: ControlPlane) -> None:
    """Applied while the pass went on over another one: observedGeneration stays, until a pass is about it."""

    async def work() -> None:
        async with await as_user(controlplane) as api:
            operator = Operator(api)
            life = await ready(site.world, operator)
            before = (await site.world.app(life))["status"]

            class Denying(KubernetesCluster):
                async def secret(self, namespace: str, name: str) -> Body | None:
                    await site.world.apply(life, {**SECRET, "reconcileIntervalSeconds": 600})
                    raise ClusterDenied("not you")

            operator.serve(Denying(api, "test"))
            assert await operator.one_pass(life.key) == Next(failed=True)
            app = await site.world.app(life)
            assert (app["status"], app["metadata"]["generation"]) == (before, before["observedGeneration"] + 1)
            await operator.one_pass(life.key)
            app = await site.world.app(life)
            assert app["status"]["observedGeneration"] == app["metadata"]["generation"]
            assert said(app, "Ready")["reason"] == "PermissionDenied"
            await operator.close()

    site.run(work())


@pytest.mark.parametrize("reason", [None, "RequestEntityTooLarge"])
def test_what_a_policy_denies_is_told_by_name(site: Site, controlplane: ControlPlane, reason: str | None) -> None:
    """Whatever status it gives: 422 where it names no reason. It is no bug, and waits for somebody."""

    async def work() -> None:
        async with await as_user(controlplane) as api:
            operator = Operator(api)
            life = await site.world.begin()
            await site.world.apply(life, SECRET)
            name = await require_label(api, site.world, life, reason)
            app = await site.world.one_pass(operator, life)
            await operator.close()
        assert said(app, "Ready")["reason"] == "PermissionDenied"
        assert said(app, "Ready")["message"] == (
            "The operator may not do in the cluster what it has to. Apply the ClusterRole nuages of this version "
            "and bind it; where a policy or webhook is named, keep to it or except the operator from it. The API "
            f'server says: "djangoapps.nuages.dev "shop" is forbidden: ValidatingAdmissionPolicy \'{name}\' with '
            f"binding '{name}' denied request: Every object has a team\"."
        )

    site.run(work())


@pytest.mark.parametrize("status", [400, 409])
def test_what_a_webhook_denies_is_told_by_name(site: Site, controlplane: ControlPlane, status: int) -> None:
    """The status is whatever it likes; the words are the API server's own."""
    words = 'admission webhook "policies.acme.example" denied the request: Every object has a team.'

    async def work(gate: Gate, operator: Operator) -> None:
        life = await site.world.begin()
        await site.world.apply(life, SECRET)
        gate.fail("PATCH", "djangoapps/shop", status, words=words)
        app = await site.world.one_pass(operator, life)
        assert said(app, "Ready")["reason"] == "PermissionDenied"
        assert words.rstrip(".") in said(app, "Ready")["message"]

    through(site, controlplane, work)


def test_a_webhook_that_fails_says_nothing_of_the_app(site: Site, controlplane: ControlPlane) -> None:
    """The API server calls that a denial too; the status tells that it passes."""

    async def work(gate: Gate, operator: Operator) -> None:
        life = await site.world.begin()
        await site.world.apply(life, SECRET)
        words = 'admission webhook "policies.acme.example" denied the request: no connection to the store'
        gate.fail("PATCH", "djangoapps/shop", 500, words=words)
        assert await operator.one_pass(life.key) == Next(failed=True)
        assert not said(await site.world.app(life), "Ready")

    through(site, controlplane, work)


def test_events_that_rbac_denies_are_missed_once(site: Site, controlplane: ControlPlane) -> None:
    """The log names the rule, and the app is deployed all the same."""

    async def work() -> None:
        async with await narrowed(controlplane, "events") as api:
            operator = Operator(api)
            with capture_logs() as log:
                life = await ready(site.world, operator)
            await operator.close()
            (warned,) = [line for line in log if line["log_level"] == "warning"]
            assert warned["rule"] == 'apiGroups: [""], resources: [events], verbs: [create]'
            assert life.namespace in warned["error"]

    site.run(work())


def test_an_event_in_a_namespace_that_ends_is_no_rbac(site: Site, controlplane: ControlPlane) -> None:
    """The API server says 403 there too, in other words: nobody is warned."""

    async def work() -> None:
        async with await as_user(controlplane) as api:
            operator = Operator(api)
            life = await ready(site.world, operator)
            app, core = await site.world.app(life), client.CoreV1Api(api)
            await core.delete_namespace(life.namespace)
            with pytest.raises(ApiException, match=r"(?s)403.*because it is being terminated"):
                await create_until_refused(core, life)
            with capture_logs() as log:
                await operator.cluster.event(app, "Normal", "Told", "Too late.")
            await operator.close()
        assert log == []

    site.run(work())


def test_an_event_that_hangs_ends_with_the_clients_time(
    site: Site, controlplane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And raises nothing."""

    async def work(gate: Gate, operator: Operator) -> None:
        life = await ready(site.world, operator)
        monkeypatch.setattr(objects, "TIMEOUT", WAIT_S)
        hiccup = gate.fail("POST", "events", NO_ANSWER)
        began = time.monotonic()
        await operator.cluster.event(await site.world.app(life), "Normal", "Told", "To nobody.")
        assert hiccup.struck == 1
        assert time.monotonic() - began < 10 * WAIT_S + 5

    through(site, controlplane, work)


async def as_user(controlplane: ControlPlane) -> client.ApiClient:
    """An administrator's."""
    made = client.Configuration()
    await config.load_kube_config(config_file=str(controlplane.kubeconfig), client_configuration=made)
    return client.ApiClient(made)


async def narrowed(controlplane: ControlPlane, missing: str) -> client.ApiClient:
    """As a user with the operator's ClusterRole, but for the rule of this resource."""
    role: dict[str, Any] = next(item for item in yaml.safe_load_all(RBAC.read_text()) if item["kind"] == "ClusterRole")
    rules = [rule for rule in role["rules"] if missing not in rule["resources"]]
    assert len(rules) == len(role["rules"]) - 1
    name = f"{NARROW}-{missing}"
    async with await as_user(controlplane) as api:
        rbac = client.RbacAuthorizationV1Api(api)
        await rbac.create_cluster_role({"metadata": {"name": name}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
        await rbac.create_cluster_role_binding(
            {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        )
    made = await as_user(controlplane)
    made.set_default_header("Impersonate-User", name)
    return made


async def require_label(api: client.ApiClient, world: MachineWorld, life: Life, reason: str | None) -> str:
    """A policy, by name, that takes no update of the life's app without a label; once it holds."""
    name, admission = f"{life.namespace}-team", client.AdmissionregistrationV1Api(api)
    check = {"expression": "has(object.metadata.labels)", "message": "Every object has a team", "reason": reason}
    rule = {"apiGroups": ["nuages.dev"], "apiVersions": ["*"], "resources": ["djangoapps"], "operations": ["UPDATE"]}
    policy = {"validations": [check], "matchConstraints": {"resourceRules": [rule]}}
    await admission.create_validating_admission_policy({"metadata": {"name": name}, "spec": policy})
    chosen = {"matchLabels": {"kubernetes.io/metadata.name": life.namespace}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": chosen}}
    await admission.create_validating_admission_policy_binding({"metadata": {"name": name}, "spec": binding})
    with pytest.raises((Refused, ApiException), match="denied request"):
        await annotate_until_refused(world, life)
    return name


async def annotate_until_refused(world: MachineWorld, life: Life) -> None:
    async with asyncio.timeout(60):
        for number in itertools.count():
            await world.annotate(life, "asked", str(number))
            await asyncio.sleep(0.1)


async def create_until_refused(core: client.CoreV1Api, life: Life) -> None:
    async with asyncio.timeout(20):
        while True:
            await core.create_namespaced_secret(life.namespace, {"metadata": {"generateName": "any-"}})


async def events(api: client.ApiClient, life: Life) -> list[tuple[str, str]]:
    """Reason and message of each, sorted."""
    found = await client.CoreV1Api(api).list_namespaced_event(life.namespace)
    return sorted((item.reason, item.message) for item in found.items)
