"""The control plane is a real one: what Kubernetes does, it does; it keeps its state, and ends with its parent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from localcloud.controlplane.plane import ControlPlane
from localcloud.runtime.processes import Processes

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 60.0

PARENT = """
import asyncio, sys
from pathlib import Path
from localcloud.controlplane.plane import ControlPlane
from localcloud.runtime.processes import Processes

async def main():
    plane = await ControlPlane.start(Processes(), Path(sys.argv[1]))
    print("ready", flush=True)
    await plane.exited()

asyncio.run(main())
"""


async def until(is_true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits for a condition, at most DEADLINE_S seconds."""
    deadline = time.monotonic() + DEADLINE_S
    while not await is_true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def connect(kubeconfig: Path) -> client.ApiClient:
    """A client of whom the kubeconfig names."""
    connected: client.ApiClient = await cast(Any, config).new_client_from_config(str(kubeconfig))
    return connected


@pytest.fixture
async def core(controlplane: ControlPlane) -> AsyncIterator[client.CoreV1Api]:
    """The core API as the administrator sees it."""
    async with await connect(controlplane.kubeconfig) as api:
        yield client.CoreV1Api(api)


@pytest.fixture
async def namespace(core: client.CoreV1Api) -> str:
    """A namespace of this test's own."""
    name = f"test-{uuid4().hex[:8]}"
    await core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    return name


def config_map(name: str, **metadata: Any) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, **metadata), data={"key": "value"})


async def is_gone(read: Awaitable[object]) -> bool:
    """Whether reading answers 404."""
    try:
        await read
    except ApiException as error:
        if error.status != 404:
            raise
        return True
    return False


async def test_objects_are_created_read_changed_and_deleted(core: client.CoreV1Api, namespace: str) -> None:
    """A ConfigMap lives the life it has in any cluster, optimistic locking included."""
    created = await core.create_namespaced_config_map(namespace, config_map("settings"))
    created.data = {"key": "changed"}
    changed = await core.replace_namespaced_config_map("settings", namespace, created)
    assert changed.data == {"key": "changed"}
    with pytest.raises(ApiException) as refused:
        await core.replace_namespaced_config_map("settings", namespace, created)
    assert refused.value.status == 409
    await core.delete_namespaced_config_map("settings", namespace)
    assert await is_gone(core.read_namespaced_config_map("settings", namespace))


async def test_version_is_understood_by_kubectl(controlplane: ControlPlane, tmp_path: Path) -> None:
    """kubectl, with the kubeconfig and nothing else, reads the version that the control plane says it has."""
    kubectl = Path(sys.executable).with_name("kubectl")
    asked = await asyncio.create_subprocess_exec(
        *(kubectl, "version", "--output=json"),
        env={"KUBECONFIG": str(controlplane.kubeconfig), "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await asked.communicate()
    assert json.loads(answer)["serverVersion"]["gitVersion"] == f"v{controlplane.version}"


async def test_secrets_of_the_folder_are_private(controlplane: ControlPlane) -> None:
    """No file that holds a key or a token can be read by others."""
    private = [controlplane.kubeconfig, controlplane.audit_log, *(controlplane.folder / "credentials").iterdir()]
    assert len(private) > 5
    assert [path for path in private if path.stat().st_mode & 0o077] == []


async def test_deleted_namespace_goes_with_its_content(
    controlplane: ControlPlane, core: client.CoreV1Api, namespace: str
) -> None:
    """The namespace controller empties a deleted namespace and lets it go."""
    if not controlplane.has_collectors:
        pytest.skip("namespace deletion: this control plane has no collectors")
    await core.create_namespaced_config_map(namespace, config_map("inside"))
    await core.delete_namespace(namespace)
    await until(lambda: is_gone(core.read_namespace(namespace)), "the namespace is still there")


async def test_dependents_go_with_their_owner(
    controlplane: ControlPlane, core: client.CoreV1Api, namespace: str
) -> None:
    """The garbage collector deletes what an owner reference ties to a deleted object, and nothing else."""
    if not controlplane.has_collectors:
        pytest.skip("garbage collection: this control plane has no collectors")
    owner = await core.create_namespaced_config_map(namespace, config_map("owner"))
    assert owner.metadata is not None
    reference = client.V1OwnerReference(api_version="v1", kind="ConfigMap", name="owner", uid=owner.metadata.uid)
    await core.create_namespaced_config_map(namespace, config_map("owned", owner_references=[reference]))
    await core.create_namespaced_config_map(namespace, config_map("free"))
    await core.delete_namespaced_config_map("owner", namespace)
    await until(lambda: is_gone(core.read_namespaced_config_map("owned", namespace)), "the dependent is still there")
    await core.read_namespaced_config_map("free", namespace)


async def service_account_client(
    controlplane: ControlPlane, core: client.CoreV1Api, namespace: str, folder: Path
) -> client.ApiClient:
    """A client with a ServiceAccount's own token, from the TokenRequest API."""
    account = client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="operator"))
    await core.create_namespaced_service_account(namespace, account)
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600))
    answer = await core.create_namespaced_service_account_token("operator", namespace, request)
    assert answer.status is not None
    path = folder / "operator.kubeconfig"
    await controlplane.write_kubeconfig(path, "operator", str(answer.status.token), namespace)
    return await connect(path)


