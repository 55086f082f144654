"""The plain REST port: dispatch by host and by path, and Google's answers to what goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from localcloud.admin_token import TOKEN_HEADER
from localcloud.localcloud import LocalCloud

OWNER = {"Authorization": "Bearer any"}
SECRET = '{"replication": {"automatic": {}}}'
SECRETS = "/v1/projects/demo/secrets"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that knows nothing of proxies."""
    async with aiohttp.ClientSession(headers=OWNER) as session:
        yield session


async def _get(http: aiohttp.ClientSession, url: str, host: str = "", **headers: str) -> tuple[int, Any]:
    named = {"Host": host} if host else {}
    async with http.get(url, headers=named | headers) as response:
        return response.status, await response.json(content_type=None)


async def _make(http: aiohttp.ClientSession, cloud: LocalCloud, name: str = "key") -> None:
    async with http.post(f"{cloud.rest}{SECRETS}?secretId={name}", data=SECRET) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize(
    "host",
    [
        "",
        "secretmanager.googleapis.com",
        "europe-west1-secretmanager.googleapis.com",
        "secretmanager.europe-west1.rep.googleapis.com",
        "secretmanager.mtls.googleapis.com",
    ],
)
async def test_a_path_is_served_under_every_form_of_its_host(
    simulated: LocalCloud, http: aiohttp.ClientSession, host: str
) -> None:
    """By path alone, by the global name, by both regional forms."""
    await _make(http, simulated)
    status, body = await _get(http, f"{simulated.rest}{SECRETS}/key", host)
    assert status == 200
    assert body["name"] == "projects/187635794409/secrets/key"


async def test_another_apis_host_does_not_serve_the_path(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """Secrets are not found under the name of IAM."""
    await _make(http, simulated)
    status, _ = await _get(http, f"{simulated.rest}{SECRETS}/key", "iam.googleapis.com")
    assert status == 501


async def test_what_is_not_modelled_is_refused_by_name(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """Never as a 404, which would say that the resource does not exist."""
    status, body = await _get(http, f"{simulated.rest}/compute/v1/projects/demo", "compute.googleapis.com")
    assert status == 501
    assert body["error"]["message"] == (
        "localcloud does not model GET compute.googleapis.com/compute/v1/projects/demo."
    )


async def test_a_path_of_no_api_gets_googles_page(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """HTML that names the path."""
    async with http.get(f"{simulated.rest}/nothing<b>") as response:
        assert response.status == 404
        assert "text/html" in response.headers["Content-Type"]
        assert "<code>/nothing%3Cb%3E</code> was not found on this server" in await response.text()


async def test_a_request_without_credential_is_refused(simulated: LocalCloud) -> None:
    """401 with the challenge."""
    async with aiohttp.ClientSession() as session, session.get(f"{simulated.rest}{SECRETS}") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await response.json())["error"]["status"] == "UNAUTHENTICATED"


async def test_a_caller_that_leaves_in_its_request_is_no_failure(
    simulated: LocalCloud, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """As an operator that was killed does: nothing is made, and nothing is wrong with localcloud."""
    at = urlsplit(simulated.rest)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    head = f"POST {SECRETS}?secretId=key HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Length: {len(SECRET)}\r\n"
    writer.write(f"{head}\r\n{SECRET[:9]}".encode())
    await writer.drain()
    await _get(http, f"{simulated.rest}{SECRETS}")  # by now the first is being read
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert (await _get(http, f"{simulated.rest}{SECRETS}/key"))[0] == 404
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []


async def test_unknown_fields_are_listed_with_their_places(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """The details repeat what the message says, by field."""
    async with http.post(f"{simulated.rest}{SECRETS}?secretId=a", data='{"colour": 1}') as response:
        error = (await response.json())["error"]
    assert (response.status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"] == "Invalid JSON payload received. Unknown name \"colour\" at 'secret': Cannot find field."
    assert error["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"


async def test_enums_are_numbers_where_the_caller_asks(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """As Google's REST transports ask."""
    await _make(http, simulated)
    url = f"{simulated.rest}{SECRETS}/key:addVersion?%24alt=json%3Benum-encoding%3Dint"
    async with http.post(url, data='{"payload": {"data": "YQ=="}}') as response:
        assert (await response.json())["state"] == 1


async def test_partial_responses_and_plain_printing(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """`fields` selects, `prettyPrint=false` writes one line."""
    await _make(http, simulated)
    async with http.get(f"{simulated.rest}{SECRETS}?fields=secrets(name)&prettyPrint=false") as response:
        assert await response.text() == '{"secrets": [{"name": "projects/187635794409/secrets/key"}]}\n'


async def test_discovery_clients_get_errors_of_both_kinds(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """`prettyPrint=false` is how they are known."""
    _, body = await _get(http, f"{simulated.rest}{SECRETS}/none?prettyPrint=false")
    assert body["error"]["errors"][0]["reason"] == "notFound"
    _, body = await _get(http, f"{simulated.rest}{SECRETS}/none")
    assert "errors" not in body["error"]


async def test_a_read_may_come_as_a_post(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """With X-HTTP-Method-Override and the query in the body, for queries too long for a URL."""
    await _make(http, simulated)
    headers = {"X-HTTP-Method-Override": "GET", "Content-Type": "application/x-www-form-urlencoded"}
    async with http.post(f"{simulated.rest}{SECRETS}", data="pageSize=1", headers=headers) as response:
        assert len((await response.json())["secrets"]) == 1


async def test_operations_are_found_and_waited_for(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """Under the version prefix of the API that started them."""
    url = f"{simulated.rest}/v1/projects/demo/services/redis.googleapis.com:enable"
    host = {"Host": "serviceusage.googleapis.com"}
    async with http.post(url, headers=host) as response:
        started = await response.json()
    async with asyncio.timeout(10):
        found = started
        while not found.get("done"):
            _, found = await _get(http, f"{simulated.rest}/v1/{started['name']}", host["Host"])
    assert found["response"]["service"]["state"] == "ENABLED"


async def test_an_unknown_operation_is_not_found(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """In the family of the API."""
    status, body = await _get(http, f"{simulated.rest}/v1/operations/none", "serviceusage.googleapis.com")
    assert (status, body["error"]["status"]) == (404, "NOT_FOUND")


async def test_the_commands_port_wants_the_folders_token(simulated: LocalCloud, http: aiohttp.ClientSession) -> None:
    """A page in a browser that guesses the port can do nothing."""
    url = f"{simulated.rest}/_localcloud/status"
    assert (await _get(http, url))[0] == 403
    assert (await _get(http, url, **{TOKEN_HEADER: simulated.token}))[0] == 200


async def test_state_survives_a_restart_with_the_same_addresses(cloud: LocalCloud, http: aiohttp.ClientSession) -> None:
    """Resources and ports are those of before."""
    await _make(http, cloud)
    before = cloud.address()
    await cloud.stop()
    async with LocalCloud(cloud.options) as again:
        assert (again.rest, again.proxy_url, again.front_port) == (before.rest, before.proxy, before.front_port)
        assert (await _get(http, f"{again.rest}{SECRETS}/key"))[0] == 200
