"""Faults, delays and quotas, as Google's own clients meet them over gRPC, and as bare HTTP shows them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1, run_v2
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient as Secrets
from google.iam.v1 import policy_pb2
from google.rpc import error_details_pb2

from localcloud.core.errors import ApiError, Code
from localcloud.core.faults import Fault, Kind
from localcloud.core.past import KEPT, Past, reading_the_past
from localcloud.localcloud import LocalCloud

PARENT = "projects/demo"
KEY = f"{PARENT}/secrets/key"
AUTOMATIC: dict[str, Any] = {"replication": {"automatic": {}}}
EMAIL = "web-app@demo.iam.gserviceaccount.com"
BEARER = {"Authorization": "Bearer any"}
VIEWER = policy_pb2.Binding(role="roles/secretmanager.viewer", members=[f"serviceAccount:{EMAIL}"])
DEADLINE_S = 10.0


@pytest.fixture
async def http(simulated: LocalCloud) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulated.rest, headers=BEARER) as session:
        yield session


@pytest.fixture
def secrets(simulated: LocalCloud, clients: Any) -> Secrets:
    client: Secrets = clients(Secrets)
    return client


async def _make(secrets: Secrets, timeout: float | None = None, **secret: Any) -> Any:
    return await secrets.create_secret(
        request={"parent": PARENT, "secret_id": "key", "secret": {**AUTOMATIC, **secret}}, retry=None, timeout=timeout
    )


async def _is_there(secrets: Secrets) -> bool:
    try:
        return bool(await secrets.get_secret(name=KEY, retry=None))
    except exceptions.NotFound:
        return False


async def _relabel(secrets: Secrets, value: str) -> None:
    changed = {"name": KEY, "labels": {"a": value}}
    await secrets.update_secret(request={"secret": changed, "update_mask": {"paths": ["labels"]}})


async def _account(clients: Any) -> Any:
    api = clients(iam_admin_v1.IAMAsyncClient)
    return await api.create_service_account(request={"name": PARENT, "account_id": "web-app"}, retry=None)


async def _denied_to(client: Secrets) -> bool:
    try:
        await client.get_secret(name=KEY, retry=None)
    except exceptions.PermissionDenied:
        return True
    return False


async def _until(what: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# errors


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.RESOURCE_EXHAUSTED, exceptions.ResourceExhausted),
        (Code.INTERNAL, exceptions.InternalServerError),
        (Code.UNAVAILABLE, exceptions.ServiceUnavailable),
        (Code.PERMISSION_DENIED, exceptions.PermissionDenied),
        (Code.ABORTED, exceptions.Aborted),
        (Code.ALREADY_EXISTS, exceptions.AlreadyExists),
    ],
)
async def test_a_call_fails_as_told_and_does_nothing(
    simulated: LocalCloud, secrets: Secrets, http: aiohttp.ClientSession, code: Code, error: type[Exception]
) -> None:
    """Over gRPC and REST alike; the next call is as usual."""
    simulated.faults.add(Fault("*.CreateSecret", Kind.FAIL, ApiError(code, "As told."), times=2))
    with pytest.raises(error, match=r"As told\."):
        await _make(secrets)
    async with http.post("/v1/projects/demo/secrets?secretId=key", json=AUTOMATIC) as response:
        assert (response.status, (await response.json())["error"]["message"]) == (code.http, "As told.")
    with pytest.raises(exceptions.NotFound):
        await secrets.get_secret(name=KEY)
    assert await _make(secrets)


async def test_retry_after_is_told_over_grpc_and_rest(
    simulated: LocalCloud, secrets: Secrets, http: aiohttp.ClientSession
) -> None:
    """RetryInfo among the details, and the header in whole seconds."""
    slow = ApiError(Code.RESOURCE_EXHAUSTED, "Slow down.")
    simulated.faults.add(Fault("*.GetSecret", Kind.FAIL, slow, times=2, retry_after_s=1.5))
    with pytest.raises(exceptions.ResourceExhausted) as raised:
        await secrets.get_secret(name=KEY, retry=None)
    (told,) = [d for d in raised.value.details if isinstance(d, error_details_pb2.RetryInfo)]
    assert told.retry_delay.ToMilliseconds() == 1500
    async with http.get(f"/v1/{KEY}") as response:
        body = (await response.json())["error"]
        assert (response.status, response.headers["Retry-After"]) == (429, "2")
        assert body["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s"}]


async def test_written_apis_fail_alike(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """Storage: its own envelope, and nothing made."""
    simulated.faults.add(Fault("storage.googleapis.com/POST *", Kind.FAIL, retry_after_s=3))
    url = "/storage/v1/b?project=demo"
    async with http.post(url, json={"name": "demo-media"}) as response:
        error = (await response.json())["error"]
        assert (response.status, response.headers["Retry-After"]) == (503, "3")
        assert error["errors"][0]["reason"] == "backendError"
    async with http.get(url) as response:
        assert "items" not in await response.json()


async def test_skip_times_and_resource_choose_the_call(simulated: LocalCloud, secrets: Secrets) -> None:
    """The second read of this one secret, and only that."""
    await _make(secrets)
    simulated.faults.add(Fault("*GetSecret", Kind.FAIL, skip=1, resource="*/key"))
    with pytest.raises(exceptions.NotFound):
        await secrets.get_secret(name=f"{PARENT}/secrets/other", retry=None)
    await secrets.get_secret(name=KEY, retry=None)
    with pytest.raises(exceptions.ServiceUnavailable):
        await secrets.get_secret(name=KEY, retry=None)
    assert await secrets.get_secret(name=KEY, retry=None)


async def test_a_slow_call_meets_the_clients_deadline(simulated: LocalCloud, secrets: Secrets) -> None:
    """The client gives up; one that waits for a slow answer is served as usual."""
    assert not await _is_there(secrets)  # from here on the channel is open
    slow = simulated.faults.add(Fault("*CreateSecret", Kind.DELAY, seconds=30))
    with pytest.raises(exceptions.DeadlineExceeded):
        await _make(secrets, timeout=1)
    assert slow.times == 0
    simulated.faults.add(Fault("*CreateSecret", Kind.DELAY, seconds=0.2))
    began = time.monotonic()
    assert (await _make(secrets)).name.endswith("/secrets/key")
    assert time.monotonic() - began > 0.15
    assert await _is_there(secrets)


async def test_a_slow_call_is_done_for_a_client_that_has_left(
    simulated: LocalCloud, secrets: Secrets, http: aiohttp.ClientSession
) -> None:
    """Over REST: nobody hears the answer, and the thing is there later."""
    slow = simulated.faults.add(Fault("*CreateSecret", Kind.DELAY, seconds=1.0))
    leaving = asyncio.create_task(http.post("/v1/projects/demo/secrets?secretId=key", json=AUTOMATIC))

    async def is_served() -> bool:
        return slow.times == 0

    await _until(is_served)
    leaving.cancel()
    await _until(lambda: _is_there(secrets))


async def test_a_slow_call_ends_with_its_caller_over_grpc(simulated: LocalCloud, secrets: Secrets) -> None:
    """The server cancels it, as gRPC's do: nothing is done. What is done though unheard is LOSE."""
    assert not await _is_there(secrets)  # from here on the channel is open
    simulated.faults.add(Fault("*CreateSecret", Kind.DELAY, seconds=600))
    with pytest.raises(exceptions.DeadlineExceeded):
        await _make(secrets, timeout=1)

    async def has_ended() -> bool:
        return any(request.method.endswith("CreateSecret") for request in simulated.core.requests.last())

    await _until(has_ended)
    assert not await _is_there(secrets)