async def grant_reading(api: client.ApiClient, namespace: str) -> None:
    """ConfigMaps may be read, and no more, by the ServiceAccount `operator`."""
    rbac = client.RbacAuthorizationV1Api(api)
    rule = client.V1PolicyRule(api_groups=[""], resources=["configmaps"], verbs=["get"])
    role = client.V1Role(metadata=client.V1ObjectMeta(name="reader"), rules=[rule])
    await rbac.create_namespaced_role(namespace, role)
    subject = client.RbacV1Subject(kind="ServiceAccount", name="operator", namespace=namespace)
    binding = client.V1RoleBinding(
        metadata=client.V1ObjectMeta(name="reader"),
        role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="reader"),
        subjects=[subject],
    )
    await rbac.create_namespaced_role_binding(namespace, binding)


async def test_service_account_may_do_what_rbac_grants_and_the_audit_log_tells(
    controlplane: ControlPlane, core: client.CoreV1Api, namespace: str, tmp_path: Path
) -> None:
    """A ServiceAccount's token opens what its role names, nothing else; both are in the audit log, with their verbs."""
    await core.create_namespaced_config_map(namespace, config_map("settings"))
    async with await service_account_client(controlplane, core, namespace, tmp_path) as api:
        own = client.CoreV1Api(api)
        with pytest.raises(ApiException) as refused:
            await own.read_namespaced_config_map("settings", namespace)
        assert refused.value.status == 403
        await grant_reading(core.api_client, namespace)

        async def may_read() -> bool:  # the authoriser learns of a binding through a watch
            try:
                return (await own.read_namespaced_config_map("settings", namespace)).data == {"key": "value"}
            except ApiException as error:
                if error.status != 403:
                    raise
                return False

        await until(may_read, "the role has no effect")
        with pytest.raises(ApiException) as refused:
            await own.delete_namespaced_config_map("settings", namespace)
        assert refused.value.status == 403

    expected = {
        ("get", "configmaps", "forbid"),
        ("get", "configmaps", "allow"),
        ("delete", "configmaps", "forbid"),
    }

    async def are_recorded() -> bool:  # a record follows its answer
        return audited(controlplane, f"system:serviceaccount:{namespace}:operator") == expected

    await until(are_recorded, "the audit log has no such records")


def audited(controlplane: ControlPlane, user: str) -> set[tuple[str, str, str]]:
    """Verb, resource and RBAC's decision of all that the user asked for."""
    records = [json.loads(line) for line in controlplane.audit_log.read_text().splitlines() if line.endswith("}")]
    return {
        (record["verb"], record["objectRef"]["resource"], record["annotations"]["authorization.k8s.io/decision"])
        for record in records
        if record["user"]["username"] == user
    }


async def test_state_survives_stop_and_start(tmp_path: Path) -> None:
    """Started again in its folder it has the same objects, address, credentials and keys."""
    processes = Processes()
    try:
        first = await ControlPlane.start(processes, tmp_path)
        kubeconfig = first.kubeconfig.read_text()
        async with await connect(first.kubeconfig) as api:
            kept = await client.CoreV1Api(api).create_namespaced_config_map("default", config_map("kept"))
        await first.stop()
        second = await ControlPlane.start(processes, tmp_path)
        assert (second.url, second.kubeconfig.read_text()) == (first.url, kubeconfig)
        async with await connect(second.kubeconfig) as api:
            found = await client.CoreV1Api(api).read_namespaced_config_map("kept", "default")
        assert found.metadata is not None
        assert kept.metadata is not None
        assert found.metadata.uid == kept.metadata.uid
    finally:
        await processes.close()


async def test_state_survives_kill_9_and_a_taken_port(tmp_path: Path) -> None:
    """After kill -9 of its parent no process is left, nothing is lost, and a port taken meanwhile is given up."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(tmp_path)), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    left = await processes_of(tmp_path)
    assert left
    async with await connect(tmp_path / "kubeconfig") as api:
        await client.CoreV1Api(api).create_namespaced_config_map("default", config_map("kept"))
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()

    async def are_gone() -> bool:
        return not await processes_of(tmp_path)

    await until(are_gone, "a process outlived its parent")
    port = int((tmp_path / "port").read_text())
    taken = await take(port)
    processes = Processes()
    try:
        plane = await ControlPlane.start(processes, tmp_path)
        assert not plane.url.endswith(f":{port}")
        async with await connect(plane.kubeconfig) as api:
            await client.CoreV1Api(api).read_namespaced_config_map("kept", "default")
    finally:
        await processes.close()
        taken.close()


async def take(port: int) -> asyncio.Server:
    """Listens on the port, once its last user, gone from the process list, has closed it too."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
        except OSError:
            assert time.monotonic() < deadline, "the port is not free"
        await asyncio.sleep(0.05)


async def processes_of(folder: Path) -> list[str]:
    """The command lines that name the folder, Python's own (the parent's) apart."""
    listing = await asyncio.create_subprocess_exec("ps", "axww", "-o", "args=", stdout=asyncio.subprocess.PIPE)
    lines = (await listing.communicate())[0].decode(errors="replace").splitlines()
    return [line for line in lines if str(folder) in line and not line.startswith(sys.executable)]
