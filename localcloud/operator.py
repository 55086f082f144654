"""The Nuages operator beside this cloud: installed from deploy/kustomize as in any cluster, then run as a process.

There is no kubelet, so the Deployment is scaled to nothing, and says where the process's log is; its part is played
here: the token of its ServiceAccount, its environment, and another start when it ends. At Google it is a service
account with the roles of deploy/roles.txt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from localcloud.controlplane.errors import StartError
from localcloud.environment import metadata_environment
from localcloud.localcloud import LocalCloud
from localcloud.runtime.builder import BuildError, build
from localcloud.runtime.environments import CommandFailed, run
from localcloud.runtime.instructions import DockerfileError
from localcloud.runtime.metadata import instance_id
from localcloud.runtime.processes import Child, Processes

ROOT = Path(__file__).absolute().parents[1]  # of the repository
BASE, ROLES = ROOT / "deploy" / "kustomize" / "base", ROOT / "deploy" / "roles.txt"
PROGRAMS = Path(sys.executable).parent
NAMESPACE, SERVICE_ACCOUNT, CRDS = "nuages-system", "nuages", ("djangoapps.nuages.dev", "djangotenants.nuages.dev")
DEPLOYMENT, LOG_ANNOTATION = "nuages", "localcloud/operator-log"
GOOGLE_ACCOUNT = "nuages-operator"
IDENTITY = "nuages-localcloud"  # always the same: a new process retakes its own Lease at once
READY_WITHIN_S, POLL_S = 60.0, 0.05
PROPAGATION_S = 420.0  # how long a grant takes at Google at most (gcp/behaviour.md, section 5)
RESTART_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # the kubelet's back-off, faster

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Installation:
    """What the operator needs to know of its cluster and its cloud."""

    kubeconfig: Path  # of its ServiceAccount
    image: str  # its own, which db-init runs
    metadata: str  # host:port of the metadata server that says who it is at Google
    email: str


def roles() -> list[str]:
    """What the operator is granted in a project: one list for the documentation and for localcloud."""
    lines = (line.partition("#")[0].strip() for line in ROLES.read_text().splitlines())
    return [line for line in lines if line]


async def install(cloud: LocalCloud, progress: Progress = lambda _: None) -> Installation:
    """CRDs, RBAC and Deployment into the control plane; the Google identity; the image. Raises StartError."""
    if cloud.control_plane is None:
        raise StartError("The operator needs a control plane: start localcloud without --no-control-plane.")
    if not BASE.is_dir():
        raise StartError(
            f"{ROOT} has no deploy/kustomize: run localcloud from a clone of Nuages, or with --no-operator."
        )
    email = f"{GOOGLE_ACCOUNT}@{cloud.options.project}.iam.gserviceaccount.com"
    image = f"{cloud.options.region}-docker.pkg.dev/{cloud.options.project}/nuages/nuages:dev"
    kubeconfig, _, _ = await asyncio.gather(_apply(cloud), _grant(cloud, email), _build(cloud, image, progress))
    options = cloud.options
    metadata = await cloud.runtime.metadata.start(email, options.project, options.region, instance_id("operator"))
    return Installation(kubeconfig, image, metadata, email)


async def start_operator(
    cloud: LocalCloud,
    installation: Installation,
    processes: Processes,
    identity: str = IDENTITY,
    settings: dict[str, str] | None = None,
) -> Child:
    """A `nuages run`, once it answers its readiness probe. `settings`: more of its variables. Raises StartError."""
    log = cloud.folder.operator_log
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def read(_: str, line: str) -> None:
        if not found.done() and '"probes and metrics"' in line:
            found.set_result(int(json.loads(line)["port"]))

    child = await processes.start(
        "operator",
        [str(PROGRAMS / "nuages"), "run"],
        env={**environment(cloud, installation), "POD_NAME": identity, **(settings or {})},
        cwd=cloud.folder.path,
        log=log,
        on_line=read,
    )
    ended = asyncio.create_task(child.wait())
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            await asyncio.wait({found, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not found.done():
                raise StartError(f"The operator ended with {child.returncode}: {await _last_line(log)}")
            await _is_ready(found.result())
    except TimeoutError:
        await child.stop()
        raise StartError(f"The operator was not ready within {READY_WITHIN_S:.0f} s: see {log}.") from None
    finally:
        ended.cancel()
    return child


@contextlib.asynccontextmanager
async def running(cloud: LocalCloud, progress: Progress = lambda _: None) -> AsyncIterator[Installation]:
    """The operator, installed and kept running until the end of the block. Raises StartError."""
    installation = await install(cloud, progress)
    processes = Processes()
    try:
        child = await start_operator(cloud, installation, processes)
        keeping = asyncio.create_task(_keep(cloud, installation, processes, child, progress))
        try:
            yield installation
        finally:
            keeping.cancel()
    finally:
        await processes.close()


async def _keep(
    cloud: LocalCloud, installation: Installation, processes: Processes, child: Child, progress: Progress
) -> None:
    """What the kubelet would do: start it again, after longer and longer waits while it keeps ending."""
    attempt, log = 0, cloud.folder.operator_log
    while True:
        began = time.monotonic()
        code = await child.wait()
        attempt = 0 if time.monotonic() - began > RESTART_S[-1] else attempt
        progress(f"The operator ended with {code} and is started again: see {log}.")
        while True:
            await asyncio.sleep(RESTART_S[min(attempt, len(RESTART_S) - 1)])
            attempt += 1
            with contextlib.suppress(StartError):
                child = await start_operator(cloud, installation, processes)
                break


def environment(cloud: LocalCloud, installation: Installation) -> dict[str, str]:
    """A developer's shell on this cloud, but for who one is; nothing of this machine's own environment."""
    options = cloud.options
    return {
        "HOME": str(cloud.folder.path),  # gcloud's credentials of this machine's user are not the operator's
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **cloud.environment(),
        **metadata_environment(installation.metadata),
        "KUBECONFIG": str(installation.kubeconfig),
        "NUAGES_IMAGE": installation.image,
        "NUAGES_LEASE_NAMESPACE": NAMESPACE,
        "NUAGES_PROJECT": options.project,
        "NUAGES_REGION": options.region,
        "NUAGES_PROPAGATION_SECONDS": str(PROPAGATION_S / options.speed),
        "NUAGES_PROBE_HOST": "127.0.0.1",
        "NUAGES_PROBE_PORT": "0",
    }


async def _apply(cloud: LocalCloud) -> Path:
    """The base as people apply it, and a kubeconfig with a token that the TokenRequest API made."""
    plane = cloud.control_plane
    assert plane is not None
    await kubectl(cloud, "apply", "--server-side", "--force-conflicts", "--field-manager=localcloud", "-k", str(BASE))
    names = [f"crd/{name}" for name in CRDS]
    established = kubectl(cloud, "wait", "--for=condition=Established", "--timeout=30s", *names)
    await asyncio.gather(established, _scale_to_nothing(cloud))
    await _until_served(cloud)
    token = await kubectl(cloud, "create", "token", SERVICE_ACCOUNT, "-n", NAMESPACE, "--duration=8760h")
    path = cloud.folder.path / "operator.kubeconfig"
    await plane.write_kubeconfig(path, SERVICE_ACCOUNT, token.strip(), NAMESPACE)
    return path


async def _scale_to_nothing(cloud: LocalCloud) -> None:
    """Else it would wait for its pod for ever, as `kubectl get deployments` shows; who looks closer finds the log."""
    patch = {"metadata": {"annotations": {LOG_ANNOTATION: str(cloud.folder.operator_log)}}, "spec": {"replicas": 0}}
    await kubectl(
        cloud, "patch", "deployment", DEPLOYMENT, "-n", NAMESPACE, "--type=merge", f"--patch={json.dumps(patch)}"
    )


async def _until_served(cloud: LocalCloud) -> None:
    """For a moment the API server answers 429 for kinds that are established: a watch would lose a second or more."""
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            await kubectl(cloud, "get", ",".join(CRDS), "--all-namespaces")
            return
        except StartError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(POLL_S)


async def kubectl(cloud: LocalCloud, *arguments: str) -> str:
    """What kubectl says, as the cluster's administrator. Raises StartError."""
    plane = cloud.control_plane
    assert plane is not None
    env = {"PATH": os.defpath, "HOME": str(cloud.folder.path), "KUBECONFIG": str(plane.kubeconfig)}
    try:
        return await run([str(PROGRAMS / "kubectl"), *arguments], cwd=cloud.folder.path, env=env)
    except CommandFailed as error:
        raise StartError(f"kubectl {arguments[0]} failed: {error.output.strip()}") from error