async def test_an_answer_is_lost_after_the_work(
    simulated: LocalCloud, secrets: Secrets, http: aiohttp.ClientSession
) -> None:
    """Over REST too: 503, and the thing is there."""
    simulated.faults.add(Fault("*CreateSecret", Kind.LOSE))
    async with http.post("/v1/projects/demo/secrets?secretId=key", json=AUTOMATIC) as response:
        assert response.status == 503
    with pytest.raises(exceptions.AlreadyExists):
        await _make(secrets)


async def test_the_answer_that_something_is_missing_can_be_lost_too(simulated: LocalCloud, secrets: Secrets) -> None:
    """What is lost is the answer, whatever it says."""
    simulated.faults.add(Fault("*GetSecret", Kind.LOSE))
    with pytest.raises(exceptions.ServiceUnavailable):
        await secrets.get_secret(name=KEY, retry=None)
    with pytest.raises(exceptions.NotFound):
        await secrets.get_secret(name=KEY, retry=None)


# stale reads


async def test_a_stale_read_is_from_before_the_last_change(simulated: LocalCloud, secrets: Secrets) -> None:
    """Whether anybody had read it then or not; the read after it is fresh."""
    await _make(secrets, labels={"a": "1"})
    await _relabel(secrets, "2")
    simulated.faults.add(Fault("*GetSecret", Kind.STALE))
    assert (await secrets.get_secret(name=KEY)).labels == {"a": "1"}
    assert (await secrets.get_secret(name=KEY)).labels == {"a": "2"}


