"""Cloud Run over REST under simulation: what Google refuses is refused before anything is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from google.protobuf.message import Message

from localcloud.localcloud import LocalCloud

PLACE = "/v2/projects/demo/locations/europe-west1"
IMAGE = "us-docker.pkg.dev/cloudrun/container/hello"
JOB = {"template": {"template": {"containers": [{"image": IMAGE}]}}}
SERVICE = {"template": {"containers": [{"image": IMAGE}]}}
Call = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def call(simulated: LocalCloud) -> AsyncIterator[Call]:
    """`await call("GET", path, body)`: the status and the answer."""
    headers = {"Host": "run.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(simulated.rest, headers=headers) as http:

        async def call(verb: str, path: str, body: Any = None, host: Any = None) -> tuple[int, Any]:
            async with http.request(verb, path, json=body, headers=host) as response:
                return response.status, await response.json(content_type=None)

        yield call


async def _ended(call: Call, answer: tuple[int, Any]) -> Any:
    """The operation of an answer, once it is done."""
    status, operation = answer
    assert status == 200, operation
    async with asyncio.timeout(20):
        while not operation.get("done"):
            _, operation = await call("GET", f"/v2/{operation['name']}")
    return operation


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"taskCount": -2}, "task_count"),
        ({"taskCount": 10_001}, "task_count"),
        ({"timeout": "-5s"}, "timeout"),
        ({"timeout": "700000s"}, "timeout"),
        ({"containerOverrides": [{"env": [{"name": "CLOUD_RUN_JOB", "value": "x"}]}]}, "reserved env names"),
        ({"containerOverrides": [{"name": "ghost"}]}, "ghost"),
    ],
)
@pytest.mark.parametrize("validate_only", [False, True])
async def test_overrides_that_a_job_may_not_have_are_refused(
    call: Call, overrides: dict[str, Any], message: str, validate_only: bool
) -> None:
    """With 400, and no execution is made."""
    await _ended(call, await call("POST", f"{PLACE}/jobs?jobId=work", JOB))
    body = {"overrides": overrides, "validateOnly": validate_only}
    status, answer = await call("POST", f"{PLACE}/jobs/work:run", body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert message in answer["error"]["message"]
    assert await call("GET", f"{PLACE}/jobs/work/executions") == (200, {})


async def test_overrides_change_the_execution_alone(call: Call) -> None:
    """The job keeps its own task count, timeout and variables."""
    await _ended(call, await call("POST", f"{PLACE}/jobs?jobId=work", JOB))
    before = (await call("GET", f"{PLACE}/jobs/work"))[1]["template"]
    containers = [{"args": ["a"], "env": [{"name": "A", "value": "1"}]}]
    overrides = {"taskCount": 2, "timeout": "30s", "containerOverrides": containers}
    made = (await _ended(call, await call("POST", f"{PLACE}/jobs/work:run", {"overrides": overrides})))["response"]
    assert (made["taskCount"], made["template"]["timeout"]) == (2, "30s")
    assert made["template"]["containers"][0]["args"] == ["a"]
    assert (await call("GET", f"{PLACE}/jobs/work"))[1]["template"] == before


async def test_an_operation_ends_whatever_happens(simulated: LocalCloud, call: Call) -> None:
    """A fault that no service foresaw is Google's INTERNAL, not an operation that is never done."""

    async def broken(_: str) -> Message:
        raise KeyError("x")

    simulated.core.operations.register("run.jobs.create", broken)
    operation = await _ended(call, await call("POST", f"{PLACE}/jobs?jobId=work", JOB))
    assert operation["error"] == {"code": 13, "message": "Internal error encountered."}


