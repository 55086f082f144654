"""What need not be asked is not asked: calls are counted, never timed."""

from __future__ import annotations

from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Owner, Resource
from nuages.desired.run import RunJob, Template
from nuages.desired.secretmanager import Random, Secret
from nuages.reconcile.execute import Executor, State
from nuages.reconcile.plan import make_plan
from nuages.reconcile.release.outcome import Waiting
from nuages.reconcile.report import Report
from nuages.reconcile.wait import Wait

PROJECT = "projects/demo"
OWNER = Owner("shop", "web", "uid-1")
EMAIL = "web-app@demo.iam.gserviceaccount.com"
ACCOUNT = ServiceAccount(name=f"{PROJECT}/serviceAccounts/{EMAIL}", owner=OWNER, display_name="web")
SECRET = Secret(name=f"{PROJECT}/secrets/key", owner=OWNER, payload=Random(20))
MEMBER = IamMember.of(
    SECRET.name,
    "roles/secretmanager.secretAccessor",
    ACCOUNT.member,
    needs=frozenset({SECRET.name, ACCOUNT.name}),
)
RESOURCES: tuple[Resource, ...] = (ACCOUNT, SECRET, MEMBER)
JOB = RunJob(
    name=f"{PROJECT}/locations/europe-west1/jobs/web-migrate",
    owner=OWNER,
    template=Template(
        image="europe-west1-docker.pkg.dev/demo/apps/shop@sha256:" + "a" * 64,
        command=("python",),
        args=(),
        environment=(),
        cpu="1",
        memory="512Mi",
        service_account=EMAIL,
        timeout=300,
    ),
)
LONG = 1000.0


def calls(scene) -> dict[str, int]:
    """By the last part of the method."""
    return {method.rpartition(".")[2]: count for method, count in scene.cloud.core.requests.counts.items()}


async def make(scene) -> None:
    """Everything, in one pass over nothing."""
    drivers, inventory = scene.access.drivers, scene.access.inventory
    plan = make_plan(RESOURCES, dict.fromkeys((item.name for item in RESOURCES), None), lambda k: drivers.of(k).owned)
    results = await Executor(drivers, inventory).execute(plan)
    assert {result.state for result in results.values()} == {State.READY}


async def test_creation_looks_once_before_and_once_after(scene) -> None:
    """The policy is written as it was seen, and a secret that was just made is not asked for its versions."""
    await make(scene)
    assert calls(scene) == {
        "GetServiceAccount": 2,
        "CreateServiceAccount": 1,
        "GetSecret": 2,
        "CreateSecret": 1,
        "AddSecretVersion": 1,
        "UpdateSecret": 1,
        "GetSecretVersion": 1,
        "GetIamPolicy": 2,
        "SetIamPolicy": 1,
    }


async def test_what_was_seen_after_a_write_is_known_to_the_next_pass(scene) -> None:
    """One list of each kind and one policy, which show everything once; no second look at what was written."""
    await make(scene)
    scene.cloud.core.requests.clear()
    inventory = scene.access.inventory
    for _ in range(3):
        for item in RESOURCES:
            assert await inventory.get(type(item), item.name, LONG, LONG) is not None
    assert calls(scene) == {}


async def test_policy_changed_by_another_in_between_is_read_again(scene) -> None:
    """The etag of the policy that was seen tells; neither member is lost."""
    drivers = scene.access.drivers
    await drivers.of(ServiceAccount).create(ACCOUNT)
    await drivers.of(Secret).create(SECRET)
    members = drivers.of(IamMember)
    other = IamMember.of(SECRET.name, "roles/secretmanager.viewer", ACCOUNT.member)
    assert await members.observe(MEMBER.name) is None
    stranger = (await scene.as_bearer("owner")).drivers.of(IamMember)
    await stranger.create(other)
    await members.create(MEMBER)
    assert await members.observe(MEMBER.name) is not None
    assert await members.observe(other.name) is not None


async def test_a_running_execution_costs_one_call_a_look(scene) -> None:
    """As long as nobody touches the app; a change of the object, or its end, is worth a whole pass."""
    await scene.access.drivers.of(ServiceAccount).create(ACCOUNT)
    operation = await scene.access.runs.start(JOB, "abc123")
    body = {"metadata": {"resourceVersion": "7"}}
    execution = f"{JOB.name}/executions/{JOB.id}-abc123"
    wait = Wait.of(Report(1, outcome=Waiting("Migrating", "", None, execution)), body, scene.access)
    assert wait is not None
    scene.cloud.core.requests.clear()
    running = await wait.goes_on(body["metadata"])
    assert calls(scene) == {"GetExecution": 1}
    assert not await wait.goes_on({"resourceVersion": "8"})
    assert calls(scene) == {"GetExecution": 1}
    await scene.done(operation)
    while running:
        running = await wait.goes_on(body["metadata"])


async def test_operations_are_waited_for_by_themselves(scene) -> None:
    """One call each; one that ended is worth a whole pass."""
    await scene.access.drivers.of(ServiceAccount).create(ACCOUNT)
    operation = await scene.access.drivers.of(RunJob).create(JOB)
    body = {"metadata": {"resourceVersion": "7"}}
    waiting = Waiting("Migrating", "", operation, f"{JOB.name}/executions/{JOB.id}-abc123")
    wait = Wait.of(Report(1, outcome=waiting), body, scene.access)
    assert wait is not None
    scene.cloud.core.requests.clear()
    await wait.goes_on(body["metadata"])
    assert calls(scene) == {"GetOperation": 1}
    await scene.done(operation)
    assert not await wait.goes_on(body["metadata"])


async def test_what_is_ready_is_not_waited_for(scene) -> None:
    """The next pass is due in its own time."""
    body = {"metadata": {"resourceVersion": "7"}}
    assert Wait.of(Report(1), body, scene.access) is None