async def test_what_was_just_made_is_not_there_yet(simulated: LocalCloud, secrets: Secrets) -> None:
    """Neither by its name nor in a list; what was deleted still is."""
    await _make(secrets)
    simulated.faults.add(Fault("*GetSecret", Kind.STALE, times=2))
    simulated.faults.add(Fault("*ListSecrets", Kind.STALE, times=2))
    with pytest.raises(exceptions.NotFound):
        await secrets.get_secret(name=KEY)
    assert [secret async for secret in await secrets.list_secrets(parent=PARENT)] == []
    await secrets.delete_secret(name=KEY)
    assert await secrets.get_secret(name=KEY)
    assert len([secret async for secret in await secrets.list_secrets(parent=PARENT)]) == 1
    with pytest.raises(exceptions.NotFound):
        await secrets.get_secret(name=KEY)


async def test_a_stale_fault_lets_writes_pass(simulated: LocalCloud, secrets: Secrets) -> None:
    """They work on what is there now, and do not use the fault up."""
    await _make(secrets, labels={"a": "1"})
    simulated.faults.add(Fault("*Secret", Kind.STALE))
    await _relabel(secrets, "2")
    assert (await secrets.get_secret(name=KEY)).labels == {"a": "1"}
    assert (await secrets.get_secret(name=KEY)).labels == {"a": "2"}


async def test_a_stale_read_is_judged_by_todays_policy(simulated: LocalCloud, secrets: Secrets, clients: Any) -> None:
    """What is read is old, who may read it is not: neither a grant nor its end comes late with it."""
    await _make(secrets, labels={"a": "1"})
    await _relabel(secrets, "2")
    await _account(clients)
    as_account = clients(Secrets, token=simulated.core.tokens.issue(EMAIL))
    simulated.faults.add(Fault("*GetSecret", Kind.STALE, times=-1))
    given = await secrets.set_iam_policy(request={"resource": KEY, "policy": policy_pb2.Policy(bindings=[VIEWER])})
    assert (await as_account.get_secret(name=KEY, retry=None)).labels == {"a": "1"}
    await secrets.set_iam_policy(request={"resource": KEY, "policy": policy_pb2.Policy(etag=given.etag)})
    assert await _denied_to(as_account)


def test_only_so_much_of_the_past_is_kept() -> None:
    """The oldest change is forgotten, and its thing then read as it is."""
    past: Past[str] = Past()
    for number in range(KEPT + 1):
        past.changed(str(number), "before")
    with reading_the_past():
        assert (past.of("0", "now"), past.of("1", "now")) == ("now", "before")
    assert past.of("1", "now") == "now"


