"""The front door: who may come in, what the container sees, what goes wrong, and browsers on plain http."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.cloud import iam_admin_v1, run_v2
from google.iam.v1 import iam_policy_pb2, policy_pb2
from run_support import DEADLINE_S, PARENT, Door, Services, build_app, log_texts, template, until

from localcloud.localcloud import LocalCloud, Options
from localcloud.runtime.pool import PoolTimes

REVISION = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
ACCOUNT = "caller@demo.iam.gserviceaccount.com"


@pytest.fixture
async def services(cloud: LocalCloud, clients: Any, tmp_path: Path) -> Services:
    return Services(clients(run_v2.ServicesAsyncClient), await build_app(cloud, tmp_path))


@pytest.fixture
async def door(cloud: LocalCloud) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Door(cloud, session)


async def test_a_private_service_judges_id_tokens(
    cloud: LocalCloud, clients: Any, services: Services, door: Door
) -> None:
    """No token 403, a bad one 401, a good one without the role 403, with it 200; the log says why."""
    made = await services.deploy(access={})
    status, text = await door.get("/secret")
    assert status == 403
    assert "Your client does not have permission to get URL <code>/secret</code> from this server." in text
    status, text = await door.get("/", headers={"Authorization": "Bearer ya29.an-access-token"})
    assert status == 401
    assert "Error: Unauthorized" in text
    await clients(iam_admin_v1.IAMAsyncClient).create_service_account(
        iam_admin_v1.CreateServiceAccountRequest(name="projects/demo", account_id="caller")
    )
    token = await cloud.core.id_tokens.issue(ACCOUNT, made.uri)
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await door.get("/", headers=bearer))[0] == 403
    policy = policy_pb2.Policy()
    policy.bindings.add(role="roles/run.invoker", members=[f"serviceAccount:{ACCOUNT}"])
    await services.client.set_iam_policy(iam_policy_pb2.SetIamPolicyRequest(resource=made.name, policy=policy))
    status, text = await door.get("/headers", headers=bearer)
    assert status == 200
    assert json.loads(text)["Authorization"].endswith(".SIGNATURE_REMOVED_BY_GOOGLE")
    other = await cloud.core.id_tokens.issue(ACCOUNT, "https://other.example")
    assert (await door.get("/", headers={"Authorization": f"Bearer {other}"}))[0] == 401
    texts = log_texts(cloud, "requests")
    assert any(text.endswith("Empty Authorization header value.") for text in texts)
    assert any("The IAM principal lacks {run.routes.invoke} permission." in text for text in texts)


async def test_internal_ingress_is_not_found(services: Services, door: Door) -> None:
    """Ingress is judged before anything else."""
    internal = run_v2.IngressTraffic.INGRESS_TRAFFIC_INTERNAL_ONLY
    await services.deploy(access={"ingress": internal, "invoker_iam_disabled": True})
    status, text = await door.get("/")
    assert status == 404
    assert "Error: Page not found" in text


async def test_the_container_sees_what_google_sends(services: Services, door: Door) -> None:
    """Host as called, the forwarding headers, a trace; nothing hop-by-hop."""
    await services.deploy()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Forwarded-For": "10.0.0.1", "X-Google-X": "1"}
    seen = json.loads((await door.get("/headers?a=%2Fb", headers=sent))[1])
    assert seen["Host"] == door.host("app")
    async with door.session.get(f"{door.cloud.rest}/headers", headers={"Host": door.host("app")}) as answer:
        assert (await answer.json(content_type=None))["Host"] == door.host("app")  # the REST port, by the same name
    assert seen["X-Forwarded-Proto"] == "https"
    assert seen["X-Forwarded-For"] == "10.0.0.1,127.0.0.1"
    assert seen["traceparent"].split("-")[1] == trace
    assert seen["X-Cloud-Trace-Context"].startswith(trace + "/")
    assert "X-Google-X" not in seen


async def test_bodies_stream_both_ways(services: Services, door: Door) -> None:
    """A large request and a chunked answer arrive whole."""
    await services.deploy()
    body = "y" * 3_000_000
    assert await door.get("/", method="POST", data=body) == (200, body)
    status, text = await door.get("/stream")
    assert (status, len(text)) == (200, 500_000)


async def test_a_client_that_leaves_is_no_error(
    services: Services, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """It has read as much of the answer as it wanted; the next one is served, and the log stays silent."""
    await services.deploy()
    url, host = f"http://127.0.0.1:{door.cloud.front_port}/", {"Host": door.host("app")}
    for _ in range(3):
        async with door.session.post(url, headers=host, data=b"y" * 20_000_000) as answer:
            assert await answer.content.readexactly(1) == b"y"
    assert (await door.get("/stream"))[0] == 200
    assert [record for record in caplog.records if record.exc_info] == []


async def test_browsers_use_localhost(cloud: LocalCloud, services: Services, door: Door) -> None:
    """On plain http the app sees its run.app name, and redirects and cookies come back usable."""
    await services.deploy()
    label = door.host("app").partition(".")[0]
    host = f"{label}.localhost:{cloud.front_port}"
    sent = {"Host": host, "Origin": f"http://{host}", "Referer": f"http://{host}/admin/"}
    base = f"http://127.0.0.1:{cloud.front_port}"
    async with door.session.get(f"{base}/headers", headers=sent) as answer:
        seen = await answer.json(content_type=None)
    assert seen["Host"] == door.host("app")
    assert seen["Origin"] == f"https://{door.host('app')}"
    assert seen["Referer"] == f"https://{door.host('app')}/admin/"
    async with door.session.get(f"{base}/login", headers=sent, allow_redirects=False) as answer:
        assert answer.headers["Location"] == f"http://{host}/admin/"
        assert answer.headers["Set-Cookie"] == "sessionid=1; Path=/; HttpOnly; SameSite=Lax"
    async with door.session.get(base) as answer:
        assert f"http://{label}.localhost:{cloud.front_port}/" in await answer.text()


async def test_a_slow_request_times_out(services: Services, door: Door) -> None:
    """Over the service's timeout: 504."""
    await services.deploy(timeout={"seconds": 1})
    assert await door.get("/sleep?s=3") == (504, "upstream request timeout")
    assert (await door.get("/"))[0] == 200