async def _build(cloud: LocalCloud, image: str, progress: Progress) -> None:
    try:
        await build(ROOT, image, cloud.runtime.images)
    except (BuildError, DockerfileError, OSError) as error:
        raise StartError(f"The operator's image could not be built: {error}") from error


async def _grant(cloud: LocalCloud, email: str) -> None:
    """The operator's Google account and its roles, made through the APIs as the documentation says."""
    project = cloud.options.project
    async with aiohttp.ClientSession(cloud.rest, headers={"Authorization": "Bearer owner"}) as session:
        account = {"accountId": GOOGLE_ACCOUNT, "serviceAccount": {"displayName": "Nuages"}}
        await _post(session, "iam.googleapis.com", f"/v1/projects/{project}/serviceAccounts", account, ok=(200, 409))
        manager, path = "cloudresourcemanager.googleapis.com", f"/v3/projects/{project}"
        asked = {"options": {"requestedPolicyVersion": 3}}
        policy = await _post(session, manager, f"{path}:getIamPolicy", asked)
        bindings = policy.setdefault("bindings", [])
        held = {b["role"] for b in bindings if f"serviceAccount:{email}" in b["members"] and "condition" not in b}
        missing = [role for role in roles() if role not in held]
        if missing:
            bindings += [{"role": role, "members": [f"serviceAccount:{email}"]} for role in missing]
            await _post(session, manager, f"{path}:setIamPolicy", {"policy": {**policy, "version": 3}})


async def _post(
    session: aiohttp.ClientSession, host: str, path: str, body: dict[str, Any], ok: tuple[int, ...] = (200,)
) -> dict[str, Any]:
    async with session.post(path, json=body, headers={"Host": host}) as answer:
        content: dict[str, Any] = await answer.json()
        if answer.status not in ok:
            raise StartError(f"{host}{path}: {content['error']['message']}")
        return content


async def _is_ready(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(POLL_S)


async def _last_line(log: Path) -> str:
    lines = (await asyncio.to_thread(log.read_text, errors="replace")).strip().splitlines()
    return f"{lines[-1] if lines else 'it said nothing'} (all in {log})"