async def test_a_bucket_can_be_stale(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """JSON records go back as messages do."""
    async with http.post("/storage/v1/b?project=demo", json={"name": "demo-media", "labels": {"a": "1"}}) as made:
        assert made.status == 200
    async with http.patch("/storage/v1/b/demo-media", json={"labels": {"a": "2"}}) as changed:
        assert changed.status == 200
    simulated.faults.add(Fault("storage.googleapis.com/GET */b/{bucket}", Kind.STALE))
    for value in ("1", "2"):
        async with http.get("/storage/v1/b/demo-media") as response:
            assert (await response.json())["labels"] == {"a": value}


# callers that die


@pytest.mark.parametrize("after", [False, True])
async def test_a_caller_killed_before_the_work_leaves_nothing(
    simulated: LocalCloud, secrets: Secrets, after: bool
) -> None:
    """Killed after it, it leaves the work and never hears of it."""
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)

    async def kill() -> None:
        caller.kill()
        await caller.wait()

    simulated.faults.add(Fault("*CreateSecret", Kind.KILL, after=after, hook=kill))
    with pytest.raises(exceptions.ServiceUnavailable if after else exceptions.Cancelled):
        await _make(secrets)
    assert caller.returncode == -9
    listed = [secret.name async for secret in await secrets.list_secrets(parent=PARENT)]
    assert len(listed) == int(after)


# consistency that comes later


async def test_a_fresh_account_becomes_known_later(simulated: LocalCloud, clients: Any) -> None:
    """Until then reads answer 404; its name is taken at once."""
    simulated.core.accounts.configure(propagation_s=3_000)  # three seconds, at this speed
    made = await _account(clients)
    api = clients(iam_admin_v1.IAMAsyncClient)
    with pytest.raises(exceptions.NotFound):
        await api.get_service_account(name=made.name, retry=None)
    with pytest.raises(exceptions.AlreadyExists):
        await _account(clients)

    async def is_known() -> bool:
        try:
            return bool(await api.get_service_account(name=made.name, retry=None))
        except exceptions.NotFound:
            return False

    await _until(is_known)


async def test_a_policy_may_name_a_fresh_account_later(simulated: LocalCloud, clients: Any, secrets: Secrets) -> None:
    """Until then it is refused as one that nobody made, and stands as it was."""
    await _make(secrets)
    simulated.core.accounts.configure(propagation_s=3_000)
    await _account(clients)
    asked = {"resource": KEY, "policy": policy_pb2.Policy(bindings=[VIEWER])}

    async def is_taken() -> bool:
        try:
            await secrets.set_iam_policy(request=asked)
        except exceptions.InvalidArgument:
            return False
        return True

    with pytest.raises(exceptions.InvalidArgument, match=f"Service account {EMAIL} does not exist"):
        await secrets.set_iam_policy(request=asked)
    assert not (await secrets.get_iam_policy(request={"resource": KEY})).bindings
    await _until(is_taken)
    assert list((await secrets.get_iam_policy(request={"resource": KEY})).bindings) == [VIEWER]


async def test_a_fresh_grant_counts_later(simulated: LocalCloud, clients: Any, secrets: Secrets) -> None:
    """The policy shows it at once; what was granted before goes on counting. A shorter time counts at once."""
    await _make(secrets)
    await _account(clients)
    as_account = clients(Secrets, token=simulated.core.tokens.issue(EMAIL))
    simulated.core.policies.configure(propagation_s=3_000)
    set_ = await secrets.set_iam_policy(request={"resource": KEY, "policy": policy_pb2.Policy(bindings=[VIEWER])})
    assert (await secrets.get_iam_policy(request={"resource": KEY})).bindings == set_.bindings
    assert await _denied_to(as_account)

    async def is_granted() -> bool:
        return not await _denied_to(as_account)

    await _until(is_granted)
    simulated.core.policies.configure(propagation_s=1_000_000)
    accessor = policy_pb2.Binding(role="roles/secretmanager.secretAccessor", members=[f"serviceAccount:{EMAIL}"])
    both = policy_pb2.Policy(bindings=[VIEWER, accessor], etag=set_.etag)
    await secrets.set_iam_policy(request={"resource": KEY, "policy": both})
    assert not await _denied_to(as_account)
    with pytest.raises(exceptions.PermissionDenied):
        await as_account.access_secret_version(name=f"{KEY}/versions/1", retry=None)
    simulated.core.policies.configure()
    with pytest.raises(exceptions.NotFound):  # it may ask, and there is none
        await as_account.access_secret_version(name=f"{KEY}/versions/1", retry=None)