async def test_an_execution_ends_whatever_happens(
    simulated: LocalCloud, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the machine under a task fails the execution and its operation."""

    async def broken(*_: Any) -> None:
        raise OSError("no more processes")

    await _ended(call, await call("POST", f"{PLACE}/jobs?jobId=work", JOB))
    monkeypatch.setattr(simulated.core.runtime.tasks, "attempt", broken)
    operation = await _ended(call, await call("POST", f"{PLACE}/jobs/work:run", {}))
    assert operation["error"]["message"] == "Internal error encountered."
    _, found = await call("GET", f"{PLACE}/jobs/work/executions")
    assert found["executions"][0]["completionTime"]


@pytest.mark.parametrize(
    "path", ["template.bogus", "bogus", "uid", "name", "template.", "template.containers.image", "labels.a"]
)
async def test_a_path_that_cannot_be_changed_is_refused(call: Call, path: str) -> None:
    """What is not a field, is below a list or a map, or is Google's own (AIP-161)."""
    await _ended(call, await call("POST", f"{PLACE}/services?serviceId=web", SERVICE))
    before = await call("GET", f"{PLACE}/services/web")
    status, answer = await call("PATCH", f"{PLACE}/services/web?updateMask=description,{path}", {"description": "x"})
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert path in answer["error"]["message"]
    assert await call("GET", f"{PLACE}/services/web") == before


async def test_a_named_path_that_is_not_sent_is_cleared(call: Call) -> None:
    """Its default comes back; what the mask does not name stays, though it is sent."""
    sent = {"description": "x", "template": {**SERVICE["template"], "timeout": "9s"}}
    await _ended(call, await call("POST", f"{PLACE}/services?serviceId=web", sent))
    patch = f"{PLACE}/services/web?updateMask=template.timeout,etag"
    after = (await _ended(call, await call("PATCH", patch, {"description": "y"})))["response"]
    assert (after["description"], after["template"]["timeout"]) == ("x", "300s")


@pytest.mark.parametrize("path", ["annotations.foo", "rotation.bogus", "name"])
async def test_a_secrets_mask_names_fields_of_a_secret(call: Call, path: str) -> None:
    """400 for what it does not have, or may not change."""
    secrets, host = "/v1/projects/demo/secrets", {"Host": "secretmanager.googleapis.com"}
    assert (await call("POST", f"{secrets}?secretId=s", {"replication": {"automatic": {}}}, host))[0] == 200
    status, answer = await call("PATCH", f"{secrets}/s?updateMask={path}", {}, host)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_three_containers_of_a_job_share_the_memory(call: Call) -> None:
    """256Mi each where they name none (recorded); one or two have 512Mi."""
    for count, memory in ((1, "512Mi"), (2, "512Mi"), (3, "256Mi")):
        containers = [{"name": f"c{index}", "image": IMAGE} for index in range(count)]
        body = {"template": {"template": {"containers": containers}}}
        made = (await _ended(call, await call("POST", f"{PLACE}/jobs?jobId=work{count}", body)))["response"]
        shown = made["template"]["template"]["containers"]
        assert [container["resources"]["limits"]["memory"] for container in shown] == [memory] * count


@pytest.mark.parametrize(("on", "message"), [("ghost", "'ghost'"), ("a", "'a'"), ("b", "startup probe")])
async def test_a_container_waits_for_one_that_can_be_probed(call: Call, on: str, message: str) -> None:
    """Not for one that is not there, for itself, or for one without startup probe."""
    containers = [{"name": "a", "image": IMAGE, "dependsOn": [on]}, {"name": "b", "image": IMAGE}]
    service = {"template": {"containers": containers}}
    for path, body in (("services?serviceId=x", service), ("jobs?jobId=x", {"template": service})):
        status, answer = await call("POST", f"{PLACE}/{path}", body)
        assert (status, message in answer["error"]["message"]) == (400, True), answer


@pytest.mark.parametrize("query", ["services?pageSize=-3", "services?pageToken=LTM%3D", "jobs?pageSize=-1"])
async def test_pages_have_a_size_and_a_beginning(call: Call, query: str) -> None:
    """A negative one of either is refused."""
    assert (await call("GET", f"{PLACE}/{query}"))[0] == 400


@pytest.mark.parametrize("kind", ["services", "jobs", "workerPools"])
async def test_a_list_is_of_one_location(call: Call, kind: str) -> None:
    """The API reference: parent "cannot be the '-' wildcard"; an empty answer would be a lie."""
    status, answer = await call("GET", f"/v2/projects/demo/locations/-/{kind}")
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_revisions_and_executions_are_listed_across_their_parents(call: Call) -> None:
    """With `-` for the service or the job."""
    await _ended(call, await call("POST", f"{PLACE}/services?serviceId=web", SERVICE))
    await _ended(call, await call("POST", f"{PLACE}/jobs?jobId=work", JOB))
    await _ended(call, await call("POST", f"{PLACE}/jobs/work:run", {}))
    assert len((await call("GET", f"{PLACE}/services/-/revisions"))[1]["revisions"]) == 1
    assert len((await call("GET", f"{PLACE}/jobs/-/executions"))[1]["executions"]) == 1
    assert len((await call("GET", f"{PLACE}/jobs/-/executions/-/tasks"))[1]["tasks"]) == 1


@pytest.mark.parametrize("fields", ["services.name", "services/name", "services(name)", "services(name),nextPageToken"])
async def test_fields_select_by_any_spelling(call: Call, fields: str) -> None:
    """With dots, slashes or parentheses."""
    await _ended(call, await call("POST", f"{PLACE}/services?serviceId=web", SERVICE))
    name = "projects/demo/locations/europe-west1/services/web"
    assert await call("GET", f"{PLACE}/services?fields={fields}") == (200, {"services": [{"name": name}]})


@pytest.mark.parametrize("fields", ["services.bogus", "bogus", "services.name.x"])
@pytest.mark.parametrize("parameter", ["fields", "$fields"])
async def test_fields_that_an_answer_cannot_have_are_refused(call: Call, fields: str, parameter: str) -> None:
    """400, naming the path."""
    status, answer = await call("GET", f"{PLACE}/services?{parameter}={fields}")
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    found = answer["error"]["details"][0]["fieldViolations"][0]["description"]
    assert found == f"Error expanding 'fields' parameter. Cannot find matching fields for path '{fields}'."


@pytest.mark.parametrize(("kind", "key", "body"), [("services", "serviceId", SERVICE), ("jobs", "jobId", JOB)])
async def test_a_project_is_the_same_by_number_and_by_id(call: Call, kind: str, key: str, body: Any) -> None:
    """What is made by one is found, changed and refused by the other; the name holds the id."""
    by_number = "/v2/projects/187635794409/locations/europe-west1"
    made = await _ended(call, await call("POST", f"{by_number}/{kind}?{key}=x", body))
    name = f"projects/demo/locations/europe-west1/{kind}/x"
    assert made["response"]["name"] == name
    assert (await call("GET", f"{by_number}/{kind}/x")) == (await call("GET", f"/v2/{name}"))
    assert (await call("POST", f"{PLACE}/{kind}?{key}=x", body))[0] == 409
    await _ended(call, await call("PATCH", f"{by_number}/{kind}/x", {**body, "labels": {"a": "b"}}))
    assert (await call("GET", f"/v2/{name}"))[1]["labels"] == {"a": "b"}
    assert len((await call("GET", f"{by_number}/{kind}"))[1][kind]) == 1
