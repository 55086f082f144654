"""What the state machine acts on: a simulated Google Cloud, a namespace of the real API server, and the operator's
engine over both, one pass at a time, so that a test decides what happens between any two of them.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import shutil
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.cloud import iam_admin_v1, run_v2, secretmanager_v1, sqladmin_v1
from google.oauth2.credentials import Credentials
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from machine_google import Google
from machine_held import Held

from localcloud.api.run_state import RunState
from localcloud.core.faults import Fault, is_read
from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.images import ImageConfig
from nuages.api.group import API_VERSION, GROUP, VERSION
from nuages.api.validate import parse_app, parse_tenant
from nuages.cloud.access import Clouds
from nuages.cloud.call import CALL_TIMEOUT
from nuages.kube.objects import KubernetesCluster
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Cluster
from nuages.reconcile.forecast import forecast
from nuages.reconcile.gather import copies
from nuages.reconcile.plan import Plan
from nuages.reconcile.queue import Next
from nuages.reconcile.reconciler import Pass, Reconciler
from nuages.reconcile.report import Report
from nuages.reconcile.settings import Settings

SPEED = 5000.0  # an instance takes 72 ms
PROJECT, REGION = "demo", "europe-west1"
REGISTRY = f"{REGION}-docker.pkg.dev/{PROJECT}/apps"
OPERATOR_IMAGE = f"{REGION}-docker.pkg.dev/{PROJECT}/nuages/nuages:1"
APP = "shop"
SETTINGS = Settings(OPERATOR_IMAGE)
FIRST = {"image": f"{REGISTRY}/{APP}:v1", "web": {"ingress": "Internal"}}
PASS_S, BETWEEN_S = 60.0, 0.01
PATIENCE = 300  # passes
T = TypeVar("T")
_NUMBERS = itertools.count(1)


class Refused(Exception):
    """The API server did not take a spec; the message is its own."""


@dataclass(frozen=True)
class Life:
    """One app in a namespace, and a tenant, of its own."""

    namespace: str
    name: str = APP

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def service(self) -> str:
        return f"projects/{PROJECT}/locations/{REGION}/services/{self.namespace}-{self.name}"

    def job(self, part: str) -> str:
        return f"{self.service.replace('/services/', '/jobs/')}-{part}"


class Operator:
    """As one process has it: its memory is lost with it, what the cluster and Google know is not."""

    def __init__(self, api: client.ApiClient, call_timeout: float = CALL_TIMEOUT) -> None:
        self.cluster = KubernetesCluster(api, "machine")
        self.is_hurried = call_timeout < CALL_TIMEOUT
        credentials = Credentials("operator")  # type: ignore[no-untyped-call]
        self.clouds = Clouds(copies(self.cluster), credentials, call_timeout)
        self._reconciler = Reconciler(self.cluster, self.clouds, SETTINGS)
        self._superseded_at = math.inf

    def serve(self, cluster: Cluster) -> None:
        """Another cluster than the API server shows."""
        self._reconciler = Reconciler(cluster, self.clouds, SETTINGS)

    async def one_pass(self, key: str, dies: Fault | None = None) -> Next | None:
        """What the queue would hear; None where `dies` struck: all that was under way ended there."""
        async with asyncio.timeout(PASS_S):
            point = itertools.count(1)
            work = self._reconciler.reconcile(key, lambda: next(point) >= self._superseded_at)
            task = asyncio.create_task(work)
            if dies is not None:

                async def die() -> None:
                    task.cancel()

                dies.hook = die
            try:
                return await task
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise
                return None

    def supersede(self, superseded: bool, at: int = 1) -> None:
        """Whether a newer spec waits in the queue, for passes from now on: from the safe point `at` of each."""
        self._superseded_at = at if superseded else math.inf

    async def close(self) -> None:
        await self.clouds.close()


class MachineWorld:
    """Made once for all lives; `open_world` makes it."""

    def __init__(self, cloud: LocalCloud, api: client.ApiClient, digests: Mapping[str, str]) -> None:
        self.cloud, self.digests = cloud, digests  # image digests by tag
        self._api = api
        self._google = {
            kind: kind(credentials=Credentials("owner"))  # type: ignore[no-untyped-call]
            for kind in (
                run_v2.ServicesAsyncClient,
                secretmanager_v1.SecretManagerServiceAsyncClient,
                sqladmin_v1.SqlInstancesServiceAsyncClient,
                iam_admin_v1.IAMAsyncClient,
            )
        }
        self.google = Google(PROJECT)
        self.held = Held()
        self._planner = Operator(api)  # another process, as `nuages plan` is one

    async def close(self) -> None:
        for made in self._google.values():
            await made.transport.close()
        await self.google.close()
        await self._planner.close()

    def operator(self, call_timeout: float = CALL_TIMEOUT) -> Operator:
        return Operator(self._api, call_timeout)

    async def begin(self, namespace: str = "", name: str = APP) -> Life:
        """A namespace with a tenant that allows what is called shared-…, a Secret and a ConfigMap."""
        life = Life(namespace or f"m{os.getpid() % 100_000}-{next(_NUMBERS)}", name)
        core = client.CoreV1Api(self._api)
        name = client.V1ObjectMeta(name=life.namespace)
        await core.create_namespace(client.V1Namespace(metadata=name))
        secret = client.V1Secret(metadata=client.V1ObjectMeta(name="stripe"), string_data={"key": "sk-test"})
        await core.create_namespaced_secret(life.namespace, secret)
        values = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="shop-env"), data={"LOG_LEVEL": "INFO"})
        await core.create_namespaced_config_map(life.namespace, values)
        account = f"shared-*@{PROJECT}.iam.gserviceaccount.com"
        allow = {"secrets": ["shared-*"], "instances": ["shared-*"], "serviceAccounts": [account]}
        await self._call(
            "POST",
            f"/apis/{GROUP}/{VERSION}/namespaces/{life.namespace}/djangotenants",
            {
                "apiVersion": API_VERSION,
                "kind": "DjangoTenant",
                "metadata": {"name": "default"},
                "spec": {"project": PROJECT, "region": REGION, "allow": allow},
            },
            "application/json",
        )
        return life

    async def apply(self, life: Life, spec: Mapping[str, Any]) -> None:
        """As server-side apply does, with strict validation. Raises Refused."""
        body = {"apiVersion": API_VERSION, "kind": "DjangoApp", "metadata": {"name": life.name}, "spec": dict(spec)}
        await self._call("PATCH", _path(life), body, "application/apply-patch+yaml")

    async def annotate(self, life: Life, name: str, value: str | None) -> None:
        """None takes the annotation away."""
        body = {"metadata": {"annotations": {f"{GROUP}/{name}": value}}}
        await self._call("PATCH", _path(life), body, "application/merge-patch+json")

    async def delete(self, operator: Operator, life: Life) -> None:
        """Until the app is gone; fails where it stays."""
        await self._call("DELETE", _path(life), {}, "application/json")
        for _ in range(PATIENCE):
            await operator.one_pass(life.key)
            await asyncio.sleep(BETWEEN_S)
            found = await self._planner.cluster.app(life.namespace, life.name)
            if found is None:
                return
        raise AssertionError(f"not gone after {PATIENCE} passes: {found['spec']} {found.get('status')}")

    async def leave_cluster(self, operator: Operator, life: Life) -> None:
        """As if the manifests came to a new cluster: the app is gone here, and all of it is at Google."""
        await operator.cluster.write_finalizers(await self.app(life), [])
        await self._call("DELETE", _path(life), {}, "application/json")
        assert await self._planner.cluster.app(life.namespace, life.name) is None

    async def left(self, life: Life) -> dict[str, set[str]]:
        """What of the app is in Google Cloud, by kind."""
        project, state = f"projects/{PROJECT}", self.cloud.core.shared(RunState)
        secrets = await self._google[secretmanager_v1.SecretManagerServiceAsyncClient].list_secrets(parent=project)
        accounts = await self._google[iam_admin_v1.IAMAsyncClient].list_service_accounts(name=project)
        listed = await self._google[sqladmin_v1.SqlInstancesServiceAsyncClient].list(request={"project": PROJECT})
        found = {
            "services": set(state.services),
            "jobs": set(state.jobs),
            "secrets": {item.name async for item in secrets},
            "accounts": {item.name async for item in accounts},
            "instances": {item.name for item in listed.items},
        }
        mine = {
            kind: {name for name in names if f"{life.namespace}-{life.name}" in name} for kind, names in found.items()
        }
        return {kind: names for kind, names in mine.items() if names}

    async def wipe_status(self, life: Life) -> None:
        """As if the manifests had come to a new cluster."""
        app = await self.app(life)
        await self._call("PUT", f"{_path(life)}/status", {**app, "status": {}}, "application/json")

    async def app(self, life: Life) -> dict[str, Any]:
        found = await self._planner.cluster.app(life.namespace, life.name)
        assert found is not None
        return dict(found)

    async def told(self, life: Life) -> list[tuple[str, str]]:
        """Reason and message of each event of the app, oldest first."""
        found = await client.CoreV1Api(self._api).list_namespaced_event(life.namespace)
        events = sorted(found.items, key=lambda item: item.event_time)
        return [(item.reason, item.message) for item in events if item.involved_object.name == life.name]

    async def one_pass(self, operator: Operator, life: Life) -> dict[str, Any]:
        """The app after it, and after a moment in which operations go on."""
        await operator.one_pass(life.key)
        await asyncio.sleep(BETWEEN_S)
        return await self.app(life)

    async def rest(self, operator: Operator, life: Life) -> dict[str, Any]:
        """The app once passes end the same way again and again."""
        resting = Resting()
        while not resting.seen(app := await self.one_pass(operator, life)):
            pass
        return app

    async def service(self, life: Life) -> run_v2.Service:
        return await self._google[run_v2.ServicesAsyncClient].get_service(name=life.service)

    async def secret_version_state(self, secret: str, version: str) -> str:
        name = f"{secret if '/' in secret else f'projects/{PROJECT}/secrets/{secret}'}/versions/{version}"
        found = await self._google[secretmanager_v1.SecretManagerServiceAsyncClient].get_secret_version(name=name)
        return str(secretmanager_v1.SecretVersion.State(found.state).name)

    def executions(self, life: Life) -> list[Any]:
        """Of all jobs that the life has or had, oldest first."""
        state = self.cloud.core.shared(RunState)
        found = [state.executions.get(name) for name in state.executions if name.startswith(f"{life.job('')}")]
        return sorted(found, key=lambda item: item.create_time.ToNanoseconds())

    def candidates(self, life: Life) -> set[str]:
        """The revisions that serve nothing, and are tagged or still becoming ready."""
        state = self.cloud.core.shared(RunState)
        shares = state.services.get(life.service).traffic_statuses if life.service in state.services else ()
        under = [state.revisions.get(name) for name in state.revisions if name.startswith(f"{life.service}/revisions/")]
        coming = {item.name.rpartition("/")[2] for item in under if item.reconciling}
        serving = {share.revision for share in shares if share.percent}
        return ({share.revision for share in shares if share.tag} | coming) - serving

    async def plan(self, life: Life) -> Plan:
        """As `nuages plan` computes it, from nothing but what is there now."""
        body, cluster = await self.app(life), self._planner.cluster
        annotations = {**(body["metadata"].get("annotations") or {}), f"{GROUP}/reconcile-at": "the plan's"}
        app = parse_app({**body, "metadata": {**body["metadata"], "annotations": annotations}})
        tenant = await cluster.tenant(life.namespace)
        assert tenant is not None
        access = await self._planner.clouds.for_tenant()
        work = Pass(body, app, parse_tenant(tenant), cluster, access, SETTINGS, (), lambda: False)
        return (await forecast(work, Report(app.metadata.generation))).forecast or Plan(())

    def writes(self) -> int:
        """Of all callers, at Google, so far."""
        return sum(count for method, count in self.cloud.core.requests.counts.items() if not is_read(method))

    async def _call(self, method: str, path: str, body: Mapping[str, Any], content_type: str) -> None:
        applies = "apply" in content_type
        asked = await self._api.param_serialize(
            method=method,
            resource_path=path,
            header_params={"Accept": "application/json", "Content-Type": content_type},
            query_params=[("fieldManager", "user"), ("fieldValidation", "Strict")] + [("force", "true")] * applies,
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*asked)
        said = (await answer.read()).decode()  # type: ignore[no-untyped-call]
        if answer.status in (400, 422):
            raise Refused(said)
        if answer.status >= 300:
            raise ApiException(status=answer.status, body=said)


def said(app: Mapping[str, Any], type_: str) -> dict[str, str]:
    """One condition; empty where it is not there."""
    found = (app.get("status") or {}).get("conditions") or []
    return next((dict(item) for item in found if item["type"] == type_), {})


def is_current(app: Mapping[str, Any]) -> bool:
    return bool((app.get("status") or {}).get("observedGeneration") == app["metadata"]["generation"])


def at_rest(app: Mapping[str, Any]) -> str:
    """How the app rests, "" where something is still under way."""
    if not is_current(app):
        return ""
    if stalled := said(app, "Stalled"):
        return f"{stalled['reason']}: {stalled['message']}"
    ready = said(app, "Ready")
    waits = ready["reason"] in (reasons.PAUSED, reasons.OBSERVED, reasons.MIGRATION_PENDING)
    return ready["reason"] if ready["status"] == "True" or waits else ""


def _path(life: Life) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{life.namespace}/djangoapps/{life.name}"


class Resting:
    """Whether an app has come to rest: three passes in a row that ended the same way."""

    def __init__(self) -> None:
        self._before, self._calm, self._passes = "", 0, 0

    def seen(self, app: Mapping[str, Any]) -> bool:
        """Told of the app after each pass. Fails where it never rests."""
        self._passes += 1
        assert self._passes < PATIENCE, f"no rest after {PATIENCE} passes over {app['spec']}: {app.get('status')}"
        now = at_rest(app)
        self._calm = self._calm + 1 if now and now == self._before else 0
        self._before = now
        return self._calm == 2


class Site:
    """The world and the loop that it lives in."""

    def __init__(self, runner: asyncio.Runner, world: MachineWorld) -> None:
        self._runner, self.world = runner, world

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


@asynccontextmanager
async def open_world(folder: Path, authority: Path, kubeconfig: Path) -> AsyncIterator[MachineWorld]:
    """A cloud with images, and with what a platform team shares with its tenants. The environment leads to it."""
    options = Options(dir=folder / "cloud", speed=SPEED, simulate=True, project=PROJECT, region=REGION)
    shutil.copytree(authority, options.dir / "tls")
    async with LocalCloud(options) as cloud:
        environment = {k: v for k, v in cloud.environment().items() if k != "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            cloud.core.accounts.configure(quota=100_000)
            digests = await _push(cloud, folder)
            await _share()
            async with await config.new_client_from_config(config_file=str(kubeconfig)) as api:  # type: ignore[no-untyped-call]
                world = MachineWorld(cloud, api, digests)
                yield world
                await world.close()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


async def _push(cloud: LocalCloud, folder: Path) -> dict[str, str]:
    """The images shop:v1 to v3, each with one file of its own."""
    digests = {}
    for tag in ("v1", "v2", "v3"):
        root = folder / tag
        root.mkdir()
        (root / "version.txt").write_text(tag)
        images = cloud.runtime.images
        digests[tag] = await images.put(ImageConfig(cmd=("gunicorn",), workdir="/app", user="web"), root, {})
        images.tag(f"{REGISTRY}/{APP}", tag, digests[tag])
    return digests


async def _share() -> None:
    """An instance, an account and a secret that tenants may name, and a secret that they may not."""
    credentials = Credentials("owner")  # type: ignore[no-untyped-call]
    instances = sqladmin_v1.SqlInstancesServiceAsyncClient(credentials=credentials)
    settings = {"tier": "db-custom-1-3840", "edition": "ENTERPRISE"}
    body = {"name": "shared-pg", "database_version": "POSTGRES_15", "region": REGION, "settings": settings}
    await instances.insert(request={"project": PROJECT, "body": body})
    accounts = iam_admin_v1.IAMAsyncClient(credentials=credentials)
    asked = {"name": f"projects/{PROJECT}", "account_id": "shared-runner", "service_account": {}}
    await accounts.create_service_account(request=asked)
    secrets = secretmanager_v1.SecretManagerServiceAsyncClient(credentials=credentials)
    for name in ("shared-token", "foreign-token"):
        made = {"parent": f"projects/{PROJECT}", "secret_id": name, "secret": {"replication": {"automatic": {}}}}
        await secrets.create_secret(request=made)
        payload = {"parent": f"projects/{PROJECT}/secrets/{name}", "payload": {"data": b"shared"}}
        await secrets.add_secret_version(request=payload)
    for made_client in (instances, accounts, secrets):
        await made_client.transport.close()