# quotas


async def test_a_project_has_so_many_accounts(simulated: LocalCloud, clients: Any) -> None:
    """100 unless raised; then 429 in Google's words. Another project has as many of its own."""
    assert simulated.core.accounts.quota == 100
    simulated.core.accounts.configure(quota=1)
    await _account(clients)
    api = clients(iam_admin_v1.IAMAsyncClient)
    with pytest.raises(exceptions.ResourceExhausted, match="Maximum number of service accounts on project reached"):
        await api.create_service_account(request={"name": PARENT, "account_id": "another"}, retry=None)
    other = simulated.core.projects.create("other", enabled=frozenset({"iam.googleapis.com"}))
    await api.create_service_account(request={"name": f"projects/{other.id}", "account_id": "another"}, retry=None)
    simulated.core.accounts.configure(quota=2)
    await api.create_service_account(request={"name": PARENT, "account_id": "another"}, retry=None)


async def test_writes_have_a_rate_and_reads_none(simulated: LocalCloud, secrets: Secrets, clients: Any) -> None:
    """The write too many is refused with Google's text and a time to wait; other services and projects go on."""
    simulated.core.clock.speed = 1.0
    simulated.core.quotas.configure("secretmanager.googleapis.com", 2)
    await _make(secrets)
    await _relabel(secrets, "1")
    text = (
        "Quota exceeded for quota metric 'secretmanager.googleapis.com/write_requests' and limit "
        "'WriteRequestsPerMinutePerProject' of service 'secretmanager.googleapis.com' for consumer "
        "'project_number:187635794409'."
    )
    with pytest.raises(exceptions.ResourceExhausted, match=text) as raised:
        await secrets.add_secret_version(parent=KEY, payload={"data": b"x"}, retry=None)
    assert raised.value.reason == "RATE_LIMIT_EXCEEDED"
    (wait,) = [d for d in raised.value.details if isinstance(d, error_details_pb2.RetryInfo)]
    assert 50 < wait.retry_delay.ToSeconds() <= 60
    assert await secrets.get_secret(name=KEY)
    await clients(run_v2.JobsAsyncClient).list_jobs(parent=f"{PARENT}/locations/europe-west1")
    await _account(clients)
    other = simulated.core.projects.create("other", enabled=frozenset({"secretmanager.googleapis.com"}))
    asked = {"parent": f"projects/{other.id}", "secret_id": "key", "secret": AUTOMATIC}
    assert await secrets.create_secret(request=asked, retry=None)
    simulated.core.quotas.configure("secretmanager.googleapis.com", None)
    await secrets.add_secret_version(parent=KEY, payload={"data": b"x"}, retry=None)


async def test_a_buckets_writes_are_its_projects(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """Its name tells no project, but its record does: one project's writes leave the other's alone."""
    simulated.core.clock.speed = 1.0
    simulated.core.projects.create("other")
    simulated.core.quotas.configure("storage.googleapis.com", 2)

    async def write(verb: str, path: str, body: Any) -> int:
        async with http.request(verb, f"/storage/v1/b{path}", json=body) as response:
            return response.status

    for project in ("demo", "other"):
        assert await write("POST", f"?project={project}", {"name": f"{project}-media"}) == 200
        for status in (200, 429):
            assert await write("PATCH", f"/{project}-media", {"labels": {"a": "1"}}) == status
        assert await write("POST", f"?project={project}", {"name": f"{project}-more"}) == 429


async def test_a_rate_is_a_minutes(simulated: LocalCloud, secrets: Secrets) -> None:
    """Google's minute, as short here as operations are."""
    simulated.core.clock.speed = 100.0
    simulated.core.quotas.configure("secretmanager.googleapis.com", 1)
    await _make(secrets)

    async def is_free() -> bool:
        try:
            await _relabel(secrets, "1")
        except exceptions.ResourceExhausted:
            return False
        return True

    began = time.monotonic()
    assert not await is_free()
    await _until(is_free)
    assert time.monotonic() - began > 0.3