async def test_a_full_service_answers_429(cloud: LocalCloud, services: Services, door: Door) -> None:
    """One instance with one place: who waits too long gets "Rate exceeded."."""
    cloud.runtime.revisions.pool_times = PoolTimes(idle_s=60, pending_s=0.2)
    await services.deploy(max_instance_request_concurrency=1, scaling={"max_instance_count": 1})
    arrived: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    async with await asyncio.start_server(lambda _, writer: arrived.put(writer), "127.0.0.1", 0) as gate:
        inside = asyncio.create_task(door.get(f"/wait?port={gate.sockets[0].getsockname()[1]}"))
        waits = await asyncio.wait_for(arrived.get(), DEADLINE_S)
        others = await asyncio.gather(door.get("/"), door.get("/"))
        assert others == [(429, "Rate exceeded.")] * 2
        assert not inside.done()
        waits.close()
        assert (await asyncio.wait_for(inside, DEADLINE_S))[0] == 200
    assert "The request was aborted because there was no available instance." in log_texts(cloud, "requests")


async def test_concurrency_starts_more_instances(cloud: LocalCloud, services: Services, door: Door) -> None:
    """Where one instance is full, another one is started."""
    await services.deploy(max_instance_request_concurrency=1, scaling={"max_instance_count": 3})
    answers = await asyncio.gather(*(door.get("/sleep?s=1") for _ in range(3)))
    assert {status for status, _ in answers} == {200}
    assert sum(cloud.runtime.revisions.counts().values()) > 1


async def test_a_crash_under_a_request_is_503(services: Services, door: Door) -> None:
    """The request fails, the next one finds a new instance."""
    await services.deploy()
    for _ in range(5):
        assert (await door.get("/crash"))[0] == 503
        assert (await door.get("/"))[0] == 200


async def test_idle_instances_end_and_start_again(cloud: LocalCloud, services: Services, door: Door) -> None:
    """Scale to zero and back; a kept minimum stays."""
    cloud.runtime.revisions.pool_times = PoolTimes(idle_s=0.2, pending_s=5)
    await services.deploy()
    await until(lambda: sum(cloud.runtime.revisions.counts().values()) == 0)
    assert (await door.get("/"))[0] == 200
    await services.deploy("kept", scaling={"min_instance_count": 1})
    assert (await door.get("/", "kept"))[0] == 200
    await until(lambda: cloud.runtime.revisions.counts() and sum(cloud.runtime.revisions.counts().values()) == 1)
    assert (await door.get("/", "kept"))[0] == 200


async def test_no_request_fails_while_traffic_moves(services: Services, door: Door) -> None:
    """Requests during two deploys and three switches of traffic are all answered."""
    await services.deploy(revision="app-a", ANSWER="a")
    stop, failures, count = asyncio.Event(), [], 0

    async def load() -> None:
        nonlocal count
        while not stop.is_set():
            status, text = await door.get("/")
            count += 1
            if status != 200:
                failures.append((status, text))

    loads = [asyncio.create_task(load()) for _ in range(4)]
    try:
        service = await services.get()
        service.template = template(services.image, revision="app-b", ANSWER="b")
        service.traffic = [{"type_": REVISION, "revision": "app-a", "percent": 100}]
        await services.update(service)
        for percent in (50, 0):
            service = await services.get()
            service.traffic = [
                {"type_": REVISION, "revision": "app-a", "percent": percent},
                {"type_": REVISION, "revision": "app-b", "percent": 100 - percent},
            ]
            await services.update(service)
    finally:
        stop.set()
        await asyncio.gather(*loads)
    assert not failures
    assert count > 20
    assert (await door.get("/"))[1] == "b"


async def test_a_request_takes_nothing_from_python_s_own_random_numbers(services: Services, door: Door) -> None:
    """Whoever seeds those, as Hypothesis does for a test, has them to himself."""
    await services.deploy()
    before = random.getstate()
    assert (await door.get("/"))[0] == 200
    assert random.getstate() == before


async def test_unknown_names_are_not_found(door: Door) -> None:
    """A run.app name that no service has."""
    status, text = await door.get("/", "nobody")
    assert status == 404
    assert "The requested URL was not found on this server." in text


async def test_services_answer_again_after_a_restart(tmp_path: Path) -> None:
    """State survives: the first request after `down` and `up` starts an instance."""
    folder = tmp_path / "cloud"
    async with LocalCloud(Options(dir=folder, speed=1000)) as cloud:
        image = await build_app(cloud, tmp_path)
        made = run_v2.Service(template=template(image, revision="app-a", ANSWER="a"), invoker_iam_disabled=True)
        request = run_v2.CreateServiceRequest(parent=PARENT, service=made, service_id="app")
        create = next(s for s in cloud.services if getattr(s, "grpc", "") == "google.cloud.run.v2.Services")
        operation = await create.create_service(run_v2.CreateServiceRequest.pb(request))
        await until(lambda: cloud.core.operations.get(operation.name).done)
    async with LocalCloud(Options(dir=folder, speed=1000)) as cloud, aiohttp.ClientSession() as session:
        assert not cloud.runtime.revisions.counts()
        assert await Door(cloud, session).get("/") == (200, "a")
